"""The main job end to end, tiny: its files, its errors, and that no interruption changes its result."""

from __future__ import annotations

import json
import math
import os
import runpy
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import pytest

from jaxnash.policies.spec import build, token_spec
from jaxnash.psro.members import population_from_json
from jaxnash.runs.checkpoint import save
from jaxnash.runs.run import compare_runs, read_json
from jaxnash.showdown.pool import Pool
from jaxnash.types import JaxnashError
from tests import crash

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "psro_gen1ou.py"
BY_DEFAULT = [
    *("--members", "random", "max-base-power", "grunt"),
    *("--iterations", "1", "--battles-per-matchup", "4", "--collection-battles", "8"),
    *(
        "--oracle-epochs",
        "2",
        "--finetune-epochs",
        "1",
        "--oracle-updates",
        "3",
        "--oracle-battles",
        "4",
        "--save-every",
        "1",
    ),
    *("--validate-every", "2", "--validation-battles", "4", "--test-battles", "6", "--final-battles", "2"),
    *("--model-size", "nano", "--batch-size", "64", "--turn-limit", "40", "--parallel-battles", "8"),
    *("--workers", "1", "--seed", "3"),
]
TINY = [*BY_DEFAULT, "--backend", "showdown"]  # nothing to compile


def run_here(*arguments: str) -> None:
    """The main job in this process, so that what is compiled stays compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["psro_gen1ou.py", *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Its one line on stderr; exit code 2, nothing else."""
    with pytest.raises(SystemExit) as stop:
        run_here(*arguments)
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" not in told and len(told.strip().splitlines()) == 1, told
    return told


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run without interruption."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    run_here(*TINY, "--run-dir", str(run_dir))
    return run_dir


def test_the_files_are_there_and_agree(straight: Path) -> None:
    for name in (
        "config.json",
        "manifest.json",
        "psro_summary.json",
        "metrics.jsonl",
        "summary.json",
        "report.html",
    ):
        assert (straight / name).stat().st_size > 0, name
    for iteration in (0, 1):
        folder = straight / f"iteration_{iteration}"
        names = list(read_json(folder / "population.json")["policies"])
        assert names == ["random", "max-base-power", "grunt", "br_1"][: 3 + iteration]
        matrix = read_json(folder / "interaction_matrix.json")
        assert len(matrix["matchups"]) == len(names) * (len(names) - 1) // 2
        assert all(row["total_battles"] == 4 for row in matrix["matchups"])
        strategy = read_json(folder / "meta_strategy.json")["meta_strategy"]
        assert abs(sum(strategy.values()) - 1) < 1e-9
        assert abs(read_json(folder / "meta_game_analysis.json")["solver_gap"]) < 1e-6
    analysed = read_json(straight / "iteration_0" / "meta_game_analysis.json")
    evaluation = read_json(straight / "iteration_1" / "br_training" / "br_1" / "evaluation.json")
    assert analysed["oracle_gap"] == pytest.approx(2 * evaluation["versus"]["sigma"]["winrate"] - 1)
    assert set(evaluation["versus"]) == {"sigma", "random", "max-base-power", "grunt"}
    assert evaluation["data"]["collected_share"] == pytest.approx(0.5, abs=0.01)


def test_every_battle_says_who_met_whom_with_which_teams_and_seed(straight: Path) -> None:
    folder = straight / "iteration_1" / "br_trajectories" / "gen1ou"
    rows = [json.loads(line) for f in sorted(folder.glob("*.jsonl")) for line in f.read_text().splitlines()]
    assert len(rows) == 8
    support = {
        n for n, p in read_json(straight / "iteration_0/meta_strategy.json")["meta_strategy"].items() if p > 0
    }
    for first, second in zip(rows[::2], rows[1::2]):
        assert first["members"] == second["members"][::-1] and first["teams"] == second["teams"]
        assert first["seed"] == second["seed"]
        assert first["members"][1] in support
        assert first["invalid"] == second["invalid"] == [0, 0]


def test_a_learned_policy_never_chooses_what_showdown_refuses(straight: Path) -> None:
    rows = [
        json.loads(line) for f in straight.rglob("battles_*.jsonl") for line in f.read_text().splitlines()
    ]
    updates = sorted(straight.rglob("ppo/update_*.jsonl"))
    assert [f.name for f in updates] == [f"update_0000{k}.jsonl" for k in (1, 2, 3)]
    trained = [json.loads(line) for f in updates for line in f.read_text().splitlines()]
    mine = [
        row["invalid"][row["members"].index("br_1")] for row in rows + trained if "br_1" in row["members"]
    ]
    assert len(trained) == 12 and len(mine) >= 18 and sum(mine) == 0


def test_restore_needs_nothing_but_the_folder(straight: Path) -> None:
    import jaxnash

    member = jaxnash.restore(straight / "iteration_1" / "br_training" / "br_1" / "checkpoint")
    assert member.name == "br_1" and member.spec is not None and member.spec.kwargs["width"] == 16


# row_of is called once a battle: 12 of the tournament, 8 collected, 6 tested, 12 of the new pairs.
MOMENTS = {
    "tournament": ("jaxnash.showdown.matches:row_of", 7),
    "solving": ("cvxpy:Problem.solve", 1),
    "collection": ("jaxnash.showdown.matches:row_of", 17),
    "training": ("jaxnash.showdown.rollout:pack", 2),
    "writing": ("os:replace", 14),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_of_the_whole_process_then_resume(moment: str, straight: Path, tmp_path: Path) -> None:
    where, count = MOMENTS[moment]
    run_dir = tmp_path / "run"
    arguments = [*TINY, "--run-dir", str(run_dir)]
    command = [sys.executable, "-m", "tests.crash", where, str(count), "--", *arguments]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (run_dir / "psro_summary.json").exists()
    run_here("--run-dir", str(run_dir), "--resume")  # the other knobs are the run's own
    assert compare_runs(straight, run_dir) == []


@pytest.mark.parametrize("moment", ["tournament", "collection", "training"])
def test_kill_9_of_a_simulator_process_changes_nothing(
    moment: str,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where, count = MOMENTS[moment]
    pools: list[Pool] = []
    start = Pool.__init__
    monkeypatch.setattr(Pool, "__init__", lambda self, **kw: (pools.append(self), start(self, **kw))[1])
    crash.at_call(where, count, lambda: os.kill(pools[0].pids[0], signal.SIGKILL), patch=monkeypatch.setattr)
    run_here(*TINY, "--run-dir", str(tmp_path / "run"))
    assert pools[0].restarts == 1
    assert "restart" in capsys.readouterr().out
    assert compare_runs(straight, tmp_path / "run") == []


def test_ppo_plays_on_the_engine_by_default_and_kill_9_changes_nothing(tmp_path: Path) -> None:
    straight, again = tmp_path / "straight", tmp_path / "again"
    run_here(*BY_DEFAULT, "--run-dir", str(straight))
    evaluation = read_json(straight / "iteration_1" / "br_training" / "br_1" / "evaluation.json")
    assert evaluation["ppo_on"] == "engine"
    updates = sorted((straight / "iteration_1" / "br_training" / "br_1" / "ppo").iterdir())
    assert [f.name for f in updates] == [f"update_0000{k}.json" for k in (1, 2, 3)]
    assert all(read_json(f)["decisions"] > 64 for f in updates)
    command = [sys.executable, "-m", "tests.crash", "jaxnash.runs.gen1_engine:met", "2", "--", *BY_DEFAULT]
    command += ["--run-dir", str(again)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    run_here("--run-dir", str(again), "--resume")
    assert compare_runs(straight, again) == []


def test_who_cannot_play_on_the_engine_is_told_before_anything_is_written(tmp_path: Path, capsys) -> None:
    spec = token_spec("nano")
    save(tmp_path / "older", params=build(spec).init(jax.random.key(0)), spec=spec, name="older")
    member = ("--add-member", str(tmp_path / "older"))
    for argument, said in (("--model-size=tiny", "older is another network"), ("--greedy", "not greedy")):
        told = fails(capsys, *BY_DEFAULT, *member, argument, "--run-dir", str(tmp_path / "run"))
        assert said in told and "--backend showdown" in told
    assert not (tmp_path / "run").exists()


def test_workers_and_parallel_battles_change_nothing(straight: Path, tmp_path: Path) -> None:
    run_here(*TINY, "--workers", "2", "--parallel-battles", "3", "--run-dir", str(tmp_path / "run"))
    assert compare_runs(straight, tmp_path / "run") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--battle-format", "gen9ou"), "gen9ou"),
        (("--team-set", "nowhere"), "nowhere"),
        (("--members", "brock"), "brock"),
        (("--add-member", "nowhere/checkpoint"), "nowhere/checkpoint"),
        (("--init-checkpoint", "nowhere/checkpoint"), "nowhere/checkpoint"),
        (("--battles-per-matchup", "3"), "--battles-per-matchup"),
        (("--model-size", "gigantic"), "gigantic"),
        (("--resume",), "nothing to resume"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said: str, tmp_path: Path, capsys) -> None:
    assert said in fails(capsys, *TINY, *arguments, "--run-dir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_run_directory_of_another_configuration_is_left_alone(straight: Path, capsys) -> None:
    before = (straight / "config.json").read_bytes()
    assert "--resume" in fails(capsys, *TINY, "--run-dir", str(straight))
    assert "seed" in fails(capsys, *TINY, "--seed", "4", "--run-dir", str(straight), "--resume")
    assert (straight / "config.json").read_bytes() == before


def test_a_full_disk_is_one_clear_line_and_resume_goes_on(straight: Path, tmp_path: Path) -> None:
    arguments = [*TINY, "--run-dir", str(tmp_path / "run")]
    # Enough for the JSON files, too little for the recorded decisions.
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    limited += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", limited, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr[-3000:]
    last = done.stderr.strip().splitlines()[-1]
    assert "cannot write" in last and "battles_00000.npz" in last and "Traceback" not in done.stderr
    run_here(*arguments, "--resume")
    assert compare_runs(straight, tmp_path / "run") == []


def test_help_lists_every_knob(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run_here("--help")
    told = capsys.readouterr().out
    knobs = """iterations battles-per-matchup collection-battles oracle-epochs oracle-updates batch-size
        learning-rate collected-weight parallel-battles workers battle-format team-set eval-team-set
        model-size init-checkpoint add-member opponent seed run-dir resume greedy""".split()  # noqa: SIM905
    assert stop.value.code == 0
    assert [k for k in knobs if f"--{k}" not in told] == []


def test_the_audit_counts_who_was_met(straight: Path, capsys) -> None:
    audit = runpy.run_path(str(ROOT / "experiments" / "audit_draws.py"))
    audit["run"](audit["Config"](straight))
    assert "Opponents drawn" in capsys.readouterr().out
    mixture = {"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.0}
    chi_square = audit["chi_square"]
    assert chi_square(Counter(a=2500, b=1500, c=1000), mixture) == (5000, pytest.approx(1.0))
    # by hand: 50^2 / 2500 + 50^2 / 1500 = 8/3 on two degrees of freedom: p = exp(-4/3)
    assert chi_square(Counter(a=2550, b=1450, c=1000), mixture)[1] == pytest.approx(
        math.exp(-4 / 3), rel=1e-5
    )
    assert chi_square(Counter(a=2500, b=1500, c=999, d=1), mixture)[1] == 0.0
    assert chi_square(Counter(a=2250, b=1500, c=1250), mixture)[1] < 1e-4


def test_best_responses_of_another_run_may_be_given(straight: Path, tmp_path: Path) -> None:
    """Two called br_1 as this run's own will be: each keeps parameters, path and a name of its own."""
    older = straight / "iteration_1" / "br_training" / "br_1" / "checkpoint"
    other = tmp_path / "other"
    spec = token_spec("nano")
    save(other, params=build(spec).init(jax.random.key(1)), spec=spec, name="br_1")
    short = [*TINY, "--oracle-epochs", "1", "--oracle-updates", "0", "--run-dir", str(tmp_path / "run")]
    run_here(*short, "--members", "random", "--add-member", str(older), str(other), "--greedy")
    policies = read_json(tmp_path / "run" / "iteration_1" / "population.json")["policies"]
    assert list(policies) == ["random", "given_br_1", "given_br_1_2", "br_1"]
    assert [p["checkpoint"] for p in policies.values()][:3] == [None, str(older), str(other)]
    assert [p["greedy"] for p in policies.values()] == [False, False, False, True]
    evaluate = runpy.run_path(str(ROOT / "experiments" / "evaluate.py"))
    entries = population_from_json({"policies": policies})
    members = [evaluate["member_of_entry"](entry, tmp_path / "run") for entry in entries]
    assert [(m.name, getattr(m, "greedy", False)) for m in members] == [(e.name, e.greedy) for e in entries]


def test_a_best_response_to_a_best_response_starts_afresh(straight: Path, tmp_path: Path) -> None:
    older = str(straight / "iteration_1" / "br_training" / "br_1" / "checkpoint")
    run_here(*TINY, "--oracle-updates", "0", "--opponent", older, "--run-dir", str(tmp_path / "run"))
    row = read_json(tmp_path / "run" / "psro_summary.json")
    assert row["members"] == ["given_br_1", "br_1"]
    curve = read_json(tmp_path / "run" / "iteration_1" / "br_training" / "br_1" / "rows.json")["rows"]
    assert len([r for r in curve if r["phase"] == "clone"]) == 2, "of a fresh one; 1 of a trained one"


def test_a_checkpoint_is_evaluated_against_a_member_and_against_a_mixture(straight: Path, capsys) -> None:
    evaluate = runpy.run_path(str(ROOT / "experiments" / "evaluate.py"))
    checkpoint = str(straight / "iteration_1" / "br_training" / "br_1" / "checkpoint")
    for opponent in ("random", str(straight / "iteration_1")):
        evaluate["run"](
            evaluate["Config"](checkpoint, opponent=opponent, battles=6, turn_limit=30, workers=1)
        )
        told = capsys.readouterr().out
        assert "refused choices 0" in told and "on 3 pairs" in told
    with pytest.raises(JaxnashError, match="--battles is 5"):
        evaluate["run"](evaluate["Config"](checkpoint, battles=5))
