"""From buttons to what a fighter begins, and to the speed it wants."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.hits import Row
from jaxnash.games.fighter.state import Fighter
from jaxnash.types import Array

DT = 1 / table.FPS


class Wish(NamedTuple):
    """What a fighter does that is not its own alone."""

    grabs: Array  # bool: picks up a weapon, or throws the one it has
    drops: Array  # bool: goes down through the platform


def held(fighter: Fighter, name: str) -> Array:
    """bool[]: whether this button was down in the last frame."""
    return (fighter.held >> table.BUTTONS.index(name)) & 1 == 1


def toward(value: Array, target: Array, most: Array) -> Array:
    """`target`, or as far towards it as `most`."""
    return value + jnp.clip(target - value, -most, most)


def act(fighter: Fighter, keys: Array, row: Row) -> tuple[Fighter, Wish]:
    """A frame's buttons bool[10], of a fighter whose attack is `row`.

    What is on the press comes first to last as attack, dodge or dash, jump, weapon; then taunt and walking.
    """
    key = {name: keys[place] for place, name in enumerate(table.BUTTONS)}
    pressed = {name: key[name] & ~held(fighter, name) for name in ("space", "h", "l", "j", "k")}
    across = key["d"].astype(jnp.float32) - key["a"].astype(jnp.float32)
    aerial, clock = fighter.standing == 0, fighter.clock + 1
    out, stunned = fighter.state == table.KNOCKED_OUT, fighter.stun > 0
    free = ~out & ~stunned & (clock >= _length(fighter.state, row))

    heavy = pressed["k"] & ~pressed["j"]
    kind = jnp.where(key["s"], 1, jnp.where(across != 0, 2, 0))
    in_air = jnp.where(heavy, jnp.where(key["s"], table.RECOVERY + 1, table.RECOVERY), 7 + kind)
    move = jnp.where(aerial, in_air, 1 + kind + 3 * heavy)
    recovers = move == table.RECOVERY
    attacks = free & (pressed["j"] | heavy) & ~(recovers & (fighter.recoveries == 0))
    wait = _down(fighter.wait)
    evades = free & ~attacks & pressed["l"] & (wait == 0)
    dashes = evades & ~aerial & (across != 0)
    back = dashes & (across != fighter.facing)
    idle = free & ~attacks & ~evades
    jumps = idle & pressed["space"] & (~aerial | (fighter.jumps > 0))
    grabs = idle & ~jumps & pressed["h"]
    taunts = idle & ~jumps & ~grabs & key["g"] & ~aerial
    walks = idle & ~taunts
    turns = free & ~back & (across != 0) & (across != fighter.facing)
    facing = jnp.where(turns, across, fighter.facing)

    shown = (fighter.state == table.TURNING) | (fighter.state == table.AIR_TURNING)
    turning = turns | (shown & (clock < table.TURN_FRAMES))
    straight = walks & ~aerial & (across != 0) & ~turns
    run = jnp.where(straight, jnp.minimum(fighter.run + 1, table.RUN_AFTER), 0)
    runs = run == table.RUN_AFTER
    grounded = jnp.where(across == 0, table.STANDING, jnp.where(runs, table.SPRINTING, table.WALKING))
    loose = jnp.where(aerial, table.IN_AIR, grounded)
    loose = jnp.where(turning, jnp.where(aerial, table.AIR_TURNING, table.TURNING), loose)
    state = jnp.where(walks, loose, fighter.state)
    state = jnp.where(attacks, table.ATTACKING, jnp.where(taunts, table.TAUNTING, state))
    state = jnp.where(evades, jnp.where(dashes, table.DASHING, table.DODGING), state)
    state = jnp.where(back, table.BACK_DASHING, state)
    begins = attacks | evades | taunts | turns
    clock = jnp.where(begins, 0, jnp.minimum(clock, table.FRAMES))

    attacking = state == table.ATTACKING
    steers = walks | (attacking & aerial)
    target = jnp.where(steers, across * jnp.where(runs, table.RUN, table.WALK), 0.0)
    ground_rate = jnp.where(target != 0, table.GROUND_ACCELERATION, table.GROUND_FRICTION)
    air_rate = jnp.where(target != 0, table.AIR_ACCELERATION, table.AIR_FRICTION)
    rate = jnp.where(stunned, table.STUN_FRICTION, jnp.where(aerial, air_rate, ground_rate))
    vx = toward(fighter.vx, target, rate * DT)
    dash = jnp.where(state == table.DASHING, table.DASH, -table.DASH) * facing
    vx = jnp.where((state == table.DASHING) | (state == table.BACK_DASHING), dash, vx)
    appears = attacking & ~attacks & (clock == row.startup)
    vx = jnp.where(appears & (row.lunge != 0), facing * row.lunge, vx)
    vy = jnp.where(jumps, -table.JUMP, fighter.vy)
    vy = jnp.where(appears & (row.rise != 0), -row.rise, vy)

    wait = jnp.where(evades, jnp.where(aerial, table.AIR_WAIT, table.GROUND_WAIT), wait)
    fighter = fighter._replace(
        vx=jnp.where(out, 0, vx),
        vy=jnp.where(out, 0, vy),
        facing=facing,
        jumps=fighter.jumps - (jumps & aerial),
        recoveries=fighter.recoveries - (attacks & recovers),
        state=state,
        clock=clock,
        stun=_down(fighter.stun),
        wait=wait,
        safe=_down(fighter.safe),
        run=run,
        move=jnp.where(attacks, move, jnp.where(attacking, fighter.move, 0)),
        struck=fighter.struck & ~attacks,
        comboed=fighter.comboed & (fighter.stun > 1),
        hit_ago=jnp.minimum(fighter.hit_ago + 1, table.FRAMES),
        held=sum(jnp.where(key[name], 1 << place, 0) for place, name in enumerate(table.BUTTONS)),
    )
    return fighter, Wish(grabs, key["s"] & free & ~attacks)


def _down(frames: Array) -> Array:
    return jnp.maximum(frames - 1, 0)


def _length(state: Array, row: Row) -> Array:
    """i32[]: frames that a state lasts, 0 where it can be left at any time."""
    dash = (state == table.DASHING) | (state == table.BACK_DASHING)
    frames = jnp.where(dash, table.DASH_FRAMES, 0)
    frames = jnp.where(state == table.DODGING, table.DODGE_FRAMES, frames)
    frames = jnp.where(state == table.TAUNTING, table.TAUNT_FRAMES, frames)
    return jnp.where(state == table.ATTACKING, row.frames, frames)
