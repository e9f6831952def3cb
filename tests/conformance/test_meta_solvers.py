"""What every meta-solver owes: a distribution for each side, an honest gap, the same answer twice."""

import numpy as np
import pytest

from jaxnash.psro.meta_solvers import META_SOLVERS
from jaxnash.types import JaxnashError

RNG = np.random.default_rng(0)
SKEW = np.triu(RNG.uniform(-1, 1, (6, 6)), 1)
MATRICES = {
    "one": [[0.25]],
    "row": [[1, 2, 3]],
    "column": [[1], [2], [3]],
    "zero": np.zeros((3, 4)),
    "constant": np.full((2, 2), 7.5),
    "rock-paper-scissors": [[0, -1, 1], [1, 0, -1], [-1, 1, 0]],
    "antisymmetric": SKEW - SKEW.T,
    "wide": RNG.uniform(-1, 1, (3, 9)),
    "tall": RNG.uniform(-1, 1, (9, 3)),
    "large": RNG.uniform(-1e4, 1e4, (7, 7)),
    "small": RNG.uniform(-1e-4, 1e-4, (7, 7)),
    "ties": RNG.integers(-1, 2, (6, 5)),
    "duplicates": np.repeat(np.repeat(SKEW - SKEW.T, 2, axis=0), 2, axis=1),
}
EXACT = {"nash"}  # solvers whose mixtures are equilibria

solvers = pytest.mark.parametrize("name", META_SOLVERS)
matrices = pytest.mark.parametrize("matrix", MATRICES)


@solvers
@matrices
def test_gives_distributions_and_recomputable_numbers(name, matrix):
    payoffs = np.asarray(MATRICES[matrix], float)
    untouched = payoffs.copy()
    row, col, value, gap = META_SOLVERS[name](MATRICES[matrix])
    assert row.shape == payoffs.shape[:1] and col.shape == payoffs.shape[1:]
    for mixture in (row, col):
        assert mixture.dtype == np.float64 and (mixture >= 0).all()
        assert mixture.sum() == pytest.approx(1, abs=1e-12)
    scale = max(1.0, np.abs(payoffs).max())
    assert value == pytest.approx(row @ payoffs @ col, abs=1e-12 * scale)
    assert gap == pytest.approx((payoffs @ col).max() - (row @ payoffs).min(), abs=1e-12 * scale)
    assert np.array_equal(payoffs, untouched)


@solvers
@matrices
def test_is_deterministic(name, matrix):
    first, second = META_SOLVERS[name](MATRICES[matrix]), META_SOLVERS[name](MATRICES[matrix])
    assert first.row.tobytes() == second.row.tobytes() and first.col.tobytes() == second.col.tobytes()


@pytest.mark.parametrize("name", sorted(EXACT))
@matrices
def test_an_equilibrium_leaves_no_gap(name, matrix):
    payoffs = np.asarray(MATRICES[matrix], float)
    solution = META_SOLVERS[name](payoffs)
    assert -1e-12 <= solution.gap / max(np.ptp(payoffs), 1e-12) <= 1e-7


@solvers
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_a_payoff_that_is_no_number(name, value):
    with pytest.raises(JaxnashError, match="row 1 against column 0"):
        META_SOLVERS[name]([[0.0, 1.0], [value, 0.0]])


@solvers
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3,), (2, 2, 2)])
def test_refuses_what_is_not_a_matrix(name, shape):
    with pytest.raises(JaxnashError, match="shape"):
        META_SOLVERS[name](np.zeros(shape))
