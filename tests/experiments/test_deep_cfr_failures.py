"""Deep CFR's runs where checkpoints are damaged, the disk is full, or critics are cut off in the middle."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxnash.runs.run import close_run, compare_runs, read_json, read_jsonl
from tests.crash import at_call
from tests.experiments.test_deep_cfr import KILLED, SCRIPT, SMALL, process, run_here

SHORT = [*SMALL, "--head-rows", "0", "--match-pairs", "0"]
CRITIC = [*SHORT, "--iterations", "8", "--checkpoint-every", "2", "--evaluate-every", "4"]
CRITIC += [
    "--critic-steps",
    "20",
    "--critic-rows",
    "4096",
    "--critic-memory",
    "3000",
    "--critic-hidden",
    "16",
]
OWN = ("--critic-features", "random", "--critic-hidden", "8", "32", "--critic-trajectories", "40")
OWN += ("--workers", "2")
SHORT += ["--iterations", "4", "--checkpoint-every", "2", "--evaluate-every", "2"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of iterations 2 and 4."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    run_here(*SHORT, "--run-dir", str(run_dir))
    close_run(run_dir)
    return run_dir


@pytest.fixture
def copied(straight: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to damage."""
    run_dir = tmp_path / "run"
    shutil.copytree(straight, run_dir)
    yield run_dir
    close_run(run_dir)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the script ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_here(*arguments)
    error = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and len(error.splitlines()) == 1 and error.startswith("error: "), error
    return error


def leaves(checkpoint: Path) -> dict[str, np.ndarray]:
    tree = ocp.StandardCheckpointer().restore(checkpoint / "state")
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}


def assert_same_checkpoint(a: Path, b: Path) -> None:
    ours, theirs = leaves(a), leaves(b)
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for name, leaf in ours.items():
        assert leaf.tobytes() == theirs[name].tobytes(), name


def damage(checkpoint: Path, how: str) -> None:
    """Spoil the values; the files of metadata, and the small ones, which hold trees, stay."""
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.name != "_METADATA"]
    for path in files:
        size = path.stat().st_size
        if how == "all gone":
            path.unlink()
        elif size > 1000:
            path.write_bytes(path.read_bytes()[: size // 2] if how == "cut" else bytes(size))


@pytest.mark.parametrize("how", ["cut", "overwritten", "all gone"])
def test_a_damaged_checkpoint_is_one_line_with_a_way_out(
    how: str, copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # as in a process of its own
    damage(copied / "checkpoints" / "4", how)
    told = fails(capsys, *SHORT, "--run-dir", str(copied), "--resume")
    assert f"{copied}/checkpoints" in told
    anew = f"or remove {copied}/checkpoints to begin anew"
    assert told.endswith(f"if iteration 4 is damaged, continue with --resume {copied}@2, {anew}")
    damage(copied / "checkpoints" / "2", how)
    told = fails(capsys, *SHORT, "--resume", f"{copied}@2")
    assert told.endswith(f"if iteration 2 is damaged, continue with --resume {copied}@4, {anew}")
    told = fails(capsys, *SHORT, "--resume", f"{copied}@3")
    assert told == f"error: no checkpoint of iteration 3 in {copied}/checkpoints: there are 2, 4"
    assert sorted(path.name for path in (copied / "checkpoints").iterdir()) == ["2", "4"]
    assert len(read_jsonl(copied / "metrics.jsonl")) == 4  # nothing was touched


def test_a_damaged_checkpoint_is_replaced_from_the_one_before(straight: Path, copied: Path) -> None:
    damage(copied / "checkpoints" / "4", "overwritten")
    run_here(*SHORT, "--resume", f"{copied}@2")
    assert compare_runs(straight, copied) == []


def test_who_goes_back_and_is_interrupted_does_not_jump_ahead(straight: Path, copied: Path) -> None:
    """Interrupted before row 4, after going back to 2: neither the old checkpoint of 4 nor a new one is
    there, so that rows 3 and 4 come again."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        at_call("jaxnash.runs.run:append_jsonl", 2, interrupt, patch=patch.setattr)
        run_here(*SHORT, "--resume", f"{copied}@2")
    close_run(copied)
    assert ended.value.code == 130
    assert [row["iteration"] for row in read_jsonl(copied / "metrics.jsonl")] == [1, 2, 3]
    assert [path.name for path in (copied / "checkpoints").iterdir()] == ["2"]
    run_here(*SHORT, "--run-dir", str(copied), "--resume")
    assert compare_runs(straight, copied) == []


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files may not grow beyond 4 KB from the second save on, which is as a full disk to who writes."""
    run_dir, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = [*SHORT, "--run-dir", str(run_dir)]
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        at_call("jaxnash.runs.checkpoint:save_state", 2, full, patch=patch.setattr)
        try:
            told = fails(capsys, *arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    close_run(run_dir)
    assert told.startswith(f"error: cannot write the checkpoint {run_dir}/checkpoints: ")
    assert told.endswith("check the disk (is it full?) and continue with --resume")
    steps = [path.name for path in (run_dir / "checkpoints").iterdir() if path.name.isdigit()]
    assert steps == ["2"]
    assert_same_checkpoint(run_dir / "checkpoints" / "2", straight / "checkpoints" / "2")
    run_here(*arguments, "--resume")
    assert compare_runs(straight, run_dir) == []
    close_run(run_dir)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "options"), [("dream", ()), ("escher", ()), ("escher", OWN)])
def test_critics_are_resumed_bit_for_bit(algorithm: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """Killed with SIGKILL before row 6 is written, so that the last checkpoint is of 4."""
    arguments, run_dir = [*CRITIC, *options, "--algorithm", algorithm], tmp_path / "run"
    run_here(*arguments, "--run-dir", str(tmp_path / "straight"))
    killed = process(
        "jaxnash.runs.run:append_jsonl", "6", str(SCRIPT), *arguments, "--run-dir", str(run_dir), code=KILLED
    )
    assert killed.returncode == -9, killed.stderr
    assert read_jsonl(run_dir / "metrics.jsonl")[-1]["iteration"] == 5
    assert not (run_dir / "checkpoints" / "6").exists()
    run_here(*arguments, "--run-dir", str(run_dir), "--resume")
    assert compare_runs(tmp_path / "straight", run_dir) == []
    result = read_json(run_dir / "result.json")
    assert result["algorithm"] == algorithm and [row[0] for row in result["curve"]] == [4, 8]
    held = leaves(run_dir / "checkpoints" / "8")
    critic = [leaf for name, leaf in held.items() if name.startswith("['critic']['0']")]
    assert critic and all(np.isfinite(leaf).all() for leaf in critic)
    assert sum(float(np.abs(leaf).sum()) for leaf in critic) > 0
