"""What deep CFR's knobs cost: seconds an iteration by phase, and the most memory a whole run took.

Each row is a run of its own process of `experiments/deep_cfr.py`, on flop hold'em. The first iterations
compile and are left out. The memory is what the system counted (the process with its libraries and compiled
programs, or its largest worker), beside what the run predicted it would hold.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.recorded import conditions, write
from jaxnash.runs.files import read_jsonl
from jaxnash.types import JaxnashError

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "experiments" / "deep_cfr.py"
BASE = {
    "preset": "fhp-small",
    "trajectories": 15_000,
    "lanes": 2048,
    "batch-size": 2048,
    "steps": 300,
    "least-steps": 300,
    "head-rows": 0,
    "memory": 4_000_000,
    "workers": 1,
    "match-pairs": 0,
    "lbr-pairs": 0,
}
CASES: dict[str, dict[str, int]] = {
    "as they are": {},
    "batch 256": {"batch-size": 256},
    "batch 8192": {"batch-size": 8192},
    "trajectories 5,000": {"trajectories": 5000},
    "trajectories 45,000": {"trajectories": 45_000},
    "lanes 256": {"lanes": 256},
    "lanes 8192": {"lanes": 8192},
    "memory 500,000": {"memory": 500_000},
    "memory 16,000,000": {"memory": 16_000_000},
    "workers 2": {"workers": 2},
    "head-rows 400,000": {"head-rows": 400_000},
}
UNCOUNTED = 2  # iterations, which compile
PHASES = ("traverse", "remember", "fit")


@dataclass(frozen=True)
class DeepCfrKnobs:
    """What batch, trajectories, lanes, memory and workers of deep CFR cost in time and memory."""

    cases: tuple[str, ...] = tuple(CASES)
    """which knobs"""
    iterations: int = 6
    """of each run; the first two are not counted"""
    write: bool = False
    """write the results to benchmarks/results/deep_cfr_knobs.json"""


def one(name: str, iterations: int) -> dict[str, Any]:
    """A run with these knobs: medians of its iterations' seconds, and its memory in GiB."""
    options = BASE | CASES[name] | {"iterations": iterations}
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        command = [sys.executable, str(SCRIPT), *words, "--run-dir", str(run_dir)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise RuntimeError(f"{name}: the run failed:\n{output}")
        rows = [row["timing"] for row in read_jsonl(run_dir / "metrics.jsonl")][UNCOUNTED:]
    told = re.search(r"([\d.]+) GiB", " ".join(output.split()))
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {
        "row": name,
        "seconds": statistics.median(row["seconds"] for row in rows),
        "phases": {phase: statistics.median(row["phases"][phase] for row in rows) for phase in PHASES},
        "peak_gib": kilobytes / 2**20,
        "predicted_gib": float(told[1]) if told else None,
    }


def run(config: DeepCfrKnobs) -> dict[str, Any]:
    """Print a table, a row for each case."""
    console = Console()
    if config.iterations <= UNCOUNTED:
        raise JaxnashError(
            f"--iterations is {config.iterations}: pass more than the {UNCOUNTED} that are not counted"
        )
    where = conditions()
    rows = [one(name, config.iterations) for name in track(config.cases, console=Console(stderr=True))]
    table = Table("", "s an iteration", *PHASES, "predicted GiB", "peak GiB")
    for row in rows:
        seconds = [row["seconds"], *row["phases"].values()]
        table.add_row(
            row["row"],
            *(f"{s:.2f}" for s in seconds),
            f"{row['predicted_gib']:.2f}",
            f"{row['peak_gib']:.2f}",
        )
    console.print(table)
    result = {"config": asdict(config), **where, "rows": rows}
    if config.write:
        write("deep_cfr_knobs", result)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[DeepCfrKnobs] = DeepCfrKnobs()) -> None:
    """What batch, trajectories, lanes, memory and workers of deep CFR cost in time and memory."""
    run(config)
