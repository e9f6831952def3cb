import csv
import io
import json

import numpy as np
import pytest

from jaxnash.psro.tournament import (
    QUARTERS,
    Cell,
    Table,
    cell_from_scores,
    cell_payoff,
    flipped,
    from_json,
    interval,
    merged,
    pairs_missing,
    payoff_bounds,
    payoffs,
    to_csv,
    to_json,
    wilson,
    winrate,
)
from jaxnash.types import JaxnashError

A = cell_from_scores([(1, 1), (1, 0), (0.5, 1), (0, 0), (0.5, 0.5)], teams="t")
B = cell_from_scores([(1, 0.5)] * 7, teams="t")
C = cell_from_scores([(0, 0)] * 20, teams="t")
TABLE = Table(("one", "two", "three"), {(0, 1): A, (0, 2): B, (1, 2): C})


def test_a_cell_counts_battles_and_pairs():
    assert A[:3] == (4, 3, 3) and A.pair_scores == (1, 0, 2, 1, 1) and A.teams == "t"
    assert A.pairs == 5
    assert winrate(A) == pytest.approx(5.5 / 10) and cell_payoff(A) == pytest.approx((4 - 3) / 10)


def test_the_other_view_is_the_complement():
    assert flipped(A) == Cell(3, 3, 4, (1, 1, 2, 0, 1), "t")
    assert cell_payoff(flipped(A)) == pytest.approx(-cell_payoff(A))
    assert flipped(flipped(A)) == A


def test_cells_add_within_one_team_set_only():
    assert merged(A, B) == Cell(11, 10, 3, (1, 0, 2, 8, 1), "t")
    with pytest.raises(JaxnashError, match="team sets"):
        merged(A, B._replace(teams="other"))


@pytest.mark.parametrize("pair", [(1, 0.3), (2, 0), (1,), (-0.5, 1)])
def test_only_wins_draws_and_losses_are_counted(pair):
    with pytest.raises(ValueError, match="pair"):
        cell_from_scores([pair])


def test_wilson_of_26_in_50():
    assert wilson(26 / 50, 50) == pytest.approx((0.385, 0.652), abs=5e-4)


def test_wilson_stays_inside_and_narrows():
    assert wilson(0.0, 10) == pytest.approx((0, 0.2775), abs=5e-4)  # 0 of 10, any table of it
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1), abs=5e-4)
    assert wilson(0.5, 0) == (0.0, 1.0)
    low, high = wilson(0.5, 100, 0.99)
    assert low < wilson(0.5, 100)[0] and high > wilson(0.5, 100)[1]


def test_the_pair_is_the_unit_of_an_interval():
    scores = [(1, 1)] * 13 + [(0, 0)] * 12  # 50 battles, but 25 that tell anything
    assert interval(cell_from_scores(scores)) == pytest.approx(wilson(0.52, 25))


def test_payoffs_are_antisymmetric():
    m = payoffs(TABLE)
    assert m == pytest.approx(np.array([[0, 0.1, 0.5], [-0.1, 0, -1], [-0.5, 1, 0]]))
    assert np.array_equal(m, -m.T)


def test_an_unplayed_pair_is_an_interval_and_not_a_half():
    table = Table(TABLE.names, {(0, 1): A, (1, 2): C})
    assert pairs_missing(table) == [(0, 2)]
    with pytest.raises(JaxnashError, match="one and three"):
        payoffs(table)
    lower, upper = payoff_bounds(table)
    assert (lower[0, 2], upper[0, 2], lower[2, 0], upper[2, 0]) == (-1, 1, -1, 1)
    with pytest.raises(JaxnashError, match="interval"):
        winrate(Cell(0, 0, 0, (0, 0, 0, 0, 0), "t"))


def test_bounds_hold_together():
    lower, upper = payoff_bounds(TABLE, level=0.95)
    low, high = interval(A, 1 - 0.05 / 3)
    assert (lower[0, 1], upper[0, 1]) == pytest.approx((2 * low - 1, 2 * high - 1))
    assert np.array_equal(lower, -upper.T) and not lower.diagonal().any()
    assert (lower <= payoffs(TABLE)).all() and (payoffs(TABLE) <= upper).all()


def test_a_table_belongs_to_one_team_set():
    table = Table(TABLE.names, TABLE.cells | {(1, 2): C._replace(teams="other")})
    with pytest.raises(JaxnashError, match="other, t"):
        payoffs(table)


def test_exact_payoffs_need_no_cells():
    table = Table(("a", "b"), {(0, 1): 0.25})
    assert payoffs(table, payoff=float).tolist() == [[0, 0.25], [-0.25, 0]]


def test_json_round_trip():
    content = json.loads(json.dumps(to_json(TABLE)))
    assert from_json(content) == TABLE
    assert content["population"] == ["one", "two", "three"]
    first = content["matchups"][0]
    assert first["policy1_wins"] == 4 and first["policy2_wins"] == 3 and first["draws"] == 3
    assert first["total_battles"] == 10 and first["pairs"] == 5 and first["winrate"] == pytest.approx(0.55)
    assert first["winrate_ci"] == pytest.approx(interval(A))


def test_json_of_another_order_or_view_is_the_same_table():
    content = to_json(TABLE)
    row = content["matchups"].pop(0)
    row = row | {"policy1": "two", "policy2": "one", "pair_scores": row["pair_scores"][::-1]}
    row |= {"policy1_wins": row["policy2_wins"], "policy2_wins": row["policy1_wins"]}
    content["matchups"].append(row)
    assert from_json(content) == TABLE


@pytest.mark.parametrize(
    "change",
    [
        {"draws": 4},
        {"policy1_wins": 3, "policy2_wins": 4},
        {"pair_scores": [5]},
        {"policy2": "nobody"},
        {"policy2": "one"},
        {"policy2": "three"},
    ],
)
def test_json_that_contradicts_itself_is_refused(change):
    content = to_json(TABLE)
    content["matchups"][0] |= change
    with pytest.raises(JaxnashError, match="interaction_matrix"):
        from_json(content)


@pytest.mark.parametrize("field", ["draws", "pair_scores", "teams", "policy1"])
def test_json_without_a_field_is_refused(field):
    content = to_json(TABLE)
    del content["matchups"][0][field]
    with pytest.raises(JaxnashError, match=field):
        from_json(content)


def test_csv_holds_the_whole_table():
    cells = {}
    for row in csv.DictReader(io.StringIO(to_csv(TABLE))):
        key = TABLE.names.index(row["policy1"]), TABLE.names.index(row["policy2"])
        histogram = tuple(int(row[f"pairs_{score}"]) for score in QUARTERS)
        counts = (int(row[name]) for name in ("policy1_wins", "draws", "policy2_wins"))
        cells[key] = Cell(*counts, histogram, row["teams"])
        assert (float(row["winrate_low"]), float(row["winrate_high"])) == interval(cells[key])
    assert cells == TABLE.cells
    assert to_csv(Table(("alone",), {})) == ""
