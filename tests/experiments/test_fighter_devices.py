"""A self-play run whose learner is on two devices, then on one, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.test_fighter_selfplay import SMALL

PROGRAM = """
import sys
from experiments import fighter_selfplay
from jaxnash.runs import stop

most, sys.argv = int(sys.argv[1]), sys.argv[1:]
asked = []
stop.requested = lambda: len(asked.append(0) or asked) > most
fighter_selfplay.main()
"""


def run(devices: int, most: int, *arguments: str) -> subprocess.CompletedProcess:
    """A run in a process with so many devices, stopped after so many updates."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "NPROC": "16"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(most), *arguments],
        env=os.environ | flags | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=500,
    )


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow  # three processes that compile
def test_two_devices_begin_a_run_and_one_goes_on(tmp_path):
    small = [*SMALL, "--frames", "256"]
    one, two = tmp_path / "one", tmp_path / "two"
    for done in (
        run(1, 9, *small, "--run-dir", str(one)),
        run(2, 1, *small, "--run-dir", str(two), "--devices", "2"),
        run(1, 9, "--resume", str(two), "--devices", "1"),
    ):
        assert done.returncode == 0, done.stderr[-2000:]
    assert "device: cpu cpu, 2 of 2;" in (two / "training.log").read_text()
    assert len(rows(one)) == len(rows(two)) == 2
    for mine, other in zip(rows(one), rows(two)):
        for name in ("policy_loss", "value_loss", "entropy", "grad_norm", "reward"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3, abs=1e-5), name
        assert mine["samples"] == other["samples"] and mine["matches"] == other["matches"]


def test_more_devices_than_there_are_is_one_line(tmp_path):
    done = run(1, 9, *SMALL, "--devices", "2", "--run-dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("error: --devices 2 are more than there are: 1 of kind cpu")
    )
    assert not (tmp_path / "run").exists()
