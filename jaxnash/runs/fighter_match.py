"""Matches of the fighter between any two players: who they are, what came out, and one match's states."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.games.fighter import SCRIPTS, digest, table
from jaxnash.games.fighter.observe import NAMES
from jaxnash.rollouts.fights import Fights, fights
from jaxnash.rollouts.selfplay import Script
from jaxnash.runs.checkpoint import describe, restore
from jaxnash.types import JaxnashError, Neural, PyTree


class Player(NamedTuple):
    """Who plays."""

    name: str
    plays: Neural | Script

    @property
    def params(self) -> PyTree:
        return self.plays.params if isinstance(self.plays, Neural) else ()


class Film(NamedTuple):
    """A match as it was played. `states` has NumPy leaves [frames + 1]: before the first frame, and after
    each."""

    names: tuple[str, str]
    seat: int  # the first player's
    states: Any

    @property
    def frames(self) -> int:
        return len(self.states.frame) - 1

    @property
    def stocks(self) -> tuple[int, int]:
        """What was left in the end, the first player's first."""
        left = [int(fighter.stocks[-1]) for fighter in self.states.fighters]
        return left[self.seat], left[1 - self.seat]

    @property
    def result(self) -> str:
        """The end in words."""
        own, other = self.stocks
        if own == other:
            return f"draw, {own} : {other}"
        winner = "first" if own > other else "second"
        name = self.names[own < other]
        name = f"{name} ({winner})" if self.names[0] == self.names[1] else name
        return f"{name} wins {max(own, other)} : {min(own, other)}"


def player_of(name: str, *, greedy: bool = False) -> Player:
    """A script by name, a checkpoint's folder, or a run's directory (its policy, else its last snapshot).

    Raises `JaxnashError` for anything else, a policy that is not the fighter's, and one that was made under
    other rules, naming the hash of both.
    """
    if name in SCRIPTS:
        return Player(name, SCRIPTS[name])
    path, scripts = Path(name), ", ".join(SCRIPTS)
    if not path.is_dir():
        raise JaxnashError(f"{name!r} is no script ({scripts}) and no folder of a checkpoint or a run")
    if (path / "config.json").exists():
        path = _last_of(path)
    spec = describe(path)["spec"]
    if spec["name"] != "history" or spec["actions"] != f"buttons:{len(table.BUTTONS)}":
        raise JaxnashError(
            f"{path} holds a {spec['name']!r} policy for {spec['actions']} actions, which cannot play the "
            f"fighter: pass a checkpoint of experiments/fighter_selfplay.py or a script ({scripts})"
        )
    if spec["layout"] != digest():
        raise JaxnashError(
            f"{path} was trained under the rules {spec['layout']!r}, but this version has "
            f"{digest()!r}: use the version that made it, or train anew"
        )
    member = restore(path)._replace(greedy=greedy)
    _checked(path, member)
    return Player(member.name, member)


def _last_of(run: Path) -> Path:
    """A run's policy, or its last snapshot while it has none."""
    found = [path for path in (run / "snapshots").glob("snapshot_*") if _number(path) is not None]
    candidates = [run / "policy", *sorted(found, key=lambda path: -(_number(path) or 0))]
    for path in candidates:
        if path.is_dir():
            return path
    raise JaxnashError(f"the run {run} has no policy and no snapshot yet: let it go on for longer")


def _number(path: Path) -> int | None:
    digits = path.name.rpartition("_")[2]
    return int(digits) if digits.isdigit() else None


def _checked(path: Path, member: Neural) -> None:
    """Raise `JaxnashError` unless the policy takes the fighter's observations and gives its buttons."""
    kwargs = member.spec.kwargs if member.spec else {}
    has = 2 * len(NAMES), len(table.BUTTONS)
    takes = kwargs.get("observation_size", has[0]), kwargs.get("actions", has[1])
    if takes != has:
        raise JaxnashError(
            f"{path} reads {takes[0]} numbers and presses {takes[1]} buttons, but the fighter has "
            f"{has[0]} and {has[1]}"
        )


def played(first: Player, second: Player, *, pairs: int, seed: int, match: int = 0) -> tuple[Fights, Film]:
    """`pairs` pairs of matches, counted from the first player's side with leaves [2 pairs], and one of them.

    In match i the first player has seat 0, in match pairs + i, which begins alike, seat 1. Raises
    `JaxnashError` where there is no such match.
    """
    if pairs < 1:
        raise JaxnashError(f"--pairs is {pairs}: pass at least 1")
    if not 0 <= match < 2 * pairs:
        raise JaxnashError(f"--match is {match}: of {pairs} pairs there are matches 0 to {2 * pairs - 1}")
    play = _fights(_bare(first), _bare(second), pairs)
    counted, states = play(jax.random.key(seed), first.params, (second.params,), match)
    counted = jax.tree.map(lambda leaf: np.asarray(leaf)[0], counted)
    frames = int(counted.frames[match])
    states = jax.tree.map(lambda leaf: np.asarray(leaf)[: frames + 1], states)
    return counted, Film((first.name, second.name), match // pairs, states)


@lru_cache(maxsize=8)  # equal players are compiled once
def _fights(first: Neural | Script, second: Neural | Script, pairs: int) -> Callable[..., Any]:
    return fights(first, (second,), pairs=pairs, film=True)


def _bare(player: Player) -> Neural | Script:
    """What is compiled of a player."""
    plays = player.plays
    return plays._replace(name="", params=(), spec=None) if isinstance(plays, Neural) else plays


def said(found: dict[str, Any], pairs: int) -> list[str]:
    """What `fighter.summary` found, in words."""
    low, high = found["win_rate_interval"]
    ratio = "undefined" if found["damage_ratio"] is None else f"{found['damage_ratio']:.2f}"
    taken = found["knocked_out"] - found["knocked_out_alone"]
    return [
        f"won {found['wins']}, drawn {found['draws']}, lost {found['losses']} of {found['matches']}",
        f"win rate {found['win_rate']:.3f} [{low:.3f}, {high:.3f}], 99 % interval on {pairs} pairs, a draw "
        "being half a win",
        f"damage a match: dealt {found['damage_dealt']:.1f}, taken {found['damage_taken']:.1f}, "
        f"ratio {ratio}",
        f"knock-outs: {found['knock_outs_by_hit']} by hit, {found['knock_outs_alone']} the opponent's own; "
        f"knocked out {taken} times by hit, {found['knocked_out_alone']} on its own",
        f"a match lasts {found['survival_seconds']:.1f} s on average",
    ]
