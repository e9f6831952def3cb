"""Who is hit, how far they fly, who is knocked out and who comes back."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnash.games.fighter import table
from jaxnash.games.fighter.state import Fighter, Stage
from jaxnash.types import Array


class Row(NamedTuple):
    """A row of the table of attacks as a match reads it; everything f32[]."""

    startup: Array
    active: Array
    frames: Array  # all of the attack
    forward: Array
    up: Array
    half_width: Array
    half_height: Array
    damage: Array
    fixed: Array
    variable: Array
    ahead: Array  # cosine and sine of the angle
    upwards: Array
    stun: Array
    lunge: Array
    rise: Array


def _row(attack: table.Attack) -> Row:
    angle = math.radians(attack.angle)
    return Row(
        frames=attack.startup + attack.active + attack.recovery,
        ahead=math.cos(angle),
        upwards=math.sin(angle),
        **{name: getattr(attack, name) for name in Row._fields if name not in ("frames", "ahead", "upwards")},
    )


ROWS = np.array([_row(attack) for attack in table.ATTACKS], np.float32)
THROW = _row(
    table.Attack(
        *("any", "throw", 0, 1, 0),
        *(table.THROW_REACH / 2, table.BODY_HEIGHT / 2, table.THROW_REACH / 2, table.THROW_HALF_HEIGHT),
        *(table.THROW_DAMAGE, table.THROW_FIXED, table.THROW_VARIABLE, table.THROW_ANGLE, table.THROW_STUN),
    )
)


def row_of(fighter: Fighter) -> Row:
    """The row of the attack a fighter is in; some row where it is in none."""
    place = fighter.weapon * len(table.MOVES) + jnp.maximum(fighter.move - 1, 0)
    row = jnp.asarray(ROWS)[place]
    return Row(*(row[i] for i in range(len(Row._fields))))


def exchange(
    fighters: tuple[Fighter, Fighter], rows: tuple[Row, Row], threw: tuple[Array, Array]
) -> tuple[Fighter, Fighter]:
    """Both fighters' blows at once, so that they may trade."""
    (first, second), blows = fighters, [_blow(*each) for each in zip(fighters, rows, threw, strict=True)]
    hits, is_hit = _meets(first, second, *blows[0]), _meets(second, first, *blows[1])
    return (
        _after(first, second, blows[1][1], hits, is_hit),
        _after(second, first, blows[0][1], is_hit, hits),
    )


def _blow(fighter: Fighter, row: Row, threw: Array) -> tuple[Array, Row]:
    """Whether a fighter's hit box is there, and its row."""
    since = fighter.clock - row.startup
    strikes = (fighter.state == table.ATTACKING) & ~fighter.struck & (since >= 0) & (since < row.active)
    return strikes | threw, Row(
        *(jnp.where(threw, throw, own) for throw, own in zip(THROW, row, strict=True))
    )


def _meets(fighter: Fighter, other: Fighter, there: Array, row: Row) -> Array:
    dx = other.x - (fighter.x + fighter.facing * row.forward)
    dy = (other.y - table.BODY_HEIGHT / 2) - (fighter.y - row.up)
    near = jnp.abs(dx) <= row.half_width + table.BODY_HALF_WIDTH
    near &= jnp.abs(dy) <= row.half_height + table.BODY_HEIGHT / 2
    open_to = (other.state != table.DODGING) & (other.state != table.KNOCKED_OUT) & (other.safe == 0)
    return there & near & open_to


def knock_back(row: Row, damage: Array) -> Array:
    """The speed at which one flies who has this damage after the hit."""
    growth = damage / table.KNOCK_LINEAR + damage**2 / table.KNOCK_SQUARE
    return table.KNOCK_BACK * (row.fixed + row.variable * growth)


def _after(fighter: Fighter, other: Fighter, row: Row, hits: Array, is_hit: Array) -> Fighter:
    """A fighter who `hits` the other, and `is_hit` by the other's `row`."""
    damage = jnp.where(is_hit, jnp.minimum(fighter.damage + row.damage, table.DAMAGE_MAX), fighter.damage)
    speed = knock_back(row, damage)
    combo, is_combo = (
        hit & (who.state == table.STUNNED) & (who.stun > 0) & ~who.comboed
        for hit, who in ((hits, other), (is_hit, fighter))
    )
    return fighter._replace(
        damage=damage,
        taken=damage - fighter.damage,
        vx=jnp.where(is_hit, other.facing * speed * row.ahead, fighter.vx),
        vy=jnp.where(is_hit, -speed * row.upwards, fighter.vy),
        state=jnp.where(is_hit, table.STUNNED, fighter.state),
        clock=jnp.where(is_hit, 0, fighter.clock),
        stun=jnp.where(is_hit, row.stun.astype(jnp.int32), fighter.stun),
        move=jnp.where(is_hit, 0, fighter.move),
        struck=fighter.struck | hits,
        comboed=fighter.comboed | is_combo,
        combo=combo,
        hit_ago=jnp.where(is_hit, 0, fighter.hit_ago),
    )


def fall_or_return(fighter: Fighter, stage: Stage) -> Fighter:
    """Knocked out beyond the stage's limits, back after a while with no damage while there are stocks."""
    out = fighter.state == table.KNOCKED_OUT
    fell = ~out & ((jnp.abs(fighter.x) > stage.limit[0]) | (jnp.abs(fighter.y) > stage.limit[1]))
    returns = out & (fighter.clock >= table.RESPAWN_FRAMES) & (fighter.stocks > 0)

    def ends(value: Array, then: Array | float) -> Array:
        return jnp.where(fell, then, value)

    return fighter._replace(
        x=ends(fighter.x, fighter.home),
        y=ends(fighter.y, stage.spawn[1]),
        vx=ends(fighter.vx, 0),
        vy=ends(fighter.vy, 0),
        facing=ends(fighter.facing, -jnp.sign(fighter.home)),
        damage=jnp.where(returns, 0, fighter.damage),
        standing=ends(fighter.standing, 0),
        jumps=ends(fighter.jumps, table.AIR_JUMPS),
        recoveries=ends(fighter.recoveries, table.RECOVERIES),
        state=jnp.where(returns, table.IN_AIR, ends(fighter.state, table.KNOCKED_OUT)),
        clock=jnp.where(returns | fell, 0, fighter.clock),
        stun=ends(fighter.stun, 0),
        wait=ends(fighter.wait, 0),
        safe=jnp.where(returns, table.SAFE_FRAMES, fighter.safe),
        stocks=fighter.stocks - fell,
        weapon=ends(fighter.weapon, 0),
        move=ends(fighter.move, 0),
        comboed=fighter.comboed & ~fell,
        fell=fell,
    )
