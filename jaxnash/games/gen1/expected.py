"""Damage as a player can work it out from an observation's rows, and type match-ups: in JAX what
`jaxnash.showdown.damage` is in Python, number for number.

Rows are i32[..., F] of `layout.POKEMON_COLUMNS`, moves i32[...] ids; leading axes broadcast. Numbers that are
not whole are f64, as Python's are, so that ties and orders come out alike: call what returns them within
`exact()`, and let none of them leave it. In there only element by element operations are lowered as they
should be while JAX is in 32 bits outside, so no sum, maximum or argmax over an axis.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1 import data
from jaxnash.games.gen1.layout import MOVE_TABLE, POKEMON_INDEX, TYPE_CHART
from jaxnash.types import Array

C = POKEMON_INDEX
SUPER_EFFECTIVE = 4  # `effectiveness` above this
_HALVES = np.asarray(2 * TYPE_CHART, np.int32).reshape(-1)  # 0, 1, 2, 4 halves
_NUMBERS = {name: np.asarray(column, np.int32) for name, column in MOVE_TABLE.items()}
# By the attacker's stage of accuracy, then the target's of evasion
_ACCURACY = (np.outer(data.STAGES, data.STAGES[::-1]) / 10_000).reshape(-1)
_LOW_ROLL, _MEAN_ROLL = 217 / 255, (217 + 255) / 2 / 255
_SEISMIC_TOSS, _NIGHT_SHADE, _SUPER_FANG, _DREAM_EATER, _PSYWAVE = (
    data.MOVE_IDS[name] for name in ("seismictoss", "nightshade", "superfang", "dreameater", "psywave")
)


def exact() -> Any:
    """The context of f64."""
    return jax.enable_x64(True)


def fact(name: str, move: Array) -> Array:
    """A number of `layout.MOVE_TABLE`, i32."""
    return _at(_NUMBERS[name], move)


def _at(table: np.ndarray, index: Array) -> Array:
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds")


def stat(rows: Array, name: str) -> Array:
    """i32: a stat with its stages and the drop by paralysis or burn. An opponent's is estimated."""
    stages = _at(data.STAGES, rows[..., C[f"boost_{name}"]] + 6)
    value = jnp.minimum(rows[..., C[f"stat_{name}"]] * stages // 100, 999)
    if name == "spe":
        value = jnp.where(rows[..., C["status"]] == data.PAR, value // 4, value)
    elif name == "atk":
        value = jnp.where(rows[..., C["status"]] == data.BRN, value // 2, value)
    return jnp.maximum(value, 1)


def effectiveness(attack_type: Array, defenders: Array) -> Array:
    """i32: four times the type multiplier."""
    places = [attack_type * data.NUM_TYPES + defenders[..., C[name]] for name in ("type1", "type2")]
    first, second = (_at(_HALVES, place) for place in places)
    return first * second


def matchup(own: Array, other: Array) -> Array:
    """i32: four times (best multiplier of own types on the other minus the reverse)."""

    def best(attackers: Array, defenders: Array) -> Array:
        first, second = (effectiveness(attackers[..., C[name]], defenders) for name in ("type1", "type2"))
        one, two = attackers[..., C["type1"]] > 0, attackers[..., C["type2"]] > 0
        return jnp.maximum(jnp.where(one, first, 0), jnp.where(two, second, 0))

    return best(own, other) - best(other, own)


def _own(value: Any, rows: Array) -> Array:
    """`value`, as one of each element of `rows`, which are never negative. Of what all share XLA makes one
    factor of two, or a reciprocal, and rounds otherwise than Python does."""
    return jnp.where(rows < 0, jnp.zeros_like(value), value)


def _double(value: Array) -> Array:
    return value.astype(jnp.float64)


def hit_chance(attacker: Array, defender: Array, move: Array) -> Array:
    """f64: of 1."""
    accuracy = fact("accuracy", move)
    place = (attacker[..., C["boost_acc"]] + 6) * len(data.STAGES) + defender[..., C["boost_eva"]] + 6
    chance = jnp.minimum(_double(accuracy * 255 // 100) * _at(_ACCURACY, place), 255.0) / 256.0
    return jnp.where(accuracy == 0, 1.0, chance)


def hp_left(rows: Array) -> Array:
    """f64, in hp."""
    shown = rows[..., C["hp"]]
    return _double(shown * rows[..., C["stat_hp"]]) / _own(1000.0, shown)


def _hit(attacker: Array, defender: Array, move: Array, critical: bool) -> Array:
    """i32: the largest damage of one hit, before the roll."""
    physical = fact("category", move) == data.PHYSICAL
    level = attacker[..., C["level"]] * (2 if critical else 1)

    def used(name: str, rows: Array) -> Array:
        return rows[..., C[f"stat_{name}"]] if critical else stat(rows, name)

    attack = jnp.where(physical, used("atk", attacker), used("spc", attacker))
    defence = jnp.where(physical, used("def", defender), used("spc", defender))
    if not critical:
        screen = jnp.where(physical, defender[..., C["reflect"]], defender[..., C["lightscreen"]])
        defence = jnp.where(screen > 0, 2 * defence, defence)
    large = (attack >= 256) | (defence >= 256)
    attack, defence = (
        jnp.where(large, jnp.maximum(value // 4 % 256, 1), value) for value in (attack, defence)
    )
    defence = jnp.where(fact("selfdestruct", move) > 0, jnp.maximum(defence // 2, 1), defence)
    damage = (2 * level // 5 + 2) * fact("power", move) * attack // jnp.maximum(defence, 1) // 50
    damage = jnp.minimum(damage, 997) + 2
    kind = fact("type", move)
    same = (kind > 0) & ((kind == attacker[..., C["type1"]]) | (kind == attacker[..., C["type2"]]))
    damage = jnp.where(same, damage + damage // 2, damage)
    return damage * effectiveness(kind, defender) // 4


def expected_damage(attacker: Array, defender: Array, move: Array, *, low: bool = False) -> Array:
    """f64: mean damage in hp with misses, critical hits, rolls and several hits, not capped by the hp left.

    `low`: instead the least that one hit does, critical hits and misses apart. A two-turn move counts half.
    Counter, Bide and the one-hit knock-outs count nothing: what they do is not up to their user alone.
    """
    move = _own(move, defender[..., C["hp"]])
    level = _double(_own(attacker[..., C["level"]], move))
    chance = jnp.float64(1.0) if low else hit_chance(attacker, defender, move)
    power = fact("power", move)
    asleep = defender[..., C["status"]] == data.SLP
    normal = _hit(attacker, defender, move, False)
    if low:
        usual = _double(normal) * _LOW_ROLL
    else:
        speed = _at(data.SPECIES["spe"], attacker[..., C["base_species"]])
        rate = speed // 2 * jnp.where(fact("critical", move) > 0, 8, 1)
        rate = jnp.minimum(rate // jnp.where(attacker[..., C["focusenergy"]] > 0, 4, 1), 255)
        # whole numbers, so that no rounding can differ
        mean = _double((256 - rate) * normal + rate * _hit(attacker, defender, move, True)) / 256.0
        parts = jnp.where(fact("charge", move) > 0, 20.0, 10.0)
        usual = chance * mean * _MEAN_ROLL * _double(fact("hits", move)) / parts
    damage = jnp.where((power <= 1) | ((move == _DREAM_EATER) & ~asleep), 0.0, usual)
    fixed = fact("fixed", move)
    damage = jnp.where(fixed > 0, chance * _double(fixed), damage)
    damage = jnp.where(move == _SUPER_FANG, chance * hp_left(defender) / 2.0, damage)
    damage = jnp.where(move == _PSYWAVE, 1.0 if low else chance * 0.75 * level, damage)
    damage = jnp.where((move == _SEISMIC_TOSS) | (move == _NIGHT_SHADE), chance * level, damage)
    category = fact("category", move)
    return jnp.where((category == 0) | (category == data.STATUS), 0.0, damage)
