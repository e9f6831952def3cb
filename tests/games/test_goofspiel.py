"""Goofspiel's rules, position by position."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jaxnash.cfr.tree import histories
from jaxnash.games.game import TERMINAL, TreeError
from jaxnash.games.goofspiel import goofspiel

from .walk import legal, paid_each, play, uniform_nash_conv, uniform_value


@pytest.fixture(scope="module")
def game():
    return goofspiel(4)


def test_each_bids_every_card_once_and_the_last_plays_itself(game):
    assert legal(game) == (0, [0, 1, 2, 3])
    assert legal(game, 2) == (1, [0, 1, 2, 3])
    assert legal(game, 2, 0) == (0, [0, 1, 3])
    assert legal(game, 2, 0, 3) == (1, [1, 2, 3])
    assert legal(game, 2, 0, 3, 1, 0) == (1, [2, 3])
    assert game.player(play(game, 2, 0, 3, 1, 0, 2)) == TERMINAL


def test_the_winner_has_more_points(game):
    """All 576 plays; the fourth cards play themselves."""
    orders = np.array(list(itertools.permutations(range(4))))
    first, second = np.repeat(orders, 24, axis=0), np.tile(orders, (24, 1))
    lead = np.sign(first - second) @ np.array([4, 3, 2, 1])
    steps = np.stack([first, second], axis=2)[:, :3].reshape(576, 6)
    np.testing.assert_array_equal(paid_each(game, steps), np.sign(lead))


def test_the_second_bidder_does_not_see_the_first_bid(game):
    keys = {game.infoset(play(game, 2, 0, card), 1) for card in (0, 1, 3)}
    views = {np.asarray(game.observe(play(game, 2, 0, card)))[1].tobytes() for card in (0, 1, 3)}
    assert keys == {"1:1:0"} and len(views) == 1


def test_only_the_winner_of_a_bid_is_told(game):
    assert game.infoset(play(game, 2, 0), 0) == game.infoset(play(game, 2, 1), 0) == "0:3:0"
    assert game.infoset(play(game, 2, 2, 0, 3), 1) == "1:3 4:t1"
    lost, tied, won = (np.asarray(game.observe(play(game, 2, card)))[0] for card in (3, 2, 1))
    assert not np.array_equal(lost, tied) and not np.array_equal(tied, won)
    assert np.array_equal(won, np.asarray(game.observe(play(game, 2, 0)))[0])


def test_even_play_is_worth_what_openspiel_says(game):
    tree = histories(game)
    assert uniform_value(tree) == pytest.approx(0, abs=1e-12)
    assert uniform_nash_conv(tree) == pytest.approx(1.4166666666666665, abs=1e-12)


@pytest.mark.parametrize("cards", [1, 0, -3])
def test_refuses_a_game_without_decisions(cards):
    with pytest.raises(TreeError, match="needs two cards"):
        goofspiel(cards)
