"""Policy-space response oracles (Lanctot et al. 2017) for one population of a symmetric game.

The loop is arithmetic over three functions that are handed in: it knows no game, no simulator and no disk,
and draws nothing (`play` and `oracle` key their own randomness by the iteration).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnash.psro.gaps import hindsight_gap
from jaxnash.psro.members import unique_names
from jaxnash.psro.meta_solvers import nash
from jaxnash.psro.tournament import Table, cell_payoff, pairs_missing, payoffs
from jaxnash.types import MetaSolution, MetaSolver

Saved = Callable[[int, str, Callable[[], Any]], Any]


class PSROState(NamedTuple):
    """After iteration t: t + 1 solutions, t best responses. K grows by one an iteration."""

    members: tuple[Any, ...]  # anything with a `name`
    table: Table
    solutions: tuple[MetaSolution, ...]  # of iterations 0..t; the i-th is over the members of then
    oracle_metrics: tuple[dict[str, Any], ...]  # of iterations 1..t
    hindsight_gaps: tuple[float, ...]  # of the mixtures 0..t, over all members of now

    @property
    def names(self) -> tuple[str, ...]:
        return self.table.names

    @property
    def mixtures(self) -> tuple[np.ndarray, ...]:
        return tuple(solution.row for solution in self.solutions)


def loop(
    *,
    members: Sequence[Any],
    play: Callable[[int, tuple[Any, ...], list[tuple[int, int]]], Mapping[tuple[int, int], Any]],
    oracle: Callable[[int, tuple[Any, ...], np.ndarray, Table], tuple[Any, dict[str, Any]]],
    iterations: int,
    meta_solver: MetaSolver = nash,
    payoff: Callable[[Any], float] = cell_payoff,
    saved: Saved = lambda iteration, stage, compute: compute(),
    after: Callable[[int, PSROState], None] = lambda iteration, state: None,
) -> PSROState:
    """Iteration 0 plays and solves the first population; every further one first adds a best response.

    play: (iteration, members, pairs) -> {pair: cell} for exactly these pairs; only new pairs are asked for.
    oracle: (iteration, members, mixture f64[K], table) -> (new member, metrics), against the mixture of the
        iteration before.
    payoff: what a cell is worth to its first member; with exact cells (floats), `float`.
    saved: (iteration, stage, compute) -> compute() or what it returned before. Stages are "oracle" ->
        (member, metrics), "tournament" -> cells, "meta" -> MetaSolution. The loop uses only what `saved`
        returns, so with one that keeps results a restart repeats no finished stage.
    after: called with the state when an iteration is done, also on a restart; it may write files.

    Raises `JaxnashError` when a name is taken, and what the three functions raise.
    """
    population = tuple(members)
    state = PSROState(population, Table(unique_names(member.name for member in population), {}), (), (), ())

    def advance(iteration: int, state: PSROState) -> PSROState:
        population, table, metrics = state.members, state.table, state.oracle_metrics
        if iteration:
            mixture = state.solutions[-1].row
            member, measured = saved(
                iteration, "oracle", lambda: oracle(iteration, state.members, mixture, state.table)
            )
            population, metrics = (*population, member), (*metrics, measured)
            table = Table(unique_names((*table.names, member.name)), table.cells)
        pairs = pairs_missing(table)
        cells = saved(iteration, "tournament", lambda: dict(play(iteration, population, pairs)))
        if set(cells) != set(pairs):
            raise ValueError(f"iteration {iteration}: asked for the pairs {pairs}, got {sorted(cells)}")
        table = Table(table.names, {**table.cells, **cells})
        matrix = payoffs(table, payoff=payoff)
        solutions = (*state.solutions, saved(iteration, "meta", lambda: meta_solver(matrix)))
        gaps = tuple(hindsight_gap(matrix, solution.row) for solution in solutions)
        return PSROState(population, table, solutions, metrics, gaps)

    for iteration in range(iterations + 1):
        state = advance(iteration, state)
        after(iteration, state)
    return state
