"""A fighter's run as a job: what status and metrics say of it, and a stop and a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from experiments import fighter_selfplay
from jaxnash.runs.job_metrics import metrics_figure, rows_table
from jaxnash.runs.job_progress import measured, progress
from jaxnash.runs.run import append_jsonl, close_run, compare_runs, write_json
from tests.experiments.test_fighter_selfplay import SMALL
from tests.runs.test_jobs import ROOT, ended, here, jaxnash, rows, said, wait

__all__ = ["here", "said"]  # fixtures

SCRIPT = ROOT / "experiments" / "fighter_selfplay.py"


def row(update: int, rate: float | None = None) -> dict:
    found = {"based": {"win_rate": rate, "win_rate_interval": [0.25, 0.75]}}
    return {
        "update": update,
        "frames": 128 * update,
        "value_loss": 0.5,
        "snapshot_saved": False,
        "alerts": [],
        "timing": {"seconds": 2.0, "phases": {"train": 1.5, "evaluate": 0.5}},
        **({"evaluation": found, "based_win_rate": rate} if rate is not None else {}),
    }


def made(run: Path, *written: dict) -> Path:
    write_json(run / "config.json", {"frames": 10_000, "updates": 10})
    write_json(run / "manifest.json", {"command": ["experiments/fighter_selfplay.py"]})
    for each in written:
        append_jsonl(run / "metrics.jsonl", each)
    return run


def test_progress_counts_updates_and_tells_the_win_rate(tmp_path):
    now = progress(made(tmp_path / "run", row(1), row(2, 0.5), row(3)))
    assert (now.iteration, now.planned, now.what, now.value_loss) == (3, 10, "win rate", 0.5)
    assert now.left == 14.0
    assert now.measured is not None and (now.measured.iteration, now.measured.value) == (2, 0.5)
    assert now.measured.text == "0.500 [0.250, 0.750] (win rate against Based, 99 %)"
    before = progress(made(tmp_path / "new"))
    assert (before.iteration, before.planned, before.what, before.measured) == (None, 10, "win rate", None)
    assert measured(row(1)) is None


def test_status_and_metrics_name_what_was_measured(here, capsys):
    made(Path("runs/made"), row(1), row(2, 0.5))
    jaxnash("status", "runs/made")
    told = capsys.readouterr().out
    assert "exploitability" not in told and "2 of 10" in told
    assert (
        "win rate" in told and "0.500 [0.250, 0.750] (win rate against Based, 99 %), at iteration 2" in told
    )
    jaxnash("metrics", "runs/made")
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["update", "frames", "win", "rate", "value", "loss", "seconds"]
    assert told[1].split() == ["1", "128", "–", "0.5", "2"] and told[2].split()[:3] == ["2", "256", "0.500"]
    assert Path("runs/made/metrics.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_without_measurement_has_no_column_for_one():
    console = Console(width=100, record=True)
    with console.capture() as told:
        console.print(rows_table([row(1)], exact=False, width=100))
    assert told.get().split("\n")[0].split() == ["update", "frames", "value", "loss", "seconds"]


def test_a_figure_of_win_rates_is_no_figure_of_exploitability():
    drawn = metrics_figure("run", [row(1), row(2, 0.02), row(3, 0.9)], exact=False)
    assert drawn.startswith(b"\x89PNG")
    from jaxnash.runs.job_metrics import _gaps, _win_rates

    found = [row(1), row(2, 0.5)]
    assert _gaps(found, False)[1] == {}
    title, curves = _win_rates(found)
    assert title == "win rate against Based"
    assert curves == {"measured": [(2, 0.5)], "99 %: from": [(2, 0.25)], "to": [(2, 0.75)]}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fighters_run_as_a_job_stopped_and_resumed(here, capsys):
    """Submitted with tiny sizes; its rows, snapshots and policy are an unbroken run's in the end."""
    arguments = [*SMALL, "--frames", "5120", "--evaluate-every", "128", "--keep-snapshots", "3"]
    name = "fighter_selfplay_1"
    jaxnash("submit", str(SCRIPT), "--", *arguments)
    wait(lambda: rows(name) >= 2, seconds=200)
    jaxnash("status", name)
    told = capsys.readouterr().out
    assert " of 40" in told and "win rate against Based, 99 %" in told and "running: process" in told
    jaxnash("stop", name)
    assert f"{name} stopped: after iteration {rows(name)}\n" in capsys.readouterr().out
    assert 2 <= rows(name) < 40
    jaxnash("metrics", name, "--rows", "2")
    assert "win rate" in capsys.readouterr().out
    Path("runs", name, "metrics.png").unlink()
    jaxnash("resume", name)
    fighter_selfplay.run(fighter_selfplay.parsed([*arguments, "--run-dir", "unbroken"]))
    close_run("unbroken")
    assert ended(name).state == "finished"
    timed = {"evaluation_results.csv: the bytes differ", "monitor.csv: the bytes differ"}  # seconds
    assert set(compare_runs("unbroken", f"runs/{name}")) <= timed
