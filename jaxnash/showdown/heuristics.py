"""The scripted members: rules that people compare against. `choose(record, rng)` always gives a legal action.

They read the same rows as a network does (`View`), so they know no more than it. Ties go to the lowest
action.
"""

from __future__ import annotations

import logging
import random
from array import array
from collections.abc import Callable
from typing import Any

import orjson
from poke_env.battle import Battle
from poke_env.player import SimpleHeuristicsPlayer

from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import action_of
from jaxnash.showdown.damage import (
    MOVES,
    STATUS_MOVE,
    C,
    M,
    effectiveness,
    expected_damage,
    hit_chance,
    hp_left,
    known_moves,
    matchup,
    stat,
)
from jaxnash.showdown.request import FIRST_SWITCH
from jaxnash.types import Scripted

_RAISES = [max(stages) > 0 for stages in zip(*(M[f"self_{name}"] for name in ("atk", "def", "spc", "spe")))]
_TIRED_OF_POISON = 4  # turns of Toxic after which a gym leader calls its Pokémon back
_POKE_ENV_LOG = logging.getLogger("poke-env")


def _legal_moves(record: BattleRecord) -> dict[int, int]:
    """Legal move actions and the moves they stand for."""
    asked = record.asked
    moves = [(action, MOVES[asked.offered[slot]["id"]]) for action, slot in enumerate(asked.moves)]
    return {action: move for action, move in moves if record.legal[action]}


def _switches(record: BattleRecord) -> dict[int, array]:
    """Legal switch actions and the rows of what they bring in."""
    own = record.view.rows()[0]
    return {
        i + FIRST_SWITCH - 1: row for i, row in enumerate(own) if i and record.legal[i + FIRST_SWITCH - 1]
    }


def _actives(record: BattleRecord) -> tuple[array, array]:
    own, other = record.view.rows()
    return own[0], other[0]


def _first_best(scores: dict[int, float]) -> int:
    return max(scores, key=lambda action: (scores[action], -action))


def choose_random(record: BattleRecord, rng: random.Random) -> int:
    """Uniform over the legal actions."""
    return rng.choice([action for action, legal in enumerate(record.legal) if legal])


def choose_max_base_power(record: BattleRecord, rng: random.Random) -> int:
    """The legal move of most base power; a forced switch is random."""
    moves = {} if record.asked.forced else _legal_moves(record)
    if not moves:
        return choose_random(record, rng)
    return _first_best({action: M["power"][move] for action, move in moves.items()})


def _best_matchup(record: BattleRecord) -> int:
    other = _actives(record)[1]
    rows = _switches(record)
    return max(rows, key=lambda action: (matchup(rows[action], other), rows[action][C["hp"]], -action))


def _most_damage(record: BattleRecord, rng: random.Random) -> int:
    """The move of most expected damage; a random one where none does any."""
    own, other = _actives(record)
    moves = _legal_moves(record)
    if not moves:
        return choose_random(record, rng)
    scores = {action: expected_damage(own, other, move) for action, move in moves.items()}
    return _first_best(scores) if max(scores.values()) > 0 else rng.choice(list(moves))


def choose_grunt(record: BattleRecord, rng: random.Random) -> int:
    """Maximum expected damage; on a forced switch the best type match-up, then the most hp."""
    return _best_matchup(record) if record.asked.forced else _most_damage(record, rng)


def _threat(own: array, other: array) -> float:
    """The most expected damage that the opponent's revealed moves, or unseen ones of its types, do."""
    known = max([expected_damage(other, own, move) for move in known_moves(other)], default=0.0)
    if len(known_moves(other)) == 4:
        return known
    unseen = [_STANDARD[other[C[t]]] for t in ("type1", "type2") if other[C[t]]]
    return max([known, *[expected_damage(other, own, move) for move in unseen]])


def _standard_moves() -> dict[int, int]:
    """Per type the move of most power x accuracy that has no price (recoil, recharge, two turns, a lock)."""
    best: dict[int, int] = {}
    for move, power in enumerate(M["power"]):
        priced = any(M[name][move] for name in ("selfdestruct", "recharge", "charge", "recoil", "locks"))
        worth = power * M["accuracy"][move]
        if not priced and M["hits"][move] == 10 and worth > 0:
            kind = M["type"][move]
            if kind not in best or worth > M["power"][best[kind]] * M["accuracy"][best[kind]]:
                best[kind] = move
    return best


_STANDARD = {kind: 0 for kind in range(len(M["type"]))} | _standard_moves()


def _retreat(record: BattleRecord) -> int | None:
    """The switch a gym leader makes, if it has a reason, has been in for a turn, and a better one to send."""
    own, other = _actives(record)
    rows = _switches(record)
    if not rows or own[C["turns_in"]] < 2:
        return None
    hopeless = (
        own[C["toxic_turns"]] >= _TIRED_OF_POISON or min(own[C["boost_atk"]], own[C["boost_spc"]]) <= -3
    )
    lost = stat(own, "spe") < stat(other, "spe") and _threat(own, other) >= hp_left(own)
    if not (hopeless or lost):
        return None
    safe = [action for action, row in rows.items() if _threat(row, other) < hp_left(row)]
    better = [action for action in safe if matchup(rows[action], other) > matchup(own, other)]
    return max(better, key=lambda action: (matchup(rows[action], other), rows[action][C["hp"]]), default=None)


def choose_gym_leader(record: BattleRecord, rng: random.Random) -> int:
    """Switch in an emergency, knock out, boost on the first turn, heal, else maximum expected damage.

    Emergencies: Toxic for four turns, Attack or Special at -3, or about to be outsped and knocked out. It
    switches only to one with a better match-up that stands a hit, and not on the turn after it came in.
    """
    if record.asked.forced:
        return _best_matchup(record)
    retreat = _retreat(record)
    if retreat is not None:
        return retreat
    if record.asked.single:
        return 0
    own, other = _actives(record)
    moves = _legal_moves(record)
    left = hp_left(other)
    finishing = {
        action: hit_chance(own, other, move)
        for action, move in moves.items()
        if expected_damage(own, other, move, low=True) >= left
    }
    if finishing:
        return _first_best(finishing)
    boosting = [action for action, move in moves.items() if _RAISES[move]]
    if boosting and own[C["turns_in"]] <= 1 and own[C["hp"]] > 900 and rng.random() < 0.5:
        return rng.choice(boosting)
    healing = [action for action, move in moves.items() if M["heal"][move]]
    if healing and own[C["hp"]] < 330 and rng.random() < 0.75:
        return rng.choice(healing)
    return _most_damage(record, rng)


def choose_boss(record: BattleRecord, rng: random.Random) -> int:
    """The game's own trainer AI: never switches by choice; a random one of the moves that score lowest.

    10 each; +5 for a status move on a target that has a status; -1 for a boost on the first turn; -1 for a
    super-effective move. A forced switch takes the first left in Showdown's present team order.
    """
    asked = record.asked
    moves = {} if asked.forced else _legal_moves(record)
    if not moves:
        left = [i for i in range(len(asked.switches)) if record.legal[FIRST_SWITCH + i]]
        return (
            FIRST_SWITCH + min(left, key=lambda i: asked.switches[i]) if left else choose_random(record, rng)
        )
    scores = boss_scores(record)
    least = min(scores.values())
    return rng.choice([action for action, score in scores.items() if score == least])


def boss_scores(record: BattleRecord) -> dict[int, int]:
    """The boss's scores of the legal moves."""
    own, other = _actives(record)
    scores = {}
    for action, move in _legal_moves(record).items():
        score = 10
        status_move = M["category"][move] == STATUS_MOVE
        if status_move and M["status"][move] and other[C["status"]]:
            score += 5
        if _RAISES[move] and own[C["turns_in"]] <= 1:
            score -= 1
        if not status_move and effectiveness(M["type"][move], other) > 1:
            score -= 1
        scores[action] = score
    return scores


def choose_simple_heuristics(record: BattleRecord, rng: random.Random) -> int:
    """poke-env's SimpleHeuristicsPlayer on poke-env's own Battle.

    A random legal action where poke-env fails or its order is not legal; `record.extras["fallbacks"]` counts.
    """
    state = random.getstate()
    random.seed(rng.getrandbits(64))  # poke-env draws from the global generator
    disabled = _POKE_ENV_LOG.disabled
    _POKE_ENV_LOG.disabled = True  # it warns of every Light Screen
    try:
        battle = _poke_env_battle(record)
        action = action_of(record, SimpleHeuristicsPlayer.choose_singles_move(battle)[0].message)
        if record.legal[action]:
            return action
    except Exception:  # poke-env asserts and looks up keys it does not have; a battle must go on
        pass
    finally:
        random.setstate(state)
        _POKE_ENV_LOG.disabled = disabled
    record.extras["fallbacks"] = record.extras.get("fallbacks", 0) + 1
    return choose_random(record, rng)


def _poke_env_battle(record: BattleRecord) -> Any:
    """The record's poke-env Battle, brought up to date. Lines that it cannot read are skipped and counted."""
    battle, seen = record.extras.get("poke_env", (None, 0))
    if battle is None:
        role = f"p{record.side + 1}"
        name = next((x[3] for x in record.history if x[1:3] == ["player", role] and len(x) > 3), role)
        battle = Battle("battle-gen1ou-0", name, _POKE_ENV_LOG, gen=1)
        battle._player_role = role
    for line in record.history[seen:]:
        if len(line) < 2 or line[1] in ("win", "tie", "error", *SimpleHeuristicsPlayer.MESSAGES_TO_IGNORE):
            continue
        try:
            if line[1] == "request":
                battle.parse_request(orjson.loads(line[2]))
            else:
                battle.parse_message(line)
        except Exception:  # an unknown or unforeseen message must not end the battle
            record.extras["unread"] = record.extras.get("unread", 0) + 1
    record.extras["poke_env"] = (battle, len(record.history))
    return battle


def _members(**choosers: Callable[[BattleRecord, random.Random], int]) -> dict[str, Scripted]:
    return {name: Scripted(name, choose) for name, choose in choosers.items()}


MEMBERS: dict[str, Scripted] = _members(
    **{
        "random": choose_random,
        "max-base-power": choose_max_base_power,
        "grunt": choose_grunt,
        "gym-leader": choose_gym_leader,
        "gen1-boss-ai": choose_boss,
        "simple-heuristics": choose_simple_heuristics,
    }
)
