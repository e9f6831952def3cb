"""Deep CFR from the command line: bounds it must reach, exact resumes, workers that change nothing."""

from __future__ import annotations

import itertools
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from jaxnash.runs.run import compare_runs, read_json, read_jsonl

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "deep_cfr.py"
SMALL = [
    "--preset",
    "kuhn-ci",
    "--trajectories",
    "32",
    "--lanes",
    "16",
    "--steps",
    "20",
    "--least-steps",
    "20",
    "--batch-size",
    "64",
    "--memory",
    "3000",
    "--hidden",
    "16",
    "--iterations",
    "20",
    "--evaluate-every",
    "5",
    "--checkpoint-every",
    "10",
    "--policy-steps",
    "50",
    "--match-pairs",
    "0",
]
KILLED = """
import os, runpy, signal, sys
from tests.crash import at_call
at_call(sys.argv[1], int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_here(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")


def process(*arguments: str, code: str | None = None, **options) -> subprocess.CompletedProcess:
    line = [sys.executable, "-c", code] if code else [sys.executable, str(SCRIPT)]
    return subprocess.run(
        [*line, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=250, **options
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    run_here(*SMALL, "--run-dir", str(run_dir))
    return run_dir


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kuhn_comes_below_the_bound(seed: int, tmp_path: Path) -> None:
    """20 milli-antes: an even policy has 458, and five other seeds of these settings ended at 4 to 11."""
    run_here("--preset", "kuhn-ci", "--seed", str(seed), "--run-dir", str(tmp_path / "run"))
    last = read_json(tmp_path / "run" / "result.json")["curve"][-1]
    assert last[0] == 100 and last[3] == "exact"
    assert 0 < last[2] <= 0.020


def test_rows_say_what_was_done(straight: Path) -> None:
    rows = read_jsonl(straight / "metrics.jsonl")
    assert [row["iteration"] for row in rows] == list(range(1, 21))
    assert [row["trajectories_generated"] for row in rows] == [64 * t for t in range(1, 21)]
    assert [row["num_updates"] for row in rows] == [40 * t for t in range(1, 21)]
    measured = [row["iteration"] for row in rows if "exploitability" in row]
    assert measured == [5, 10, 15, 20]
    assert {row["exploitability_kind"] for row in rows if "exploitability" in row} == {"exact"}
    assert [row["iteration"] for row in rows if "checkpoint_path" in row] == [10, 20]
    assert (straight / rows[-1]["checkpoint_path"]).is_dir()
    for before, row in itertools.pairwise(rows):
        assert row["nodes"] > before["nodes"] and row["samples"] > before["samples"]
        assert row["memory_fill"][0] >= before["memory_fill"][0]
        assert row["value_loss"] > 0 and row["policy_loss"] is None
        assert {"traverse", "remember", "fit"} <= set(row["timing"]["phases"])


def test_a_kill_and_a_resume_change_no_bit(straight: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*SMALL, "--run-dir", str(run_dir)]
    killed = process("jaxnash.runs.run:append_jsonl", "14", str(SCRIPT), *arguments, code=KILLED)
    assert killed.returncode == -9, killed.stderr
    assert read_jsonl(run_dir / "metrics.jsonl")[-1]["iteration"] == 13
    run_here(*arguments, "--resume")
    assert compare_runs(straight, run_dir) == []


@pytest.mark.slow
def test_an_earlier_checkpoint_is_gone_on_from(straight: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_here(*SMALL, "--run-dir", str(run_dir))
    run_here("--resume", f"{run_dir}@10")
    assert compare_runs(straight, run_dir) == []


def test_a_kill_during_a_save_leaves_the_last_one(straight: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*SMALL, "--run-dir", str(run_dir)]
    where = "orbax.checkpoint:StandardCheckpointHandler.finalize"
    killed = process(where, "2", str(SCRIPT), *arguments, code=KILLED)
    assert killed.returncode == -9, killed.stderr
    run_here("--resume", str(run_dir))  # the rest is the run's own
    assert compare_runs(straight, run_dir) == []


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_change_no_bit(number: int, straight: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = process(*SMALL, "--workers", str(number), "--run-dir", str(run_dir))
    assert done.returncode == 0, done.stderr
    assert compare_runs(straight, run_dir) == []
    if number > (os.cpu_count() or 1):
        assert f"warning: {number} workers share" in " ".join(done.stdout.split())


def test_a_stop_saves_and_the_rest_follows(straight: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*SMALL, "--run-dir", str(run_dir)]
    stopping = KILLED.replace("SIGKILL", "SIGTERM")
    stopped = process("jaxnash.runs.run:append_jsonl", "7", str(SCRIPT), *arguments, code=stopping)
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped after iteration 7" in stopped.stdout
    run_here(*arguments, "--resume")
    assert not [line for line in compare_runs(straight, run_dir) if "checkpoints" not in line]


def test_deep_cfr_fits_an_average_network(tmp_path: Path) -> None:
    run_here(*SMALL, "--algorithm", "deep-cfr", "--run-dir", str(tmp_path / "run"))
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    measured = [row for row in rows if "exploitability" in row]
    assert len(measured) == 4 and all(0 <= row["policy_loss"] < 1 for row in measured)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--game poker", "no game is called 'poker': there are kuhn, leduc, liars_dice, goofspiel, flop"),
        ("--preset huge", "no preset is called 'huge': there are leduc, kuhn-ci, fhp-small, fhp-paper, hunl"),
        ("--traversal all", "--traversal 'all' is unknown: pass external, outcome, or robust:k"),
        ("--batch-size 4000000", "--batch-size 4000000 is larger than --memory 2000000"),
        ("--memory 4000000000", "GiB are available: take a smaller --memory (now 4,000,000,000 decisions"),
        ("--network cards", "the network 'cards' reads hold'em"),
        ("--bet-sizes 0.5", "--bet-sizes goes with --game hunl"),
        ("--steps 0", "--steps is 0: pass at least 1"),
        ("--match-pairs 1", "--match-pairs is 1: one pair has no interval"),
        ("--traversal outcome --epsilon 0", "--epsilon is 0.0: pass a number above 0"),
        ("--algorithm dream --traversal robust:2", "--algorithm dream walks single paths"),
        ("--critic-hidden 0", "--critic-hidden names one width or more"),
        ("--at 5", "--at names a checkpoint to continue from: pass --resume too"),
        ("--resume", "nothing to resume at"),
    ],
)
def test_a_wrong_word_is_one_line(
    arguments: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here("--run-dir", str(tmp_path / "run"), *arguments.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2 and told in " ".join(error.split()), error
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here(*SMALL, "--steps", "30", "--run-dir", str(straight), "--resume")
    assert ended.value.code == 2
    assert "steps (20 there, 30 now)" in " ".join(capsys.readouterr().err.split())
