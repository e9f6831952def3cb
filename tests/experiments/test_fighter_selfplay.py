"""The fighter's training from its command line: tables, snapshots, and a stop and a resume."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import fighter_selfplay
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore
from jaxnash.types import JaxnashError

SMALL = [
    *(
        "--preset",
        "smoke",
        "--matches",
        "16",
        "--groups",
        "2",
        "--segment",
        "8",
        "--span",
        "6",
        "--width",
        "8",
    ),
    *(
        "--heads",
        "2",
        "--mlp",
        "8",
        "--core",
        "8",
        "--hidden",
        "8",
        "--minibatch",
        "64",
        "--save-every",
        "200",
    ),
    *("--frames", "512", "--checkpoint-every", "2", "--evaluate-every", "0", "--evaluate-pairs", "1"),
]


def table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("fighter") / "whole"
    fighter_selfplay.run(fighter_selfplay.parsed([*SMALL, "--run-dir", str(run)]))
    return run


def test_a_run_leaves_its_tables(whole):
    found = rows(whole)
    assert [row["frames"] for row in found] == [128, 256, 384, 512]
    assert [row["snapshot_saved"] for row in found] == [False, True, False, True]
    assert all(row["ratio_deviation"] < 1e-4 for row in found)
    breakdown = table(whole, "reward_breakdown")
    assert len(breakdown) == 4
    for row in breakdown:
        terms = [float(row[name]) for name in row if f"signal_{name}" in row]
        assert len(terms) == 9
        assert sum(terms) == pytest.approx(float(row["total_reward"]), rel=1e-5, abs=1e-7)
    assert any(int(row["signal_attacking"]) for row in breakdown)
    evaluations = table(whole, "evaluation_results")
    assert [row["opponent"] for row in evaluations] == ["based", "constant"]
    assert all(
        float(row["win_rate_low"]) <= float(row["win_rate"]) <= float(row["win_rate_high"])
        for row in evaluations
    )


def test_a_run_says_where_it_is_and_what_it_takes(whole):
    log = (whole / "training.log").read_text()
    assert f"device: {jax.devices()[0].platform} " in log and "held (parameters " in log
    assert all(row["timing"]["usage"]["process_bytes"] > 2**20 for row in rows(whole))


def test_a_device_that_is_not_there_is_refused(tmp_path):
    arguments = [*SMALL, "--device", "metal", "--run-dir", str(tmp_path / "run")]
    with pytest.raises(JaxnashError, match=r"--device metal is not there: JAX finds .*cpu \(\d"):
        fighter_selfplay.run(fighter_selfplay.parsed(arguments))
    assert not (tmp_path / "run").exists()


def test_snapshots_restore_themselves_and_differ(whole):
    found = sorted((whole / "snapshots").iterdir(), key=lambda path: int(path.name.split("_")[1]))
    assert [path.name for path in found] == ["snapshot_256", "snapshot_512"]
    one, two = (restore(path) for path in found)
    assert one.policy is two.policy
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True)
    assert not all(np.array_equal(*pair) for pair in pairs)
    last = restore(whole / "policy")
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(last.params), jax.tree.leaves(two.params), strict=True)
    )


def test_alerts_are_in_every_row_and_origins_in_a_file(whole):
    assert all(isinstance(row["alerts"], list) for row in rows(whole))
    wanted = [{"number": 0, "frames": 256}, {"number": 1, "frames": 512}]
    assert json.loads((whole / "snapshots.json").read_text()) == {"snapshots": wanted}


def test_a_pool_is_met_at_once_and_a_resume_does_without_its_files(whole, tmp_path, monkeypatch):
    """Two snapshots of the other run are number 0 and 1; the run's own are 2 and 3, of which 0 goes."""
    pool, run = tmp_path / "pool", tmp_path / "run"
    shutil.copytree(whole / "snapshots", pool)
    arguments = [*SMALL, "--seed", "1", "--keep-snapshots", "3", "--pool", str(pool)]
    asked = []
    monkeypatch.setattr(stop, "requested", lambda: len(asked.append(0) or asked) > 2)
    with pytest.raises(SystemExit):
        fighter_selfplay.run(fighter_selfplay.parsed([*arguments, "--run-dir", str(run)]))
    monkeypatch.undo()
    shutil.rmtree(pool)
    fighter_selfplay.run(fighter_selfplay.parsed(["--resume", str(run)]))
    found = rows(run)
    assert [row["snapshots"] for row in found] == [2, 3, 3, 4]
    assert {number for row in found[:2] for number in row["snapshots_met"]} <= {0, 1}
    origins = json.loads((run / "snapshots.json").read_text())["snapshots"]
    assert [origin["number"] for origin in origins] == [0, 1, 2, 3]
    assert [origin.get("pool") for origin in origins[:2]] == [
        str(pool / name) for name in ("snapshot_256", "snapshot_512")
    ]
    assert [origin.get("frames") for origin in origins[2:]] == [256, 512]
    config = json.loads((run / "config.json").read_text())
    assert config["pool"] == [str(pool)] and config["updates"] == 4


def test_published_expectations_are_told_at_the_end(whole, tmp_path, capsys):
    """Of runs of the presets test and full, and of them only. The run is done: nothing is left to train."""
    run, told = tmp_path / "run", []
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("training.log"))
    config = json.loads((run / "config.json").read_text())
    for preset in ("smoke", "test"):
        (run / "config.json").write_text(json.dumps(config | {"preset": preset}))
        capsys.readouterr()
        fighter_selfplay.run(fighter_selfplay.parsed(["--resume", str(run)]))
        told.append(" ".join(capsys.readouterr().out.split()))
    begins = "published expectation, not measured here: 30-50 % wins after 50,000 frames: no measurement"
    assert [begins in each for each in told] == [False, True]
    log = (run / "training.log").read_text()
    assert "70-85 % wins after 10,000,000 frames: no measurement at this length\n" in log


def test_a_stop_and_a_resume_change_no_bit(whole, tmp_path, monkeypatch):
    """Stopped after the third update, of which the last checkpoint is not a multiple of two."""
    run, asked = tmp_path / "parts", []
    monkeypatch.setattr(stop, "requested", lambda: len(asked.append(0) or asked) > 3)
    with pytest.raises(SystemExit) as left:
        fighter_selfplay.run(fighter_selfplay.parsed([*SMALL, "--run-dir", str(run)]))
    assert left.value.code == 0 and len(rows(run)) == 3
    monkeypatch.undo()
    fighter_selfplay.run(fighter_selfplay.parsed(["--resume", str(run)]))
    for one, other in zip(rows(whole), rows(run), strict=True):
        one.pop("timing"), other.pop("timing")
        assert one == other
    pairs = zip(
        jax.tree.leaves(restore(whole / "policy").params), jax.tree.leaves(restore(run / "policy").params)
    )
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
    for name in ("reward_breakdown", "behavior_metrics"):
        assert table(run, name) == table(whole, name)
