"""Liar's dice's rules, position by position."""

from __future__ import annotations

import itertools
from collections import Counter

import jax
import numpy as np
import pytest

from jaxnash.cfr.tree import check, histories
from jaxnash.games.game import CHANCE, TERMINAL, TreeError
from jaxnash.games.liars_dice import liars_dice

from .walk import legal, paid, paid_each, play, uniform_nash_conv, uniform_value

LIAR = 12  # with one die of six sides


def bid(quantity, face, sides=6):
    return (quantity - 1) * sides + face - 1


@pytest.fixture(scope="module")
def game():
    return liars_dice()


def test_bids_rise_until_the_call(game):
    assert legal(game) == legal(game, 2) == (CHANCE, [0, 1, 2, 3, 4, 5])
    assert legal(game, 2, 1) == (0, list(range(12)))  # nothing to call a lie
    assert legal(game, 2, 1, bid(1, 6)) == (1, [*range(6, 12), LIAR])
    assert legal(game, 2, 1, bid(1, 1), bid(2, 1)) == (0, [*range(7, 12), LIAR])
    assert legal(game, 2, 1, bid(2, 6)) == (1, [LIAR])


def test_a_call_is_settled_by_counting(game):
    """Every roll with every bid, made by player 0 and (above a first bid) by player 1, counted by hand."""
    cases = list(itertools.product(range(1, 7), range(1, 7), (1, 2), range(1, 7)))
    true = np.array([sum(die in (face, 6) for die in roll) >= quantity for *roll, quantity, face in cases])
    steps = np.array([(one - 1, two - 1, bid(quantity, face), LIAR) for one, two, quantity, face in cases])
    np.testing.assert_array_equal(paid_each(game, steps), np.where(true, 1, -1))
    higher = steps[:, 2] > 0
    answered = np.insert(steps[higher], 2, bid(1, 1), axis=1)
    np.testing.assert_array_equal(paid_each(game, answered), np.where(true[higher], -1, 1))


def test_use_in_float32_costs_no_digits():
    game = liars_dice(sides=3)
    assert jax.jit(game.chance)(game.root).dtype == np.float32
    assert histories(game).chance[1] == 1 / 3


def test_keys_name_own_dice_and_the_bids(game):
    state = play(game, 2, 5, bid(1, 4), bid(2, 3))
    assert game.infoset(state, 0) == "0:3:1-4 2-3"
    assert game.infoset(state, 1) == "1:6:1-4 2-3"


def test_two_dice_are_rolled_as_a_multiset():
    game = liars_dice(dice=2, sides=3)
    hands = list(itertools.combinations_with_replacement(range(1, 4), 2))
    rolls = Counter(tuple(sorted(roll)) for roll in itertools.product(range(1, 4), repeat=2))
    with jax.enable_x64(True):
        odds = np.asarray(game.chance(game.root))
    np.testing.assert_allclose(odds, [rolls[hand] / 9 for hand in hands], atol=1e-15)
    threes = hands.index((3, 3)), hands.index((1, 1))
    liar = game.num_actions - 1
    assert liar == 12
    assert paid(game, *threes, bid(4, 1, 3), liar) == 1  # threes are wild
    assert paid(game, *threes, bid(3, 2, 3), liar) == -1
    assert paid(game, *threes, bid(2, 3, 3), liar) == 1
    assert paid(game, *threes, bid(3, 3, 3), liar) == -1


def test_even_play_is_worth_what_openspiel_says(game):
    tree = histories(game)
    assert uniform_nash_conv(tree) == pytest.approx(1.56148864638448, abs=1e-12)
    small = histories(liars_dice(sides=4))
    assert uniform_value(small) == pytest.approx(-0.015625, abs=1e-12)
    assert uniform_nash_conv(small) == pytest.approx(1.3101190476190476, abs=1e-12)


def test_two_dice_in_multisets_are_the_game_with_dice_in_order():
    """OpenSpiel rolls one die after the other: more histories, but the same infosets and values."""
    tree = histories(liars_dice(dice=2, sides=2))
    check(tree)
    assert len(tree.parent) == 1 + 3 + 9 * 2**9 - 9
    assert np.sum(tree.player == TERMINAL) == 9 * (2**8 - 1)
    assert [key[0] for key in tree.infosets].count("0") == 384
    assert len(tree.infosets) == 768
    assert uniform_value(tree) == pytest.approx(0.0625, abs=1e-12)
    assert uniform_nash_conv(tree) == pytest.approx(1.640625, abs=1e-12)


@pytest.mark.parametrize("dice, sides", [(0, 6), (1, 0), (-1, 6)])
def test_refuses_a_game_without_dice(dice, sides):
    with pytest.raises(TreeError, match="needs a die and a side"):
        liars_dice(dice, sides)
