"""Plays recorded Showdown battles again in the engine and compares every decision.

`python -m tests.differential.replay RECORDS...` prints the first difference of each battle that diverges; its
last line reads "N battles, D decisions, K divergences".
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orjson

from jaxnash.games.gen1.data import MOVE_IDS
from jaxnash.games.gen1.game import gen1, requests
from jaxnash.games.gen1.layout import (
    FIELD_COLUMNS,
    IDS,
    POKEMON_COLUMNS,
    POKEMON_INDEX,
    TEAM,
    VOCABULARIES,
    Observation,
)
from jaxnash.games.gen1.sites import DROPPED, SITE_IDS, SITES
from jaxnash.games.gen1.source import Tape, taped
from jaxnash.games.gen1.state import Setup
from jaxnash.games.gen1.turn import begin, step
from jaxnash.showdown.codec import observe
from jaxnash.showdown.pokemon import to_id
from tests.differential import canonical
from tests.differential import records as records_

DRAWS = 24  # of a decision, at most
LANES = 128
_SORTED = orjson.OPT_SORT_KEYS


class Told(NamedTuple):
    """What a record's two sides are told at a decision.

    unsure: (side, species) of own Pokemon whose PP are not compared: those that have had a move twice
    (Mimic), or thawed as they were about to move, or may be locked into a move that was called and that they
    have themselves. Which move they used shows at a request that lists PP; the bridge guesses until then.
    guessed: the same of Pokemon whose moves and PP, as the other side sees them, are not compared: those that
    made Mimic after a thaw (whose slot is taken nobody is told, and it may be another's choice), or when they
    were unsure, or had two pairs of moves alike. Bridge and engine both guess, and not the same.
    """

    both: tuple[Observation, Observation]
    order: list[list[str]]  # details of each team, as requests have them
    unsure: frozenset[tuple[int, int]]
    guessed: frozenset[tuple[int, int]]


def setup_of(record: dict[str, Any]) -> Setup:
    """The teams of a record, from its first state (its only one where the battle ends as it begins)."""
    first = record["decisions"][0]["state"] if record["decisions"] else record["state"]
    species, level, maxhp = (np.zeros((2, 6), np.int32) for _ in range(3))
    stats, moves = np.zeros((2, 6, 4), np.int32), np.zeros((2, 6, 4), np.int32)
    for n, side in enumerate(first["sides"]):
        for i, one in enumerate(side["pokemon"]):
            species[n, i] = IDS["species"][one["species"]]
            level[n, i], maxhp[n, i], stats[n, i] = one["level"], one["maxhp"], one["stats"]
            for j, (move, _) in enumerate(one["moves"]):
                moves[n, i, j] = MOVE_IDS[move]
    return Setup(species, level, maxhp, stats, moves)


def tape_of(draws: list[list[Any]]) -> tuple[np.ndarray, int]:
    """i32[DRAWS, 4] and how many, without the dropped sites."""
    rows = [(SITE_IDS[site], lo, hi, value) for site, lo, hi, value in draws if site not in DROPPED]
    tape = np.zeros((DRAWS, 4), np.int32)
    tape[: len(rows)] = rows[:DRAWS] if rows else np.zeros((0, 4))
    return tape, len(rows)


@jax.jit
def _begin(setups: Setup) -> Any:
    states = jax.vmap(begin)(setups)
    return states, jax.vmap(requests)(states), jax.vmap(_seen)(states)


def _seen(state: Any) -> Any:
    return gen1().observe(state).obs


@jax.jit
def _step(states: Any, actions: Any, tapes: Any, lengths: Any) -> Any:
    def one(state: Any, action: Any, tape: Any, length: Any) -> Any:
        site, lo, hi, value = (tape[:, i] for i in range(4))
        state, head = step(taped(Tape(site, lo, hi, value, length)), state, action)
        return state, head, requests(state), _seen(state)

    return jax.vmap(one)(states, actions, tapes, lengths)


def replay(records: list[dict[str, Any]]) -> list[tuple[int, str, list[str]]]:
    """Per record: decisions that agreed; "" or what was wrong then.

    That is "draw", "state", "mask", "order" (of the team, in requests) or "observation".

    Order and observations are compared where the records have `lines` and `raw`.
    """
    results: list[Any] = [None] * len(records)
    longest_last = sorted(range(len(records)), key=lambda i: len(records[i]["decisions"]))
    for first in range(0, len(records), LANES):
        of = longest_last[first : first + LANES]
        part = [records[i] for i in of]
        observed = [_observations(record) for record in part]
        padded = part + [part[0]] * (LANES - len(part))
        setups = jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs)), *[setup_of(r) for r in padded])
        states, asked, seen = _begin(setups)
        head, playing = None, list(range(len(part)))
        for t in range(len(part[-1]["decisions"]) + 1):
            shown = jax.tree.map(np.asarray, seen)
            differs = _differing(shown, [rows[t].both if t < len(rows) else None for rows in observed])
            for i, lane in zip(playing, canonical.lanes((states, asked, head), playing), strict=True):
                told = observed[i][t] if t < len(observed[i]) else None
                found = _check(part[i], t, told, *lane)
                if found is None and told and differs[i]:
                    found = _check_observations(t, i, shown, told)
                results[of[i]] = found
            playing = [i for i in playing if results[of[i]] is None]
            if not playing:
                break
            states, head, asked, seen = _step(states, *inputs(padded, t))
    return results


def inputs(records: list[dict[str, Any]], t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions, tapes and their lengths of decision `t`, one battle a lane."""
    actions, tapes = np.zeros((len(records), 2), np.int32), np.zeros((len(records), DRAWS, 4), np.int32)
    lengths = np.zeros(len(records), np.int32)
    for i, record in enumerate(records):
        if t < len(record["decisions"]):
            decision = record["decisions"][t]
            actions[i] = [0 if c is None else c for c in decision["choices"]]
            tapes[i], lengths[i] = tape_of(decision["draws"])
    return actions, tapes, lengths


def _check(record: dict[str, Any], t: int, told: Told | None, state: Any, asked: Any, head: Any) -> Any:
    """None while all is well and there is more to come."""
    decisions = record["decisions"]
    if t > 0:
        wanted = [d for d in decisions[t - 1]["draws"] if d[0] not in DROPPED]
        if head.wrong or head.at != len(wanted):
            site, lo, hi = head.asked
            at = head.asked_at if head.wrong else head.at
            asks = f"{SITES[site].name} {lo} {hi}" if head.wrong else "nothing more"
            drew = wanted[at] if at < len(wanted) else "no more"
            return t - 1, "draw", [f"draw {at}: engine asks for {asks}, Showdown drew {drew}"]
    if t == len(decisions) and record["error"]:
        return t, "", []
    theirs = decisions[t]["state"] if t < len(decisions) else record["state"]
    mine = canonical.state(state, asked)
    if orjson.dumps(mine, option=_SORTED) != orjson.dumps(theirs, option=_SORTED):  # the fast way to tell
        wrong = canonical.differences(mine, theirs)
        return max(t - 1, 0), "state", wrong
    if t == len(decisions):
        return t, "", []
    masks = [a.legal for a in asked]
    theirs = [r["legal"] for r in decisions[t]["requests"]]
    if masks != theirs:
        return t, "mask", [f"masks: engine {masks}, Showdown {theirs}"]
    return _check_order(told.order, state, t) if told else None


def _check_order(order: Any, state: Any, t: int) -> Any:
    """The teams' present order, which only requests as sent tell."""
    for n, (details, team) in enumerate(zip(order, state.teams)):
        names = [to_id(one.split(",")[0]) for one in details]
        mine = [VOCABULARIES["species"][team.species[i]] for i in team.present[: len(names)]]
        if mine != names:
            return t, "order", [f"side {n} order: engine {mine}, Showdown {names}"]
    return None


def _observations(record: dict[str, Any]) -> list[Told]:
    """Per decision of a record with `lines` and `raw`; else nothing."""
    if "lines" not in record or (record["decisions"] and "raw" not in record["decisions"][0]):
        return []
    unsure = guessed = frozenset[tuple[int, int]]()
    rows = []
    for told, decision, both in zip(records_.told(record), record["decisions"], records_.seats(record)):
        thawed = [line[:17] for line in told if line.startswith("|-curestatus|") and "|frz" in line]
        for n, side in enumerate(decision["state"]["sides"]):
            moves = [move for move, *_ in side["on"]["moves"]] if side["on"] else []
            alike = len(moves) - len(set(moves))
            this = (n, IDS["species"][side["pokemon"][side["active"]]["species"]])
            thaws = f"|-curestatus|p{n + 1}a:" in thawed
            doubtful = thaws or this in unsure
            if alike > 1 or (doubtful and _mimics(told, n)):
                guessed |= {this}
            if alike or thaws or _locked(side, decision["requests"][n]):
                unsure |= {this}
        order = [[one["details"] for one in seat.asked.data["side"]["pokemon"]] for seat in both]
        rows.append(Told((observe(both[0]), observe(both[1])), order, unsure, guessed))
    return rows


def _mimics(told: list[str], side: int) -> bool:
    return any(line.startswith(f"|-start|p{side + 1}a:") and "|Mimic|" in line for line in told)


def _locked(side: Any, request: Any) -> bool:
    """Whether it may be locked into a trapping move that it has itself, and that another move called."""
    if not request["maybeLocked"] or "partialtrappinglock" not in side["on"]["volatiles"]:
        return False
    move, moves = side["on"]["volatiles"]["partialtrappinglock"]["move"], [m for m, *_ in side["on"]["moves"]]
    slot = side["lastSelectedMoveSlot"]
    return move in moves and moves[slot : slot + 1] != [move]


_PP = slice(POKEMON_INDEX["pp1"], POKEMON_INDEX["pp4"] + 1)
_MOVES = slice(POKEMON_INDEX["move1"], POKEMON_INDEX["move4"] + 1)


def _differing(seen: Any, told: list[Any]) -> np.ndarray:
    """bool[L]: whether what the sides of a lane see differs at all from what they are `told`."""
    there = [i for i, both in enumerate(told) if both is not None]
    differs = np.zeros(len(seen.pokemon), bool)
    if there:
        for mine, name in zip(seen, seen._fields, strict=True):
            theirs = np.stack([getattr(one, name) for i in there for one in told[i]])
            unlike = (mine[there] != theirs.reshape(len(there), *mine.shape[1:])).reshape(len(there), -1)
            differs[there] |= unlike.any(axis=1)
    return differs


def _check_observations(t: int, i: int, seen: Any, told: Told) -> Any:
    words = []
    for n, theirs in enumerate(told.both):
        mine, skip = seen.pokemon[i, n], np.zeros(theirs.pokemon.shape, bool)
        unsure = [species for side, species in told.unsure if side == n]
        guessed = [species for side, species in told.guessed if side != n]
        whose = theirs.pokemon[:, POKEMON_INDEX["base_species"]]
        skip[:TEAM, _PP] = np.isin(whose[:TEAM], unsure)[:, None]
        for columns in (_MOVES, _PP):
            skip[TEAM:, columns] = np.isin(whose[TEAM:], guessed)[:, None]
        for row, column in np.argwhere((mine != theirs.pokemon) & ~skip):
            name, species = POKEMON_COLUMNS[column].name, theirs.pokemon[row, POKEMON_INDEX["base_species"]]
            place = f"side {n} sees row {row} ({VOCABULARIES['species'][species]}) {name}"
            words.append(f"{place}: engine {mine[row, column]}, bridge {theirs.pokemon[row, column]}")
        for (column,) in np.argwhere(seen.field[i, n] != theirs.field):
            what = f"engine {seen.field[i, n, column]}, bridge {theirs.field[column]}"
            words.append(f"side {n} sees {FIELD_COLUMNS[column].name}: {what}")
    return (t, "observation", words) if words else None


def main() -> None:
    texts = [Path(path).read_text(encoding="utf-8") for path in sys.argv[1:]]
    records = [json.loads(line) for text in texts for line in text.splitlines()]
    begun = time.time()
    results = replay(records)
    kinds: Counter[str] = Counter()
    for i, (t, kind, lines) in enumerate(results):
        if kind:
            kinds[kind + " " + lines[0].split(":")[0]] += 1
            decision = records[i]["decisions"][t]
            print(f"battle {i} decision {t} {kind}: {'; '.join(lines[:4])}")
            print(f"    chose {[_named(decision, n) for n in range(2)]}; draws {decision['draws']}")
    print(kinds.most_common(12))
    wrong = sum(bool(kind) for _, kind, _ in results)
    print(f"{time.time() - begun:.0f} s")
    print(f"{len(records)} battles, {sum(t for t, _, _ in results)} decisions, {wrong} divergences")


def _named(decision: dict[str, Any], n: int) -> str:
    choice, asked = decision["choices"][n], decision["requests"][n]
    if choice is None:
        return "-"
    return asked["moves"][choice] if choice < 4 else f"switch {asked['switches'][choice - 4]}"


if __name__ == "__main__":
    main()
