"""A population of deep CFR agents: who is drawn and goes on, what they win, and that no kill changes it."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxnash.games import kuhn
from jaxnash.policies.advantage import HIDDEN
from jaxnash.psro.tournament import payoffs
from jaxnash.runs import directory
from jaxnash.runs.checkpoint import restore_state, save_state
from jaxnash.runs.deep_cfr import iterate, start
from jaxnash.runs.deep_cfr_knobs import PRESETS, knobs_from
from jaxnash.runs.job_progress import progress
from jaxnash.runs.population import (
    begun,
    exact_payoff,
    exact_policy,
    holds_steps,
    meeting,
    parts_for,
    restored_agent,
    sampler_for,
    table_for,
    table_from_json,
)
from jaxnash.runs.population_knobs import (
    FACTORS,
    SCALES,
    Agent,
    PopulationKnobs,
    agent_knobs,
    defaults,
    first_pool,
    mutant,
    next_pool,
    pool_from_json,
    ranked,
)
from jaxnash.runs.run import compare_runs, read_json, read_jsonl
from tests.crash import at_call
from tests.reference import kuhn_exact as twin

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "deep_cfr_population.py"
TINY = shlex.split(  # agents differ in nothing that is compiled
    "--preset kuhn-ci --agents 3 --generations 2 --iterations 6 --hidden 16 --steps 40 160 "
    "--batch-size 64 64 --learning-rate 5e-3 5e-3 --trajectories 32 32 --lanes 16 --memory 3000 "
    "--payoffs match --pairs 300 --checkpoint-every 1"
)
FLOP = shlex.split(
    "--preset fhp-small --agents 2 --generations 2 --iterations 4 --hidden 16 --steps 10 20 "
    "--batch-size 64 128 --trajectories 64 64 --lanes 64 --memory 20000 --pairs 200"
)
KILLED = """
import os, runpy, signal, sys
from tests.crash import at_call
at_call("jaxnash.runs.checkpoint:save_state", 6, lambda: os.kill(os.getpid(), signal.SIGKILL))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
OWN_MARKS = (
    "training.log",
    "manifest.json",
    "run.lock",
)  # times and process numbers, also of the agents' runs


def run_here(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")


def knobs_of(run_dir: Path) -> PopulationKnobs:
    return directory.knobs_of(PopulationKnobs, read_json(run_dir / "config.json"))


def pool_of(run_dir: Path, generation: int) -> list[Agent]:
    return pool_from_json(read_json(run_dir / f"generation_{generation}" / "population.json"))


def differences(a: Path, b: Path) -> list[str]:
    return [line for line in compare_runs(a, b) if not line.partition(":")[0].endswith(OWN_MARKS)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    run_here(*TINY, "--run-dir", str(run_dir))
    return run_dir


# -- who is drawn, and who goes on


def test_draws_are_even_on_a_logarithmic_scale_and_keyed_by_place() -> None:
    knobs = defaults("leduc")
    many = replace(knobs, agents=2001)
    pool = first_pool(many)
    assert pool[:6] == first_pool(knobs)  # whoever else is there
    for name in SCALES:
        low, high = getattr(knobs, name)
        values = np.array([getattr(agent, name) for agent in pool])
        assert low <= values.min() and values.max() <= high
        below = np.mean(values[1:] < np.sqrt(low * high))
        assert abs(below - 0.5) < 5 * 0.5 / np.sqrt(2000)  # five standard deviations
        assert getattr(pool[0], name) == getattr(PRESETS["leduc"], name)
    assert {agent.hidden for agent in pool} == {(192,), (96,)}
    assert len({agent.seed for agent in pool}) == len(pool)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_of_deep_cfr_is_one_here(preset: str) -> None:
    base, knobs = PRESETS[preset], defaults(preset)
    assert knobs.each * knobs.generations == knobs.iterations == base.iterations
    own = agent_knobs(knobs, first_pool(knobs)[0])  # the preset itself, but for what a population decides
    decided = {"seed": own.seed, "hidden": own.hidden, "evaluate_every": knobs.each, "keep": 1}
    assert own == replace(base, **decided, max_hours=knobs.max_hours)
    assert own.hidden == (base.hidden or HIDDEN[base.network])


@pytest.mark.parametrize("resample", [0.0, 0.25, 1.0])
def test_a_mutation_is_a_factor_or_a_draw(resample: float) -> None:
    knobs = replace(defaults("leduc"), learning_rate=(1e-3, 1e-1), steps=(100, 1000), resample=resample)
    knobs = replace(knobs, batch_size=(100, 1000), trajectories=(100, 1000))
    parent = Agent(
        "agent_3", learning_rate=1e-2, steps=300, batch_size=400, trajectories=200, hidden=(8,), seed=1
    )
    children = [mutant(knobs, g, parent, 0) for g in range(1, 401)]
    for name in SCALES:
        by_factor = {round(getattr(parent, name) * factor, 9) for factor in FACTORS}
        held = [round(getattr(child, name), 9) in by_factor for child in children]
        # a draw may hit a factor's value, one in some hundred
        assert abs(np.mean(held) - (1 - resample)) < 0.02 + 5 * np.sqrt(resample * (1 - resample) / 400)
        low, high = getattr(knobs, name)
        assert all(low <= getattr(child, name) <= high for child in children)
        if not resample:
            assert {round(getattr(child, name), 9) for child in children} == by_factor
    for child in children:
        assert child.parent == "agent_3" and child.inherits == (child.hidden == (8,))
    assert np.mean([child.inherits for child in children]) == pytest.approx(1 - resample, abs=0.11)


def test_the_better_half_goes_on_and_the_best_have_children() -> None:
    knobs = replace(defaults("leduc"), agents=5, resample=0.0)
    pool = first_pool(knobs)
    after = next_pool(knobs, 1, pool, ["agent_2", "agent_0", "agent_4", "agent_3", "agent_1"])
    assert [agent.name for agent in after] == [agent.name for agent in pool]
    for place in (0, 2, 4):
        assert after[place] == pool[place]._replace(parent=f"agent_{place}", inherits=True)
    assert (after[3].parent, after[1].parent) == ("agent_2", "agent_0")
    assert after[3].hidden == pool[2].hidden and after[3].seed not in {agent.seed for agent in pool}


def test_the_ranking_is_by_equilibrium_then_by_mean() -> None:
    names = ("a", "b", "c", "d")
    mixture = np.array(
        [1 / 3, 1 / 3 - 1e-9, 1 / 3 + 1e-9, 0.0]
    )  # rock, paper, scissors, and one who wins most
    assert ranked(names, mixture, np.array([0.1, 0.3, 0.2, 0.9])) == ["b", "c", "a", "d"]
    gaps = [0.3, 0.1, 0.2, 0.1]
    assert ranked(names, mixture, np.zeros(4), gaps) == ["b", "d", "c", "a"]
    assert ranked(names, np.zeros(4), np.array([0.0, 1.0, 1.0, -1.0])) == ["b", "c", "a", "d"]


# -- one run


def test_the_files_agree(straight: Path) -> None:
    rows = read_jsonl(straight / "metrics.jsonl")
    assert [(row["generation"], row["iteration"]) for row in rows] == [(0, 3), (1, 6)]
    for row in rows:
        folder = straight / f"generation_{row['generation']}"
        pool = pool_of(straight, row["generation"])
        names = [agent.name for agent in pool]
        content = read_json(folder / "interaction_matrix.json")
        assert content["population"] == names == ["agent_0", "agent_1", "agent_2"]
        assert {(m["kind"], m["pairs"], m["hands"], m["level"]) for m in content["matchups"]} == {
            ("match", 300, 600, 0.95)
        }
        matrix = payoffs(table_from_json(content), payoff=lambda cell: cell.mean)
        assert np.array_equal(matrix, -matrix.T) and np.count_nonzero(matrix)
        mixture = np.array([row["agents"][name]["probability"] for name in names])
        assert mixture.sum() == pytest.approx(1) and (matrix @ mixture).max() < 1e-6  # nobody beats it
        mean = [row["agents"][name]["mean_payoff"] for name in names]
        assert np.allclose(mean, matrix.sum(axis=1) / 2)
        assert (
            row["ranking"] == ranked(tuple(names), mixture, np.array(mean))
            and row["best"] == row["ranking"][0]
        )
        with open(folder / "interaction_matrix.csv", newline="") as lines:
            table = list(csv.DictReader(lines))
        assert [float(line["payoff"]) for line in table] == [m["payoff"] for m in content["matchups"]]
        assert [float(line["payoff_high"]) for line in table] == [
            m["payoff_ci"][1] for m in content["matchups"]
        ]
        assert row["exploitability"] == row["agents"][row["best"]]["exploitability"] > 0
        assert row["exploitability_kind"] == "exact"
    result = read_json(straight / "result.json")
    assert result["best"] == f"generation_1/{rows[1]['best']}"
    assert [m["policy2"] for m in result["against_earlier"]] == [f"generation_0/{rows[0]['best']}"]
    assert read_json(straight / "summary.json")["count"] == 2
    assert progress(straight).planned == progress(straight).iteration == 6


def test_the_worse_are_replaced_and_memories_of_the_past_dropped(straight: Path) -> None:
    ranking = read_json(straight / "generation_0" / "generation_summary.json")["ranking"]
    assert pool_of(straight, 1) == next_pool(knobs_of(straight), 1, pool_of(straight, 0), ranking)
    for agent in pool_of(straight, 0):
        for generation in (0, 1):
            folder = straight / f"generation_{generation}" / agent.name
            assert holds_steps(folder / "strategy") and holds_steps(folder / "checkpoints") == (
                generation == 1
            )


def test_an_agent_is_a_run_of_deep_cfr(straight: Path) -> None:
    for generation in (0, 1):
        for agent in pool_of(straight, generation):
            folder = straight / f"generation_{generation}" / agent.name
            knobs = knobs_from(read_json(folder / "config.json"))
            assert knobs == agent_knobs(knobs_of(straight), agent, run_dir=folder)
            done = progress(folder)
            assert (done.iteration, done.planned) == (3 * generation + 3, 6)
            assert done.measured is not None and done.measured.kind == "exact"
            rows = read_jsonl(folder / "metrics.jsonl")
            each = [3 * generation + k for k in (1, 2, 3)]  # all of generation 1 inherited
            assert [row["iteration"] for row in rows] == each
            assert len(read_json(folder / "result.json")["curve"]) == 1


def test_a_survivor_is_an_unbroken_run(straight: Path) -> None:
    agent = next(agent for agent in pool_of(straight, 1) if agent.parent == agent.name)
    knobs = agent_knobs(knobs_of(straight), agent)
    parts = parts_for(knobs)
    state = start(knobs, parts)
    for _ in range(6):
        state, row, _ = iterate(knobs, parts, sampler_for(knobs), state)
    folder = straight / "generation_1" / agent.name
    template = jax.tree.map(np.asarray, state)
    found = restore_state(folder / "checkpoints", template)[1]
    for ours, theirs in zip(jax.tree.leaves(template), jax.tree.leaves(found), strict=True):
        assert np.array_equal(ours, theirs)
    assert read_jsonl(folder / "metrics.jsonl")[-1]["samples"] == row["samples"]


def test_a_mutant_goes_on_from_its_parents_state(straight: Path, tmp_path: Path) -> None:
    knobs, agent = knobs_of(straight), pool_of(straight, 0)[1]
    own = agent_knobs(knobs, agent)
    parts = parts_for(own)
    state = iterate(own, parts, sampler_for(own), start(own, parts))[0]._replace(iteration=np.int32(3))
    save_state(tmp_path / "generation_0" / agent.name / "checkpoints", 3, state)
    child = mutant(knobs, 1, agent, 0)
    its = agent_knobs(knobs, child)
    where = {"run_dir": tmp_path / "generation_1" / child.name, "generation": 1}
    found = begun(its, child, **where)
    assert int(found.iteration) == 3 and np.array_equal(found.counts, state.counts)
    for side, before in zip(found.sides, state.sides):
        same = jax.tree.map(np.array_equal, side, before)
        assert all(jax.tree.leaves(same)) and int(side.memory.seen) > 0
    afresh = begun(its, child._replace(inherits=False), **where)
    assert int(afresh.iteration) == 0 and int(afresh.sides[0].memory.seen) == 0


# -- what they win


def test_matches_and_exact_payoffs_agree_with_the_twin(straight: Path) -> None:
    knobs, pool, root, table = (
        knobs_of(straight),
        pool_of(straight, 1),
        twin.expand(kuhn()),
        table_for("kuhn"),
    )
    assert table is not None
    agents = [restored_agent(knobs, straight, 1, agent) for agent in pool]
    policies = [exact_policy(own, table, strategy) for own, strategy in agents]
    told = [dict(zip(table.tree.infosets, map(tuple, policy.tolist()))) for policy in policies]
    for agent, strategy in zip(pool, told):
        rows = read_jsonl(straight / "generation_1" / agent.name / "metrics.jsonl")
        # networks and their average are f32
        assert rows[-1]["exploitability"] == pytest.approx(twin.exploitability(root, strategy), abs=1e-6)
    matrix = read_json(straight / "generation_1" / "interaction_matrix.json")["matchups"]
    meet = meeting(replace(knobs, payoffs="exact"), agents)
    for row in matrix:
        i, j = (int(row[side].removeprefix("agent_")) for side in ("policy1", "policy2"))
        exact = exact_payoff(table, policies[i], policies[j])
        assert exact == meet(i, j, ()) and exact.kind == "exact" and exact.low == exact.mean == exact.high
        assert exact.mean == pytest.approx(twin.payoff(root, told[i], told[j]), abs=1e-9)
        assert exact.mean == -exact_payoff(table, policies[j], policies[i]).mean
        low, high = row["payoff_ci"]
        deviation = (high - low) / (2 * 1.96)
        assert abs(row["payoff"] - exact.mean) <= 5 * deviation + 1e-9  # 0 between equals


def test_selection_by_exploitability_when_asked(straight: Path, tmp_path: Path) -> None:
    few = shlex.split("--payoffs exact --select exploitability --generations 1 --iterations 3")
    run_here(*TINY, *few, "--run-dir", str(tmp_path / "run"))
    row = read_jsonl(tmp_path / "run" / "metrics.jsonl")[0]
    gaps = [row["agents"][name]["exploitability"] for name in row["ranking"]]
    assert gaps == sorted(gaps) and row["exploitability"] == gaps[0] and row["payoff_kind"] == "exact"


# -- interruptions and errors


def test_a_kill_and_stops_change_no_bit(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed after a row and before its checkpoint; stopped in the matches and in a mutant's training."""
    run_dir = tmp_path / "run"
    arguments = [*TINY, "--run-dir", str(run_dir)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(SCRIPT), *arguments], cwd=ROOT, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr.decode()
    half_done = run_dir / "generation_0" / "agent_1"
    assert read_jsonl(half_done / "metrics.jsonl")[-1]["iteration"] == 2
    assert [step.name for step in (half_done / "checkpoints").iterdir() if step.name.isdigit()] == ["1"]
    for where, count, told in (
        ("jaxnash.runs.population:matched", 2, "agent_0 against agent_2 in generation 0"),
        ("jaxnash.runs.deep_cfr:iterate", 5, "iteration 5 of generation_1/agent_1"),
    ):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
            at_call(where, count, lambda: os.kill(os.getpid(), signal.SIGTERM), patch=patch.setattr)
            run_here(*arguments, "--resume")
        assert left.value.code == 0
        assert f"stopped after {told}; the same command with --resume continues" in capsys.readouterr().out
    run_here("--resume", str(run_dir))  # the other knobs are the run's own
    assert differences(straight, run_dir) == []
    run_here(*arguments, "--resume")  # once more changes nothing
    assert differences(straight, run_dir) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--preset=leduk", "no preset is called 'leduk'"),
        ("--preset kuhn-ci --game chess", "no game is called 'chess'"),
        ("--preset kuhn-ci --agents 1", "--agents is 1: pass at least 2"),
        (
            "--preset kuhn-ci --iterations 10 --generations 3",
            "--iterations 10 is no multiple of --generations 3",
        ),
        ("--preset kuhn-ci --steps 20 10", "--steps is 20 10: pass the least"),
        ("--preset kuhn-ci --learning-rate 0 1", "--learning-rate is 0.0 1.0"),
        ("--preset kuhn-ci --hidden 16,x", "--hidden '16,x': pass widths"),
        ("--preset kuhn-ci --resample 2", "--resample is 2.0"),
        (
            "--preset kuhn-ci --batch-size 8 4000 --memory 2000",
            "--batch-size 4000 is larger than --memory 2000",
        ),
        ("--game flop --payoffs exact", "--payoffs exact: flop is not written out"),
        ("--game flop --select exploitability", "--select exploitability: flop is not written out"),
        ("--preset kuhn-ci --memory 1000000000000", "take a smaller --memory"),
        ("--resume run@5", "a population has no @"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        run_here(*arguments.split(), "--run-dir", str(run_dir))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and told in said and len(said.strip().splitlines()) == 1
    assert not run_dir.exists()


def test_another_configuration_is_refused(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.dumps(read_json(straight / "config.json"))
    with pytest.raises(SystemExit) as stop:
        run_here(*TINY, "--resample", "0.5", "--run-dir", str(straight), "--resume")
    assert stop.value.code == 2
    assert "resample (0.2 there, 0.5 now)" in capsys.readouterr().err
    assert json.dumps(read_json(straight / "config.json")) == before


# -- more than CI has time for


@pytest.mark.slow
def test_average_networks_and_workers(tmp_path: Path) -> None:
    """deep-cfr plays one network; two processes traverse and change nothing."""
    arguments = [*TINY, "--algorithm", "deep-cfr", "--payoffs", "exact"]
    run_here(*arguments, "--run-dir", str(tmp_path / "one"))
    run_here(*arguments, "--workers", "2", "--run-dir", str(tmp_path / "two"))
    found = differences(tmp_path / "one", tmp_path / "two")
    assert found and all(line.endswith("config.json: workers: 1 != 2") for line in found)
    knobs, agent = knobs_of(tmp_path / "one"), pool_of(tmp_path / "one", 1)[0]
    assert restored_agent(knobs, tmp_path / "one", 1, agent)[1].weights.tolist() == [1.0]


@pytest.mark.slow
def test_flop_holdem_by_matches(tmp_path: Path) -> None:
    run_here(*FLOP, "--run-dir", str(tmp_path / "run"))
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert len(rows) == 2 and {row["payoff_kind"] for row in rows} == {"match"}
    assert all("exploitability" not in row for row in rows)
