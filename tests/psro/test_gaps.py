import json

import numpy as np
import pytest

from jaxnash.psro.gaps import (
    NO_EXPLOIT,
    against,
    analysis,
    hindsight_gap,
    oracle_gap,
    restricted_gap,
    solver_gap,
)
from jaxnash.psro.meta_solvers import nash
from jaxnash.psro.tournament import Table, cell_from_scores, payoffs, wilson

RPS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])


def beats(n, rate):
    """n pairs of which the first member sweeps a share and loses the rest."""
    won = round(n * rate)
    return cell_from_scores([(1, 1)] * won + [(0, 0)] * (n - won), teams="t")


def test_a_gap_is_what_the_best_opponent_wins():
    rock = np.array([1.0, 0, 0])
    assert solver_gap(RPS, rock) == 1.0  # paper
    assert solver_gap(RPS, np.full(3, 1 / 3)) == pytest.approx(0, abs=1e-15)


def test_the_dominant_member_is_not_exploited_by_the_one_it_beats():
    table = Table(("strong", "weak"), {(0, 1): beats(50, 0.94)})
    sigma = nash(payoffs(table)).row
    assert sigma.tolist() == [1.0, 0.0]
    assert solver_gap(payoffs(table), sigma) == 0.0
    low, high = restricted_gap(table, sigma)
    assert (low, high) == (0.0, 0.0)  # `weak` loses within its bounds, and strong against itself is 0


def test_hindsight_sees_members_that_came_later():
    paper_later = np.array([[0.0, -1], [1, 0]])
    assert hindsight_gap(paper_later, np.array([1.0])) == 1.0
    assert hindsight_gap(paper_later[:1, :1], np.array([1.0])) == 0.0


def test_the_restricted_gap_of_an_unplayed_pair_is_unknown():
    table = Table(("a", "b"), {})
    assert restricted_gap(table, np.array([1.0, 0.0])) == (0.0, 1.0)
    assert restricted_gap(table, np.array([0.75, 0.25])) == (0.0, 0.75)


def test_the_restricted_gap_widens_with_the_number_of_cells():
    cell = beats(100, 0.5)
    widths = []
    for size in (2, 6):
        table = Table(tuple("abcdef"[:size]), {(i, j): cell for j in range(size) for i in range(j)})
        widths.append(restricted_gap(table, np.eye(size)[0])[1])
    each = 1 - 0.05 / 15
    assert widths[0] == pytest.approx(2 * wilson(0.5, 100)[1] - 1)
    assert widths[1] == pytest.approx(2 * wilson(0.5, 100, each)[1] - 1)


def test_the_restricted_gap_covers_the_truth_for_a_mixture_of_the_same_table():
    """200 tournaments of 5 members with known win rates: sigma is solved from the sample, which bootstraps
    do not survive; simultaneous bounds cover the true gap in at least 95 % of them."""
    rng = np.random.default_rng(0)
    covered, widths = 0, []
    for _ in range(200):
        truth = np.zeros((5, 5))
        table = Table(tuple("abcde"), {})
        for i in range(5):
            for j in range(i + 1, 5):
                rate = rng.uniform(0.2, 0.8)
                truth[i, j], truth[j, i] = 2 * rate - 1, 1 - 2 * rate
                # the two battles of a pair share their luck
                luck = rng.uniform(-0.2, 0.2, (100, 1))
                table.cells[i, j] = cell_from_scores(
                    (rng.random((100, 2)) < rate + luck).astype(float).tolist()
                )
        sigma = nash(payoffs(table)).row
        low, high = restricted_gap(table, sigma)
        covered += low - 1e-9 <= max(0.0, solver_gap(truth, sigma)) <= high + 1e-9
        widths.append(high - low)
    assert covered >= 190
    assert np.mean(widths) < 0.35  # and not by being empty of content


def test_the_oracle_gap_is_read_on_pairs():
    gap = oracle_gap(beats(200, 0.6))
    low, high = wilson(0.6, 200)
    assert gap.gap == pytest.approx(0.2) and gap.pairs == 200
    assert gap.ci == pytest.approx((2 * low - 1, 2 * high - 1))
    assert gap.significant
    assert gap.text.startswith("+0.200 [") and "not" not in gap.text


def test_significant_means_at_99_percent():
    gap = oracle_gap(beats(200, 0.58))
    assert gap.ci[0] > 0 and not gap.significant  # 95 % would have said so
    assert gap.text.endswith("not significant")


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_below_zero_no_exploit_was_found(rate):
    gap = oracle_gap(beats(50, rate))
    assert gap.text == NO_EXPLOIT == "no exploit found" and not gap.significant


def test_the_analysis_file():
    table = Table(("a", "b", "c"), {(0, 1): beats(50, 0.94), (0, 2): beats(50, 0.5), (1, 2): beats(50, 0.1)})
    solution = nash(payoffs(table))
    content = json.loads(json.dumps(analysis(table, solution, oracle=oracle_gap(beats(50, 0.3)))))
    assert content["policy_names"] == ["a", "b", "c"]
    assert content["nash_mixture"] == pytest.approx([0.5, 0, 0.5], abs=1e-6)
    assert content["nash_value"] == 0.0 and content["exploitability"] is None
    assert content["solver_gap"] == pytest.approx(0, abs=1e-7)
    low, high = content["restricted_gap_ci"]
    assert low == 0 and 0 < high < 1
    assert content["oracle_gap"] == pytest.approx(-0.4)  # the number is not hidden, the words are plain
    assert content["oracle_gap_text"] == NO_EXPLOIT
    assert content["expected_winrates"] == pytest.approx([0.5, 0.08, 0.5], abs=1e-6)
    assert [entry["policy"] for entry in content["dominant_policies"]] == ["a", "c"]
    for entry in content["dominant_policies"]:
        assert entry["probability"] == pytest.approx(0.5, abs=1e-6)
        assert entry["expected_winrate_vs_nash"] == pytest.approx(0.5, abs=1e-6)
    assert (
        analysis(table, solution)["oracle_gap"] is None and analysis(table, solution)["oracle_gap_ci"] is None
    )


def test_against_is_each_members_view():
    assert against(RPS, [0.5, 0.5, 0]).tolist() == [-0.5, 0.5, 0.0]
