"""What was played: cells of pair results, the table of them, intervals, and the table's files.

Battles come in pairs that swap seats and teams under common seeds. The *pair* is the unit of statistics, so
a cell keeps the histogram of pair scores. Every rate here is a win rate in [0, 1], a draw being half a win;
every payoff is u = 2 * rate - 1 = (wins - losses) / battles in [-1, 1].
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from jaxnash.types import JaxnashError

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the scores a pair of battles can have


class Cell(NamedTuple):
    """All battles of one unordered pair of members, from the first member's view."""

    wins: int
    draws: int
    losses: int
    pair_scores: tuple[int, int, int, int, int]  # pairs that scored 0, 1/4, 1/2, 3/4, 1
    teams: str  # hash of the team distribution: a gap belongs to one

    @property
    def pairs(self) -> int:
        return sum(self.pair_scores)


class Table(NamedTuple):
    """Who met whom. `cells[i, j]`, i < j, is from i's view; a pair without a cell is unplayed."""

    names: tuple[str, ...]
    cells: dict[tuple[int, int], Any]  # `Cell`, or anything that a `payoff` function reads


def cell_from_scores(scores: Iterable[tuple[float, float]], *, teams: str = "") -> Cell:
    """A cell from the two battles of every pair: each 1 (the first member won), 0.5 (draw) or 0."""
    results, histogram = [0, 0, 0], [0] * 5
    for pair in scores:
        halves = [round(2 * score) for score in pair]
        if len(halves) != 2 or any(half not in (0, 1, 2) or half != 2 * s for half, s in zip(halves, pair)):
            raise ValueError(f"a pair has two scores of 0, 0.5 or 1 each; got {pair}")
        for half in halves:
            results[half] += 1
        histogram[sum(halves)] += 1
    return _checked(Cell(results[2], results[1], results[0], tuple(histogram), teams))  # type: ignore[arg-type]


def flipped(cell: Cell) -> Cell:
    """The same battles from the other member's view."""
    a, b, c, d, e = cell.pair_scores
    return Cell(cell.losses, cell.draws, cell.wins, (e, d, c, b, a), cell.teams)


def merged(first: Cell, second: Cell) -> Cell:
    """Both cells' battles. Raises `JaxnashError` when they belong to different team distributions."""
    if first.teams != second.teams:
        raise JaxnashError(
            f"Cells of different team sets ({first.teams}, {second.teams}) cannot be added: a payoff belongs "
            "to one team distribution; play the tournament again with one team set."
        )
    scores = tuple(a + b for a, b in zip(first.pair_scores, second.pair_scores))
    results = [getattr(first, name) + getattr(second, name) for name in ("wins", "draws", "losses")]
    return Cell(*results, scores, first.teams)  # type: ignore[arg-type]


def winrate(cell: Cell) -> float:
    """The first member's win rate, a draw being half a win."""
    n = cell.wins + cell.draws + cell.losses
    if n == 0:
        raise JaxnashError("A cell without battles has no win rate: unplayed is an interval, not one half.")
    return (cell.wins + cell.draws / 2) / n


def cell_payoff(cell: Cell) -> float:
    """u = (wins - losses) / battles of the first member, in [-1, 1]."""
    return 2 * winrate(cell) - 1


def wilson(mean: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate over n independent units, n fixed beforehand (Wilson 1927).

    For scores inside [0, 1] that are not only 0 and 1 (pairs) the variance is at most mean (1 - mean), so it
    is conservative there. n = 0 gives (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (mean * (1 - mean) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def interval(cell: Cell, level: float = 0.95) -> tuple[float, float]:
    """The win rate's interval: Wilson on pairs, because the two battles of a pair are not independent."""
    return wilson(winrate(cell), cell.pairs, level) if cell.pairs else (0.0, 1.0)


def pairs_missing(table: Table) -> list[tuple[int, int]]:
    """The unplayed pairs (i, j), i < j, in order."""
    size = len(table.names)
    return [(i, j) for i in range(size) for j in range(i + 1, size) if (i, j) not in table.cells]


def payoffs(table: Table, *, payoff: Callable[[Any], float] = cell_payoff) -> np.ndarray:
    """The measured payoffs f64[K, K], antisymmetric with a diagonal of 0.

    Raises `JaxnashError` when a pair is unplayed (it has no payoff, and 0 would be an assumption) and when
    the cells are of several team distributions (what is solved then is no game that anyone plays).
    """
    if missing := pairs_missing(table):
        pair = " and ".join(table.names[k] for k in missing[0])
        raise JaxnashError(f"{len(missing)} pairs are unplayed, {pair} among them; play them first.")
    teams = sorted({cell.teams for cell in table.cells.values() if isinstance(cell, Cell)})
    if len(teams) > 1:
        raise JaxnashError(
            f"The table mixes battles of different team sets ({', '.join(teams)}); play with one."
        )
    result = np.zeros((len(table.names),) * 2)
    for (i, j), cell in table.cells.items():
        result[i, j] = payoff(cell)
        result[j, i] = 0.0 - result[i, j]  # never -0.0
    return result


def payoff_bounds(table: Table, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous bounds L <= true payoffs <= U, f64[K, K] each: all cells hold together with `level`.

    Bonferroni over the played cells, Wilson on pairs within one; an unplayed pair is [-1, 1].
    """
    size = len(table.names)
    played = {pair: cell for pair, cell in table.cells.items() if cell.pairs}
    each = 1 - (1 - level) / max(1, len(played))
    lower, upper = np.full((size, size), -1.0), np.full((size, size), 1.0)
    np.fill_diagonal(lower, 0.0)
    np.fill_diagonal(upper, 0.0)
    for (i, j), cell in played.items():
        low, high = interval(cell, each)
        lower[i, j], upper[i, j] = 2 * low - 1, 2 * high - 1
        lower[j, i], upper[j, i] = -upper[i, j], -lower[i, j]
    return lower, upper


def _rows(table: Table) -> list[dict[str, Any]]:
    rows = []
    for (i, j), cell in sorted(table.cells.items()):
        low, high = interval(cell)
        rows.append(
            {
                "policy1": table.names[i],
                "policy2": table.names[j],
                "policy1_wins": cell.wins,
                "policy2_wins": cell.losses,
                "draws": cell.draws,
                "total_battles": cell.wins + cell.draws + cell.losses,
                "winrate": winrate(cell),
                "payoff": cell_payoff(cell),
                "winrate_ci": [low, high],
                "pairs": cell.pairs,
                "pair_scores": list(cell.pair_scores),
                "teams": cell.teams,
            }
        )
    return rows


def to_json(table: Table) -> dict[str, Any]:
    """The content of `interaction_matrix.json`; played pairs only, the interval at 95 % on pairs."""
    return {"population": list(table.names), "matchups": _rows(table)}


def from_json(content: Mapping[str, Any]) -> Table:
    """The inverse of `to_json`; matchups may stand in any order and either way round.

    Raises `JaxnashError` when a field is missing, a name unknown, or the counts contradict each other.
    """
    try:
        names = tuple(content["population"])
        index = {name: k for k, name in enumerate(names)}
        cells: dict[tuple[int, int], Cell] = {}
        for row in content["matchups"]:
            cell = _checked(
                Cell(
                    int(row["policy1_wins"]),
                    int(row["draws"]),
                    int(row["policy2_wins"]),
                    tuple(int(count) for count in row["pair_scores"]),  # type: ignore[arg-type]
                    str(row["teams"]),
                )
            )
            i, j = index[row["policy1"]], index[row["policy2"]]
            if i == j or (min(i, j), max(i, j)) in cells:
                raise ValueError(f"{row['policy1']} against {row['policy2']} is a self-match or twice there")
            cells[min(i, j), max(i, j)] = cell if i < j else flipped(cell)
    except (KeyError, TypeError, ValueError) as error:
        raise JaxnashError(f"interaction_matrix.json is not one of this library's: {error!r}.") from error
    return Table(names, dict(sorted(cells.items())))


def to_csv(table: Table) -> str:
    """The content of `interaction_matrix.csv`: one line per played pair, the columns of the JSON file with
    its lists spread out (`winrate_low`, `winrate_high`, `pairs_0.0` ... `pairs_1.0`)."""
    spread = []
    for row in _rows(table):
        low, high = row.pop("winrate_ci")
        scores = row.pop("pair_scores")
        row |= {"winrate_low": low, "winrate_high": high}
        spread.append(row | {f"pairs_{score}": count for score, count in zip(QUARTERS, scores)})
    out = io.StringIO()
    if spread:
        writer = csv.DictWriter(out, fieldnames=list(spread[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(spread)
    return out.getvalue()


def _checked(cell: Cell) -> Cell:
    counts = (cell.wins, cell.draws, cell.losses, *cell.pair_scores)
    quarters = sum(k * count for k, count in enumerate(cell.pair_scores))
    if len(cell.pair_scores) != 5 or min(counts) < 0:
        raise ValueError(f"counts below 0, or not five pair scores: {cell}")
    if 2 * cell.pairs != cell.wins + cell.draws + cell.losses or quarters != 2 * cell.wins + cell.draws:
        raise ValueError(f"wins, draws and losses contradict the pair scores: {cell}")
    return cell
