"""Every flop and every hand beside it, up to permutations of the suits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from jaxnash.games.cards import DECK, hand_ranks, hands, parse_cards
from jaxnash.games.holdem import canonical_cards
from jaxnash.types import Array, JaxnashError

NONE = -1  # no card


class FlopDeals(NamedTuple):
    """The deals of two hands and a flop. `F` flops, `N` hands beside a flop and `C` hands before it, each up
    to suits; `R` hands of two cards in the order of `cards.hands(deck)`. The hands beside flop f are the rows
    `first[f]` to `first[f + 1]`; flops with fewer come first."""

    deck: tuple[int, ...]
    pairs: Array  # i32[R, 2]
    before: Array  # i8[C, 7]: what a player sees before the flop
    before_class: Array  # i32[R]: each hand's number among `before`
    flops: Array  # i32[F, 3], one of each class
    flop_count: Array  # i32[F]: the flops of the class
    first: Array  # i64[F + 1]
    cards: Array  # i8[N, 7]: what a player sees on the flop
    holes: Array  # i32[N, 2]: one of the class's hands beside `flops[f]`
    count: Array  # i32[N]: the hands of the class beside `flops[f]`
    strength: Array  # i32[N], higher wins
    private: Array  # i32[N]: the hand's number among `before`
    index: Array  # i16[F, R]: class of each hand, counted from `first[f]`; -1 where it shares a card


def flop_deals(deck: str | Iterable[int | str] = DECK) -> FlopDeals:
    """The deals of a deck, of all 52 cards 1,755 flops and 1,286,792 hands beside them; made once a process.

    Raises:
        JaxnashError: a deck of less than seven cards, or not of the same ranks in each of its suits.
    """
    return _deals(tuple(sorted(parse_cards(deck))))


@cache
def _deals(deck: tuple[int, ...]) -> FlopDeals:
    suits = [[card // 4 for card in deck if card % 4 == suit] for suit in range(4)]
    if len(deck) < 7 or any(ranks != max(suits) for ranks in suits if ranks):
        raise JaxnashError(
            f"a deck of {len(deck)} cards: two hands and a flop take seven, and every suit has the same ranks"
        )
    pairs = hands(deck)
    before, _, before_class, _ = _classes(_seen(pairs, NONE))

    below = np.triu(np.ones((len(deck), len(deck)), bool), 1)
    triples = np.asarray(deck, np.int32)[np.argwhere(below[:, :, None] & below)]
    _, some, _, flop_count = _classes(_seen(NONE, triples))
    flops = triples[some]

    flop, hand = np.nonzero(~(pairs[:, :, None] == flops[:, None, None, :]).any(axis=(2, 3)))
    cards, some, which, count = _classes(_seen(pairs[hand], flops[flop]), flop)
    holes, board = pairs[hand[some]], flops[flop[some]]
    first = np.searchsorted(flop[some], np.arange(len(flops) + 1))
    index = np.full((len(flops), len(pairs)), NONE, np.int16)
    index[flop, hand] = which - first[flop]

    sizes = np.diff(first)
    order = np.argsort(sizes, kind="stable")
    rows = np.concatenate([np.arange(*first[[f, f + 1]]) for f in order])
    return FlopDeals(
        deck=deck,
        pairs=pairs,
        before=before,
        before_class=before_class,
        flops=flops[order],
        flop_count=flop_count[order],
        first=np.cumsum([0, *sizes[order]]),
        cards=cards[rows],
        holes=holes[rows],
        count=count[rows],
        strength=hand_ranks(np.concatenate([holes, board], axis=1))[rows],
        private=before_class[hand[some]][rows],
        index=index[order],
    )


@jax.jit
def _columns(cards: Array) -> tuple[Array, ...]:
    """`canonical_cards` by column: stacked, XLA would work all of them out for each anew."""
    seen = canonical_cards(cards)
    return tuple(seen[:, i] for i in range(7))


def _seen(holes: Array | int, flops: Array | int) -> Array:
    """What a player sees of hands i32[n, 2] and flops i32[n, 3], either of which may be `NONE`: i8[n, 7]."""
    cards = np.full((max(np.size(holes) // 2, np.size(flops) // 3), 7), NONE, np.int32)
    cards[:, :2], cards[:, 2:5] = holes, flops
    return np.stack(_columns(cards), axis=1).astype(np.int8)


def _classes(seen: Array, group: Array | int = 0) -> tuple[Array, Array, Array, Array]:
    """The different rows i8[n, 7] of each group: themselves, where the first of each is, the class of every
    row, the rows of every class."""
    key = np.zeros(len(seen), np.int64) + group
    for column in seen.T[:5]:
        key = key << 6 | (column.astype(np.int64) + 1)
    _, some, which, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return seen[some], some, which.astype(np.int32), count.astype(np.int32)
