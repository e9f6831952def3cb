"""The features of hold'em observations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.cards import parse_cards
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.policies.poker import feature_size, features

NOT_READ = np.zeros(2, np.uint32)


def seen(kind, actions):
    game = holdem(kind, bet_sizes=(0.5, 1.0))
    cards = np.array(parse_cards("AsAh KsQh 2c7d9hJc3s"), np.int32)
    state = game.init(NOT_READ, holdem_setup(kind)._replace(cards=cards))
    for action in actions:
        state = game.step(NOT_READ, state, jnp.array([action, action]))
    return game.observe(state).obs, game.actions.n


@pytest.mark.parametrize("kind, streets", [("flop", 2), ("limit", 4), ("no-limit", 4)])
def test_features_before_the_flop_by_hand(kind, streets):
    obs, count = seen(kind, [2])  # the dealer raised to 200
    both = np.asarray(features(obs, count))
    assert both.shape == (2, feature_size(obs, count)) and both.dtype == np.float32
    own = both[0]
    suits, ranks, cards, rest = np.split(own, [4, 17, 69])
    assert suits.tolist() == [1, 1, 0, 0]  # canonical: the aces' suits come first
    assert np.flatnonzero(ranks).tolist() == [12] and ranks[12] == 2
    assert np.flatnonzero(cards).tolist() == [48, 49]
    assert not rest[: 69 * (streets - 1)].any()
    street, bets, numbers = np.split(rest[69 * (streets - 1) :], [streets, streets + streets * 6 * count])
    assert street.tolist() == [1] + [0] * (streets - 1)
    assert np.flatnonzero(bets).tolist() == [2]
    expected = [np.log1p(3) / 4, 0, np.log1p(198) / 4, np.log1p(199) / 4, 0, 3 / 201, 1]
    np.testing.assert_allclose(numbers, expected, atol=1e-6)
    other = [np.log1p(3) / 4, np.log1p(1) / 4, np.log1p(199) / 4, np.log1p(198) / 4, 1 / 4, 3 / 202, 0]
    np.testing.assert_allclose(both[1, -7:], other, atol=1e-6)


def test_features_show_board_and_history():
    obs, count = seen("no-limit", [1, 1, 1, 4])  # the dealer goes all-in, the last of five actions
    own = np.asarray(features(obs, count))[0]
    groups = own[: 4 * 69].reshape(4, 69)
    assert groups.sum(axis=1).tolist() == [6, 9, 0, 0]
    assert np.flatnonzero(groups[1, 4:17]).tolist() == [0, 5, 7]
    assert own[276:280].tolist() == [0, 1, 0, 0]
    bets = own[280 : 280 + 24 * count].reshape(4, 6, count)
    assert np.argwhere(bets).tolist() == [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 4]]


def test_features_map_over_leading_axes():
    obs, count = seen("limit", [1, 1])
    one = features(jax.tree.map(lambda leaf: leaf[1], obs), count)
    np.testing.assert_array_equal(features(obs, count)[1], one)
    assert np.isfinite(one).all()
