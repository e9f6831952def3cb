"""What a player sees: 64 numbers of about [-1, 1], 32 from its own side, then 32 from its opponent's."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.state import Fighter, State, platform_at
from jaxnash.types import Array

OF_FIGHTER = (
    *("x", "y", "vx", "vy", "facing", "grounded", "aerial", "jumps", "state", "recoveries", "wait", "stun"),
    *("damage", "stocks", "move", "weapon"),
)
OF_STAGE = (
    *(f"spawner {i} {name}" for i in range(len(table.SPAWNERS)) for name in ("x", "y", "weapon")),
    *(f"platform {name}" for name in ("x", "y", "vx", "vy")),
)
NAMES = (*OF_FIGHTER, *OF_STAGE)  # of one side's 32
_X, _Y = table.LIMIT
_STUN = max(attack.stun for attack in table.ATTACKS)


def observations(state: State) -> Array:
    """f32[2, 64]."""
    first, second = (jnp.stack(_of_fighter(fighter)) for fighter in state.fighters)
    shared = jnp.stack(_of_stage(state))
    own, other = jnp.concatenate([first, shared]), jnp.concatenate([second, shared])
    return jnp.stack([jnp.concatenate([own, other]), jnp.concatenate([other, own])])


def _of_fighter(fighter: Fighter) -> list[Array]:
    aerial = fighter.standing == 0
    numbers = (
        *(fighter.x / _X, fighter.y / _Y, fighter.vx / table.FALL, fighter.vy / table.FALL, fighter.facing),
        *(~aerial, aerial, fighter.jumps / table.AIR_JUMPS, fighter.state / table.TAUNTING),
        *(fighter.recoveries / table.RECOVERIES, fighter.wait / table.AIR_WAIT, fighter.stun / _STUN),
        *(fighter.damage / table.DAMAGE_MAX, fighter.stocks / table.STOCKS),
        *(fighter.move / len(table.MOVES), fighter.weapon / (len(table.WEAPONS) - 1)),
    )
    return [number.astype(jnp.float32) for number in numbers]


def _of_stage(state: State) -> list[Array]:
    numbers = []
    for spawner, (x, y) in zip(state.spawners, state.stage.spawners, strict=True):
        numbers += [x / _X, y / _Y, spawner.weapon / (len(table.WEAPONS) - 1)]
    now = state.frame + state.phase
    (x, y), (then_x, then_y) = platform_at(state.stage, now), platform_at(state.stage, now + 1)
    speed = table.FPS / table.FALL
    numbers += [x / _X, y / _Y, (then_x - x) * speed, (then_y - y) * speed]
    return [number.astype(jnp.float32) for number in numbers]
