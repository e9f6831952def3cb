"""What a move does besides damage: its own effect, its secondary effect, what it puts on the foe."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxnash.games.gen1 import data, knowledge
from jaxnash.games.gen1.damage import has_type
from jaxnash.games.gen1.data import CANNOTMOVE, KIND
from jaxnash.games.gen1.platforms import cut
from jaxnash.games.gen1.source import SITE
from jaxnash.games.gen1.state import SLOTS, TEAM, Active, Four, Side, pick, put, put_at
from jaxnash.games.gen1.status import boosted, redropped
from jaxnash.types import Array


class Hit(NamedTuple):
    """What an attack did to its target."""

    landed: Array  # bool: it did not fail
    direct: Array  # bool: it struck the Pokemon itself, not a substitute
    stood: Array  # bool: it struck a substitute, which stood
    rages: Array  # i32: how often a raging target's attack goes up
    last: Array  # bool: the last of several blows struck


def effects(
    draw: Any,
    s: Any,
    *,
    me: Side,
    foe: Side,
    move: data.Move,
    hit: Array,
    blow: Hit,
    last: Array,
    seen_pp: Four,
    place: Array,
) -> tuple[Any, Side, Side]:
    """What a move does besides damage, but for its secondary effect and what it puts on the foe's status.

    `seen_pp`: that of `me` before this move was announced.
    """
    a, t, kind = me.active, foe.active, move.kind
    # its one draw
    usable = [(m != 0) & (pp > 0) for m, pp in zip(t.moves, t.pp, strict=True)]
    known = [(m != 0).astype(jnp.int32) for m in t.moves]
    disables = hit & (kind == KIND["disable"]) & (t.disable_turns == 0) & (sum(usable) > 0)
    mimics = hit & (kind == KIND["mimic"])
    bides = hit & (kind == KIND["bide"]) & (a.bide_turns == 0)
    traps = hit & (kind == KIND["trap"]) & blow.landed
    locks = traps & (a.lock_turns == 0)
    missing = me.maxhp - me.hp
    odd = ((missing == 255) | (missing == 511)) & (me.hp % 256 != 0)
    heals = hit & (missing > 0) & ~odd
    rests = heals & (kind == KIND["rest"])
    choices = (
        ("disable_move", 0, sum(u.astype(jnp.int32) for u in usable), disables),
        ("mimic", 0, sum(known), mimics),
        ("bide_turns", 2, 4, bides),
        ("trap_turns", 0, 8, locks),
        ("sleep_turns", 1, 8, rests),
    )
    site, lo, hi, any_ = jnp.int32(0), jnp.int32(0), jnp.int32(1), jnp.zeros_like(hit)
    for name, low, high, mask in choices:
        site, lo, hi = jnp.where(mask, SITE[name], site), jnp.where(mask, low, lo), jnp.where(mask, high, hi)
        any_ |= mask
    s, number = draw(s, place, site, lo, hi, any_)
    s, turns = draw(s, place + 1, SITE["disable_turns"], 1, 9, disables)
    held = (s, number, turns, disables, mimics, bides, traps, locks, heals, rests)
    s, number, turns, disables, mimics, bides, traps, locks, heals, rests = cut(place, held)

    slot, seen = jnp.int32(0), jnp.int32(-1)
    for i in range(SLOTS):
        seen = seen + usable[i]
        slot = jnp.where(usable[i] & (seen == number), i, slot)
    disabled = pick(t.moves, slot)
    t = put(t, disables, disable_turns=turns, disable_slot=slot, disable_move=disabled, disabled_turns=0)
    foe = foe._replace(active=t)
    foe = knowledge.learnt(foe, disabled, slot, disables)[0]
    t = foe.active
    learns = mimics & (pick(a.moves, a.slot) != 0)
    a = knowledge.mimicked(a, learns)
    a = a._replace(
        moves=put_at(a.moves, a.slot, learns, pick(t.moves, number)),
        virtual=put_at(a.virtual, a.slot, learns, jnp.bool_(True)),
    )
    a = put(a, bides, bide_turns=number, bide_damage=0)
    me = put(me, rests, status=data.SLP, sleep=2, sleep_start=2, sleep_own=True, hp=me.maxhp)
    recovers = heals & (kind == KIND["recover"])
    me = put(me, recovers, hp=jnp.minimum(me.hp + (me.maxhp >> 1), me.maxhp))

    # partial trapping: by the attack itself, then by the lock
    t = trapped(t, a.index, traps & blow.direct & (foe.hp > 0))
    holds = locks & (foe.hp > 0)
    length = jnp.asarray(data.HITS)[jnp.where(locks, number, 0)]
    a = put(
        a,
        holds,
        lock_turns=length,
        lock_total=length,
        lock_move=move.id,
        lock_damage=last,
        lock_target=t.index,
    )
    t = trapped(t, a.index, holds)
    whole = hit & (blow.direct | blow.stood)
    a = put(a, whole & (kind == KIND["recharge"]), recharge=True, recharges=True)
    a = put(a, whole & (kind == KIND["rage"]) & (a.rage == 0), rage=255)

    for name in ("mist", "focusenergy", "lightscreen", "reflect"):
        a = put(a, hit & (kind == KIND[name]), **{name: True})
    t = put(t, hit & (kind == KIND["leechseed"]), leechseed=True)
    quarter = me.maxhp >> 2
    hides = hit & (kind == KIND["substitute"]) & (a.sub == 0) & (4 * me.hp >= me.maxhp)
    t = put(t, hides & (a.trapped_turns > 0), trapping=False)
    a = put(a, hides, sub=quarter + 1, trapped_turns=0, sub_hits=0)
    me = put(me, hides & (me.maxhp > 3), hp=me.hp - quarter)
    a = put(a, hit & (kind == KIND["conversion"]), types=t.types)
    form = jnp.where(t.form == 0, 1 + t.index, jnp.where(t.form <= TEAM, t.form + TEAM, t.form - TEAM))
    # its owner knows what it has, unless it has just taken it from `me` and no request came since
    copied = [(m != 0) & ~(foe.copied & (pp < 0)) for m, pp in zip(t.moves, seen_pp, strict=True)]
    five = tuple(jnp.where(m != 0, 5, 0) for m in t.moves)
    a = put(
        a,
        hit & (kind == KIND["transform"]),
        transformed=True,
        **{name: getattr(t, name) for name in ("species", "types", "stored", "now", "boosts", "moves")},
        pp=five,
        seen_pp=tuple(jnp.where(known, 5, -1) for known in copied),
        form=form,
        virtual=tuple(m != 0 for m in t.moves),
    )
    me = put(me, hit & (kind == KIND["transform"]), copied=True)
    return s, *_haze(me._replace(active=a), foe._replace(active=t), hit & (kind == KIND["haze"]))


def trapped(active: Active, by: Array, mask: Array) -> Active:
    """Partially trapped; if it was already, two turns again from whom it was."""
    new = mask & (active.trapped_turns == 0)
    active = put(active, new, trapped_by=by, trapped_maybe=False)
    return put(active, mask, trapped_turns=2)


def _haze(me: Side, foe: Side, mask: Array) -> tuple[Side, Side]:
    stuck = mask & ((foe.status == data.FRZ) | (foe.status == data.SLP))
    t = put(foe.active, stuck, selected=CANNOTMOVE, seen=CANNOTMOVE)
    foe = put(foe._replace(active=t), stuck & (foe.todo != 0), todo=CANNOTMOVE)
    foe = put(foe, mask, status=0)
    me = put(me, mask & (me.status == data.TOX), status=data.PSN)
    return me._replace(active=_cleared(me.active, mask)), foe._replace(active=_cleared(foe.active, mask))


def _cleared(active: Active, mask: Array) -> Active:
    """Stages and what else Haze takes away."""
    return put(
        active,
        mask,
        boosts=(0,) * 6,
        now=active.stored,
        disable_turns=0,
        confusion=0,
        toxic=0,
        **{name: False for name in ("mist", "focusenergy", "leechseed", "lightscreen", "reflect")},
    )


def secondary(
    draw: Any, s: Any, *, me: Side, foe: Side, move: data.Move, hit: Array, blow: Hit, place: Array
) -> tuple[Any, Side, Side]:
    """Status, confusion, stages and flinching, whether the move is for that or it is its secondary effect."""
    t = foe.active
    status, second = move.status, move.secondary > 0
    shielded = has_type(t, move.type) & ((status == data.PAR) | (status == data.BRN) | (status == data.FRZ))
    extra = hit & second & blow.direct & blow.last & (foe.hp > 0) & ~shielded
    through = hit & second & blow.stood & (move.confusion > 0)
    site = jnp.where(through, SITE["substitute_confusion"], SITE["secondary"])
    s, number = draw(s, place, site, 0, 256, extra | through)
    happens = number < move.secondary
    extra, through = extra & happens, through & happens
    blocked = (t.sub > 0) & (
        (status == data.PSN) | (status == data.TOX) | (move.stat > 0) | (move.confusion > 0)
    )
    main = hit & ~second & (move.category == data.STATUS) & (move.own == 0) & ~blocked
    falls = main | extra

    poison = (status == data.PSN) | (status == data.TOX)
    over = (status == data.SLP) & t.recharge & (foe.status != data.SLP)
    gets = falls & (status > 0) & (foe.hp > 0) & ((foe.status == 0) | over)
    gets &= ~(poison & has_type(t, data.POISON))
    gets &= ~((status == data.SLP) & foe.sleeper) & ~((status == data.FRZ) & foe.frozen)
    dizzy = (falls | through) & (move.confusion > 0) & (t.confusion == 0) & (foe.hp > 0)
    sleeps = gets & (status == data.SLP)
    site = jnp.where(sleeps, SITE["sleep_turns"], SITE["confusion_turns"])
    lo, hi = jnp.where(sleeps, 1, 2), jnp.where(sleeps, 8, 6)
    s, number = draw(s, place + 1, site, lo, hi, sleeps | dizzy)
    held = (s, number, sleeps, dizzy, gets, falls, extra, main)
    s, number, sleeps, dizzy, gets, falls, extra, main = cut(place, held)
    t = put(t, sleeps, recharge=False, recharges=False)
    t = put(t, dizzy, confusion=number, dizzy_turns=0)
    t = put(t, gets & (status == data.TOX), toxic=1)
    foe = put(foe._replace(active=t), gets, status=status)
    foe = put(foe, sleeps, sleep=number, sleep_start=number, sleep_own=False)
    drops = gets & ((status == data.PAR) | (status == data.BRN))
    foe = redropped(foe, drops)
    t = put(foe.active, extra & (move.flinch > 0) & ~foe.active.flinch, flinch=True, recharge=False)

    stat = move.stat - 1
    changes = falls & (move.stat > 0) & ~(main & t.mist)
    t, lowered = boosted(t, stat, move.change, changes)
    own = hit & (move.own > 0) & (move.stat > 0)
    a, raised = boosted(me.active, stat, move.change, own)
    foe = redropped(foe._replace(active=t), lowered | raised)
    return s, me._replace(active=a), foe
