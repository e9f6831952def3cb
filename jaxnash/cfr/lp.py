"""Equilibria by linear programming on the sequence form: ground truth for the regret minimisers.

It builds its own matrices, history by history, and shares nothing with the fast solver but the tree's check.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxnash.cfr.tree import check, histories
from jaxnash.games.game import TERMINAL, HistoryTree, TreeGame
from jaxnash.types import Array

TOLERANCE = 1e-10  # of the solver, for primal and dual feasibility


class LPSolution(NamedTuple):
    """An equilibrium. `I` infosets in the order of the `HistoryTree`'s, `A` actions."""

    value: float  # of the game, for player 0
    gap: float  # NashConv of `policy`, by its own best responses: 0 up to roundoff
    policy: Array  # f64[I, A]: an equilibrium of both players; uniform where they do not come themselves


class _Sequences(NamedTuple):
    """One player's sequences: 0 is the empty one, each other is an action at an infoset."""

    infoset: np.ndarray  # i[S], -1 of the empty one
    action: np.ndarray  # i[S], -1 of the empty one
    above: np.ndarray  # i[own infosets]: the sequence that leads there
    below: list[np.ndarray]  # of the own infosets, in the same order: their sequences
    last: np.ndarray  # i[H]: at every history, the player's sequence so far


def solve_lp(game: HistoryTree | TreeGame) -> LPSolution:
    """An equilibrium by one linear programme, with HiGHS.

    With realisation plans x, y (E x = e, F y = f; von Stengel 1996; Koller, Megiddo & von Stengel 1994):
    maximise f'q over x >= 0 and q such that F'q <= A'x, where A holds player 0's payoffs weighted by chance.
    y is the dual solution.

    Raises `TreeError` where `check` does, and RuntimeError where HiGHS fails.
    """
    tree = game if isinstance(game, HistoryTree) else histories(game)
    check(tree)
    first, second = _sequences(tree, 0), _sequences(tree, 1)
    payoff = _payoffs(tree, first, second)
    x, y = _solve(payoff, first, second)
    policy = np.zeros((len(tree.infosets), tree.num_actions))
    plans = [_behaviour(policy, side, plan) for side, plan in ((first, x), (second, y))]
    low = -_best_response(-(payoff.T @ plans[0]), second)
    high = _best_response(payoff @ plans[1], first)
    return LPSolution(float(plans[0] @ (payoff @ plans[1])), high - low, policy)


def _sequences(tree: HistoryTree, player: int) -> _Sequences:
    parent, mover, infoset, action = (
        column.tolist() for column in (tree.parent, tree.player, tree.infoset, tree.action)
    )
    number: dict[tuple[int, int], int] = {(-1, -1): 0}
    above: dict[int, int] = {}
    last = [0] * len(parent)
    for h in range(1, len(parent)):  # parents come first
        up = parent[h]
        last[h] = last[up]
        if mover[up] == player:
            above.setdefault(infoset[up], last[up])
            last[h] = number.setdefault((infoset[up], action[h]), len(number))
    below: dict[int, list[int]] = {i: [] for i in above}
    for (i, _), sequence in number.items():
        if sequence:
            below[i].append(sequence)
    pairs = np.array(list(number))
    return _Sequences(
        pairs[:, 0],
        pairs[:, 1],
        np.array(list(above.values()), int),
        [np.array(row) for row in below.values()],
        np.array(last),
    )


def _payoffs(tree: HistoryTree, first: _Sequences, second: _Sequences) -> Any:
    """Sparse f64[S0, S1]: what each pair of sequences earns player 0, times the chance that it can."""
    from scipy import sparse  # comes with cvxpy

    parent, drawn = tree.parent.tolist(), tree.chance.tolist()
    chance = [1.0] * len(parent)
    for h in range(1, len(parent)):
        chance[h] = chance[parent[h]] * drawn[h]
    ends = np.flatnonzero(tree.player == TERMINAL)
    earned = np.array(chance)[ends] * tree.returns[ends, 0]
    shape = len(first.infoset), len(second.infoset)
    return sparse.csr_array((earned, (first.last[ends], second.last[ends])), shape=shape)


def _flow(side: _Sequences) -> Any:
    """Sparse f64[1 + infosets, S]: the empty sequence, then each infoset's outflow less its inflow."""
    from scipy import sparse

    rows = np.concatenate(
        [np.full(len(out), 1 + k) for k, out in enumerate(side.below)] or [np.zeros(0, int)]
    )
    columns = np.concatenate([*side.below, np.zeros(0, int)]).astype(int)
    inward = np.arange(1, 1 + len(side.above))
    return sparse.csr_array(
        (
            np.concatenate([[1.0], np.ones(len(rows)), -np.ones(len(inward))]),
            (np.concatenate([[0], rows, inward]), np.concatenate([[0], columns, side.above])),
        ),
        shape=(1 + len(side.above), len(side.infoset)),
    )


def _solve(payoff: Any, first: _Sequences, second: _Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Optimal realisation plans of both players."""
    import cvxpy as cp  # slow to import

    flow, flow_second = _flow(first), _flow(second)
    x, q = cp.Variable(payoff.shape[0], nonneg=True), cp.Variable(flow_second.shape[0])
    begun = np.zeros(flow.shape[0])
    begun[0] = 1
    secures = flow_second.T @ q <= payoff.T @ x
    constraints: list[Any] = [secures, flow @ x == begun]
    problem = cp.Problem(cp.Maximize(q[0]), constraints)
    problem.solve(
        solver=cp.HIGHS,
        primal_feasibility_tolerance=TOLERANCE,
        dual_feasibility_tolerance=TOLERANCE,
        threads=1,
    )
    if x.value is None or secures.dual_value is None:  # every finite game has an equilibrium
        raise RuntimeError(f"HiGHS found no equilibrium of a {payoff.shape} sequence form: {problem.status}")
    return np.asarray(x.value), np.asarray(secures.dual_value)


def _behaviour(policy: np.ndarray, side: _Sequences, plan: np.ndarray) -> np.ndarray:
    """Writes the plan's probabilities into `policy` and returns the plan that they make exactly."""
    exact = np.ones(len(plan))
    for above, out in zip(side.above, side.below):  # parents come first
        weights = np.maximum(plan[out], 0)
        total = weights.sum()
        chosen = weights / total if total > TOLERANCE else np.full(len(out), 1 / len(out))
        policy[side.infoset[out], side.action[out]] = chosen
        exact[out] = exact[above] * chosen
    return exact


def _best_response(earned: np.ndarray, side: _Sequences) -> float:
    """The most that a side can earn, when each sequence earns `earned` f64[S]."""
    total = earned.copy()
    for above, out in zip(side.above[::-1], side.below[::-1]):  # children come first
        total[above] += total[out].max()
    return float(total[0])
