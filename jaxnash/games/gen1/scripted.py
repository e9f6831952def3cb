"""The scripted members of `jaxnash.showdown.heuristics` in JAX, to play in a jitted rollout.

Each is a plan: which actions it would choose among, given what it sees. A draw makes an action of the plan;
with the same numbers drawn, the action is the bridge's own. They read the rows of the observation. Two also
need what Showdown's requests tell the bridge and an observation leaves out (`Known`): the boss and
SimpleHeuristics. Their members see the state; they read their own side of it, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1 import data, expected
from jaxnash.games.gen1.expected import C, exact, expected_damage, fact, hp_left, matchup, stat
from jaxnash.games.gen1.layout import FIELD_INDEX, MOVE_TABLE, NUM_ACTIONS, TEAM, Observation
from jaxnash.games.gen1.state import SLOTS, State, row_of, side_of
from jaxnash.games.gen1.turn import bench_order, move_order
from jaxnash.types import Array, Key, Scripted, TimeStep

WHICH = 2520  # a multiple of 1 to 9 and 10, so that a draw of it is as good as one of any of them
TIRED_OF_POISON = 4  # turns of Toxic after which a gym leader calls its Pokemon back
_RAISES = np.max([MOVE_TABLE[f"self_{name}"] for name in ("atk", "def", "spc", "spe")], axis=0) > 0
_PLACES = np.arange(NUM_ACTIONS)


class Seen(NamedTuple):
    """What a rule reads, i32 and bool."""

    own: Array  # i32[6, F], the active first
    other: Array  # i32[6, F]
    legal: Array  # bool[9]
    forced: Array  # bool[]
    single: Array  # bool[]


class Known(NamedTuple):
    """What a request says and an observation does not, of the own side. Rows are the observation's."""

    position: Array  # i32[6]: of the rows in Showdown's present order of the team
    slot: Array  # i32[4]: of the moves of actions 0-3
    hp: Array  # i32[6]
    maxhp: Array  # i32[6]
    attack: Array  # i32[]: the active's own, unmodified
    special: Array  # i32[]


class Plan(NamedTuple):
    """One of `special` with probability `chance`, else one of `usual`; each of them alike."""

    chance: Array  # f32[]
    special: Array  # bool[9]
    usual: Array  # bool[9]


class Draw(NamedTuple):
    """What chance decides."""

    coin: Array  # f32[] in [0, 1)
    which: Array  # i32[] in [0, WHICH)


def draw(key: Key) -> Draw:
    coin, which = jax.random.split(key)
    return Draw(jax.random.uniform(coin), jax.random.randint(which, (), 0, WHICH))


def choose(plan: Plan, drawn: Draw) -> Array:
    """i32[]: the action."""
    among = jnp.where(drawn.coin < plan.chance, plan.special, plan.usual)
    count = jnp.cumsum(among.astype(jnp.int32))
    wanted = drawn.which % jnp.maximum(count[-1], 1) + 1
    return jnp.argmax(among & (count == wanted)).astype(jnp.int32)


def seen(obs: Observation, legal: Array) -> Seen:
    rows = obs.pokemon.astype(jnp.int32)
    forced, single = (obs.field[FIELD_INDEX[name]] > 0 for name in ("forced_switch", "single"))
    return Seen(rows[:TEAM], rows[TEAM:], legal, forced, single)


def known(state: State, seat: int) -> Known:
    """What the request of `seat` says in this state."""
    team, active = state.teams[seat], state.actives[seat]
    index = active.index.astype(jnp.int32)
    rows = jnp.concatenate([index[None], bench_order(team, index)])
    own = row_of(team, index)
    return Known(
        position=jnp.argmax(team.present[None, :] == rows[:, None], axis=1).astype(jnp.int32),
        slot=jnp.stack(move_order(side_of(active, team).active.moves)),
        hp=team.hp[rows].astype(jnp.int32),
        maxhp=team.maxhp[rows].astype(jnp.int32),
        attack=own.stats[0],
        special=own.stats[2],
    )


# -- parts


def _plan(usual: Array, special: Array | None = None, chance: Array | float = 0.0) -> Plan:
    special = usual if special is None else special
    return Plan(jnp.asarray(chance, jnp.float32), special, usual)


def first_best(allowed: Array, *keys: Array) -> Array:
    """bool[n]: of those allowed the one with the greatest keys, the first where they are equal."""
    places = np.arange(allowed.shape[0])
    ahead = jnp.asarray(places[None, :] < places[:, None])
    for key in reversed(keys):
        ahead = (key[None, :] > key[:, None]) | ((key[None, :] == key[:, None]) & ahead)
    return allowed & ~(ahead & allowed[None, :]).any(axis=1)


def _moves(now: Seen) -> Array:
    """bool[4]"""
    return now.legal[:SLOTS] & ~now.forced


def _ids(now: Seen) -> Array:
    """i32[4]: the moves of actions 0-3; 0 where there is no choice of move."""
    ids = now.own[0, C["move1"] : C["move4"] + 1]
    return jnp.where(now.single, 0, ids)


def _as_moves(mask: Array) -> Array:
    return jnp.concatenate([mask, jnp.zeros(NUM_ACTIONS - SLOTS, bool)])


def _as_switches(mask: Array) -> Array:
    return jnp.concatenate([jnp.zeros(SLOTS, bool), mask])


def _either(first: Array, plan: Plan, other: Plan) -> Plan:
    return Plan(*(jnp.where(first, one, two) for one, two in zip(plan, other, strict=True)))


def move_damage(now: Seen, *, low: bool = False) -> Array:
    """f64[4]: expected damage of actions 0-3 (within `exact()`)."""
    return expected_damage(now.own[:1], now.other[:1], _ids(now), low=low)


def threat(own: Array, other: Array) -> Array:
    """f64[n] (within `exact()`): the most expected damage that the opponent's revealed moves, or unseen ones
    of its types, do to each of the rows `own`."""
    moves = [other[C[f"move{i + 1}"]] for i in range(SLOTS)]
    known = reduce(jnp.maximum, [expected_damage(other[None], own, move[None]) for move in moves])
    types = [other[C[name]] for name in ("type1", "type2")]
    unseen = [jnp.asarray(_STANDARD).at[kind].get(mode="promise_in_bounds") for kind in types]
    guesses = reduce(jnp.maximum, [expected_damage(other[None], own, move[None]) for move in unseen])
    return jnp.where(moves[-1] > 0, known, jnp.maximum(known, guesses))


def _standard_moves() -> np.ndarray:
    """Per type the move of most power x accuracy that has no price (recoil, recharge, two turns, a lock)."""
    t = MOVE_TABLE
    priced = sum(t[name] for name in ("selfdestruct", "recharge", "charge", "recoil", "locks")) > 0
    worth = np.where(~priced & (t["hits"] == 10), t["power"].astype(int) * t["accuracy"], 0)
    kinds = [np.where(t["type"] == kind, worth, 0) for kind in range(data.NUM_TYPES)]
    return np.array([np.argmax(of) if of.any() and kind else 0 for kind, of in enumerate(kinds)], np.int32)


_STANDARD = _standard_moves()


# -- the members


def random(now: Seen, more: Known | None = None) -> Plan:
    """Uniform over the legal actions."""
    return _plan(now.legal)


def max_base_power(now: Seen, more: Known | None = None) -> Plan:
    """The legal move of most base power; a forced switch is random."""
    moves = _moves(now)
    best = _as_moves(first_best(moves, fact("power", _ids(now))))
    return _plan(jnp.where(moves.any(), best, now.legal))


def _best_matchup(now: Seen) -> Array:
    worth = matchup(now.own[1:], now.other[0])
    return _as_switches(first_best(now.legal[SLOTS:], worth, now.own[1:, C["hp"]]))


def _most_damage(now: Seen) -> Array:
    """The move of most expected damage; any where none does any."""
    moves = _moves(now)
    with exact():
        damage = move_damage(now)
        best, useful = first_best(moves, damage), damage > 0.0
    useful = (useful & moves).any()
    return jnp.where(moves.any(), _as_moves(jnp.where(useful, best, moves)), now.legal)


def grunt(now: Seen, more: Known | None = None) -> Plan:
    """Maximum expected damage; on a forced switch the best type match-up, then the most hp."""
    return _plan(jnp.where(now.forced, _best_matchup(now), _most_damage(now)))


def _retreat(now: Seen) -> Array:
    """The switch a gym leader makes, if it has a reason, has been in for a turn, and a better one to send."""
    own, other = now.own[0], now.other[0]
    weak = jnp.minimum(own[C["boost_atk"]], own[C["boost_spc"]]) <= -3
    hopeless = (own[C["toxic_turns"]] >= TIRED_OF_POISON) | weak
    with exact():
        deadly = threat(now.own, other) >= hp_left(now.own)
    lost = (stat(own, "spe") < stat(other, "spe")) & deadly[0]
    wants = (own[C["turns_in"]] >= 2) & (hopeless | lost)
    worth = matchup(now.own, other)
    better = now.legal[SLOTS:] & ~deadly[1:] & (worth[1:] > worth[0])
    return _as_switches(first_best(better & wants, worth[1:], now.own[1:, C["hp"]]))


def gym_leader(now: Seen, more: Known | None = None) -> Plan:
    """Switch in an emergency, knock out, boost on the first turn, heal, else maximum expected damage."""
    own, ids, moves = now.own[0], _ids(now), _moves(now)
    with exact():
        left = hp_left(now.other[:1])
        finishing = moves & (move_damage(now, low=True) >= left)
        chance = expected.hit_chance(now.own[:1], now.other[:1], ids)
        surest = first_best(finishing, chance)
    raises = moves & jnp.asarray(_RAISES)[ids]
    raises &= (own[C["turns_in"]] <= 1) & (own[C["hp"]] > 900)
    heals = moves & (fact("heal", ids) > 0) & (own[C["hp"]] < 330)
    usual = _most_damage(now)
    plan = _plan(usual, _as_moves(heals), jnp.where(heals.any(), 0.75, 0.0))
    plan = _either(raises.any(), _plan(usual, _as_moves(raises), 0.5), plan)
    plan = _either(finishing.any(), _plan(_as_moves(surest)), plan)
    plan = _either(now.single, _plan(jnp.asarray(_PLACES == 0)), plan)
    retreat = _retreat(now)
    plan = _either(retreat.any(), _plan(retreat), plan)
    return _either(now.forced, _plan(_best_matchup(now)), plan)


def boss_scores(now: Seen) -> Array:
    """i32[4]: 10; +5 for a status move on a target that has a status; -1 for a boost on the first turn; -1
    for a super-effective move."""
    ids, other = _ids(now), now.other[0]
    status_move = fact("category", ids) == data.STATUS
    useless = status_move & (fact("status", ids) > 0) & (other[C["status"]] > 0)
    raises = jnp.asarray(_RAISES)[ids] & (now.own[0, C["turns_in"]] <= 1)
    strong = expected.effectiveness(fact("type", ids), now.other[:1]) > expected.SUPER_EFFECTIVE
    return 10 + 5 * useless - raises - (~status_move & strong)


def boss(now: Seen, more: Known) -> Plan:
    """The game's own trainer AI: never switches by choice; a random one of the moves that score lowest.

    A forced switch takes the first left in Showdown's present team order.
    """
    moves, switches = _moves(now), now.legal[SLOTS:]
    scores = boss_scores(now)
    least = moves & (scores == jnp.where(moves, scores, 99).min())
    first = _as_switches(first_best(switches, -more.position[1:]))
    otherwise = jnp.where(switches.any(), first, now.legal)
    return _plan(jnp.where(moves.any(), _as_moves(least), otherwise))


# -- poke-env's SimpleHeuristicsPlayer

_BOOSTS = np.array([2 / (2 - b) if b <= 1 else (2 + b) / 2 for b in range(-6, 7)])
_PERCENT = np.array([percent / 100 * 0.4 for percent in range(101)])
_HITS = {20: 2.0, 30: (2 + 3) / 3 + (4 + 5) / 6}
_EXPECTED_HITS = np.array([_HITS.get(int(hits), 1.0) for hits in MOVE_TABLE["hits"]])
_CHANCES = np.array([percent / 100 if percent else 1.0 for percent in MOVE_TABLE["accuracy"]])


def _table(values: np.ndarray, index: Array) -> Array:
    return jnp.asarray(values).at[index].get(mode="promise_in_bounds")


def simple_matchups(now: Seen, more: Known) -> Array:
    """f64[6] (within `exact()`): poke-env's `_estimate_matchup` of own rows with the opponent's active."""
    other = now.other[0]
    mult = matchup(now.own, other).astype(jnp.float64) / 4.0
    speed, foe = (_table(data.SPECIES["spe"], rows[..., C["species"]]) for rows in (now.own, other))
    score = mult + jnp.where(speed > foe, 0.1, jnp.where(foe > speed, -0.1, 0.0))
    health = more.hp.astype(jnp.float64) / jnp.maximum(more.maxhp, 1).astype(jnp.float64)
    health = jnp.minimum(health * 0.4, 0.4)  # which it is; but multiplied and added at once it would differ
    return score + health - _table(_PERCENT, other[C["hp"]] // 10)


def simple_damage(now: Seen) -> Array:
    """f64[4] (within `exact()`): poke-env's scores of actions 0-3."""
    own, other, ids = now.own[0], now.other[0], _ids(now)

    def estimate(row: Array, name: str) -> Array:
        base = _table(data.SPECIES[name], row[C["species"]])
        return (2 * base + 36).astype(jnp.float64) * _table(_BOOSTS, row[C[f"boost_{name}"]] + 6)

    physical = estimate(own, "atk") / estimate(other, "def")
    special = estimate(own, "spc") / estimate(other, "spc")
    kind = fact("type", ids)
    same = (kind > 0) & ((kind == own[C["type1"]]) | (kind == own[C["type2"]]))
    power = fact("power", ids).astype(jnp.float64) * jnp.where(same, 1.5, 1.0)
    score = power * jnp.where(fact("category", ids) == data.PHYSICAL, physical, special)
    score = score * _table(_CHANCES, ids) * _table(_EXPECTED_HITS, ids)
    return score * (expected.effectiveness(kind, now.other[:1]).astype(jnp.float64) / 4.0)


def simple_heuristics(now: Seen, more: Known) -> Plan:
    """poke-env's SimpleHeuristicsPlayer as it plays Gen 1. It never makes its moves to set up: it compares
    their target, which is no word, with a word.

    poke-env takes one that transforms into a transformed Pokemon, or into one with new types, for what that
    one was before, and leaves a fainted one its types of Transform or Conversion; this does not.
    """
    moves, switches = _moves(now), now.legal[SLOTS:]
    own = now.own[0]
    attack, special = own[C["boost_atk"]], own[C["boost_spc"]]
    with exact():
        worth = simple_matchups(now, more)
        best = first_best(moves, simple_damage(now), -more.slot)
        switch = first_best(switches, worth[1:], -more.position[1:])
        decent, poor = switches & (worth[1:] > 0.0), worth[0] < -2.0
    weak = (own[C["boost_def"]] <= -3) | (special <= -3) | ((attack <= -3) & (more.attack >= more.special))
    leaves = decent.any() & (weak | poor)
    stays = moves.any() & ~(leaves & switches.any())
    # The bridge takes the first of two moves that are alike (Mimic), and any action if that one is not legal
    ids, places = _ids(now), np.arange(SLOTS)
    twin = (ids[None, :] == ids[:, None]) & ~moves[None, :] & jnp.asarray(places[None, :] < places[:, None])
    best = jnp.where((best & twin.any(axis=1)).any() & ~now.single, now.legal, _as_moves(best))
    return _plan(jnp.where(stays, best, _as_switches(switch)))


Rule = Callable[[Seen, Any], Plan]
PLANS: dict[str, Rule] = {
    "random": random,
    "max-base-power": max_base_power,
    "grunt": grunt,
    "gym-leader": gym_leader,
    "gen1-boss-ai": boss,
    "simple-heuristics": simple_heuristics,
}
_MORE = ("gen1-boss-ai", "simple-heuristics")


def _member(name: str, rule: Rule) -> Scripted:
    def by_step(step: TimeStep, key: Key) -> Array:
        return choose(rule(seen(step.obs, step.legal), None), draw(key))

    def by_state(step: TimeStep, key: Key, state: State, *, seat: int) -> Array:
        return choose(rule(seen(step.obs, step.legal), known(state, seat)), draw(key))

    more = name in _MORE
    return Scripted(name, by_state if more else by_step, more)


MEMBERS: dict[str, Scripted] = {name: _member(name, rule) for name, rule in PLANS.items()}
