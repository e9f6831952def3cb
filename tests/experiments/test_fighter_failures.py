"""What the fighter's command lines are asked that cannot be: one clear line and exit code 2."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments import fighter_curves, fighter_selfplay
from jaxnash.policies.spec import build
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import save
from jaxnash.runs.fighter import spec_of
from jaxnash.runs.run import close_run
from tests.experiments.test_fighter_selfplay import SMALL


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, script=fighter_selfplay) -> str:
    """The one line that the script ends with."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["script.py", *arguments])
        patch.setattr(stop, "watch", lambda: None)
        script.main()
    error = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and len(error.splitlines()) == 1 and error.startswith("error: "), error
    return error.removeprefix("error: ")


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run that was stopped before its first update: a state, and no row yet."""
    run = tmp_path_factory.mktemp("begun") / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(stop, "requested", lambda: True)
        patch.setattr(stop, "watch", lambda: None)
        fighter_selfplay.run(fighter_selfplay.parsed([*SMALL, "--run-dir", str(run)]))
    assert left.value.code == 0 and [step.name for step in (run / "checkpoints").iterdir()] == ["0"]
    close_run(run)
    return run


@pytest.fixture
def policy(tmp_path) -> Path:
    """A policy of SMALL's sizes but for the LSTM."""
    spec = spec_of(fighter_selfplay.parsed([*SMALL, "--core", "4"]))
    save(tmp_path / "policy", params=build(spec).init(jax.random.key(0)), spec=spec, name="other")
    return tmp_path / "policy"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--shares 0.8 0.15 0.1", "--shares 0.8 0.15 0.1 (snapshots, Based, Constant) sum to 1.05"),
        ("--shares 1.1 -0.1 0", "must be at least 0 and sum to 1"),
        ("--span 2701", "--span 2701 is longer than a match, which has 2700 frames"),
        ("--preset long", "no preset is called 'long': there are full, test, smoke"),
        ("--matches 15", "15 matches at once do not make 2 equal groups"),
        ("--heads 3", "a width of 8 cannot be shared by 3 heads"),
        ("--pool nobody", "--pool nobody: there is no such folder"),
        ("--pool .", "is neither a policy nor a run"),
    ],
)
def test_a_run_that_cannot_be_leaves_nothing(arguments, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in fails(capsys, *SMALL, *arguments.split(), "--run-dir", "run")
    assert list(tmp_path.iterdir()) == []


def test_a_pool_that_does_not_fit(policy, tmp_path, capsys):
    arguments = [*SMALL, "--run-dir", str(tmp_path / "run"), "--pool", str(policy)]
    told = fails(capsys, *arguments)
    assert told.startswith(f"--pool {policy} has another architecture: core 4 there, 8 here")
    about = next(policy.glob("*/about/spec.json"))
    old = json.loads(about.read_text())
    layout, old["spec"]["layout"] = old["spec"]["layout"], "0123456789ab"
    about.write_text(json.dumps(old))
    told = fails(capsys, *arguments, "--core", "4")
    assert "attack table 0123456789ab, this version has " + layout in told and str(policy) in told
    old["spec"]["layout"] = layout
    about.write_text(json.dumps(old))
    told = fails(capsys, *arguments, str(policy), "--core", "4", "--keep-snapshots", "1")
    assert told.startswith("--pool holds 2 policies, --keep-snapshots 1")
    assert not (tmp_path / "run").exists()


def test_a_run_in_use_another_configuration_and_nothing_to_resume(begun, tmp_path, capsys, monkeypatch):
    assert fails(capsys, *SMALL, "--run-dir", str(begun)).endswith(
        "exists; pass --resume or another --run-dir"
    )
    told = fails(capsys, "--resume", str(begun), "--span", "7", "--pool", "x")
    assert "is a run of another configuration: pool ([] there, " in told
    assert "span (6 there, 7 now); pass the same or another --run-dir" in told
    assert fails(capsys, "--resume", str(tmp_path / "none")).startswith("nothing to resume at ")
    monkeypatch.chdir(tmp_path)
    assert fails(capsys, "--resume").startswith("nothing to resume below runs/")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    assert "photos is not a run directory" in fails(capsys, "--resume", "photos")


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_checkpoint_that_was_cut_off(how, begun, tmp_path):
    """In a process of its own: what TensorStore leaves behind is told at its end, not in this one's."""
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    for file in (run / "checkpoints" / "0" / "state").rglob("*"):
        if file.is_file() and (how == "gone" or file.stat().st_size > 1000) and file.name != "_METADATA":
            data = file.read_bytes()
            file.unlink() if how == "gone" else file.write_bytes(data[: len(data) // 2])
    command = [sys.executable, fighter_selfplay.__file__, "--resume", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    told = done.stderr.strip()
    assert done.returncode == 2 and len(told.splitlines()) == 1 and told.startswith("error: "), told
    assert f"{run}/checkpoints" in told
    assert told.endswith(f"; if it is damaged, remove {run}/checkpoints/0 to begin anew")


def test_curves_of_what_has_none(begun, tmp_path, capsys):
    out = str(tmp_path / "curves.png")
    run = lambda *arguments: fails(capsys, *arguments, script=fighter_curves)  # noqa: E731
    assert "has no evaluation yet" in run(str(begun), "--out", out)
    assert "nowhere is not a run directory" in run("nowhere", "--out", out)
    assert run(str(begun), "--out", "x.gif").startswith("--out x.gif: a name that ends in .png or .svg")
    assert run("--out", out).startswith("no run is named")
    assert not Path(out).exists()
