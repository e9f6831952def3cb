"""An engine's state as the STATE dictionary that Showdown's is dumped to (state.js tells its fields)."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxnash.games.gen1.layout import VOCABULARIES
from jaxnash.games.gen1.state import RUNNING, TIE, State
from jaxnash.games.gen1.turn import Request

MOVES = (*VOCABULARIES["move"], "nomove", "cannotmove")
SPECIES, STATUS, TYPES = (VOCABULARIES[name] for name in ("species", "status", "type"))


def state(battle: State, requests: tuple[Request, Request]) -> dict[str, Any]:
    """Of one battle's arrays on the host. `requests`: what the sides are asked in it."""
    battle = jax.tree.map(np.asarray, battle)
    winner = int(battle.winner)
    ended = winner != RUNNING
    forced = any(int(t.hp[int(a.index)]) <= 0 for t, a in zip(battle.teams, battle.actives, strict=True))
    kind = "" if ended else "switch" if forced else "move"
    return {
        "turn": int(battle.turn),
        "request": kind,
        "lastDamage": int(battle.last_damage),
        "winner": None if winner in (RUNNING, TIE) else winner,
        "ended": ended,
        "sides": [_side(battle, n, requests[n], kind) for n in range(2)],
    }


def _side(battle: State, n: int, request: Request, kind: str) -> dict[str, Any]:
    team, a = battle.teams[n], battle.actives[n]
    count = int((team.species > 0).sum())
    index = int(a.index)
    fell = int(a.fell)
    return {
        "pokemon": [_pokemon(team, i) for i in range(count)],
        "active": index,
        "left": int((team.hp > 0).sum()),
        "lastSelectedMove": MOVES[int(a.selected)],
        "lastSelectedMoveSlot": int(a.slot),
        "lastEnemySelectedMove": MOVES[int(a.seen)],
        "lastMove": MOVES[int(a.side_last)],
        "lastEnemyMove": MOVES[int(a.enemy_last)],
        "faintedThisTurn": fell - 1 if fell else None,
        "fallenSpeed": int(a.now[3]) if int(team.hp[index]) <= 0 else None,
        "on": None if int(team.hp[index]) <= 0 else _active(battle, n, request, kind),
    }


def _pokemon(team: Any, i: int) -> dict[str, Any]:
    status = STATUS[int(team.status[i])]
    asleep = {"time": int(team.sleep[i]), "start": int(team.sleep_start[i]), "own": bool(team.sleep_own[i])}
    return {
        "species": SPECIES[int(team.species[i])],
        "level": int(team.level[i]),
        "hp": int(team.hp[i]),
        "maxhp": int(team.maxhp[i]),
        "stats": [int(x) for x in team.stats[i]],
        "status": status,
        "sleep": asleep if status == "slp" else None,
        "moves": [
            [MOVES[int(m)], int(pp)] for m, pp in zip(team.moves[i], team.pp[i], strict=True) if int(m) > 0
        ],
        "fainted": bool(team.hp[i] <= 0),
        "subFainted": bool(team.sub_broke[i] & (team.hp[i] > 0)),
    }


def _active(battle: State, n: int, request: Request, kind: str) -> dict[str, Any]:
    a = battle.actives[n]
    chooses = kind == "move"
    count = sum(int(m) > 0 for m in a.moves)
    return {
        "species": SPECIES[int(a.species)],
        "types": [TYPES[int(t)] for t in a.types if int(t) > 0],
        "stored": [int(x) for x in a.stored],
        "modified": [int(x) for x in a.now],
        "boosts": [int(x) for x in a.boosts],
        "moves": [[MOVES[int(a.moves[i])], int(a.pp[i]), bool(a.virtual[i])] for i in range(count)],
        "disabled": [chooses and int(a.disable_turns) > 0 and int(a.disable_slot) == i for i in range(count)],
        "maybeLocked": chooses and bool(request.maybe_locked),
        "trapped": chooses and bool(request.hard),
        "transformed": bool(a.transformed),
        "lastMove": MOVES[int(a.last_move)],
        "volatiles": _volatiles(a, n),
    }


def _volatiles(a: Any, n: int) -> dict[str, Any]:
    def partner(index: Any) -> list[int]:
        return [1 - n, int(index)]

    there = {
        "bide": (a.bide_turns, {"damage": int(a.bide_damage), "time": int(a.bide_turns)}),
        "confusion": (a.confusion, {"time": int(a.confusion)}),
        "disable": (
            a.disable_turns,
            {
                "move": MOVES[int(a.disable_move)],
                "slotIndex": int(a.disable_slot),
                "time": int(a.disable_turns),
                "duration": None,
            },
        ),
        "fakepartiallytrapped": (
            a.fake_turns,
            {"duration": int(a.fake_turns), "counterpart": partner(a.fake_partner)},
        ),
        "flinch": (a.flinch, {"duration": 1}),
        "focusenergy": (a.focusenergy, {}),
        "invulnerability": (a.hidden, {}),
        "leechseed": (a.leechseed, {}),
        "lightscreen": (a.lightscreen, {}),
        "lockedmove": (
            a.thrash_move,
            {
                "move": MOVES[int(a.thrash_move)],
                "time": int(a.thrash_turns),
                "accuracy": int(a.thrash_accuracy),
            },
        ),
        "mist": (a.mist, {}),
        "mustrecharge": (a.recharge, {}),
        "partiallytrapped": (
            a.trapped_turns,
            {
                "duration": int(a.trapped_turns),
                "source": partner(a.trapped_by),
                "maybeLocked": True if a.trapped_maybe else None,
            },
        ),
        "partialtrappinglock": (
            a.lock_turns,
            {
                "duration": int(a.lock_turns),
                "totalDuration": int(a.lock_total),
                "move": MOVES[int(a.lock_move)],
                "damage": int(a.lock_damage),
                "locked": partner(a.lock_target),
            },
        ),
        "rage": (a.rage, {"move": "rage", "accuracy": int(a.rage)}),
        "reflect": (a.reflect, {}),
        "residualdmg": (a.toxic, {"counter": int(a.toxic) - 1}),
        "substitute": (a.sub, {"hp": int(a.sub)}),
        "twoturnmove": (a.charging, {"move": MOVES[int(a.charging)]}),
    }
    return {name: fields for name, (present, fields) in there.items() if int(present) > 0}


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
