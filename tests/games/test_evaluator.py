"""The evaluator in JAX: exact counts, a plain-Python twin of five cards, other people's evaluators."""

from __future__ import annotations

from functools import cache, partial
from itertools import combinations, combinations_with_replacement
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.cards import CATEGORIES, CATEGORY_SHIFT, hand_ranks, parse_cards
from jaxnash.games.evaluator import STRENGTHS, Tables, category, hand_strength, numbered_hand, tables
from jaxnash.types import JaxnashError

# Known counts, from the straight flush down. The last figure: how many strengths occur.
COUNTS = {
    5: ((40, 624, 3_744, 5_108, 10_200, 54_912, 123_552, 1_098_240, 1_302_540), 7_462),
    6: ((1_844, 14_664, 165_984, 205_792, 361_620, 732_160, 2_532_816, 9_730_740, 6_612_900), 6_075),
    7: (
        (41_584, 224_848, 3_473_184, 4_047_644, 6_180_020, 6_461_620, 31_433_400, 58_627_800, 23_294_460),
        4_824,
    ),
}
BLOCK = 1 << 16
RANDOM_HANDS = 1_000_000

evaluate = jax.jit(hand_strength)


@cache
def on_device() -> Tables:
    return jax.device_put(tables())


@partial(jax.jit, static_argnames="size")
def count_every_hand(tables: Tables, *, size: int) -> jax.Array:
    """How many of the C(52, size) hands have each strength, i32[7463]; number 0 counts the padding."""
    total = comb(52, size)

    def count(counts, block):
        number = block * BLOCK + jnp.arange(BLOCK)
        strength = hand_strength(tables, numbered_hand(jnp.minimum(number, total - 1), size))
        return counts.at[jnp.where(number < total, strength, 0)].add(1), None

    blocks = jnp.arange(-(-total // BLOCK))
    return jax.lax.scan(count, jnp.zeros(STRENGTHS + 1, jnp.int32), blocks)[0]


@pytest.mark.parametrize("size", COUNTS)
def test_every_hand_by_category(size):
    of_category, distinct = COUNTS[size]
    counts = np.asarray(count_every_hand(on_device(), size=size))[1:].astype(np.int64)
    assert counts.sum() == sum(of_category) == comb(52, size)
    categories = np.asarray(category(np.arange(1, STRENGTHS + 1)))
    found = np.zeros(len(CATEGORIES), np.int64)
    np.add.at(found, categories, counts)
    assert found[::-1].tolist() == list(of_category)
    assert np.count_nonzero(counts) == distinct


def value_of_five(ranks: list[int], flush: bool) -> tuple:
    """The rules of poker, in plain Python: the greater tuple wins."""
    groups = sorted(((ranks.count(rank), rank) for rank in set(ranks)), reverse=True)
    shape = [count for count, _ in groups]
    order = [rank for _, rank in groups]
    if order == [12, 3, 2, 1, 0]:
        order = [3, 2, 1, 0, -1]
    straight = len(order) == 5 and order[0] - order[4] == 4
    if straight and flush:
        kind = "straight flush"
    elif shape == [4, 1]:
        kind = "four of a kind"
    elif shape == [3, 2]:
        kind = "full house"
    elif flush:
        kind = "flush"
    elif straight:
        kind = "straight"
    else:
        kind = {3: "three of a kind", 2: "pair", 1: "high card"}[shape[0]]
        kind = "two pair" if shape == [2, 2, 1] else kind
    return CATEGORIES.index(kind), order


@cache
def five_card_table() -> np.ndarray:
    """i16[2, 13 ** 5]: the twin's strength of five ranks in any order, without and with a flush; 0: none."""
    values = {}
    for ranks in combinations_with_replacement(range(13), 5):
        most = max(ranks.count(rank) for rank in ranks)
        if most <= 4:
            values[False, ranks] = value_of_five(list(ranks), False)
        if most == 1:
            values[True, ranks] = value_of_five(list(ranks), True)
    number = {value: i + 1 for i, value in enumerate(sorted({(k, *o) for k, o in values.values()}))}
    table = np.zeros((2, *[13] * 5), np.int16)
    for (flush, ranks), (kind, order) in values.items():
        table[(int(flush), *ranks)] = number[(kind, *order)]
    every = np.sort(np.indices([13] * 5).reshape(5, -1), axis=0)
    return np.stack([sorted_ranks[tuple(every)] for sorted_ranks in table])


def twin_strength(hands: np.ndarray) -> np.ndarray:
    """Of five cards, i8[5, n] -> i16[n]."""
    place = np.zeros(hands.shape[1], np.int32)
    suits = np.zeros(hands.shape[1], np.int8)
    for card in hands:
        place = place * 13 + (card >> 2)
        suits |= 1 << (card & 3)
    return five_card_table()[(suits & suits - 1 == 0).astype(np.int8), place]


@cache
def random_hands() -> np.ndarray:
    """A million hands of seven cards in random order, i8[n, 7]."""
    numbers = np.random.default_rng(4).integers(comb(52, 7), size=RANDOM_HANDS)
    hands = np.stack(jax.jit(numbered_hand, static_argnums=1)(numbers, 7), axis=1).astype(np.int8)
    return np.random.default_rng(5).permuted(hands, axis=1)


def test_every_five_card_hand_is_as_strong_as_the_twin_says():
    every = jax.jit(numbered_hand, static_argnums=1)(np.arange(comb(52, 5)), 5)
    wanted = twin_strength(np.stack(every).astype(np.int8))
    assert wanted.max() == STRENGTHS
    np.testing.assert_array_equal(evaluate(on_device(), every), wanted)


def test_more_cards_are_as_strong_as_the_best_five_of_them():
    hands = random_hands()
    wanted = np.max([twin_strength(hands.T[list(five)]) for five in combinations(range(7), 5)], axis=0)
    np.testing.assert_array_equal(evaluate(on_device(), hands), wanted)
    hands = hands[:200_000, :6]
    wanted = np.max([twin_strength(hands.T[list(five)]) for five in combinations(range(6), 5)], axis=0)
    np.testing.assert_array_equal(evaluate(on_device(), hands), wanted)


@pytest.mark.parametrize("size", [5, 6, 7])
def test_the_order_is_that_of_hand_ranks(size):
    hands = random_hands()[:, :size]
    strength, ranks = np.asarray(evaluate(on_device(), hands)), hand_ranks(hands)
    order = np.argsort(strength, kind="stable")
    steps = np.sign(np.diff(strength[order].astype(np.int64)))
    np.testing.assert_array_equal(steps, np.sign(np.diff(ranks[order].astype(np.int64))))
    np.testing.assert_array_equal(category(strength), ranks >> CATEGORY_SHIFT)


def test_phevaluator_agrees():
    peer = pytest.importorskip("phevaluator")
    hands = random_hands()
    # It numbers from the royal flush, 1, to seven high, 7462.
    wanted = STRENGTHS + 1 - np.array([peer.evaluate_cards(*hand) for hand in hands.tolist()])
    np.testing.assert_array_equal(evaluate(on_device(), hands), wanted)


def test_the_ends_of_the_scale():
    hands = ["AsKsQsJsTs", "5d4d3d2dAd", "AcAdAhAsKc", "7c5d4h3s2c"]
    strength = evaluate(on_device(), np.array([parse_cards(hand) for hand in hands]))
    assert strength.tolist() == [7462, 7453, 7452, 1]
    names = [CATEGORIES[i] for i in category(strength).tolist()]
    assert names == ["straight flush", "straight flush", "four of a kind", "high card"]


def test_cards_come_in_any_shape_and_integer_type():
    hands = random_hands()[:4096]
    wanted = np.asarray(evaluate(on_device(), hands))
    for kind in (np.int8, np.uint8, np.int32):
        cast = jnp.asarray(hands.astype(kind))
        found = evaluate(on_device(), cast)
        assert found.dtype == jnp.int32
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(evaluate(on_device(), tuple(cast.T)), wanted)
        np.testing.assert_array_equal(evaluate(on_device(), cast.reshape(4, -1, 7)), wanted.reshape(4, -1))
    by_hand = jax.jit(jax.vmap(hand_strength, in_axes=(None, 0)))
    np.testing.assert_array_equal(by_hand(on_device(), hands), wanted)
    np.testing.assert_array_equal(by_hand(on_device(), list(hands.T)), wanted)
    assert hand_strength(tables(), hands[0]) == wanted[0]  # one hand, NumPy, not jitted


def test_the_tables_are_an_argument_and_small():
    assert sum(table.nbytes for table in tables()) < 1 << 20
    closed = jax.make_jaxpr(hand_strength)(tables(), np.zeros((10, 7), np.int32))
    assert sum(np.size(constant) for constant in closed.consts) < 100


@pytest.mark.parametrize("count", [4, 8])
def test_other_numbers_of_cards_are_refused(count):
    with pytest.raises(JaxnashError, match=f"{count} cards are no hand"):
        hand_strength(tables(), np.zeros((3, count), np.int32))
    with pytest.raises(JaxnashError, match=f"{count} cards are no hand"):
        hand_strength(tables(), [0] * count)


def test_numbered_hands_are_every_hand_once():
    found = np.stack(numbered_hand(np.arange(comb(52, 3)), 3), axis=1)
    assert [tuple(hand) for hand in found.tolist()] == sorted(
        tuple(reversed(hand)) for hand in combinations(range(52), 3)
    )
    ends = np.stack(numbered_hand(np.array([0, 1, comb(52, 7) - 1]), 7), axis=1)
    assert ends.tolist() == [[6, 5, 4, 3, 2, 1, 0], [7, 5, 4, 3, 2, 1, 0], [51, 50, 49, 48, 47, 46, 45]]
