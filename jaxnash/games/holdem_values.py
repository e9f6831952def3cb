"""What hold'em hands earn at the ends of a betting tree, against an opponent's whole range at once.

A showdown compares no pairs of hands (Johanson et al. 2011, "Accelerating Best Response Calculation in Large
Extensive Games"). The opponent's hands are sorted by strength and summed up in that order, so that two
running sums say how much of the range a hand beats; the same sums over the hands that hold one given card
take away what the player's own cards exclude. Hands are rows and terminals lanes here, so that a gather moves
whole rows.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.cards import hand_ranks
from jaxnash.games.game import TreeError
from jaxnash.types import Array

SLOT = (
    4  # hands summed before they join a running sum: equal hands mostly come as one rank in up to four suits
)


class Side(NamedTuple):
    """One player's `H` hands of the `D` cards that are left. Hand number `H` stands for none and holds 0."""

    weight: Array  # f[H]: of the range, both sides' together such that the deals' weights sum to one
    cards: Array  # i32[2, H], as indices into the `D` cards
    twin: Array  # i32[H]: the opponent's hand of the same cards, or the opponent's number of hands
    holding: Array  # i32[K, D]: the hands that hold a card, in any order
    free: Array  # bool[B, H]: the hand does not hold the board's last card


class Sums(NamedTuple):
    """Which running sums over an opponent's hands answer for a player's, on all `B` complete boards together.

    A table of running sums over `W` lists holds in row `k * W + w` the sum of the first `k` slots of list
    `w`. The opponent's hand h on board b is number `b * (H_opponent + 1) + h`.
    """

    all_slots: Array  # i32[L, B, SLOT]: the opponent's hands from weak to strong
    card_slots: Array  # i32[M, B * D, SLOT]: those that hold a card
    all_rows: Array  # i32[3, B, H]: up to the weaker hands, up to the equal hands, the last
    card_rows: Array  # i32[3, 2, B, H]: the same for the player's first and second card


class Terminals(NamedTuple):
    """The ends of a betting tree, in this order: folds before the last board card; folds after it, board by
    board; showdowns, board by board. `values` is the protocol of `PublicGame`."""

    sides: tuple[Side, Side]
    sums: tuple[Sums, Sums]  # indexed by the player whose payoffs they give
    early: Array  # f[2, Z0]: payoffs of each player at the folds before the last card
    folds: Array  # f[2, Z1]: at the folds after it, the same for each of the `B` boards
    showdowns: Array  # f[Z2]: what the winner wins and the loser loses, the same for each board
    card_chance: Array  # f[]: probability of each possible last card, given both hands

    def values(self, player: int, reach: Array) -> Array:
        """Expected payoffs f[Z, H_player], weighted by chance and ranges, against reach f[Z, H_opponent]."""
        self, reach = jax.tree.map(jnp.asarray, (self, reach))
        own, other = self.sides[player], self.sides[1 - player]
        boards = own.free.shape[0]
        sizes = self.early.shape[1], boards * self.folds.shape[1], boards * len(self.showdowns)
        early, folds, showdowns = jnp.split(reach, np.cumsum(sizes)[:2])

        def by_hand(reach: Array, free: Array) -> Array:
            """f[B * Z, H] -> f[B, H + 1, Z], the last row zeros."""
            weight = (other.weight * free).astype(reach.dtype)
            reach = reach.reshape(len(free), -1, reach.shape[1]) * weight[:, None]
            return jnp.pad(_turned(reach), ((0, 0), (0, 1), (0, 0)))

        def by_terminal(values: Array, free: Array, payoff: Array) -> Array:
            """f[B, H, Z] -> f[B * Z, H]."""
            weight = (own.weight * free)[:, None] * payoff[:, None]
            values = _turned(values) * weight.astype(values.dtype)
            return values.reshape(-1, values.shape[2])

        parts = []
        if self.early.size:
            met = _compatible(own, other, by_hand(early, jnp.ones_like(other.free[:1])))
            parts.append(by_terminal(met, jnp.ones_like(own.free[:1]), self.early[player]))
        if self.folds.size:
            met = _compatible(own, other, by_hand(folds, other.free))
            parts.append(by_terminal(met, own.free, self.folds[player] * self.card_chance))
        won = _beaten(self.sums[player], by_hand(showdowns, other.free))
        parts.append(by_terminal(won, own.free, self.showdowns * self.card_chance))
        return jnp.concatenate(parts)


def _turned(lanes: Array) -> Array:
    """Each board's matrix transposed. In a loop, because XLA would else fuse what comes before into the
    transposition, and gather column by column what lies in rows."""
    return jax.lax.map(jnp.transpose, lanes)


def _compatible(own: Side, other: Side, lanes: Array) -> Array:
    """The reach of the hands that share no card with each of the player's.

    f[B, H_other + 1, Z] to f[B, H_own, Z].
    """
    start = jnp.zeros((lanes.shape[0], other.holding.shape[1], lanes.shape[2]), lanes.dtype)
    holding = jax.lax.fori_loop(
        0, len(other.holding), lambda k, sums: sums + lanes[:, other.holding[k]], start
    )
    first, second = own.cards
    every = jnp.sum(holding, axis=1, keepdims=True) / 2  # each hand holds two cards
    return every - holding[:, first] - holding[:, second] + lanes[:, own.twin]


def _beaten(sums: Sums, lanes: Array) -> Array:
    """The reach of the compatible hands that lose to each of the player's, less that of those that win.

    f[B, H_other + 1, Z] to f[B, H_own, Z].
    """
    lanes = lanes.reshape(-1, lanes.shape[2])
    every, by_card = _running(lanes, sums.all_slots), _running(lanes, sums.card_slots)
    weaker, equal, last = sums.all_rows
    won = every[weaker] + every[equal] - every[last]
    for held in (0, 1):
        weaker, equal, last = sums.card_rows[:, held]
        won = won - (by_card[weaker] + by_card[equal] - by_card[last])
    return won


def _running(lanes: Array, slots: Array) -> Array:
    """Running sums f[(L + 1) * W, Z] of slots i32[L, W, SLOT]."""
    # a loop is what XLA adds up fastest on a CPU; a GPU would launch every step of it
    table = jax.lax.platform_dependent(lanes, slots, cpu=_one_by_one, default=_at_once)
    return table.reshape(-1, lanes.shape[1])


def _one_by_one(lanes: Array, slots: Array) -> Array:
    def add(k: Array, table: Array) -> Array:
        rows = sum(lanes[slots[k, :, i]] for i in range(slots.shape[2]))
        return jax.lax.dynamic_update_index_in_dim(table, table[k] + rows, k + 1, 0)

    table = jnp.zeros((len(slots) + 1, slots.shape[1], lanes.shape[1]), lanes.dtype)
    return jax.lax.fori_loop(0, len(slots), add, table)


def _at_once(lanes: Array, slots: Array) -> Array:
    return jnp.pad(jnp.cumsum(jnp.sum(lanes[slots], axis=2), axis=0), ((1, 0), (0, 0), (0, 0)))


def terminals(
    *,
    board: tuple[int, ...],
    last_cards: tuple[int, ...],
    left: tuple[int, ...],
    pairs: tuple[Array, Array],
    weights: tuple[Array, Array],
    early: Array,
    folds: Array,
    showdowns: Array,
) -> Terminals:
    """The ends of a betting tree on a board of five cards, or of four and one of `last_cards`.

    `left` are the cards that are not on the board, `pairs` i32[H, 2] the players' hands among them, `weights`
    f[H] their ranges; `early`, `folds` and `showdowns` are as in `Terminals`. Raises `TreeError` where each
    pair of hands shares a card.
    """
    place = {card: i for i, card in enumerate(left)}
    cards = [np.array([[place[int(card)] for card in hand] for hand in side], np.int32).T for side in pairs]
    boards = [(*board, card) for card in last_cards] or [board]
    free = [np.stack([~np.isin(side, full).any(axis=1) for full in boards]) for side in pairs]
    strength = [
        np.stack(
            [hand_ranks(np.concatenate([side, np.tile(full, (len(side), 1))], axis=1)) for full in boards]
        )
        for side in pairs
    ]

    sides = []
    for own, other in ((0, 1), (1, 0)):
        index = {tuple(hand): i for i, hand in enumerate(cards[other].T.tolist())}
        twin = np.array([index.get(tuple(hand), len(index)) for hand in cards[own].T.tolist()], np.int32)
        weight = weights[own] / weights[own].sum()
        sides.append(Side(weight, cards[own], twin, _holding(cards[own], len(left)), free[own]))
    first, second = _weigh_deals(sides[0], sides[1])

    sums = [
        _sums(cards[own], strength[own], cards[other], strength[other], free[other], len(left))
        for own, other in ((0, 1), (1, 0))
    ]
    chance = np.array(1 / (len(left) - 4) if last_cards else 1.0)
    return Terminals((first, second), (sums[0], sums[1]), early, folds, showdowns, chance)


def _holding(cards: Array, count: int) -> Array:
    """The hands that hold each of `count` cards, i32[K, count], the number of all where there are no more."""
    held = [np.flatnonzero((cards == card).any(axis=0)) for card in range(count)]
    table = np.full((max(map(len, held)), count), cards.shape[1], np.int32)
    for card, members in enumerate(held):
        table[: len(members), card] = members
    return table


def _weigh_deals(first: Side, second: Side) -> tuple[Side, Side]:
    """Both sides such that all deals weigh one, hands that nothing can meet weigh 0."""

    def met(own: Side, other: Side, weight: Array) -> Array:
        weight = np.append(weight, 0.0)
        holding = weight[other.holding].sum(axis=0)
        return weight.sum() - holding[own.cards[0]] - holding[own.cards[1]] + weight[own.twin]

    sides = [
        own._replace(weight=np.where(met(own, other, np.ones_like(other.weight)) > 0, own.weight, 0.0))
        for own, other in ((first, second), (second, first))
    ]
    if not sides[0].weight.any():
        raise TreeError(
            "the ranges have no possible deal: every hand of one shares a card with all of the other's"
        )
    total = sides[0].weight @ met(sides[0], sides[1], sides[1].weight)
    return sides[0], sides[1]._replace(weight=sides[1].weight / total)


class _Sorted(NamedTuple):
    """`W` lists of hands, each from weak to strong in slots of equal strength."""

    slots: Array  # i32[L, W, SLOT], filled up to the longest list
    keys: Array  # i64[S]: list, then strength, of the slots in use, list by list
    first: Array  # i64[W + 1]: where each list's begin, and the end


def _sums(
    own: Array, own_strength: Array, other: Array, other_strength: Array, free: Array, count: int
) -> Sums:
    """From hands' cards i32[2, H] and strengths i32[B, H] on each board; `free` opponent's hands count."""
    boards, hands = np.nonzero(free)
    strength, numbers = other_strength[boards, hands], boards * (free.shape[1] + 1) + hands
    every = _sort(boards, strength, numbers, count=len(free), empty=free.shape[1])
    cards = (boards * count + other[:, hands]).reshape(-1)
    by_card = _sort(
        cards, np.tile(strength, 2), np.tile(numbers, 2), count=len(free) * count, empty=free.shape[1]
    )

    board = np.arange(len(free))[:, None]
    all_rows = _rows_up_to(every, np.broadcast_to(board, own_strength.shape), own_strength)
    card_rows = [_rows_up_to(by_card, board * count + card, own_strength) for card in own]
    return Sums(every.slots, by_card.slots, all_rows, np.stack(card_rows, axis=1))


def _sort(lists: Array, strength: Array, members: Array, *, count: int, empty: int) -> _Sorted:
    """Put each member into its one of `count` lists; `empty` fills the slots up."""
    keys = lists.astype(np.int64) << 32 | strength
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    within = np.arange(len(keys)) - np.searchsorted(keys, keys)
    slot = np.cumsum(within % SLOT == 0) - 1  # a new one for every SLOT equal hands
    slot_keys = keys[within % SLOT == 0]
    first = np.searchsorted(slot_keys, np.arange(count + 1) << 32)
    slots = np.full((np.diff(first).max(), count, SLOT), empty, np.int32)
    which = keys >> 32
    slots[slot - first[which], which, within % SLOT] = members[order]
    return _Sorted(slots, slot_keys, first)


def _rows_up_to(lists: _Sorted, which: Array, strength: Array) -> Array:
    """Rows of the running sums that end below a strength, at it and with the list, i32[3, ...]."""
    keys = which.astype(np.int64) << 32 | strength
    below, upto = (np.searchsorted(lists.keys, keys, side) - lists.first[which] for side in ("left", "right"))
    last = np.full_like(below, len(lists.slots))
    return (np.stack([below, upto, last]) * lists.slots.shape[1] + which).astype(np.int32)
