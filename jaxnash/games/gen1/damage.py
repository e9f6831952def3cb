"""The damage of an attack, in the simulator's order of rounding (gen1/scripts.js, `getDamage`)."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.gen1 import data
from jaxnash.games.gen1.state import Active, Side
from jaxnash.types import Array


def critical_rate(side: Side, move: data.Move) -> Array:
    """i32[], of 256; 0: nothing is drawn."""
    half = side.speed >> 1
    rate = jnp.where(side.active.focusenergy, half >> 1, jnp.clip(2 * half, 1, 255))
    return jnp.where(move.high > 0, jnp.clip(4 * rate, 1, 255), rate >> 1)


def before_roll(me: Side, foe: Side, move: data.Move, critical: Array) -> Array:
    """i32[]: an attack's damage before the random roll; the roll is made if this is more than 1."""
    a, t = me.active, foe.active
    physical = move.category == data.PHYSICAL
    attack = jnp.where(physical, a.now[0], a.now[2])
    defence = jnp.where(physical, t.now[1], t.now[2])
    screened = jnp.where(physical, t.reflect, t.lightscreen)
    defence = jnp.where(screened, 2 * defence, defence)
    attack = jnp.where(critical, jnp.where(physical, me.base[0], me.base[2]), attack)
    defence = jnp.where(critical, jnp.where(physical, foe.base[1], foe.base[2]), defence)
    level = jnp.where(critical, 2 * me.level, me.level) & 255
    large = (attack >= 256) | (defence >= 256)
    attack = jnp.where(large, jnp.maximum((attack >> 2) & 255, 1), attack)
    defence = jnp.where(large, jnp.maximum((defence >> 2) & 255, 1), defence)
    bursts = (move.kind == data.KIND["explode"]) & physical
    defence = jnp.where(bursts, jnp.maximum(defence >> 1, 1), defence)
    damage = (2 * level // 5 + 2) * move.power * attack // defence
    damage = jnp.minimum(damage // 50, 997) + 2
    damage = jnp.where(has_type(a, move.type) & (move.type > 0), damage + (damage >> 1), damage)
    for defending in t.types:
        code = data.effectiveness(move, defending)
        damage = jnp.where(code == 1, 2 * damage, jnp.where(code == 2, damage >> 1, damage))
    return damage


def immune(active: Active, move: data.Move) -> Array:
    """bool[]: the move's type cannot hit this one."""
    codes = [data.effectiveness(move, defending) == 3 for defending in active.types]
    return (codes[0] | codes[1]) & (move.ignores == 0)


def has_type(active: Active, type_id: Array | int) -> Array:
    """bool[]."""
    return (active.types[0] == type_id) | (active.types[1] == type_id)


def confusion_damage(side: Side) -> Array:
    """i32[]: of a Pokemon that hits itself."""
    attack, defence = side.active.now[0], side.active.now[1]
    return (2 * side.level // 5 + 2) * attack * 40 // defence // 50 + 2
