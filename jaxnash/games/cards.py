"""Playing cards: 52 of them, the 1326 pairs, and which poker hand beats which.

A card is an integer 0..51, `4 * rank + suit`, ranks 2 to A and suits c, d, h, s in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from jaxnash.games.game import TreeError
from jaxnash.types import Array

RANKS, SUITS = "23456789TJQKA", "cdhs"
DECK = tuple(range(52))
CATEGORIES = (
    "high card",
    "pair",
    "two pair",
    "three of a kind",
    "straight",
    "flush",
    "full house",
    "four of a kind",
    "straight flush",
)
CATEGORY_SHIFT = 26  # two sets of ranks of 13 bits lie below the category


def card_name(card: int) -> str:
    """Such as "As" for 51."""
    return RANKS[card // 4] + SUITS[card % 4]


def hand_name(cards: Iterable[int]) -> str:
    """The cards' names, the highest first, such as "AsKd"."""
    return "".join(card_name(int(card)) for card in sorted(cards, reverse=True))


def parse_cards(cards: str | Iterable[int | str]) -> tuple[int, ...]:
    """Cards from "Ks7d2c", "Ks 7d 2c", a list of such names or a list of integers.

    Raises:
        TreeError: a name or number is no card, or a card comes twice.
    """
    if isinstance(cards, str):
        text = "".join(cards.split())
        cards = [text[i : i + 2] for i in range(0, len(text), 2)]
    parsed = tuple(_card(card) for card in cards)
    twice = [card_name(card) for i, card in enumerate(parsed) if card in parsed[:i]]
    if twice:
        raise TreeError(f"{twice[0]} comes twice among {' '.join(map(card_name, parsed))}")
    return parsed


def _card(card: int | str) -> int:
    if isinstance(card, str):
        if len(card) == 2 and card[0].upper() in RANKS and card[1].lower() in SUITS:
            return 4 * RANKS.index(card[0].upper()) + SUITS.index(card[1].lower())
        raise TreeError(f"{card!r} is no card: a rank of {RANKS} and a suit of {SUITS}, such as 'As'")
    if isinstance(card, bool) or int(card) != card or not 0 <= card < 52:
        raise TreeError(f"{card!r} is no card: integers run from 0 (2c) to 51 (As)")
    return int(card)


def hands(deck: Sequence[int] = DECK) -> Array:
    """All pairs of the deck's cards, i32[n, 2]: the lower card first, in lexicographic order (1326 of 52)."""
    cards = np.sort(np.asarray(deck, np.int32))
    return np.stack([cards[side] for side in np.triu_indices(len(cards), 1)], axis=1)


@cache
def _tables() -> tuple[Array, Array]:
    """For each set of ranks (13 bits): its k highest, i32[6, 8192]; the top of its straight, i32[8192]."""
    sets = np.arange(1 << 13, dtype=np.int32)
    highest, rest = [np.zeros_like(sets)], sets
    for _ in range(5):
        top = np.zeros_like(sets)
        for rank in range(13):
            top = np.where(rest & (1 << rank), 1 << rank, top)
        highest.append(highest[-1] | top)
        rest = rest & ~top
    straight = np.zeros_like(sets)
    wheel = 1 << 12 | 0b1111
    for run, top in [(wheel, 3), *((0b11111 << low, low + 4) for low in range(9))]:
        straight = np.where((sets & run) == run, 1 << top, straight)
    return np.stack(highest).astype(np.int32), straight.astype(np.int32)


def hand_ranks(cards: Array) -> Array:
    """Strength of the best five of 5, 6 or 7 different cards, i[..., n] -> i32[...]; higher wins, equal ties.

    The category (an index into `CATEGORIES`) is `rank >> CATEGORY_SHIFT`. Below it lie the ranks that decide
    first, then the kickers, each as a set of 13 bits: sets of one size compare as their highest members do.
    """
    highest, straights = _tables()
    cards = np.asarray(cards)
    bit = np.left_shift(np.int32(1), (cards >> 2).astype(np.int32))
    suit = cards & 3
    c, d, h, s = (np.bitwise_or.reduce(np.where(suit == i, bit, 0), axis=-1) for i in range(4))

    one = c | d | h | s
    two = (c & d) | (h & s) | ((c | d) & (h | s))
    three = (c & d & (h | s)) | (h & s & (c | d))
    four = c & d & h & s

    def rank(category: int, first: Array, kickers: Array | int = 0) -> Array:
        return category << CATEGORY_SHIFT | first << 13 | kickers

    best = rank(0, highest[5][one])
    top = highest[1][two]
    best = np.where(top, rank(1, top, highest[3][one & ~top]), best)
    top = highest[2][two]
    best = np.where(top & (top - 1), rank(2, top, highest[1][one & ~top]), best)
    top = highest[1][three]
    best = np.where(top, rank(3, top, highest[2][one & ~top]), best)
    best = np.where(straights[one], rank(4, straights[one]), best)
    for held in (c, d, h, s):
        five = highest[5][held] != highest[4][held]
        best = np.where(five, rank(5, highest[5][held]), best)
    pair = highest[1][two & ~top]
    best = np.where((top != 0) & (pair != 0), rank(6, top, pair), best)
    best = np.where(four, rank(7, four, highest[1][one & ~four]), best)
    for held in (c, d, h, s):
        best = np.where(straights[held], rank(8, straights[held]), best)
    return best.astype(np.int32)
