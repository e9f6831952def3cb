"""Cards and the evaluator, against exact counts and against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from jaxnash.games.cards import (
    CATEGORIES,
    CATEGORY_SHIFT,
    card_name,
    hand_name,
    hand_ranks,
    hands,
    parse_cards,
)
from jaxnash.games.game import TreeError

# from the best down: each beats the next
LADDER = [
    "AsKsQsJsTs 2c 2d",
    "5h4h3h2hAh Ac Ad",
    "7c7d7h7s As Ks Kd",
    "7c7d7h7s Ks Qs Qd",
    "3c3d3h2c2d 2h As",  # two threes of a kind make a full house
    "2c2d2h AcAd Ks Qs",
    "AdTd8d6d4d Ac Ah",
    "AdTd8d6d3d 2d Ah",
    "AcKdQhJsTc 9d 9h",
    "6c5d4h3s2c Ad Ac",
    "5c4d3h2sAc Kd Kh",
    "QcQdQh Ac Ks 2d 3h",
    "QcQdQh Ac Js 2d 3h",
    "AcAd 2h2s Kc Qd Jh",
    "KcKd QhQs Ac 3d 2h",
    "KcKd QhQs JcJd Th",  # the third pair counts as a kicker
    "KcKd Ah 5s 4c 3d 7h",
    "QcQd Ah Ks Jc 3d 2h",
    "QcQd Ah Ks Tc 9d 2h",
    "AcQdTh9s7c 4d 2h",
    "AcQdTh9s6c 5d 2h",
]


def rank(cards: str) -> int:
    return int(hand_ranks(np.array(parse_cards(cards))))


def test_every_five_card_hand_by_category():
    cards = np.arange(52, dtype=np.int8)
    every = np.concatenate([np.insert(_four(cards[:last]), 4, last, axis=1) for last in range(4, 52)])
    assert every.shape == (2_598_960, 5)
    ranks = hand_ranks(every)
    counts = dict(zip(CATEGORIES, np.bincount(ranks >> CATEGORY_SHIFT).tolist()))
    assert counts == {
        "straight flush": 40,
        "four of a kind": 624,
        "full house": 3_744,
        "flush": 5_108,
        "straight": 10_200,
        "three of a kind": 54_912,
        "two pair": 123_552,
        "pair": 1_098_240,
        "high card": 1_302_540,
    }
    assert len(np.unique(ranks)) == 7_462  # known: so many hands differ in strength


def _four(cards: np.ndarray) -> np.ndarray:
    return np.array(list(combinations(cards.tolist(), 4)), np.int8)


@pytest.mark.parametrize("size", [6, 7])
def test_more_cards_are_as_strong_as_the_best_five_of_them(size):
    rng = np.random.default_rng(size)
    drawn = np.argsort(rng.random((20_000, 52)), axis=1)[:, :size]
    few_suits = np.argsort(rng.random((10_000, 20)), axis=1)[:, :size] * 2 % 52  # many flushes and straights
    drawn = np.concatenate([drawn, few_suits])
    best = np.max([hand_ranks(drawn[:, list(five)]) for five in combinations(range(size), 5)], axis=0)
    np.testing.assert_array_equal(hand_ranks(drawn), best)
    assert set((best >> CATEGORY_SHIFT).tolist()) == set(range(9))


def test_known_hands_in_order():
    ranks = [rank(cards) for cards in LADDER]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AcKcQcJcTc 2d 2h", "AsKsQsJsTs Ac Ad"),  # suits do not matter
        ("AcAd KhKs 7c 5d 5h", "AhAs KcKd 7d 4c 3h"),
        ("9c8d7h6s5c Ad Ah", "9d8h7s6c5d 2c 2h"),
        ("AdTd8d6d4d 3d 2d", "AhTh8h6h4h Kc Ks"),  # only five cards play
    ],
)
def test_equal_hands_tie(one, other):
    assert rank(one) == rank(other)


def test_ranks_keep_the_leading_axes():
    assert hand_ranks(np.arange(2 * 3 * 7).reshape(2, 3, 7)).shape == (2, 3)
    assert hand_ranks(np.arange(5)).dtype == np.int32


def test_names():
    assert parse_cards("As") == (51,) and parse_cards("2c") == (0,)
    assert parse_cards("Ks7d 2c") == parse_cards(["Ks", "7d", "2c"]) == parse_cards([47, 21, 0])
    assert [parse_cards(card_name(card)) for card in range(52)] == [(card,) for card in range(52)]
    assert hand_name(parse_cards("2cAs")) == "As2c"


def test_pairs_of_cards():
    pairs = hands()
    assert pairs.shape == (1326, 2) and len(set(map(tuple, pairs.tolist()))) == 1326
    assert (pairs[:, 0] < pairs[:, 1]).all()
    np.testing.assert_array_equal(hands([8, 3, 5]), [[3, 5], [3, 8], [5, 8]])


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ("AsKx", "'Kx' is no card"),
        ("As1", "'1' is no card"),
        ("10h", "'10' is no card"),
        ([52], "52 is no card"),
        ([-1], "-1 is no card"),
        ([True], "True is no card"),
        ("AsKdAs", "As comes twice"),
    ],
)
def test_what_is_no_card(cards, reason):
    with pytest.raises(TreeError, match=reason):
        parse_cards(cards)
