"""What the protocol of a battle shows, kept as it happens for observations.

Most of an observation can be read off the state. The rest is what a player counts (turns in confusion, hits
on a substitute) and what it infers (which of a foe's moves have been used how often); the rules are those by
which `jaxnash.showdown.view` reads Showdown's lines.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.gen1 import data
from jaxnash.games.gen1.data import KIND, STRUGGLE
from jaxnash.games.gen1.state import SLOTS, Active, Side, pick, put, put_at
from jaxnash.types import Array


def learnt(side: Side, move: Array, slot: Array, mask: Array) -> tuple[Side, Array, Array]:
    """A move was seen that is in `slot`, unless one that was seen before may have been it.

    Returns also the slot it is taken for (of two alike that of more PP, or the one by Mimic, or in place of
    the move of higher id), and whether it was seen before.
    """
    a = side.active
    best, most = slot, jnp.int32(-1)
    for i in range(SLOTS):
        before = jnp.where(a.transformed, 0, pick(side.base_moves, _below(a, jnp.int32(i))))
        worth = (2 * a.seen_pp[i] + (before != move)) * 256 + before
        better = (a.moves[i] == move) & (a.seen_pp[i] >= 0) & (worth > most)
        best, most = jnp.where(better, i, best), jnp.where(better, worth, most)
    new = mask & (most < 0) & (pick(a.moves, slot) == move)
    full = jnp.asarray(data.PP)[move]
    return _set(side, slot, new, full), best, most >= 0


def _set(side: Side, slot: Array, mask: Array, pp: Array) -> Side:
    """The PP seen of a slot; the Pokemon's own follows unless it is transformed."""
    a = side.active
    return side._replace(
        active=a._replace(seen_pp=put_at(a.seen_pp, slot, mask, pp)),
        base_seen=put_at(side.base_seen, _below(a, slot), mask & ~a.transformed, pp),
    )


def _below(active: Active, slot: Array) -> Array:
    """The slot on the bench that this one is taken for."""
    one, other = (active.crossed - 1) >> 2, (active.crossed - 1) & 3
    crossed = (active.crossed > 0) & ((slot == one) | (slot == other))
    return jnp.where(crossed, one + other - slot, slot)


def spent(side: Side, mask: Array, by: int) -> Side:
    """PP of the slot it is thought to have chosen, in six bits."""
    a = side.active
    slot = a.seen_slot - 1
    return _set(side, slot, mask & (slot >= 0), (pick(a.seen_pp, slot) + by) & 63)


def mimicked(active: Active, mask: Array) -> Active:
    """Mimic replaces the move in the slot chosen; it is thought to replace the one last seen chosen.

    Those differ where two are alike, or where it chose Mimic unseen (frozen) and makes it after a thaw.
    """
    a = active
    one, other = a.slot, a.seen_slot - 1
    differ = mask & (other >= 0) & (other != one)
    seen = put_at(a.seen_pp, one, differ, pick(a.seen_pp, other))
    seen = put_at(seen, other, differ, pick(a.seen_pp, one))
    return put(a, differ, seen_pp=seen, crossed=1 + 4 * one + other)


def chosen(side: Side, *, go: Array, goes_on: Array) -> tuple[Side, Array]:
    """It moves; `goes_on`: with what it is locked into. The first line that announces a move.

    Also returns whether that is a move which it did not choose: it thawed and its side chose that last, for
    another one; or such a move, or a called one, is repeated: a trapping move goes on against who came in
    instead, Hyper Beam where a trapping move took the recharge away.
    """
    a, move = side.active, data.move_row(side.todo)
    repeats = (move.kind == KIND["trap"]) | (move.kind == KIND["recharge"])
    again = ~goes_on & a.shown_called & (a.shown == side.todo) & repeats
    for i in range(SLOTS):
        again &= ~((a.moves[i] == side.todo) & (a.seen_pp[i] >= 0))
    own = go & ~goes_on & (side.todo != STRUGGLE)
    free = own & ~side.thawed & ~again
    side, slot, known = learnt(side, side.todo, a.slot, free)
    free |= own & side.thawed & known
    side = side._replace(active=put(side.active, free, seen_slot=1 + slot))
    spends = go & (side.todo != STRUGGLE) & (goes_on == data.two_turns(move.kind))
    return spent(side, spends, -1), again | (side.thawed & ~known)


def announced(
    active: Active, move: data.Move, go: Array, *, called: Array, foreign: Array, goes_on: Array
) -> Active:
    """The line that announces the move made in the end; `foreign`, `goes_on`: as of `chosen`."""
    a = active
    traps = move.kind == KIND["trap"]
    rage = move.kind == KIND["rage"]
    locks = traps | rage | (move.kind == KIND["thrash"])
    held = ~called & (a.trapping | (a.thrash_move > 0) | (a.rage > 0))
    uses = jnp.where(locks, jnp.where(held, jnp.minimum(a.lock_uses + 1, 5), 1), 0)
    shown = data.shown(move.id)
    called |= foreign | (goes_on & a.shown_called)
    return put(a, go, shown=shown, shown_called=called, trapping=traps, recharges=False, lock_uses=uses)


def turn(active: Active, mask: Array) -> Active:
    """A turn begins."""
    a = active
    disabled = jnp.minimum(a.disabled_turns + 1, 7)
    return put(a, mask, fell=0, turns_in=jnp.minimum(a.turns_in + 1, 10), disabled_turns=disabled)
