"""An engine's state as the STATE dictionary that Showdown's is dumped to (state.js tells its fields)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1.layout import VOCABULARIES
from jaxnash.games.gen1.state import RUNNING, TIE, State
from jaxnash.games.gen1.turn import Request

MOVES = (*VOCABULARIES["move"], "nomove", "cannotmove")
SPECIES, STATUS, TYPES = (VOCABULARIES[name] for name in ("species", "status", "type"))


@jax.jit
def _packed(leaves: list[Any]) -> Any:
    return jnp.concatenate([leaf.reshape(len(leaf), -1).astype(jnp.int32) for leaf in leaves], axis=1)


def lanes(tree: Any, which: list[int]) -> Iterator[Any]:
    """These lanes of arrays [L, ...] as Python integers and lists, which are faster to read one by one."""
    leaves, structure = jax.tree.flatten(tree)
    places, at = [], 0
    for leaf in leaves:
        places.append((at, math.prod(leaf.shape[1:]), leaf.shape[2:]))
        at += places[-1][1]
    for row in np.asarray(_packed(leaves))[which].tolist():
        yield structure.unflatten(
            [
                _rows(row[first : first + count], inner) if count > 1 else row[first]
                for first, count, inner in places
            ]
        )


def _rows(values: list[int], inner: tuple[int, ...]) -> list[Any]:
    return [values[i : i + inner[0]] for i in range(0, len(values), inner[0])] if inner else values


def state(battle: State, requests: tuple[Request, Request]) -> dict[str, Any]:
    """Of one battle's numbers, as `lanes` gives them. `requests`: what the sides are asked in it."""
    winner = battle.winner
    ended = winner != RUNNING
    forced = any(t.hp[a.index] <= 0 for t, a in zip(battle.teams, battle.actives, strict=True))
    kind = "" if ended else "switch" if forced else "move"
    return {
        "turn": battle.turn,
        "request": kind,
        "lastDamage": battle.last_damage,
        "winner": None if winner in (RUNNING, TIE) else winner,
        "ended": ended,
        "sides": [_side(battle, n, requests[n], kind) for n in range(2)],
    }


def _side(battle: State, n: int, request: Request, kind: str) -> dict[str, Any]:
    team, a = battle.teams[n], battle.actives[n]
    count = sum([one > 0 for one in team.species])
    index = a.index
    fell = a.fell
    return {
        "pokemon": [_pokemon(team, i) for i in range(count)],
        "active": index,
        "left": sum([one > 0 for one in team.hp]),
        "lastSelectedMove": MOVES[a.selected],
        "lastSelectedMoveSlot": a.slot,
        "lastEnemySelectedMove": MOVES[a.seen],
        "lastMove": MOVES[a.side_last],
        "lastEnemyMove": MOVES[a.enemy_last],
        "faintedThisTurn": fell - 1 if fell else None,
        "fallenSpeed": a.now[3] if team.hp[index] <= 0 else None,
        "on": None if team.hp[index] <= 0 else _active(battle, n, request, kind),
    }


def _pokemon(team: Any, i: int) -> dict[str, Any]:
    status = STATUS[team.status[i]]
    asleep = {"time": team.sleep[i], "start": team.sleep_start[i], "own": bool(team.sleep_own[i])}
    return {
        "species": SPECIES[team.species[i]],
        "level": team.level[i],
        "hp": team.hp[i],
        "maxhp": team.maxhp[i],
        "stats": list(team.stats[i]),
        "status": status,
        "sleep": asleep if status == "slp" else None,
        "moves": [[MOVES[m], pp] for m, pp in zip(team.moves[i], team.pp[i], strict=True) if m > 0],
        "fainted": bool(team.hp[i] <= 0),
        "subFainted": bool(team.sub_broke[i] and team.hp[i] > 0),
    }


def _active(battle: State, n: int, request: Request, kind: str) -> dict[str, Any]:
    a = battle.actives[n]
    chooses = kind == "move"
    count = sum(m > 0 for m in a.moves)
    return {
        "species": SPECIES[a.species],
        "types": [TYPES[t] for t in a.types if t > 0],
        "stored": list(a.stored),
        "modified": list(a.now),
        "boosts": list(a.boosts),
        "moves": [[MOVES[a.moves[i]], a.pp[i], bool(a.virtual[i])] for i in range(count)],
        "disabled": [chooses and a.disable_turns > 0 and a.disable_slot == i for i in range(count)],
        "maybeLocked": chooses and bool(request.maybe_locked),
        "trapped": chooses and bool(request.hard),
        "transformed": bool(a.transformed),
        "lastMove": MOVES[a.last_move],
        "volatiles": _volatiles(a, n),
    }


def _volatiles(a: Any, n: int) -> dict[str, Any]:
    def partner(index: Any) -> list[int]:
        return [1 - n, index]

    there = {
        "bide": (a.bide_turns, {"damage": a.bide_damage, "time": a.bide_turns}),
        "confusion": (a.confusion, {"time": a.confusion}),
        "disable": (
            a.disable_turns,
            {
                "move": MOVES[a.disable_move],
                "slotIndex": a.disable_slot,
                "time": a.disable_turns,
                "duration": None,
            },
        ),
        "fakepartiallytrapped": (
            a.fake_turns,
            {"duration": a.fake_turns, "counterpart": partner(a.fake_partner)},
        ),
        "flinch": (a.flinch, {"duration": 1}),
        "focusenergy": (a.focusenergy, {}),
        "invulnerability": (a.hidden, {}),
        "leechseed": (a.leechseed, {}),
        "lightscreen": (a.lightscreen, {}),
        "lockedmove": (
            a.thrash_move,
            {
                "move": MOVES[a.thrash_move],
                "time": a.thrash_turns,
                "accuracy": a.thrash_accuracy,
            },
        ),
        "mist": (a.mist, {}),
        "mustrecharge": (a.recharge, {}),
        "partiallytrapped": (
            a.trapped_turns,
            {
                "duration": a.trapped_turns,
                "source": partner(a.trapped_by),
                "maybeLocked": True if a.trapped_maybe else None,
            },
        ),
        "partialtrappinglock": (
            a.lock_turns,
            {
                "duration": a.lock_turns,
                "totalDuration": a.lock_total,
                "move": MOVES[a.lock_move],
                "damage": a.lock_damage,
                "locked": partner(a.lock_target),
            },
        ),
        "rage": (a.rage, {"move": "rage", "accuracy": a.rage}),
        "reflect": (a.reflect, {}),
        "residualdmg": (a.toxic, {"counter": a.toxic - 1}),
        "substitute": (a.sub, {"hp": a.sub}),
        "twoturnmove": (a.charging, {"move": MOVES[a.charging]}),
    }
    return {name: fields for name, (present, fields) in there.items() if present > 0}


def differences(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two STATEs differ: "path: mine, theirs"."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted(mine.keys() | theirs.keys())
        return [
            line
            for key in keys
            for line in differences(mine.get(key, "absent"), theirs.get(key, "absent"), f"{path}.{key}")
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [line for i, (x, y) in pairs for line in differences(x, y, f"{path}[{i}]")]
    if type(mine) is type(theirs) and mine == theirs:
        return []
    return [f"{path}: engine {mine!r}, Showdown {theirs!r}"]
