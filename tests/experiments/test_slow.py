"""Minutes to an hour: `make slow`. The figures printed here go into experiments/README.md."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from jaxnash.psro.tournament import cell_from_scores, interval, winrate
from jaxnash.runs.files import read_json
from jaxnash.showdown.heuristics import MEMBERS
from jaxnash.showdown.matches import battles_of, pair_keys
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.rollout import play
from jaxnash.showdown.teams import load_teams

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "experiments" / "psro_gen1ou.py"


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True)


@pytest.mark.timeout(1800)
def test_the_scripted_members_over_500_pairs_each() -> None:
    """The order that people report: SimpleHeuristics beats Random about 100 to 1, MaxBasePower 72 to 24."""
    teams, rates = load_teams("train"), {}
    members = list(MEMBERS.values())
    for a, b in combinations(range(len(members)), 2):
        pairs = pair_keys(a, b, 500, 0, "scripted", members[a].name, members[b].name)
        with Pool(workers=2) as pool:
            outcomes = list(play(pool, members, battles_of(pairs, teams)))
        scores = [o.score for o in outcomes]
        cell = cell_from_scores([(x, 1 - y) for x, y in zip(scores[::2], scores[1::2])], teams=teams.hash)
        low, high = interval(cell)
        rates[members[a].name, members[b].name] = winrate(cell)
        print(
            f"{members[a].name:>18} v {members[b].name:<18} {winrate(cell):.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )
        assert sum(sum(o.invalid) for o in outcomes) == 0
    assert rates["random", "simple-heuristics"] <= 0.03
    assert 0.18 <= rates["max-base-power", "simple-heuristics"] <= 0.35


@pytest.mark.timeout(7200)
def test_five_iterations(tmp_path: Path) -> None:
    run("--iterations", "5", "--run-dir", str(tmp_path / "run"))
    rows = read_json(tmp_path / "run" / "psro_summary.json")["iterations"]
    assert [row["population_size"] for row in rows] == [6, 7, 8, 9, 10, 11]
    assert all(abs(row["solver_gap"]) < 1e-6 for row in rows)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["showdown", "engine"])
def test_smoke(tmp_path: Path, backend: str) -> None:
    run("--smoke", "--backend", backend, "--run-dir", str(tmp_path / "run"))
    summary = read_json(tmp_path / "run" / "psro_summary.json")
    print(f"smoke run: {summary['timing']['phases']['all']:.0f} s, aim 120 s")
    assert summary["num_iterations"] == 1


@pytest.mark.timeout(7200)
def test_a_best_response_to_grunt(tmp_path: Path) -> None:
    """The lower 95 % bound is above one half on 1,000 battles that it was neither trained nor chosen on."""
    sizes = "--oracle-updates 60 --validate-every 10 --collection-battles 600 --test-battles 1000"
    run("--opponent", "grunt", *sizes.split(), "--run-dir", str(tmp_path / "run"))
    evaluation = read_json(tmp_path / "run" / "iteration_1" / "br_training" / "br_1" / "evaluation.json")
    print(evaluation["versus"]["sigma"], evaluation["curve"])
    assert evaluation["versus"]["sigma"]["winrate_ci"][0] > 0.5
