"""Best responses, values and exploitability against closed forms and the slow twin."""

from __future__ import annotations

import numpy as np
import pytest

import jaxnash as jn
from jaxnash.cfr.tree import histories
from tests.reference import cfr_twin

GAMES = {
    "kuhn": jn.games.kuhn,
    "leduc": jn.games.leduc,
    "goofspiel": lambda: jn.games.goofspiel(4),
    "liars_dice": lambda: jn.games.liars_dice(sides=3),
    "matrix": lambda: jn.games.matrix([[0, 2, -1], [-2, 0, 3]]),
}


@pytest.fixture(scope="module", params=GAMES)
def case(request):
    written = histories(GAMES[request.param]())
    tree = jn.cfr.compile_tree(written)
    noise = np.random.default_rng(0).random(tree.legal.shape) * tree.legal
    policy = noise / noise.sum(1, keepdims=True)
    row = [tree.infosets.index(name) for name in written.infosets]
    twin = {i: list(policy[row[i]][tree.legal[row[i]]]) for i in range(len(row))}
    return tree, policy, cfr_twin.nodes(written), twin


def test_values_are_the_twins(case):
    tree, policy, game, twin = case
    assert jn.cfr.game_value(tree, policy) == pytest.approx(cfr_twin.expected_value(game, twin), abs=1e-12)
    assert jn.cfr.nash_conv(tree, policy) == pytest.approx(cfr_twin.nash_conv(game, twin), abs=1e-12)
    assert jn.cfr.exploitability(tree, policy) == jn.cfr.nash_conv(tree, policy) / 2


def test_a_best_response_earns_what_it_says(case):
    tree, policy, game, twin = case
    for player in (0, 1):
        response = jn.cfr.best_response(tree, policy, player)
        assert response.value == pytest.approx(cfr_twin.best_response(game, twin, player)[0], abs=1e-12)
        earned = jn.cfr.game_value(tree, response.policy) * (1 - 2 * player)
        assert earned == pytest.approx(response.value, abs=1e-12)
        other = tree.player != player
        assert np.array_equal(response.policy[other], policy[other])
        assert set(np.unique(response.policy[~other])) <= {0, 1}


def test_kuhns_equilibrium_cannot_be_exploited():
    tree = jn.cfr.compile_tree(jn.games.kuhn())
    bet = {"0:J:": 0.2, "0:Q:": 0, "0:K:": 0.6, "0:J:pb": 0, "0:Q:pb": 0.2 + 1 / 3, "0:K:pb": 1}
    bet |= {"1:J:p": 1 / 3, "1:Q:p": 0, "1:K:p": 1, "1:J:b": 0, "1:Q:b": 1 / 3, "1:K:b": 1}
    policy = np.array([[1 - bet[name], bet[name]] for name in tree.infosets])
    assert jn.cfr.exploitability(tree, policy) == pytest.approx(0, abs=1e-16)
    assert jn.cfr.game_value(tree, policy) == pytest.approx(-1 / 18, abs=1e-16)


@pytest.mark.parametrize("spoil", ["shape", "sum", "negative", "illegal", "nan"])
def test_what_is_no_policy_is_refused(spoil):
    tree = jn.cfr.compile_tree(jn.games.leduc())
    policy = jn.cfr.uniform_policy(tree)
    row = int(np.argmax(~tree.legal.all(1)))
    if spoil == "shape":
        policy = policy[:-1]
    elif spoil == "sum":
        policy[row] /= 2
    elif spoil == "negative":
        policy[row][tree.legal[row]] = np.linspace(-0.5, 1.5, tree.legal[row].sum())
    elif spoil == "illegal":
        policy[row] = ~tree.legal[row] / (~tree.legal[row]).sum()
    else:
        policy[row] = np.nan
    with pytest.raises(jn.JaxnashError, match="shape" if spoil == "shape" else tree.infosets[row]):
        jn.cfr.exploitability(tree, policy)
