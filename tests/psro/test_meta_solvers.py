import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq, linprog

from jaxnash.psro import meta_solvers
from jaxnash.psro.gaps import solver_gap
from jaxnash.psro.meta_solvers import nash

RPS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])


def lp_value(payoffs):
    """An independent solver's value of the game, for the row player."""
    m, n = payoffs.shape
    result = linprog(
        np.append(np.zeros(m), -1),
        A_ub=np.column_stack([-payoffs.T, np.ones(n)]),
        b_ub=np.zeros(n),
        A_eq=[np.append(np.ones(m), 0)],
        b_eq=[1],
        bounds=[(0, 1)] * m + [(None, None)],
    )
    return -result.fun


def entropy(mixture):
    held = mixture[mixture > 0]
    return -(held * np.log(held)).sum()


def test_rock_paper_scissors_is_a_third_each():
    solution = nash(RPS)
    assert solution.row == pytest.approx([1 / 3] * 3, abs=1e-9)
    assert solution.col == pytest.approx([1 / 3] * 3, abs=1e-9)
    assert solution.gap < 1e-6 and solution.value == 0.0


def test_a_zero_matrix_is_uniform():
    solution = nash(np.zeros((3, 5)))
    assert np.array_equal(solution.row, np.full(3, 1 / 3)) and np.array_equal(solution.col, np.full(5, 0.2))
    assert solution.value == 0.0 and solution.gap == 0.0


def test_one_member_plays_itself():
    assert nash([[0.0]]) == ([1.0], [1.0], 0.0, 0.0)


def test_dominance_is_certain():
    payoffs = np.array([[0, 0.4, 0.6], [-0.4, 0, 0.9], [-0.6, -0.9, 0]])
    assert nash(payoffs).row.tolist() == [1.0, 0.0, 0.0]


def test_the_gap_of_a_dominant_member_is_zero_and_not_044():
    """The example of the reference: the stronger member has 0.94 against the weaker, and a known pipeline
    publishes what the mixture wins against its weakest opponent as its exploitability."""
    winrates = np.array([[0.5, 0.94], [0.06, 0.5]])
    solution = nash(winrates)
    assert solution.row.tolist() == [1.0, 0.0] and solution.col.tolist() == [1.0, 0.0]
    assert solution.gap == 0.0 and solution.value == 0.5
    assert (winrates.T @ solution.row).max() - solution.value == pytest.approx(0.44)  # the wrong sign
    assert solver_gap(2 * winrates - 1, solution.row) == 0.0


def test_a_known_mixed_equilibrium_of_a_game_that_is_not_symmetric():
    # [[2, -1], [-1, 1]]: p = 2/5, q = 2/5, value 1/5
    solution = nash([[2, -1], [-1, 1]])
    assert solution.row == pytest.approx([0.4, 0.6], abs=1e-12)
    assert solution.col == pytest.approx([0.4, 0.6], abs=1e-12)
    assert solution.value == pytest.approx(0.2, abs=1e-12)


@pytest.mark.parametrize("copies", [(2, 1, 1), (1, 3, 2)])
def test_duplicates_share_equally(copies):
    index = np.repeat(np.arange(3), copies)
    row = nash(RPS[np.ix_(index, index)]).row
    assert np.bincount(index, weights=row) == pytest.approx([1 / 3] * 3, abs=1e-9)
    for member in range(3):
        share = row[index == member]
        assert share == pytest.approx(np.full(len(share), share[0]), abs=1e-12)


def test_the_equilibrium_is_the_one_of_largest_entropy():
    """Rock, paper, scissors and a fourth action that ties with all: the equilibria are a segment from
    (1/3, 1/3, 1/3, 0) to (0, 0, 0, 1), and its point of largest entropy is uniform."""
    payoffs = np.zeros((4, 4))
    payoffs[:3, :3] = RPS
    assert nash(payoffs).row == pytest.approx([0.25] * 4, abs=1e-6)


def test_the_largest_entropy_has_its_closed_form():
    """payoffs = a b^T, both of mixed signs: the optimal rows are those with p . a = 0, and the one of
    largest entropy is p_i ~ exp(t a_i)."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        a, b = np.append(rng.uniform(-1, 1, 6), [-0.3, 0.9]), np.append(rng.uniform(-1, 1, 3), [-0.2, 0.7])
        t = brentq(lambda t, a=a: (a * np.exp(t * a)).sum(), -100, 100, xtol=1e-14)
        assert nash(np.outer(a, b)).row == pytest.approx(np.exp(t * a) / np.exp(t * a).sum(), abs=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    arrays(
        float,
        st.tuples(st.integers(1, 7), st.integers(1, 7)),
        elements=st.sampled_from([-1.0, -0.5, -0.1, 0.0, 0.1, 0.25, 1.0]),
    )
)
def test_any_matrix_has_the_value_of_an_independent_solver(payoffs):
    solution = nash(payoffs)
    assert solution.value == pytest.approx(lp_value(payoffs), abs=2e-7)
    assert -1e-12 <= solution.gap <= 2e-7


def test_beyond_the_limit_the_linear_program_alone_answers(monkeypatch):
    monkeypatch.setattr(meta_solvers, "ENTROPY_LIMIT", 3)
    payoffs = np.zeros((4, 4))
    payoffs[:3, :3] = RPS
    solution = nash(payoffs)
    assert abs(solution.gap) < 1e-9 and entropy(solution.row) < np.log(4) - 0.1  # a vertex, not uniform


def test_a_failed_entropy_step_keeps_the_linear_program(monkeypatch):
    monkeypatch.setattr(meta_solvers, "_maximum_entropy", lambda m, value: np.full(len(m), 1 / len(m)))
    payoffs = np.array([[0, 0.4, 0.6], [-0.4, 0, 0.9], [-0.6, -0.9, 0]])
    assert nash(payoffs).row.tolist() == [1.0, 0.0, 0.0]


def test_importing_psro_does_not_import_cvxpy():
    code = "import sys, jaxnash.psro.loop, jaxnash.psro.gaps; sys.exit('cvxpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
