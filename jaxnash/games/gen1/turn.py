"""A decision: what the sides chose, in the order in which it happens, to the next decision."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxnash.games.gen1 import data, knowledge
from jaxnash.games.gen1.layout import NUM_ACTIONS
from jaxnash.games.gen1.moves import PLACES, act
from jaxnash.games.gen1.platforms import cpu_or_gpu
from jaxnash.games.gen1.source import SITE, Source
from jaxnash.games.gen1.state import (
    RUNNING,
    SLOTS,
    TEAM,
    TIE,
    Active,
    Setup,
    Side,
    State,
    Team,
    bench_of,
    blank,
    brought,
    dropped,
    kept,
    pick,
    put,
    row,
    row_of,
    side_of,
    start,
    team_of,
    where,
    with_row,
)
from jaxnash.types import Array

LAST_TURN = 1000


class Request(NamedTuple):
    """What a side is asked."""

    kind: Array  # i32: 0 waits, 1 a move or a switch, 2 a switch
    legal: Array  # bool[9]
    single: Array  # bool: the one move offered is not a choice of move
    hard: Array  # bool: locked into a move, without a switch
    maybe_locked: Array  # bool
    order: tuple[Array, ...]  # slots of actions 0-3, SLOTS where there is none
    bench: Array  # i32[5]: indices of actions 4-8; the last ones are empty in a small team


def request(side: Side, team: Team, forced: Array, over: Array) -> Request:
    """What this side is asked; `forced`: someone has fainted, so that only the fainted are replaced."""
    a = side.active
    fallen = side.hp <= 0
    hard = a.recharge | (a.thrash_move > 0) | (a.charging > 0) | (a.rage > 0)
    hard &= ~fallen
    still = (side.status == data.FRZ) | (side.status == data.SLP) | (a.bide_turns > 0)
    maybe = ((a.trapped_turns > 0) & a.trapped_maybe) | (a.fake_turns > 0)
    maybe = (maybe | ((a.lock_turns > 0) & (a.lock_total - a.lock_turns > 1))) & ~still & ~hard
    semi = ((a.bide_turns > 0) | (a.lock_turns > 0)) & ~maybe
    fight = (side.status == data.FRZ) | (side.status == data.SLP) | ((a.trapped_turns > 0) & ~maybe)
    fight &= ~hard & ~semi
    free = usable(a)
    struggle = ~(free[0] | free[1] | free[2] | free[3]) & ~hard & ~semi & ~fight
    single = hard | semi | fight | struggle
    order = move_order(a.moves)
    bench = bench_order(team, a.index)
    moves = [pick((*free, jnp.bool_(False)), slot) for slot in order]
    moves = [jnp.where(single, i == 0, moves[i]) for i in range(SLOTS)]
    switches = (team.hp > 0).at[bench].get(mode="promise_in_bounds") & ~hard
    waits = over | (forced & ~fallen)
    kind = jnp.where(waits, 0, jnp.where(forced, 2, 1))
    legal = jnp.concatenate([jnp.stack(moves), switches])
    places = jnp.arange(NUM_ACTIONS)
    legal = jnp.where(waits, places == 0, legal & ~(forced & (places < SLOTS)))
    return Request(kind, legal, single, hard, maybe, order, bench)


def usable(active: Active) -> tuple[Array, ...]:
    """bool[] by slot: a move that has PP and is not disabled."""
    return tuple(
        (move != 0) & (pp > 0) & ~((active.disable_turns > 0) & (active.disable_slot == i))
        for i, (move, pp) in enumerate(zip(active.moves, active.pp, strict=True))
    )


def move_order(moves: tuple[Array, ...]) -> tuple[Array, ...]:
    """Slots in ascending order of the ids in them, then SLOTS."""
    places = range(SLOTS)
    ids = [jnp.where(move > 0, move * SLOTS + i, 1024 + i) for i, move in enumerate(moves)]
    ranks = [sum((ids[j] < ids[i]).astype(jnp.int32) for j in places) for i in places]
    slots = [jnp.where(move > 0, i, SLOTS) for i, move in enumerate(moves)]
    return tuple(
        jnp.where(
            ranks[0] == r,
            slots[0],
            jnp.where(ranks[1] == r, slots[1], jnp.where(ranks[2] == r, slots[2], slots[3])),
        )
        for r in places
    )


def bench_order(team: Team, index: Array) -> Array:
    """i32[5]: places in the team of all but `index`, in the order of the species' names."""
    before = jnp.cumsum(team.order == index)[:-1] > 0
    return jnp.where(before, team.order[1:], team.order[:-1]).astype(jnp.int32)


def begin(setup: Setup) -> State:
    """The first decision; a tie at once where neither team could ever get on."""
    state = start(setup)
    sides = [side_of(a, t) for a, t in zip(state.actives, state.teams, strict=True)]
    stuck = _no_progress(sides, list(state.teams))
    return state._replace(winner=jnp.where(stuck, TIE, state.winner).astype(jnp.int8))


def step(source: Source, state: State, actions: Array) -> tuple[State, Any]:
    """The next decision (or the end), and the source's state."""
    over = state.winner != RUNNING
    sides = [side_of(a, t) for a, t in zip(state.actives, state.teams, strict=True)]
    forced = (sides[0].hp <= 0) | (sides[1].hp <= 0)
    asked = [request(side, team, forced, over) for side, team in zip(sides, state.teams, strict=True)]
    actions = actions.astype(jnp.int32)
    wrong = jnp.int32(0)
    chosen = []
    for n in range(2):
        legal = asked[n].legal
        fine = ((jnp.arange(NUM_ACTIONS) == actions[n]) & legal).any()
        chosen.append(jnp.where(fine, actions[n], jnp.argmax(legal)))
        wrong += ~fine
    switch = [(asked[n].kind > 0) & (chosen[n] >= SLOTS) for n in range(2)]
    target = [row(asked[n].bench, jnp.maximum(chosen[n] - SLOTS, 0)) for n in range(2)]
    moves = [(asked[n].kind == 1) & ~switch[n] for n in range(2)]
    sides = [_select(sides[n], asked[n], moves[n], chosen[n]) for n in range(2)]

    draw, s = source.draw, source.state
    s, second_first = _order(draw, s, sides, switch, moves)
    (a, b), (team_a, team_b) = _swapped(second_first, sides), _swapped(second_first, list(state.teams))
    switch, target = _swapped(second_first, switch), _swapped(second_first, target)
    a, b, team_a = _switch(a, b, team_a, switch[0], target[0], ~forced)
    cancelled = ~forced & (a.hp <= 0)
    switches = switch[1] & ~cancelled
    b, a, team_b = _switch(b, a, team_b, switches, target[1], ~forced)
    tied = switch[0] & switches & forced & (a.active.now[3] == b.active.now[3])
    s, _ = draw(s, 1, SITE["insert"], 0, 2, tied)
    a = a._replace(**bench_of(team_a, a.active.index))
    b = b._replace(**bench_of(team_b, b.active.index))

    # a loop halves the program (minutes of compiling on a CPU); a GPU would copy all that goes round in it
    once = jax.jit(_act)  # traced once
    s, last_damage, a, b = cpu_or_gpu(
        lambda carry: jax.lax.fori_loop(0, 2, lambda i, carry: _act(draw, i, carry), carry),
        lambda carry: once(draw, jnp.int32(1), once(draw, jnp.int32(0), carry)),
        (s, state.last_damage, a, b),
    )
    sides, teams = _swapped(second_first, [a, b]), _swapped(second_first, [team_a, team_b])
    fallen = [side.hp <= 0 for side in sides]
    still = forced | ~(fallen[0] | fallen[1])  # nobody has to be replaced: the turn ends
    ends = still & ~over
    sides = [_residual(side, ends & ~forced) for side in sides]
    gone = [side.hp <= 0 for side in sides]
    sides = [_faint(sides[n], gone[n], gone[1 - n]) for n in range(2)]
    sides = _untrap(sides, ends)
    sides = [side._replace(active=knowledge.turn(side.active, ends)) for side in sides]
    teams = [team_of(side, team) for side, team in zip(sides, teams, strict=True)]
    turn = state.turn.astype(jnp.int32) + ends
    lost = [~(team.hp > 0).any() for team in teams]
    winner = jnp.where(lost[0] & lost[1], TIE, jnp.where(lost[1], 0, jnp.where(lost[0], 1, RUNNING)))
    endless = _no_progress(sides, teams) | (turn > LAST_TURN)
    winner = jnp.where((winner == RUNNING) & ends & endless, TIE, winner)
    new = State(
        teams=(teams[0], teams[1]),
        actives=(kept(sides[0].active), kept(sides[1].active)),
        turn=turn.astype(jnp.int16),
        last_damage=last_damage,
        winner=winner.astype(jnp.int8),
        illegal=(state.illegal + wrong).astype(jnp.int16),
    )
    return where(over, state._replace(illegal=new.illegal), new), s


def _act(draw: Partial, i: Array, carry: Any) -> Any:
    """The side that comes first in `carry` makes its move, as the `i`-th; it comes last afterwards."""
    s, last_damage, me, foe = carry
    fallen = (me.hp <= 0) | (foe.hp <= 0)
    me = put(me, fallen, todo=0)
    place = 2 + i * (PLACES + 2)
    s, me, foe, last_damage = act(draw, s, me=me, foe=foe, last_damage=last_damage, place=place)
    return s, last_damage, foe, me


def _swapped(swap: Array, pair: Any) -> Any:
    return [where(swap, pair[1], pair[0]), where(swap, pair[0], pair[1])]


def _select(side: Side, asked: Request, moves: Array, action: Array) -> Side:
    """What it will do is not always what was chosen (sim/side.js, `chooseMove` and `commitChoices`)."""
    a = side.active
    locked = asked.hard | (a.bide_turns > 0) | (a.lock_turns > 0)
    still = (side.status == data.FRZ) | (side.status == data.SLP)
    fight = (still | (a.trapped_turns > 0)) & ~locked
    free = usable(a)
    struggle = ~locked & ~fight & ~(free[0] | free[1] | free[2] | free[3])
    chooses = moves & ~locked & ~fight & ~struggle
    slot = pick(asked.order, action)
    move = pick(a.moves, slot)
    a = put(a, chooses, selected=move, slot=slot, side_last=move)
    a = put(a, moves & struggle, selected=data.STRUGGLE, seen=data.STRUGGLE)
    stuck = moves & fight & ~still
    a = put(a, stuck, selected=data.CANNOTMOVE, seen=data.CANNOTMOVE)
    a = put(a, moves & ~struggle & ~stuck, seen=pick(a.moves, a.slot))
    return side._replace(active=a, todo=jnp.where(moves, a.selected, 0))


def _order(
    draw: Any, s: Any, sides: list[Side], switch: list[Array], moves: list[Array]
) -> tuple[Any, Array]:
    """Whether the second side acts first: switches before moves, then priority, then Speed, then a draw."""
    keys = []
    for side, switches in zip(sides, switch, strict=True):
        priority = data.move_row(side.todo).priority
        keys.append(jnp.where(switches, 4, priority) * 4096 + side.active.now[3])
    both = (switch[0] | moves[0]) & (switch[1] | moves[1])
    s, number = draw(s, 0, SITE["order"], 0, 2, both & (keys[0] == keys[1]))
    second = (keys[1] > keys[0]) | ((keys[0] == keys[1]) & (number == 1))
    return s, both & second


def _switch(
    me: Side, foe: Side, team: Team, mask: Array, index: Array, hurts: Array
) -> tuple[Side, Side, Team]:
    """Pokemon `index` comes in where `mask`; `hurts`: poison and burn hurt it at once."""
    team = where(mask, team_of(me, team), team)
    first, last = jnp.arange(TEAM) == 0, team.present == index
    present = jnp.where(first, index.astype(jnp.int8), jnp.where(last, team.present[0], team.present))
    team = put(team, mask, revealed=team.revealed | (jnp.arange(TEAM) == index), present=present)
    row = row_of(team, index)
    row = row._replace(status=jnp.where(row.status == data.TOX, data.PSN, row.status))
    active = brought(me.active, index=index, row=row, mask=mask)
    active = put(active, mask, slot=0)
    new = with_row(active, row)._replace(todo=me.todo, sleeper=me.sleeper, frozen=me.frozen)
    ill = hurts & ((row.status == data.BRN) | (row.status == data.PSN))
    new = put(new, ill, hp=jnp.maximum(new.hp - jnp.maximum(new.maxhp >> 4, 1), 0))
    me = where(mask, new, me)
    t = put(foe.active, mask, last_move=0, trapping=False)
    repeats = mask & (t.lock_turns > 0) & (pick(t.moves, t.slot) == data.METRONOME) & (foe.hp > 0)
    t = put(t, repeats, selected=data.METRONOME, seen=data.METRONOME)
    foe = put(foe._replace(active=t), repeats & (foe.todo != 0), todo=data.METRONOME)
    return me, foe, team


def _residual(side: Side, mask: Array) -> Side:
    """Durations count down."""
    a = side.active
    down = {
        name: jnp.maximum(getattr(a, name) - 1, 0) for name in ("trapped_turns", "fake_turns", "lock_turns")
    }
    return side._replace(active=put(a, mask, flinch=False, **down))


def _faint(side: Side, mask: Array, foe: Array) -> Side:
    """Nothing of a fainted one stays but the Speed that orders its replacement; `foe`: the other one did."""
    a = put(side.active, foe, trapping=False)
    gone = blank(a, a.index)._replace(
        species=a.species,
        stored=side.base,
        now=dropped(side.base, side.status),
        fell=a.index + 1,
        moves=a.moves,
    )
    gone = where(mask, gone, a)
    return put(side._replace(active=gone), mask, status=0, sleep=0, sleep_start=0, sleep_own=False)


def _untrap(sides: list[Side], mask: Array) -> list[Side]:
    """Locks without a partner end, the first side's first."""
    sides = list(sides)
    for n in range(2):
        a, t, alive = sides[n].active, sides[1 - n].active, sides[1 - n].hp > 0
        lone = ~alive | (t.index != a.lock_target) | (t.trapped_turns == 0)
        a = put(a, mask & lone, lock_turns=0)
        lone = ~alive | (t.index != a.trapped_by) | (t.lock_turns == 0)
        a = put(a, mask & lone, trapped_turns=0)
        lone = ~alive | (t.index != a.fake_partner) | (t.fake_turns == 0)
        a = put(a, mask & lone, fake_turns=0)
        sides[n] = sides[n]._replace(active=a)
    return sides


def _no_progress(sides: list[Side], teams: list[Team]) -> Array:
    """Endless Battle Clause: all that are left are frozen, can only Transform, or only Struggle at Ghosts."""
    stuck = []
    for n in range(2):
        own, foe = _last_means(sides[n], teams[n]), _last_means(sides[1 - n], teams[1 - n])
        alive, frozen, transforms, empty, _ = own
        foe_alive, _, foe_transforms, _, foe_ghost = foe
        all_transform = jnp.all(jnp.where(foe_alive, foe_transforms, True))
        all_ghosts = jnp.all(jnp.where(foe_alive, foe_ghost, True))
        stuck.append((~alive | frozen | (transforms & all_transform) | (empty & all_ghosts)).all())
    return stuck[0] & stuck[1]


def _last_means(side: Side, team: Team) -> tuple[Array, ...]:
    """bool[6] each: alive, frozen, has only Transform, has no PP, is a Ghost."""
    here = jnp.arange(TEAM) == side.active.index
    only = ((team.moves == data.TRANSFORM) | (team.moves == 0)).all(axis=1)
    empty = ((team.pp == 0) | (team.moves == 0)).all(axis=1)
    types = [jnp.asarray(data.SPECIES[name])[team.species] for name in ("type1", "type2")]
    ghost = (types[0] == data.GHOST) | (types[1] == data.GHOST)
    a = side.active
    now_only, now_empty = jnp.bool_(True), jnp.bool_(True)
    for move, pp in zip(a.moves, a.pp, strict=True):
        now_only &= (move == data.TRANSFORM) | (move == 0)
        now_empty &= (pp == 0) | (move == 0)
    now_ghost = (a.types[0] == data.GHOST) | (a.types[1] == data.GHOST)
    alive = team.hp > 0
    return (
        alive,
        team.status == data.FRZ,
        jnp.where(here, now_only, only),
        jnp.where(here, now_empty, empty),
        jnp.where(here, now_ghost, ghost),
    )
