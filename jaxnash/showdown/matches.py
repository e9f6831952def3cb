"""Which battles are played, and what is kept of them on disk.

The *pair* is the unit: two battles with the same simulator seed and the same two teams, in which the members
swap seats (and so teams). Everything is drawn from keys by (purpose, pair, battle), never from a stream.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from jaxnash.games.gen1.layout import Observation
from jaxnash.keys import derive
from jaxnash.showdown.rollout import Battle, Outcome, Trace
from jaxnash.showdown.teams import TeamSet, draw_teams

CHUNK = 128  # battles a file


class Pair(NamedTuple):
    """Two members (indices) and the key of their pair of battles."""

    first: int
    second: int
    key: int


def pair_keys(first: int, second: int, count: int, *path: int | str) -> list[Pair]:
    """`count` pairs of battles between two members, keyed by (path, index)."""
    return [Pair(first, second, derive(*path, index)) for index in range(count)]


def battles_of(pairs: Iterable[Pair], teams: TeamSet) -> list[Battle]:
    """Battles 2p and 2p + 1 are pair p with seats (and so teams) swapped."""
    battles = []
    for p, pair in enumerate(pairs):
        x, y = draw_teams(teams, derive(pair.key, "teams"))
        for game, seats in enumerate(((pair.first, pair.second), (pair.second, pair.first))):
            battles.append(
                Battle(
                    battle_id=2 * p + game,
                    seed=derive(pair.key, "simulator"),
                    key=derive(pair.key, "members", game),
                    seats=seats,
                    teams=(teams.packed[x], teams.packed[y]),
                    team_names=(teams.names[x], teams.names[y]),
                )
            )
    return battles


def row_of(outcome: Outcome, names: Sequence[str]) -> dict[str, Any]:
    """The record of one battle as JSON: who met whom, teams, seed and result."""
    battle = outcome.battle
    return {
        "battle": battle.battle_id,
        "members": [names[s] for s in battle.seats],
        "teams": list(battle.team_names),
        "seed": f"{battle.seed:016x}",
        "key": f"{battle.key:016x}",
        "winner": None if outcome.winner is None else names[battle.seats[outcome.winner]],
        "score": outcome.score,
        "turns": outcome.turns,
        "truncated": outcome.truncated,
        "steps": outcome.steps,
        "decisions": list(outcome.decisions),
        "invalid": list(outcome.invalid),
        "fault": outcome.fault,
    }


def pair_scores(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Rows of battles (2p, 2p + 1, ...) -> a pair's two scores from the view of its first member."""
    return [(a["score"], 1.0 - b["score"]) for a, b in zip(rows[::2], rows[1::2], strict=True)]


def record_battles(
    folder: Path,
    battles: Sequence[Battle],
    play: Callable[[Sequence[Battle]], Iterable[Outcome]],
    *,
    names: Sequence[str],
    write: Callable[[Path, bytes], None],
    on_battle: Callable[[dict[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """Play the battles that `folder` does not hold yet, keep them in files of `CHUNK`, return all rows.

    A chunk is `battles_<k>.npz` (the recorded decisions) and then `battles_<k>.jsonl` (the rows); the second
    is written last and marks the chunk complete, so a killed process loses at most one chunk, which is then
    played again, alike to the bit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(folder)[: len(battles)]
    for row in rows:
        on_battle(row)
    buffer: list[Outcome] = []
    todo = battles[len(rows) :]
    last = battles[-1].battle_id if battles else -1
    for outcome in play(todo) if todo else ():
        buffer.append(outcome)
        rows.append(row_of(outcome, names))
        on_battle(rows[-1])
        if len(buffer) == CHUNK or outcome.battle.battle_id == last:
            k = (len(rows) - 1) // CHUNK
            write(folder / f"battles_{k:05d}.npz", _npz(buffer))
            write(folder / f"battles_{k:05d}.jsonl", lines_of(rows[k * CHUNK :]))
            buffer = []
    return rows


def lines_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of all complete chunks in `folder`, in order."""
    lines = [
        line for file in sorted(folder.glob("battles_*.jsonl")) for line in file.read_bytes().splitlines()
    ]
    return [orjson.loads(line) for line in lines]


class Decisions(NamedTuple):
    """Recorded decisions of many battles; `result` is the seat's own score, `battle` the battle's id."""

    obs: Observation
    legal: np.ndarray
    action: np.ndarray
    battle: np.ndarray  # i32[N]
    result: np.ndarray  # f32[N] in {0, 1/2, 1}
    member: np.ndarray  # str[N], who decided


def read_decisions(folder: Path) -> Decisions | None:
    """All decisions of the complete chunks in `folder`; None when there are none."""
    parts = []
    for rows in sorted(folder.glob("battles_*.jsonl")):
        with np.load(rows.with_suffix(".npz")) as data:
            part = {k: data[k] for k in data.files}
        if len(part["action"]):
            found = [orjson.loads(line) for line in rows.read_bytes().splitlines()]
            who = np.array([row["members"] for row in found])
            part["member"] = who[part["battle"] - found[0]["battle"], part.pop("seat")]
            parts.append(part)
    if not parts:
        return None
    join = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return Decisions(
        obs=Observation(join["pokemon"], join["field"]),
        **{name: join[name] for name in Decisions._fields[1:]},
    )


def _npz(outcomes: Sequence[Outcome]) -> bytes:
    kept = [o for o in outcomes if o.trace is not None and len(o.trace.action)]
    arrays: dict[str, np.ndarray] = {"action": np.zeros(0, np.int8)}
    if kept:
        traces: list[Trace] = [o.trace for o in kept if o.trace is not None]
        arrays = {
            "pokemon": np.concatenate([t.obs.pokemon for t in traces]),
            "field": np.concatenate([t.obs.field for t in traces]),
            "legal": np.concatenate([t.legal for t in traces]),
            "action": np.concatenate([t.action for t in traces]),
            "step": np.concatenate([t.step for t in traces]),
            "seat": np.concatenate([t.seat for t in traces]),
            "battle": np.concatenate(
                [np.full(len(t.action), o.battle.battle_id, np.int32) for o, t in zip(kept, traces)]
            ),
            "result": np.concatenate(
                [np.where(t.seat == 0, o.score, 1 - o.score).astype(np.float32) for o, t in zip(kept, traces)]
            ),
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
