"""One Pokemon's move: a single body for all moves, whose rows of numbers say which parts of it apply.

Under vmap every branch is paid for by every battle, so there are none: masks select. The order of draws is
the simulator's.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxnash.games.gen1 import data, knowledge
from jaxnash.games.gen1.damage import before_roll, confusion_damage, critical_rate, has_type, immune
from jaxnash.games.gen1.data import CANNOTMOVE, KIND, METRONOME, MIRRORMOVE, STRUGGLE
from jaxnash.games.gen1.effects import Hit, effects, secondary, trapped
from jaxnash.games.gen1.platforms import cut
from jaxnash.games.gen1.source import SITE
from jaxnash.games.gen1.state import Active, Side, pick, put, put_at
from jaxnash.games.gen1.status import after_move, before_move, enraged
from jaxnash.types import Array

CALLS = 4  # moves that Metronome and Mirror Move may call one through another
PLACES = 16  # places in `act` that draw


def act(
    draw: Any, s: Any, *, me: Side, foe: Side, last_damage: Array, place: Array
) -> tuple[Any, Side, Side, Array]:
    """`me` makes the move in `me.todo`, if any. Returns the source's state, `me`, `foe`, battle.lastDamage.

    Whoever has no hp left after it has fainted; its fields on the field mean nothing then.
    """
    acts, seen = me.todo != 0, me.active.seen_pp
    runs = acts & (me.todo != CANNOTMOVE)
    own = data.move_row(me.todo).own > 0
    me = put(me, runs & own, sub_broke=False)
    foe = put(foe, runs & ~own, sub_broke=False)
    s, me, before = before_move(
        draw, s, me=me, foe=foe, last_damage=last_damage, place=place, runs=runs, own=own
    )
    s, me, before = cut(place, (s, me, before))
    go = before.goes
    me, goes_on = _spend(me, go)
    me, foreign = cut(place, knowledge.chosen(me, go=go, goes_on=goes_on))
    s, me, id, last_damage = _called(draw, s, me, foe, go, last_damage, place + 2)
    move = data.move_row(id)
    called = id != me.todo
    active = knowledge.announced(me.active, move, go, called=called, foreign=foreign, goes_on=goes_on)
    me = me._replace(active=active)
    me, starts = _charge(me, move, go)
    s, me, move, starts, last_damage = cut(place, (s, me, move, starts, last_damage))
    id = move.id
    runs = go & ~starts
    trap = move.kind == KIND["trap"]
    foe = foe._replace(active=put(foe.active, runs & trap, recharge=False, recharges=False))
    last_damage = jnp.where(runs & (move.keeps == 0), 0, last_damage)

    s, me = _thrash(draw, s, me, move, runs, place + 6)
    at_foe = move.own == 0
    explodes = runs & (move.kind == KIND["explode"])
    away = foe.active.hidden & (move.kind != KIND["swift"]) & (move.kind != KIND["transform"])
    unable = away | immune(foe.active, move)
    faints = explodes & unable
    unable |= (move.kind == KIND["leechseed"]) & has_type(foe.active, data.GRASS)
    dreams = (foe.status == data.SLP) & (foe.active.sub == 0)
    unable |= (move.kind == KIND["dreameater"]) & ~dreams
    unable |= (move.kind == KIND["ohko"]) & (foe.active.now[3] > me.active.now[3])
    tries = runs & ~(at_foe & unable)
    s, me, missed = _aim(draw, s, me, foe, move, tries, place + 7)
    me = me._replace(active=put(me.active, missed | (runs & at_foe & away), trapping=False))
    last_damage = jnp.where(missed, 0, last_damage)
    hit = tries & ~missed & (id != METRONOME) & (id != MIRRORMOVE)
    s, me, hit, tries, last_damage = cut(place, (s, me, hit, tries, last_damage))

    s, me, foe, last_damage, blow = _strike(
        draw, s, me=me, foe=foe, move=move, hit=hit, unleashed=before.unleashes, last=last_damage, place=place
    )
    hit &= ~(at_foe & (move.category != data.STATUS)) | blow.landed
    s, last_damage, blow, hit, me, foe = cut(place, (s, last_damage, blow, hit, me, foe))
    s, me, foe = effects(
        draw,
        s,
        me=me,
        foe=foe,
        move=move,
        hit=hit,
        blow=blow,
        last=last_damage,
        seen_pp=seen,
        place=place + 12,
    )
    s, me, foe = cut(place, (s, me, foe))
    faints |= explodes & ~foe.sub_broke
    me = put(me, faints, hp=0)
    builds = runs & (foe.hp > 0) & (explodes | (move.kind == KIND["disable"]))
    rages = jnp.where(builds, 1, blow.rages)
    foe = foe._replace(active=enraged(foe.active, rages, 5))
    s, me, foe = secondary(draw, s, me=me, foe=foe, move=move, hit=hit, blow=blow, place=place + 14)
    hit_thawing = hit & (move.secondary > 0) & (move.status == data.BRN)
    foe = put(foe, hit_thawing & (foe.status == data.FRZ) & (foe.hp > 0), status=0, thawed=True)
    s, me, foe = cut(place, (s, me, foe))

    crashes = runs & (move.kind == KIND["crash"]) & ~hit
    me = me._replace(active=put(me.active, tries & ~hit, lock_turns=0))
    hurt = jnp.where(before.hurts_itself, confusion_damage(me), 1)
    me, foe, last_damage = _hurt_itself(me, foe, hurt, before.hurts_itself | crashes, last_damage)
    me, foe, last_damage = cut(place, (me, foe, last_damage))
    me, foe = _end(me, foe, go)
    stands = jnp.where(at_foe, foe.hp > 0, me.hp > 0)
    me, foe = after_move(me, foe, (acts & ~go) | (go & stands))
    return s, me._replace(todo=jnp.zeros_like(me.todo)), foe, last_damage


def _set_pp(me: Side, mask: Array, by: int) -> Side:
    """PP of the slot last selected, in six bits; the Pokemon's own slot follows unless it is transformed."""
    a = me.active
    mask &= pick(a.moves, a.slot) != 0
    left = (pick(a.pp, a.slot) + by) & 63
    return me._replace(
        active=a._replace(pp=put_at(a.pp, a.slot, mask, left)),
        base_pp=put_at(me.base_pp, a.slot, mask & ~a.transformed, left),
    )


def _spend(me: Side, go: Array) -> tuple[Side, Array]:
    """PP; whether this goes on with what it is locked into."""
    a = me.active
    locked = (a.thrash_move > 0) | (a.charging > 0) | (a.rage > 0) | (a.lock_turns > 0)
    first = ~locked & ~data.two_turns(data.move_row(me.todo).kind)
    return _set_pp(me, go & (me.todo != STRUGGLE) & (first | (a.charging > 0)), -1), locked


def _called(
    draw: Any, s: Any, me: Side, foe: Side, go: Array, last: Array, place: Array
) -> tuple[Any, Side, Array, Array]:
    """The move that is made in the end: what Metronome and Mirror Move call."""
    id, a = me.todo, me.active
    charging, foe_last = a.charging > 0, foe.active.last_move

    def remember(a: Active, id: Array, mask: Array) -> tuple[Active, Array]:
        two = data.two_turns(data.move_row(id).kind)
        a = put(a, mask, side_last=data.shown(id), enemy_last=data.shown(id))
        return put(a, mask & (~two | charging), last_move=data.shown(id)), two

    a, _ = remember(a, id, go)
    for i in range(CALLS):
        random = go & (id == METRONOME)
        mirror = go & (id == MIRRORMOVE) & (foe_last != 0) & (foe_last != MIRRORMOVE)
        s, number = draw(s, place + i, SITE["metronome"], 0, len(data.CALLABLE), random)
        calls = random | mirror
        id = jnp.where(random, jnp.asarray(data.CALLABLE)[number], jnp.where(mirror, foe_last, id))
        last = jnp.where(calls, 0, last)
        a = put(a, calls, selected=id, seen=id)
        a, two = remember(a, id, calls)
        me = _set_pp(me._replace(active=a), calls & two, 1)
        me = knowledge.spent(me, calls & two, 1)
        back = calls & a.transformed & (pick(me.base_moves, a.slot) != 0)
        more = (pick(me.base_pp, a.slot) + 1) & 63
        me = me._replace(base_pp=put_at(me.base_pp, a.slot, back, more))
        s, me, id, last = cut(place, (s, me, id, last))
        a = me.active
    return s, me, id, last


def _charge(me: Side, move: data.Move, go: Array) -> tuple[Side, Array]:
    """The two turns of Dig, Fly, Solar Beam, ...: bool[], this is the first."""
    a = me.active
    two = go & data.two_turns(move.kind)
    ends = two & (a.charging > 0)
    starts = two & (a.charging == 0)
    a = put(a, ends, charging=0, hidden=False)
    a = put(a, starts, charging=move.id)
    a = put(a, starts & (move.kind == KIND["hide"]), hidden=True)
    return me._replace(active=a), starts


def _thrash(draw: Any, s: Any, me: Side, move: data.Move, runs: Array, place: Array) -> tuple[Any, Side]:
    a = me.active
    thrashes = runs & (move.kind == KIND["thrash"])
    new = thrashes & (a.thrash_move == 0)
    left = a.thrash_turns - 1
    tires = thrashes & ~new & (left == 0)
    site = jnp.where(new, SITE["thrash_turns"], SITE["confusion_turns"])
    s, number = draw(s, place, site, 2, jnp.where(new, 4, 6), new | tires)
    a = put(a, thrashes & ~new, thrash_turns=left)
    a = put(a, tires, confusion=number, dizzy_turns=0, lock_uses=0)
    a = put(a, new, thrash_move=move.id, thrash_turns=number, thrash_accuracy=255)
    return s, me._replace(active=a)


def _aim(
    draw: Any, s: Any, me: Side, foe: Side, move: data.Move, tries: Array, place: Array
) -> tuple[Any, Side, Array]:
    """Whether it misses. Thrash and Rage keep the accuracy they had, so stages compound."""
    a, t = me.active, foe.active
    thrashes, rages = a.thrash_move > 0, a.rage > 0
    accuracy = jnp.where(thrashes, a.thrash_accuracy, move.accuracy)
    accuracy = jnp.where(rages, a.rage, accuracy)
    stages = jnp.asarray(data.STAGES)
    accuracy = accuracy * stages[a.boosts[4] + 6] // 100
    accuracy = jnp.clip(accuracy * stages[6 - t.boosts[5]] // 100, 1, 255)
    puts_to_sleep = (move.status == data.SLP) & (move.secondary == 0)
    aims = tries & (move.accuracy > 0) & ~(puts_to_sleep & t.recharge)
    a = put(a, aims & thrashes, thrash_accuracy=accuracy)
    a = put(a, aims & rages, rage=accuracy)
    sure = (t.trapped_turns > 0) & (t.trapped_by == a.index)
    aims &= ~sure
    s, number = draw(s, place, SITE["accuracy"], 0, 256, aims)
    return s, me._replace(active=a), aims & (number >= accuracy)


def damage(
    draw: Any, s: Any, *, me: Side, foe: Side, move: data.Move, hit: Array, last: Array, place: Array
) -> tuple[Any, Array, Array, Array]:
    """Of a blow: i32[] whatever hp is left, whether it lands, and how many blows there are."""
    a, t, kind = me.active, foe.active, move.kind
    attacks = hit & (move.own == 0) & (move.category != data.STATUS)
    many = attacks & (kind == KIND["often"])
    s, number = draw(s, place + 8, SITE["multi_hit"], 0, 8, many)
    blows = jnp.where(many, jnp.asarray(data.HITS)[number], jnp.where(kind == KIND["twice"], 2, 1))

    special = jnp.zeros_like(hit)
    for name in ("level", "fixed", "superfang", "psywave", "counter", "ohko"):
        special |= kind == KIND[name]
    trap = kind == KIND["trap"]
    ghost = trap & (move.type == data.NORMAL) & has_type(t, data.GHOST)
    held = (a.lock_turns > 0) & (a.lock_target == t.index)
    rolls = attacks & ~special & ~ghost & ~held
    rate = critical_rate(me, move)
    s, number = draw(s, place + 9, SITE["crit"], 0, 256, rolls & (rate > 0))
    raw = before_roll(me, foe, move, (rate > 0) & (number < rate))
    s, number = draw(s, place + 10, SITE["roll"], 217, 256, rolls & (raw > 1))
    raw = jnp.where(raw > 1, raw * number // 255, raw)
    raw = jnp.where(held, a.lock_damage, raw)
    raw = jnp.where(ghost, 0, raw)
    wave = attacks & (kind == KIND["psywave"])
    wave_ok = ((me.level + (me.level >> 1)) & 255) >= 2
    most = me.level + (me.level >> 1)
    s, number = draw(s, place + 11, SITE["psywave"], 1, jnp.maximum(most, 2), wave & wave_ok)
    answered = data.move_row(t.enemy_last)
    normal = (answered.type == data.NORMAL) | (answered.type == data.FIGHTING)
    counters = normal & (answered.power > 0) & (t.seen != data.COUNTER) & (last > 0)
    fixed = (
        ("level", me.level),
        ("fixed", move.power),
        ("superfang", jnp.maximum(foe.hp >> 1, 1)),
        ("psywave", number),
        ("counter", 2 * last),
        ("ohko", 65535),
    )
    for name, value in fixed:
        raw = jnp.where(kind == KIND[name], value, raw)
    fails = ((kind == KIND["psywave"]) & ~wave_ok) | ((kind == KIND["counter"]) & ~counters)
    return s, raw, attacks & ~fails, blows


def _strike(
    draw: Any,
    s: Any,
    *,
    me: Side,
    foe: Side,
    move: data.Move,
    hit: Array,
    unleashed: Array,
    last: Array,
    place: Array,
) -> tuple[Any, Side, Side, Array, Hit]:
    """Damage to the foe or to its substitute, with recoil and drained hp."""
    t, kind = foe.active, move.kind
    s, raw, landed, blows = damage(draw, s, me=me, foe=foe, move=move, hit=hit, last=last, place=place)
    raw = jnp.where(unleashed > 0, unleashed, raw)
    landed |= unleashed > 0
    raw, landed, blows = cut(place, (raw, landed, blows))
    blows = jnp.where(foe.sub_broke | (unleashed > 0), 1, blows)

    # a substitute takes the same damage from every blow until it breaks
    behind = landed & (t.sub > 0)
    left = t.sub - raw * blows
    broke = behind & (left <= 0)
    stood = behind & ~broke
    # the Pokemon takes the damage of the first blow from every other, while it has hp
    direct = landed & ~behind
    first = jnp.minimum(raw, foe.hp)
    hp, dealt, struck = foe.hp - first, first, 1
    for i in range(1, 5):
        more = (blows > i) & (hp > 0)
        dealt = jnp.where(more, jnp.minimum(first, hp), dealt)
        hp = jnp.where(more, hp - jnp.minimum(first, hp), hp)
        struck = struck + more
    last = jnp.where(behind, raw, jnp.where(direct, dealt, last))
    t = put(t, behind, sub=jnp.where(broke, 0, left))
    t = put(t, stood, sub_hits=jnp.minimum(t.sub_hits + blows, 5))
    foe = put(put(foe, broke, sub_broke=True), direct, hp=hp)

    given = jnp.where(stood, raw, jnp.where(direct, first, 0))
    plain = unleashed == 0
    drains = plain & (move.drain > 0) & (stood | (direct & (first > 0)))
    drained = jnp.maximum(given >> 1, 1)
    last = jnp.where(drains, drained, last)
    mine = jnp.where(drains, jnp.minimum(me.hp + drained, me.maxhp), me.hp)
    recoils = plain & (move.recoil > 0) & (given > 0)
    mine = jnp.where(recoils, jnp.maximum(mine - jnp.maximum(given >> move.recoil, 1), 0), mine)
    whole = (kind != KIND["twice"]) | (struck == 2)
    rages = jnp.where(direct & ~(kind == KIND["explode"]), struck - (hp <= 0), 0)
    result = Hit(landed=landed, direct=direct, stood=stood, rages=rages, last=whole)
    return s, me._replace(hp=mine), foe._replace(active=t), last, result


def _hurt_itself(me: Side, foe: Side, damage: Array, mask: Array, last: Array) -> tuple[Side, Side, Array]:
    """In confusion, or after a Jump Kick that missed. With a substitute, the *foe's* substitute is hit."""
    last = jnp.where(mask, damage, last)
    astray = mask & (me.active.sub > 0) & (foe.active.sub > 0)
    left = foe.active.sub - damage
    t = put(foe.active, astray, sub=jnp.maximum(left, 0))
    t = put(t, astray & (left > 0), sub_hits=jnp.minimum(t.sub_hits + 1, 5))
    foe = put(foe, astray & (left <= 0), sub_broke=True)
    me = put(me, mask & (me.active.sub == 0), hp=jnp.maximum(me.hp - damage, 0))
    return me, foe._replace(active=t), last


def _end(me: Side, foe: Side, go: Array) -> tuple[Side, Side]:
    """The event AfterMove: what a lock, a recharge, a Thrash become."""
    a, t = me.active, foe.active
    fell = foe.hp <= 0
    locked = go & (a.lock_turns > 0)
    a = put(a, locked & fell, lock_turns=0)
    a = put(a, go & a.recharge & fell, recharge=False, recharges=False)
    over = locked & ~fell & (a.lock_turns == 1)
    fakes = over & (a.lock_total != 5)
    a = put(a, fakes & (a.fake_turns == 0), fake_turns=2)
    t = put(t, fakes & (t.fake_turns == 0), fake_turns=2)
    a = put(a, fakes, fake_partner=t.index)
    t = put(t, fakes, fake_partner=a.index)
    goes_on = locked & ~fell & (a.lock_turns != 1)
    t = trapped(t, a.index, goes_on)
    t = put(t, goes_on & (a.lock_total > a.lock_turns), trapped_maybe=True)
    a = put(a, go & (a.thrash_move > 0) & (a.thrash_turns <= 0), thrash_move=0)
    return me._replace(active=a), foe._replace(active=t)
