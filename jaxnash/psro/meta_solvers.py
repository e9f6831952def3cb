"""Meta-solvers: a zero-sum matrix in, a mixture for each side out, on the host in float64.

The convention everywhere: `payoffs` f64[m, n] are the row player's; the row player maximises.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jaxnash.types import Array, JaxnashError, MetaSolution

GAP_LIMIT = 1e-7  # of the payoffs' range: what a maximum-entropy mixture may lose against the LP's
NEGLIGIBLE = 1e-8  # a probability below this is what an interior-point solver leaves behind: it is 0
ENTROPY_LIMIT = 200  # members beyond which the LP's own equilibrium is returned


def nash(payoffs: Array) -> MetaSolution:
    """The maximum-entropy equilibrium of a zero-sum matrix game f64[m, n].

    The value is an LP's (HiGHS); among the optimal mixtures of each side the one of largest entropy is
    found by Clarabel, which makes the answer unique: duplicates share equally, a zero matrix is uniform.
    It is taken only where its own guarantee is as good as the LP's. The gap is recomputed from the matrix.
    An antisymmetric matrix has value 0 exactly and one mixture for both sides. Deterministic.

    Raises `JaxnashError` for a matrix that is empty, not two-dimensional or not finite.
    """
    m = _checked(payoffs)
    low, high = float(m.min()), float(m.max())
    if low == high:
        return _solution(m, np.full(m.shape[0], 1 / m.shape[0]), np.full(m.shape[1], 1 / m.shape[1]))
    scaled = (m - (low + high) / 2) * (2 / (high - low))  # into [-1, 1], so that tolerances mean something
    symmetric = m.shape[0] == m.shape[1] and np.array_equal(m, -m.T)
    row = _maximise(scaled, 0.0 if symmetric else None)
    col = row if symmetric else _maximise(-scaled.T, None)
    return _solution(m, row, col)


def uniform(payoffs: Array) -> MetaSolution:
    """Every member alike, whatever the payoffs f64[m, n]: fictitious play's mixture when PSRO uses it."""
    m = _checked(payoffs)
    return _solution(m, np.full(m.shape[0], 1 / m.shape[0]), np.full(m.shape[1], 1 / m.shape[1]))


META_SOLVERS = {"nash": nash, "uniform": uniform}


def gap(payoffs: Array, row: Array, col: Array) -> float:
    """max_i (M col)_i - min_j (row M)_j: what the two best responses win between them; 0 at equilibrium."""
    return float((payoffs @ col).max() - (row @ payoffs).min())


def _checked(payoffs: Array) -> np.ndarray:
    m = np.array(payoffs, dtype=np.float64)
    if m.ndim != 2 or m.size == 0:
        raise JaxnashError(f"A payoff matrix has two dimensions and at least one cell; got shape {m.shape}.")
    if not np.isfinite(m).all():
        i, j = np.argwhere(~np.isfinite(m))[0]
        raise JaxnashError(f"The payoff of row {i} against column {j} is {m[i, j]}; play that pair first.")
    return m


def _solution(m: np.ndarray, row: np.ndarray, col: np.ndarray) -> MetaSolution:
    symmetric = m.shape[0] == m.shape[1] and np.array_equal(m, -m.T) and np.array_equal(row, col)
    return MetaSolution(row, col, 0.0 if symmetric else float(row @ m @ col), gap(m, row, col))


def _maximise(m: np.ndarray, value: float | None) -> np.ndarray:
    """The row player's optimal mixture of largest entropy, for payoffs within [-1, 1]."""
    lp = _linear_program(m)
    guaranteed = float((lp @ m).min())
    value = guaranteed if value is None else value
    if m.shape[0] == 1 or m.shape[0] > ENTROPY_LIMIT:
        return lp
    mixture = _maximum_entropy(m, value)
    for candidate in () if mixture is None else (_polished(m, mixture, value), mixture):
        if (candidate @ m).min() >= min(guaranteed, value) - GAP_LIMIT / 2:
            return candidate
    return lp


def _linear_program(m: np.ndarray) -> np.ndarray:
    import cvxpy as cp  # slow to import, and only the host side of PSRO needs it

    x, v = cp.Variable(m.shape[0], nonneg=True), cp.Variable()
    constraints: list[Any] = [m.T @ x >= v, cp.sum(x) == 1]
    problem = cp.Problem(cp.Maximize(v), constraints)
    problem.solve(
        solver=cp.HIGHS, primal_feasibility_tolerance=1e-10, dual_feasibility_tolerance=1e-10, threads=1
    )
    if x.value is None:  # a mixture always exists: this is the solver's failure, not the matrix's
        raise RuntimeError(f"HiGHS found no equilibrium of a {m.shape} matrix: {problem.status}")
    return _normalised(x.value)


def _maximum_entropy(m: np.ndarray, value: float) -> np.ndarray | None:
    import cvxpy as cp

    x = cp.Variable(m.shape[0])
    constraints: list[Any] = [m.T @ x >= value, cp.sum(x) == 1]
    problem = cp.Problem(cp.Maximize(cp.sum(cp.entr(x))), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an inaccurate answer is judged by its gap, not by the warning
        try:
            problem.solve(
                solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11, max_threads=1
            )
        except cp.SolverError:
            return None
    return None if x.value is None or not np.isfinite(x.value).all() else _normalised(x.value)


def _polished(m: np.ndarray, mixture: np.ndarray, value: float) -> np.ndarray:
    """Removes the interior-point residue: equal rows share exactly, then the smallest correction that meets
    the active constraints."""
    _, group, size = np.unique(m, axis=0, return_inverse=True, return_counts=True)
    mixture = (np.bincount(group.ravel(), weights=mixture) / size)[group.ravel()]
    held = mixture > NEGLIGIBLE
    tight = np.abs(mixture @ m - value) < 1e-6
    system = np.vstack([m[held][:, tight].T, np.ones(held.sum())])
    target = np.append(np.full(tight.sum(), value), 1.0)
    step = np.linalg.lstsq(system, target - system @ mixture[held], rcond=1e-9)[0]
    result = mixture.copy()
    result[held] += step
    return _normalised(result)


def _normalised(mixture: np.ndarray) -> np.ndarray:
    mixture = np.where(mixture > NEGLIGIBLE, mixture, 0.0)
    return mixture / mixture.sum()
