"""The linear programme against known values, the matrix solver, and best responses of the slow twin."""

from __future__ import annotations

import numpy as np
import pytest

from jaxnash.cfr.lp import solve_lp
from jaxnash.cfr.tree import histories
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeError
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.games.matrix import matrix
from jaxnash.games.openspiel import from_openspiel
from jaxnash.psro.meta_solvers import nash
from tests.reference import cfr_twin


def certified(tree: HistoryTree) -> float:
    """The value, after making sure that nobody can gain on the policies."""
    found, game = solve_lp(tree), cfr_twin.nodes(tree)
    policy = cfr_twin.from_rows(game, found.policy.tolist())
    assert found.policy.shape == (len(tree.infosets), tree.num_actions)
    np.testing.assert_allclose(found.policy.sum(axis=1), 1, atol=1e-12)
    assert all(sum(row) == pytest.approx(1) for row in policy.values())  # legal actions only
    assert cfr_twin.expected_value(game, policy) == pytest.approx(found.value, abs=1e-12)
    nash_conv = cfr_twin.nash_conv(game, policy)
    assert found.gap == pytest.approx(nash_conv, abs=1e-12)
    assert abs(nash_conv) < 1e-9
    return found.value


def test_kuhn():
    assert certified(histories(kuhn())) == pytest.approx(-1 / 18, abs=1e-9)


def test_a_game_is_as_good_as_its_tree():
    game, tree = solve_lp(kuhn()), solve_lp(histories(kuhn()))
    assert game.value == tree.value
    np.testing.assert_array_equal(game.policy, tree.policy)


def test_leduc_and_cfr_plus_converges_to_it():
    tree = histories(leduc())
    value = certified(tree)
    assert value == pytest.approx(-0.085606424078, abs=1e-9)
    game = cfr_twin.nodes(tree)
    found = cfr_twin.solve(game, "cfr+", 30)
    slack = cfr_twin.nash_conv(game, found.average)
    assert abs(cfr_twin.expected_value(game, found.average) - value) <= slack < 0.4


@pytest.mark.parametrize("seed", range(4))
def test_matrices_have_the_meta_solvers_value(seed):
    payoffs = np.random.default_rng(seed).normal(size=(3 + seed, 5))
    assert certified(histories(matrix(payoffs))) == pytest.approx(nash(payoffs).value, abs=1e-8)


@pytest.mark.parametrize(
    "name, value",
    [
        ("kuhn_poker", -1 / 18),
        ("goofspiel(num_cards=4,imp_info=True,points_order=descending)", 0),  # symmetric
        ("dark_hex(board_size=2)", 1),  # the first player can force it
        ("liars_dice(dice_sides=4)", None),
        ("battleship(board_width=2,board_height=2,ship_sizes=[1],ship_values=[1],num_shots=2)", None),
        ("zerosum(game=first_sealed_auction(max_value=3))", None),
        ("go_fish(ranks=2,suits=2)", None),  # nobody has anything to decide
    ],
)
def test_openspiels_games(name, value):
    pytest.importorskip("pyspiel")
    found = certified(from_openspiel(name))
    assert value is None or found == pytest.approx(value, abs=1e-9)


def test_deep_and_shallow_histories_of_one_infoset():
    """Player 1 does not see whether player 0 moved once or twice: a matrix of three rows."""
    parent = [-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    tree = HistoryTree(
        parent=np.array(parent, np.int32),
        action=np.array([-1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], np.int32),
        player=np.array([0, 0, 1, 1, 1, *[TERMINAL] * 6], np.int8),
        chance=np.ones(11),
        returns=np.array([[0, 0]] * 5 + [[p, -p] for p in (-1, 1, 3, -1, 1, -1)], float),
        infoset=np.array([0, 1, 2, 2, 2, *[-1] * 6], np.int32),
        infosets=("0:start", "0:again", "1:guess"),
        num_actions=2,
    )
    assert certified(tree) == pytest.approx(nash(np.array([[-1, 1], [3, -1], [1, -1]])).value, abs=1e-9)


def test_chance_alone_and_chance_that_is_wrong():
    """Nobody decides: the value is the mean; and the refusals of the check come through."""
    tree = HistoryTree(
        parent=np.array([-1, 0, 0], np.int32),
        action=np.array([-1, 0, 1], np.int32),
        player=np.array([CHANCE, TERMINAL, TERMINAL], np.int8),
        chance=np.array([1, 0.25, 0.75]),
        returns=np.array([[0, 0], [4, -4], [0, 0]], float),
        infoset=np.full(3, -1, np.int32),
        infosets=(),
        num_actions=1,
    )
    assert solve_lp(tree).value == pytest.approx(1)
    with pytest.raises(TreeError, match="sum"):
        solve_lp(tree._replace(chance=np.array([1, 0.25, 0.5])))


def test_imperfect_recall_is_refused():
    """Player 0 forgets its first action."""
    tree = HistoryTree(
        parent=np.array([-1, 0, 0, 1, 1, 2, 2], np.int32),
        action=np.array([-1, 0, 1, 0, 1, 0, 1], np.int32),
        player=np.array([0, 0, 0, *[TERMINAL] * 4], np.int8),
        chance=np.ones(7),
        returns=np.array([[0, 0]] * 3 + [[1, -1], [0, 0], [0, 0], [1, -1]], float),
        infoset=np.array([0, 1, 1, *[-1] * 4], np.int32),
        infosets=("0:first", "0:second"),
        num_actions=2,
    )
    with pytest.raises(TreeError, match="imperfect recall"):
        solve_lp(tree)
