"""Stages of stats, what can stop a Pokemon before it moves, and what it suffers after."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxnash.games.gen1 import data
from jaxnash.games.gen1.platforms import cut
from jaxnash.games.gen1.source import SITE
from jaxnash.games.gen1.state import Active, Side, dropped, pick, put, put_at
from jaxnash.types import Array

PARALYSED, CONFUSED = 63, 128  # of 256: cannot move; acts in spite of it


def boosted(active: Active, stat: Array, change: Array, mask: Array) -> tuple[Active, Array]:
    """Raise or lower a stat (0-5: atk def spc spe acc eva) by so many stages; whether that did anything.

    At 999 (or 1) the stage goes up and back by one, and the stat stays (gen1/scripts.js, `boostBy`).
    """
    stage, stat_now = pick(active.boosts, stat), pick(active.now, stat)
    up, battle = change > 0, stat < 4
    capped = jnp.where(up, stage >= 6, stage <= -6)
    bounced = battle & (stat_now == jnp.where(up, 999, 1))
    moved = jnp.clip(stage + change, -6, 6)
    stage = jnp.where(bounced, moved - jnp.where(up, 1, -1), moved)
    mask = mask & ~capped
    changed = mask & ~bounced
    value = staged(pick(active.stored, stat), stage)
    value = jnp.where(up, jnp.minimum(value, 999), value)
    return active._replace(
        boosts=put_at(active.boosts, stat, mask, stage),
        now=put_at(active.now, stat, changed & battle, value),
    ), changed


def staged(stat: Array, stage: Array) -> Array:
    """A stat at a stage."""
    return jnp.maximum(stat * jnp.asarray(data.STAGES)[stage + 6] // 100, 1)


def enraged(active: Active, times: Array, most: int) -> Active:
    """A raging one's attack goes up by a stage, `times` of at most `most`."""
    stage, attack = active.boosts[0], active.now[0]
    for i in range(most):
        up = (times > i) & (active.rage > 0) & (stage < 6) & (attack != 999)
        stage = jnp.where(up, stage + 1, stage)
        attack = jnp.where(up, jnp.minimum(staged(active.stored[0], stage), 999), attack)
    return active._replace(boosts=(stage, *active.boosts[1:]), now=(attack, *active.now[1:]))


class Before(NamedTuple):
    """What became of a Pokemon about to move."""

    goes: Array  # bool: it moves
    hurts_itself: Array  # bool: in its confusion
    unleashes: Array  # i32: the damage of a Bide that ends now


def before_move(
    draw: Any, s: Any, *, me: Side, foe: Side, last_damage: Array, place: Array, runs: Array, own: Array
) -> tuple[Any, Side, Before]:
    """Freeze, sleep, trapping, flinch, recharge, Disable, confusion, paralysis, Bide, in this order.

    `runs`: there is a move to make; `own`: it targets its user.
    """
    a = me.active
    frozen = runs & (me.status == data.FRZ)
    asleep = runs & (me.status == data.SLP)
    me = put(me, asleep, sleep=me.sleep - 1)
    a = put(a, frozen | asleep, last_move=0)
    a = put(a, frozen | (asleep & (me.sleep > 0)), trapping=False)
    awake = runs & ~frozen & ~asleep
    go = awake & (a.trapped_turns == 0) & ~a.flinch
    recharges = go & a.recharge
    a = put(a, recharges, recharge=False)
    a = put(a, (awake & ~go) | recharges, trapping=False)
    a = put(a, recharges | (awake & (a.trapped_turns == 0) & a.flinch), recharges=False)
    go &= ~recharges

    hindered = go & (a.disable_turns > 0)
    a = put(a, hindered, disable_turns=a.disable_turns - 1)
    move = jnp.where(a.bide_turns > 0, data.BIDE, me.todo)
    stopped = hindered & (a.disable_turns > 0) & (move == a.disable_move)
    a = put(a, stopped, charging=0, trapping=False)
    go &= ~stopped

    dizzy = go & (a.confusion > 0)
    a = put(a, dizzy, confusion=a.confusion - 1)
    dizzy &= a.confusion > 0
    a = put(a, dizzy, dizzy_turns=jnp.minimum(a.dizzy_turns + 1, 7))
    s, number = draw(s, place, SITE["confusion"], 0, 256, dizzy)
    hurts_itself = dizzy & (number >= CONFUSED)
    go &= ~hurts_itself
    paralysed = go & (me.status == data.PAR)
    s, number = draw(s, place + 1, SITE["paralysis"], 0, 256, paralysed)
    paralysed &= number < PARALYSED
    go &= ~paralysed
    s, me, a, go, hurts_itself, paralysed = cut(place, (s, me, a, go, hurts_itself, paralysed))
    broken = hurts_itself | paralysed
    a = put(a, broken, bide_turns=0, charging=0, lock_turns=0, thrash_move=0, trapping=False, lock_uses=0)
    a = put(a, hurts_itself, hidden=False)

    bides = go & (a.bide_turns > 0)
    a = put(a, bides, bide_turns=a.bide_turns - 1, bide_damage=a.bide_damage + last_damage)
    a = put(a, bides, lock_uses=jnp.where(a.bide_turns > 0, jnp.minimum(a.lock_uses + 1, 5), 0))
    unleashes = jnp.where(bides & (a.bide_turns == 0), 2 * a.bide_damage, 0)
    go &= ~bides
    a = put(a, go & (own | (a.lock_target != foe.active.index)), lock_turns=0)
    return s, me._replace(active=a), Before(go, hurts_itself, unleashes)


def after_move(me: Side, foe: Side, mask: Array) -> tuple[Side, Side]:
    """Toxic's counter, waking up, poison and burn, Leech Seed (the event AfterMoveSelf)."""
    a = me.active
    hurt = mask & ((me.status == data.BRN) | (me.status == data.PSN) | (me.status == data.TOX))
    a = put(a, hurt & (a.toxic > 0), toxic=a.toxic + 1)
    me = put(me, mask & (me.status == data.SLP) & (me.sleep <= 0) & (me.hp > 0), status=0)
    part = jnp.maximum(me.maxhp >> 4, 1)
    times = jnp.where(a.toxic > 0, a.toxic - 1, 1)
    hp = jnp.where(hurt, jnp.maximum(me.hp - part * times, 0), me.hp)
    seeded = mask & a.leechseed & (foe.hp > 0)
    a = put(a, seeded & (a.toxic > 0), toxic=a.toxic + 1)
    part = part * jnp.where(a.toxic > 0, a.toxic - 1, 1)
    hp = jnp.where(seeded, jnp.maximum(hp - part, 0), hp)
    foe = put(foe, seeded, hp=jnp.minimum(foe.hp + part, foe.maxhp))
    return me._replace(active=a, hp=hp), foe


def redropped(side: Side, mask: Array) -> Side:
    """The drop of paralysis or burn, once more."""
    return side._replace(active=put(side.active, mask, now=dropped(side.active.now, side.status)))
