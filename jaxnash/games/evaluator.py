"""Which poker hand beats which, in JAX: 5, 6 or 7 cards to one of 7,462 strengths in two look-ups.

A hand without a flush is known by the set of its ranks and how often each comes. The set picks a row of
`strength`, a hash of the repetitions the column; the rows are laid over each other so that no two entries
collide (row displacement: Tarjan and Yao 1979, "Storing a Sparse Table", CACM 22). Five cards of one suit are
known by their set of ranks alone, and with at most seven cards nothing that they leave room for beats them
but a straight flush, which the same set shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnash.games.cards import CATEGORIES, CATEGORY_SHIFT, hand_ranks
from jaxnash.types import Array, JaxnashError

SETS = 1 << 13  # of ranks
STRENGTHS = 7462
SIZES = (5, 6, 7)  # cards in a hand
COLUMN_BITS = 12
FACTOR = 310_828_025  # found by search: no set of ranks has two repetitions in one column
# How many strengths each category has, in the order of `CATEGORIES`, and so where the next one begins.
IN_CATEGORY = (1277, 2860, 858, 858, 10, 1277, 156, 156, 10)


class Tables(NamedTuple):
    """What `hand_strength` looks up; 0.2 MB. Pass it to a jitted function as an argument."""

    row: Array  # i32[8192]: where in `strength` a set of ranks begins
    strength: Array  # u16[n]: first all sets of ranks of one suit, then the rows


@cache
def tables() -> Tables:
    """NumPy arrays, built once in a process (about 0.5 s)."""
    hands = [_rank_multisets(size) for size in SIZES]
    ranks = [hand_ranks(4 * hand + np.arange(hand.shape[1]) % 4) for hand in hands]  # no flush: two of a suit
    sets = np.arange(SETS)
    held = [np.nonzero(np.bitwise_count(sets) == size)[0] for size in SIZES]
    suited = [_members(some, size) for some, size in zip(held, SIZES)]
    suited_ranks = [hand_ranks(4 * hand) for hand in suited]

    order = np.unique(np.concatenate([*ranks, *suited_ranks]))
    row, places, length = _lay_out(*map(np.concatenate, zip(*map(_set_and_column, hands))))
    strength = np.zeros(SETS + length, np.uint16)
    for some, rank in zip(held, suited_ranks):
        strength[some] = 1 + np.searchsorted(order, rank)
    strength[SETS + places] = 1 + np.searchsorted(order, np.concatenate(ranks))
    return Tables((SETS + row).astype(np.int32), strength)


def _rank_multisets(size: int) -> Array:
    """Every way to hold `size` ranks, none more than four times, each sorted: i[n, size]."""
    hands = np.array(list(combinations_with_replacement(range(13), size)))
    return hands[(hands[:, 4:] != hands[:, :-4]).all(axis=1)]


def _members(sets: Array, size: int) -> Array:
    """The ranks in sets of `size` ranks, i[n, size]."""
    return np.nonzero(sets[:, None] >> np.arange(13) & 1)[1].reshape(-1, size)


def _set_and_column(hands: Array) -> tuple[Array, Array]:
    counts = (hands[:, :, None] == np.arange(13)).sum(axis=1)
    held = ((counts > 0) << np.arange(13)).sum(axis=1)
    more = np.maximum(counts - 1, 0)
    odd, two = ((more & 1) << np.arange(13)).sum(axis=1), ((more >> 1) << np.arange(13)).sum(axis=1)
    return held, _column(odd.astype(np.uint32), two.astype(np.uint32)).astype(np.int64)


def _column(odd: Array, two: Array) -> Array:
    """A hash of the repetitions: ranks held once or three times more, ranks held two or three times more."""
    return (odd | two << 13) * np.uint32(FACTOR) >> np.uint32(32 - COLUMN_BITS)


def _lay_out(held: Array, column: Array) -> tuple[Array, Array, int]:
    """First fit, the fullest rows first: the rows' offsets i[8192], each entry's place, the length."""
    order = np.argsort(held, kind="stable")
    sets, first = np.unique(held[order], return_index=True)
    rows = dict(zip(sets.tolist(), np.split(column[order], first[1:])))
    free = np.ones(4 * len(held), bool)
    offsets = np.zeros(SETS, np.int64)
    window = np.arange(1024)[:, None]
    start = 0
    for size in sorted({len(columns) for columns in rows.values()}, reverse=True):
        start = 0
        for key, columns in rows.items():
            if len(columns) != size:
                continue
            while not (fits := free[start + window + columns].all(axis=1)).any():
                start += len(window)
            offsets[key] = start + fits.argmax()
            free[offsets[key] + columns] = False
    places = offsets[held] + column
    return offsets, places, int(places.max()) + 1


def hand_strength(tables: Tables, cards: Array | Sequence[Array]) -> Array:
    """Strength of the best five of 5, 6 or 7 different cards: 1 (seven high) to 7462 (royal flush).

    The higher strength wins and equal ones tie, also between hands of different sizes.

    Args:
        tables: `tables()`, as an argument of the jitted function that this is part of.
        cards: integers i[..., n], 0..51, n = 5, 6 or 7; or a sequence of n arrays i[...], which is much
            faster for large batches.

    Returns:
        i32[...].

    Raises:
        JaxnashError: n is not 5, 6 or 7.
    """
    if not isinstance(cards, Sequence):
        cards = [cards[..., i] for i in range(cards.shape[-1])]
    if len(cards) not in SIZES:
        raise JaxnashError(f"a hand has 5, 6 or 7 cards to be evaluated, not {len(cards)}")
    cards = [jnp.asarray(card, jnp.int32) for card in cards]

    # Two sets of ranks share a word, 16 bits apart: clubs and diamonds, hearts and spades.
    low = high = jnp.zeros((), jnp.int32)
    for card in cards:
        bit = 1 << ((card >> 2) + ((card & 1) << 4))
        low |= jnp.where(card & 2, 0, bit)
        high |= jnp.where(card & 2, bit, 0)
    c, d, h, s = low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16

    # Binary digits of how often each rank is held (1 to 4), then of that less one.
    one, carry = c ^ d ^ h ^ s, (c ^ d) & (h ^ s)
    pairs, others = c & d, h & s
    two, four = pairs ^ others ^ carry, pairs & others
    held = one | two | four
    column = _column(((two & ~one) | four).astype(jnp.uint32), ((one & two) | four).astype(jnp.uint32))
    place = tables.row[held] + column.astype(jnp.int32)
    for suited in (c, d, h, s):
        place = jnp.where(jnp.bitwise_count(suited) >= 5, suited, place)
    return tables.strength[place].astype(jnp.int32)


def category(strength: Array) -> Array:
    """The index into `cards.CATEGORIES` of strengths i[...], as i32[...]."""
    ends = np.cumsum(IN_CATEGORY)[:-1]
    return sum((strength > end).astype(jnp.int32) for end in ends)
