"""A solve from the command line: its files and figures, its errors, and that no kill changes its result."""

from __future__ import annotations

import csv
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxnash as jn
from jaxnash.runs.run import compare_runs, read_json, read_jsonl

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "solve_game.py"
KUHN = ["--game", "kuhn", "--iterations", "1000", "--evaluate-every", "100", "--save-every", "0"]
NASH_CONV = {100: 0.00238880820222, 1000: 0.000174730645042}  # OpenSpiel's, CFR+
KILLED = """
import os, runpy, signal, sys
from tests.crash import at_call
at_call("jaxnash.runs.checkpoint:save_state", 4, lambda: os.kill(os.getpid(), signal.SIGKILL))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_here(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    run_here(*KUHN, "--run-dir", str(run_dir))
    return run_dir


def test_the_result_is_that_of_the_reference(straight: Path) -> None:
    result = read_json(straight / "result.json")
    curve = dict(result["curve"])
    assert list(curve) == list(range(100, 1001, 100))
    for iteration, expected in NASH_CONV.items():
        assert curve[iteration] == pytest.approx(expected / 2, rel=1e-9)
    assert result["exploitability"] == curve[1000] and result["iterations"] == 1000
    assert result["value"] == pytest.approx(-1 / 18, abs=1e-5)
    seconds = result["timing"]["curve_seconds"]
    assert len(seconds) == 10 and seconds == sorted(seconds) and seconds[-1] == result["timing"]["seconds"]
    assert result["timing"]["compile_seconds"] > 0


def test_the_files_hold_the_policy_and_a_figure(straight: Path) -> None:
    tree = jn.cfr.compile_tree(jn.games.kuhn())
    with np.load(straight / "policy.npz") as kept:
        names, policy = kept["infosets"].tolist(), kept["policy"]
    assert sorted(names) == sorted(tree.infosets)
    ordered = policy[[names.index(name) for name in tree.infosets]]
    assert jn.cfr.exploitability(tree, ordered) == pytest.approx(NASH_CONV[1000] / 2, abs=1e-10)
    with open(straight / "policy.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["infoset"] for row in rows] == names
    assert [[float(row["action_0"]), float(row["action_1"])] for row in rows] == policy.tolist()
    assert (straight / "exploitability.png").read_bytes().startswith(b"\x89PNG")
    assert read_json(straight / "summary.json")["count"] == 10


def test_a_kill_and_a_resume_change_no_bit(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    arguments = [str(SCRIPT), *KUHN, "--run-dir", str(run_dir)]
    killing = f"import sys; sys.argv = sys.argv[1:]; exec({KILLED!r})"
    killed = subprocess.run([sys.executable, "-c", killing, *arguments], cwd=ROOT, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert not (run_dir / "result.json").exists()
    assert read_jsonl(run_dir / "metrics.jsonl")[-1]["iteration"] == 400  # measured, not yet saved
    run_here("--run-dir", str(run_dir), "--resume")  # the other knobs are the run's own
    told = capsys.readouterr().out
    assert "0:J:pb" in told and "8.737e-05" in told
    log = (run_dir / "training.log").read_text()
    assert log.count("iteration 300:") == log.count("iteration 400:") == 1  # it went on from 300
    assert compare_runs(straight, run_dir) == ["exploitability.png: the bytes differ"]  # its seconds do


def test_a_target_stops_and_a_finished_run_stays(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    goal = ["--game", "kuhn", "--target", "1e-3", "--evaluate-every", "10", "--run-dir", str(run_dir)]
    run_here(*goal)
    before = (run_dir / "policy.npz").read_bytes(), read_json(run_dir / "result.json")["curve"]
    gaps = [gap for _, gap in before[1]]
    assert gaps[-1] <= 1e-3 < min(gaps[:-1])
    run_here(*goal, "--resume")
    assert ((run_dir / "policy.npz").read_bytes(), read_json(run_dir / "result.json")["curve"]) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--game no_such_game", "none of kuhn, leduc, liars_dice, goofspiel, turn, river"),
        ("--game liars_dice(dices=1)", "has no parameter 'dices': it takes dice, sides"),
        ("--game liars_dice(dice=1.5)", "dice is 1.5, pass a whole number"),
        ("--recipe cfrr", "there are cfr, cfr+, linear-cfr"),
        ("--recipe dcfr(alpha=x)", "alpha is x, pass a number"),
        ("--game river", "--board goes with --game turn"),
        ("--game river --board Ks7d2c9h", "a river has 5 cards"),
        ("--iterations 0", "--iterations is 0"),
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
        run_here(*KUHN, "--recipe", "dcfr", "--run-dir", str(straight), "--resume")
    assert stop.value.code == 2
    assert 'recipe ("cfr+" there, "dcfr" now)' in capsys.readouterr().err
    assert json.dumps(read_json(straight / "config.json")) == before


@pytest.mark.slow
def test_the_guide_runs() -> None:
    """Every block of docs/exact.md, one after the other."""
    pytest.importorskip("pyspiel")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exact.md").read_text(), re.DOTALL)
    assert len(blocks) == 8
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["result"].exploitability < 3e-4 and names["start"].exploitability < 2e-5
