"""The cards of a hold'em hand as scalars: drawn, canonical up to suits, packed into words."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.types import Array, Key

CARD_BITS = 6


def draw(key: Key, n: int) -> list[Array]:
    """`n` different cards, i32[] each. A card of the deck that is left is off uniform by less than 2**-26."""
    bits = jax.random.bits(key, (n,), jnp.uint32)
    sorted_cards: list[Array] = []
    cards: list[Array] = []
    for i in range(n):
        left = np.uint32(52 - i)
        # the upper half of a product of 64 bits
        place = ((bits[i] >> 16) * left + (((bits[i] & np.uint32(0xFFFF)) * left) >> 16)) >> 16
        card = place.astype(jnp.int32)
        for taken in sorted_cards:
            card = card + (card >= taken)
        cards.append(card)
        for j, taken in enumerate(sorted_cards):
            sorted_cards[j], card = jnp.minimum(taken, card), jnp.maximum(taken, card)
        sorted_cards.append(card)
    return cards


def canonical_cards(cards: Array) -> Array:
    """Relabel suits so that hands equal up to suits are equal. i[..., 7] -> i32[..., 7], -1 where absent.

    The groups are hole (0, 1), flop (2, 3, 4), turn and river. Suits are sorted by the sets of ranks that
    they hold in the hole, then the flop, the turn and the river, as numbers of 13 bits, the largest first;
    the first becomes suit 0. Cards are sorted within their group, descending. A later street's cards only
    break ties, so they do not change the earlier ones.
    """
    cards = jnp.asarray(cards, jnp.int32)
    return jnp.stack(canonical([cards[..., i] for i in range(7)]), axis=-1)


def canonical(cards: Sequence[Array]) -> list[Array]:
    """`canonical_cards` of seven arrays."""

    def ranks(group: Sequence[Array], suit: int) -> Array:
        held = [jnp.where((card >= 0) & ((card & 3) == suit), 1 << (card >> 2), 0) for card in group]
        return sum(held[1:], held[0])

    hole, flop, turn, river = cards[:2], cards[2:5], cards[5:6], cards[6:7]
    keys = [
        (ranks(hole, suit) << 13 | ranks(flop, suit), ranks(turn, suit) << 13 | ranks(river, suit))
        for suit in range(4)
    ]
    place = [jnp.zeros_like(cards[0]) for _ in range(4)]
    for i in range(4):
        for j in range(i):
            (first, late), (other_first, other_late) = keys[i], keys[j]
            ahead = (first > other_first) | ((first == other_first) & (late > other_late))
            place[j] = place[j] + ahead
            place[i] = place[i] + ~ahead

    def relabel(card: Array) -> Array:
        suit = card & 3
        label = jnp.where(
            suit < 2, jnp.where(suit == 0, place[0], place[1]), jnp.where(suit == 2, place[2], place[3])
        )
        return jnp.where(card < 0, -1, (card & ~3) | label)

    a, b, c, d, e, turn_card, river_card = (relabel(card) for card in cards)
    a, b = jnp.maximum(a, b), jnp.minimum(a, b)
    c, d = jnp.maximum(c, d), jnp.minimum(c, d)
    d, e = jnp.maximum(d, e), jnp.minimum(d, e)
    c, d = jnp.maximum(c, d), jnp.minimum(c, d)
    return [a, b, c, d, e, turn_card, river_card]


def pack(cards: Sequence[Array]) -> Array:
    """Six bits each, the first lowest."""
    return sum((card << (CARD_BITS * i) for i, card in enumerate(cards)), jnp.int32(0))


def unpack(word: Array, n: int) -> Array:
    """The `n` cards of `HoldemState.holes` (4) or `HoldemState.board` (5): i32[...] -> i32[..., n]."""
    return (jnp.asarray(word)[..., None] >> np.arange(0, CARD_BITS * n, CARD_BITS)) & 63
