"""How far from equilibrium: the four gaps, each with its sign and its interval, and the analysis file.

Everything is a payoff u in [-1, 1] of a symmetric game, whose value is exactly 0 and is never subtracted. A
gap is what a *best* opponent wins against the mixture; the mixture's result against its weakest opponent is
not one. None of these is exploitability, which only a tree gives exactly; the oracle gap is a lower bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxnash.psro.tournament import Cell, Table, cell_payoff, interval, payoff_bounds, payoffs
from jaxnash.types import Array, MetaSolution

NO_EXPLOIT = "no exploit found"
DOMINANT = 0.01  # the probability above which a policy is listed as dominant


class OracleGap(NamedTuple):
    """u of a fresh best response against the mixture, on battles it was neither trained nor selected on."""

    gap: float
    ci: tuple[float, float]  # 95 %, Wilson on pairs
    significant: bool  # the lower end at 99 % is above 0
    pairs: int

    @property
    def text(self) -> str:
        """For people: below 0 it says that no exploit was found, never that this is progress."""
        if self.gap <= 0:
            return NO_EXPLOIT
        low, high = self.ci
        return f"{self.gap:+.3f} [{low:+.3f}, {high:+.3f}]{'' if self.significant else ', not significant'}"


def against(payoffs: Array, mixture: Array) -> np.ndarray:
    """u(j, mixture) f64[K] of every member j, for payoffs f64[K, K] and a mixture over the first members."""
    m, p = np.asarray(payoffs), np.asarray(mixture)
    return m[:, : len(p)] @ p


def solver_gap(payoffs: Array, mixture: Array) -> float:
    """max_j u(j, mixture) on the measured table: about 0 at its Nash. It tests the solver, not the agents."""
    return float(against(payoffs, mixture).max())


def hindsight_gap(payoffs: Array, mixture: Array) -> float:
    """The same over all members of a later table f64[K, K], the mixture being over the first k <= K."""
    return solver_gap(payoffs, mixture)


def restricted_gap(table: Table, mixture: Array, *, level: float = 0.95) -> tuple[float, float]:
    """An interval of max_j u(j, mixture) on the *true* payoffs among the members.

    All cells are bounded at once, so it holds for a mixture that was computed from the same table. In a
    symmetric game the mixture against itself wins 0, so the lower end is never below 0.
    """
    lower, upper = payoff_bounds(table, level=level)
    return max(0.0, solver_gap(lower, mixture)), max(0.0, solver_gap(upper, mixture))


def oracle_gap(cell: Cell) -> OracleGap:
    """From the best response's fresh battles against the mixture, n fixed beforehand, its own view."""
    low, high = interval(cell, 0.95)
    significant = 2 * interval(cell, 0.99)[0] - 1 > 0
    return OracleGap(cell_payoff(cell), (2 * low - 1, 2 * high - 1), significant, cell.pairs)


def analysis(table: Table, solution: MetaSolution, *, oracle: OracleGap | None = None) -> dict[str, Any]:
    """The content of `meta_game_analysis.json`.

    Lists stand in the order of `policy_names`; win rates are (1 + u) / 2; `exploitability` is null because
    no table gives it; `oracle_gap` is null before a best response was trained against this mixture.
    """
    mixture = np.asarray(solution.row)
    measured = payoffs(table)
    rates = (1 + against(measured, mixture)) / 2
    ranked: list[int] = np.argsort(-mixture.round(6), kind="stable").tolist()  # ties in the names' order
    return {
        "nash_mixture": mixture.tolist(),
        "nash_value": float(solution.value),
        "exploitability": None,
        "solver_gap": solver_gap(measured, mixture),
        "restricted_gap_ci": list(restricted_gap(table, mixture)),
        "oracle_gap": None if oracle is None else oracle.gap,
        "oracle_gap_ci": None if oracle is None else list(oracle.ci),
        "oracle_gap_significant": None if oracle is None else oracle.significant,
        "oracle_gap_text": None if oracle is None else oracle.text,
        "dominant_policies": [
            {
                "policy": table.names[k],
                "probability": float(mixture[k]),
                "expected_winrate_vs_nash": float(rates[k]),
            }
            for k in ranked
            if mixture[k] > DOMINANT
        ],
        "expected_winrates": rates.tolist(),
        "policy_names": list(table.names),
    }
