"""Which poker hand beats which, in JAX: 5, 6 or 7 cards to one of 7,462 strengths in two look-ups.

A hand without a flush is known by the set of its ranks and how often each comes. The set picks a row of
`strength`, a hash of the repetitions the column; the rows are laid over each other so that no two entries
collide (row displacement: Tarjan and Yao 1979, "Storing a Sparse Table", CACM 22). Five cards of one suit are
known by their set of ranks alone, and with at most seven cards nothing that they leave room for beats them
but a straight flush, which the same set shows.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnash.games.cards import hand_ranks
from jaxnash.types import Array, JaxnashError

SETS = 1 << 13  # of ranks
STRENGTHS = 7462
SIZES = (5, 6, 7)  # cards in a hand
COLUMN_BITS = 12
FACTOR = 310_828_025  # found by search: no set of ranks has two repetitions in one column
# How many strengths each category has, in the order of `CATEGORIES`, and so where the next one begins.
IN_CATEGORY = (1277, 2860, 858, 858, 10, 1277, 156, 156, 10)


class Tables(NamedTuple):
    """What `hand_strength` looks up, 0.4 MB. Pass it to a jitted function as an argument."""

    row: Array  # i32[8192]: where in `strength` a set of ranks begins
    strength: Array  # u16[n]: first all sets of ranks of one suit, then the rows


@cache
def tables() -> Tables:
    """NumPy arrays, built once in a process (about 0.4 s); `jax.device_put` keeps them on the device."""
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
    offsets = np.zeros(SETS, np.int64)
    free = np.ones(4 * len(held), bool)
    window = np.arange(1024)[:, None]
    for size in sorted({len(columns) for columns in rows.values()}, reverse=True):
        start = 0  # what rows of this size found full is not searched again
        for key, columns in rows.items():
            if len(columns) != size:
                continue
            while not (fits := free[start + window + columns].all(axis=1)).any():
                start += len(window)
            offsets[key] = start + fits.argmax()
            free[offsets[key] + columns] = False
    places = offsets[held] + column
    return offsets, places, int(places.max()) + 1


def hand_strength(tables: Tables, cards: Array | tuple[Array, ...] | list[Array]) -> Array:
    """Strength of the best five of 5, 6 or 7 different cards: 1 (seven high) to 7462 (royal flush).

    The higher strength wins and equal ones tie, also between hands of different sizes.

    Args:
        tables: `tables()`, as an argument of the jitted function that this is part of.
        cards: integers 0..51, an array i[..., n] or a tuple or list of n arrays i[...], n = 5, 6 or 7. In
            large batches of i32 the latter is some three times faster, as the former is read in strides.

    Returns:
        i32[...]. For what is no card, or comes twice, it has no meaning.

    Raises:
        JaxnashError: n is not 5, 6 or 7.
    """
    if not isinstance(cards, tuple | list):
        cards = [cards[..., i] for i in range(cards.shape[-1])]
    if len(cards) not in SIZES:
        raise JaxnashError(f"{len(cards)} cards are no hand to evaluate: pass 5, 6 or 7 along the last axis")

    # Two sets of ranks share a word, 16 bits apart: clubs and diamonds, hearts and spades.
    low = high = jnp.zeros((), jnp.int32)
    for card in cards:
        card = jnp.asarray(card, jnp.int32)
        bit = 1 << ((card >> 2) + ((card & 1) << 4))
        low |= jnp.where(card & 2, 0, bit)
        high |= jnp.where(card & 2, bit, 0)
    c, d, h, s = low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16

    # The binary digits of how many suits hold a rank, added up for all ranks at once.
    ones = c ^ d ^ h ^ s
    twos = (c & d) ^ (h & s) ^ ((c ^ d) & (h ^ s))
    fours = c & d & h & s
    held = ones | twos | fours
    column = _column(((twos & ~ones) | fours).astype(jnp.uint32), ((twos & ones) | fours).astype(jnp.uint32))
    place = tables.row[held] + column.astype(jnp.int32)
    for suited in (c, d, h, s):
        place = jnp.where(jnp.bitwise_count(suited) >= 5, suited, place)
    return tables.strength[place].astype(jnp.int32)


def category(strength: Array) -> Array:
    """The index into `cards.CATEGORIES` of strengths i[...], as i32[...]."""
    starts = np.cumsum(IN_CATEGORY)[:-1]
    return jnp.searchsorted(jnp.asarray(starts, jnp.int32), strength, method="compare_all").astype(jnp.int32)


def numbered_hand(index: Array, size: int) -> tuple[Array, ...]:
    """The hand of `size` cards with a number i[...] of 0..C(52, size) - 1: `size` arrays i32[...], falling.

    With all numbers every hand comes once, with numbers drawn uniformly all are equally likely (the
    combinatorial number system: Knuth, The Art of Computer Programming 4A, 7.2.1.3, eq. 20).
    """
    index, cards = jnp.asarray(index, jnp.int32), []
    for left in range(size, 0, -1):  # the highest card that leaves enough numbers to the others below it
        first = jnp.asarray([comb(card, left) if card < 52 else 2**31 - 1 for card in range(64)], jnp.int32)
        card = jnp.where(index >= comb(32, left), 32, 0)
        for step in (16, 8, 4, 2, 1):
            card = jnp.where(index >= first[card + step], card + step, card)
        cards.append(card)
        index = index - first[card]
    return tuple(cards)
