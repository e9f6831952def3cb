"""Falling, walls and landing. The stage touches only a fighter's feet, a point."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.state import Fighter, Stage
from jaxnash.types import Array

DT = 1 / table.FPS


def move(
    fighter: Fighter, stage: Stage, before: tuple[Array, Array], after: tuple[Array, Array], drops: Array
) -> Fighter:
    """A frame of flight or of standing, the platform's centre going from `before` to `after`.

    Sideways first, where solid ground stops whoever is below its surface; then down, where ground and
    platform stop whoever comes from above. Who stands is pulled down too and lands again each frame.
    """
    half_width, half_height = stage.platform_half
    top_before, top = before[1] - half_height, after[1] - half_height
    vy = jnp.minimum(fighter.vy + table.GRAVITY * DT, table.FALL)
    falls = vy >= 0
    rides = (fighter.standing == 2) & falls & ~drops
    x = fighter.x + jnp.where(rides, after[0] - before[0], 0) + fighter.vx * DT
    y = fighter.y + vy * DT

    stopped, lands, floor = jnp.bool_(False), jnp.bool_(False), y
    for left, right, surface in stage.grounds:
        below = fighter.y > surface
        from_left, from_right = below & (fighter.x <= left), below & (fighter.x >= right)
        stopped |= (from_left & (x > left)) | (from_right & (x < right))
        x = jnp.where(from_left, jnp.minimum(x, left), jnp.where(from_right, jnp.maximum(x, right), x))
        here = falls & ~below & (y >= surface) & (left <= x) & (x <= right)
        lands, floor = lands | here, jnp.where(here, surface, floor)

    above = rides | ((fighter.y <= top_before) & (y >= top))
    platform = ~lands & falls & ~drops & above & (jnp.abs(x - after[0]) <= half_width)
    stands = lands | platform
    moved = fighter._replace(
        x=x,
        y=jnp.where(platform, top, floor),
        vx=jnp.where(stopped, 0, fighter.vx),
        vy=jnp.where(stands, 0, vy),
        standing=jnp.where(lands, 1, jnp.where(platform, 2, 0)),
        jumps=jnp.where(stands, table.AIR_JUMPS, fighter.jumps),
        recoveries=jnp.where(stands, table.RECOVERIES, fighter.recoveries),
    )
    out = fighter.state == table.KNOCKED_OUT
    return Fighter(*(jnp.where(out, old, new) for old, new in zip(fighter, moved, strict=True)))
