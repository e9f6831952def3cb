"""What a match consists of. All leaves are scalars: XLA keeps each in a register of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.types import Array, Key


class Stage(NamedTuple):
    """The stage, as data: `setup` of a match. See `table` for the units; y points down."""

    grounds: tuple[tuple[Array, Array, Array], ...]  # x from, x to, y; solid down to the bottom
    platform_from: tuple[Array, Array]
    platform_to: tuple[Array, Array]
    platform_half: tuple[Array, Array]  # half its width, half its height
    spawn: tuple[Array, Array]  # |x| and y
    spawners: tuple[tuple[Array, Array], ...]  # four
    limit: tuple[Array, Array]


class Fighter(NamedTuple):
    """A player's fighter; (x, y) are its feet."""

    x: Array
    y: Array
    vx: Array
    vy: Array
    facing: Array  # f32: -1 left, 1 right
    home: Array  # f32: the x it respawns at
    damage: Array  # f32
    standing: Array  # i32: 0 in the air, 1 on ground, 2 on the platform
    jumps: Array  # i32, air jumps left
    recoveries: Array  # i32, left
    state: Array  # i32, one of `table`'s
    clock: Array  # i32, frames since the state began
    stun: Array  # i32, frames left
    wait: Array  # i32, frames until the next dodge or dash
    safe: Array  # i32, invulnerable frames left after a respawn
    run: Array  # i32, frames of walking one way
    stocks: Array  # i32
    weapon: Array  # i32
    move: Array  # i32, 0 or 1 + place in `table.MOVES`
    struck: Array  # bool: the attack has hit already
    comboed: Array  # bool: this stun has been a combo already
    hit_ago: Array  # i32, frames since the last hit taken, at most `table.FRAMES`
    held: Array  # i32, buttons of the last frame as bits
    # what happened in the last frame
    taken: Array  # f32, damage
    fell: Array  # bool: was knocked out
    combo: Array  # bool: hit an opponent still stunned
    picked: Array  # i32, the weapon picked up, 0 none
    dropped: Array  # bool: threw the weapon away


class Spawner(NamedTuple):
    """A place where weapons appear."""

    weapon: Array  # i32, 0 none
    timer: Array  # i32, frames until there is one


class State(NamedTuple):
    """A match."""

    stage: Stage
    fighters: tuple[Fighter, Fighter]
    spawners: tuple[Spawner, ...]
    frame: Array  # i32, frames played
    phase: Array  # i32, what the platform is ahead
    luck: Array  # u32, which weapons come


def stage() -> Stage:
    """The usual stage."""
    half = (table.PLATFORM_SIZE[0] / 2, table.PLATFORM_SIZE[1] / 2)
    usual = Stage(table.GROUNDS, *table.PLATFORM_ENDS, half, table.SPAWN, table.SPAWNERS, table.LIMIT)
    return jax.tree.map(jnp.float32, usual)


def start(key: Key, setup: Any) -> State:
    """A match's first frame on a `Stage` (None: the usual one). Sides, places, platform and weapons are the
    key's."""
    setup = stage() if setup is None else jax.tree.map(jnp.float32, setup)
    sides, places, phase, luck = jax.random.split(key, 4)
    right = jnp.where(jax.random.bernoulli(sides), 1.0, -1.0)
    shift = jax.random.uniform(places, (2,), minval=-1.0) * table.SPAWN_JITTER
    home = setup.spawn[0] * right
    return State(
        stage=setup,
        fighters=(_fighter(setup, home, shift[0]), _fighter(setup, -home, shift[1])),
        spawners=tuple(Spawner(jnp.int32(0), jnp.int32(first)) for first in table.FIRST_WEAPONS),
        frame=jnp.int32(0),
        phase=jax.random.randint(phase, (), 0, table.PHASE_JITTER + 1),
        luck=jax.random.bits(luck),
    )


def _fighter(setup: Stage, home: Array, shift: Array) -> Fighter:
    number, integer, false = jnp.float32, jnp.int32, jnp.bool_(False)
    return Fighter(
        **{name: number(0) for name in ("vx", "vy", "damage", "taken")},
        **{
            name: integer(0)
            for name in ("standing", "clock", "stun", "wait", "safe", "run", "weapon", "move")
        },
        **{name: false for name in ("struck", "comboed", "fell", "combo", "dropped")},
        **{name: integer(0) for name in ("held", "picked")},
        x=home + shift,
        y=setup.spawn[1],
        facing=-jnp.sign(home),
        home=home,
        jumps=integer(table.AIR_JUMPS),
        recoveries=integer(table.RECOVERIES),
        state=integer(table.IN_AIR),
        stocks=integer(table.STOCKS),
        hit_ago=integer(table.FRAMES),
    )


def over(state: State) -> Array:
    """bool[]: someone has no stock left, or the time is up."""
    first, second = state.fighters
    return (first.stocks == 0) | (second.stocks == 0) | (state.frame >= table.FRAMES)


def platform_at(stage: Stage, frame: Array) -> tuple[Array, Array]:
    """The platform's centre so many frames from its start; it goes to and fro at one speed."""
    share = (frame % table.PLATFORM_FRAMES).astype(jnp.float32) / table.PLATFORM_FRAMES
    along = 1 - jnp.abs(2 * share - 1)
    (x, y), (to_x, to_y) = stage.platform_from, stage.platform_to
    return x + (to_x - x) * along, y + (to_y - y) * along
