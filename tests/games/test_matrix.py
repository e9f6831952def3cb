"""Matrix games as trees."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxnash.cfr.tree import histories
from jaxnash.games.game import TERMINAL, TreeError
from jaxnash.games.matrix import matrix

from .walk import best_response_value, legal, paid, uniform_value

PAYOFFS = np.array([[3.0, -1.0, 0.1], [-2.0, 4.0, 1 / 3]])


def test_rows_then_columns_then_the_entry():
    game = matrix(PAYOFFS)
    assert legal(game) == (0, [0, 1])
    assert legal(game, 1) == (1, [0, 1, 2])
    with jax.enable_x64(True):
        assert [[paid(game, row, column) for column in range(3)] for row in range(2)] == PAYOFFS.tolist()


def test_the_tree_is_the_matrix():
    tree = histories(matrix(PAYOFFS))
    assert tree.infosets == ("0:row", "1:column")
    assert tree.returns[tree.player == TERMINAL].tolist() == [[x, -x] for x in PAYOFFS.ravel()]
    assert uniform_value(tree) == pytest.approx(PAYOFFS.mean(), abs=1e-15)
    assert best_response_value(tree, 0) == pytest.approx(PAYOFFS.mean(axis=1).max(), abs=1e-15)
    assert best_response_value(tree, 1) == pytest.approx(-PAYOFFS.mean(axis=0).min(), abs=1e-15)


def test_use_in_float32_costs_no_digits():
    game = matrix([[0.1]])
    assert jax.jit(game.returns)(game.root).dtype == np.float32
    assert histories(game).returns[-1].tolist() == [0.1, -0.1]


def test_the_matrix_is_copied():
    mine = np.array([[1.0, 2.0]])
    game = matrix(mine)
    mine[:] = np.nan
    assert paid(game, 0, 1) == 2


@pytest.mark.parametrize(
    "payoffs", [[], [[]], [[1, 2], [3]], 1.0, [1.0, 2.0], np.zeros((2, 0)), "no", np.zeros((1, 1, 1))]
)
def test_refuses_what_is_not_a_matrix(payoffs):
    with pytest.raises(TreeError, match="payoffs must be a matrix"):
        matrix(payoffs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_a_payoff_that_is_no_number(value):
    with pytest.raises(TreeError, match=f"row 1 against column 0 is {value}"):
        matrix([[0.0, 1.0], [value, 0.0]])
