"""How far a run is, from its files: iterations, what was measured with its kind, time and cost to go."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jaxnash.runs.files import TIMING, read_json, read_jsonl

RECENT = 20  # iterations whose median says how long one takes
EXACT = {"solve_game"}  # scripts that measure exactly and so do not say it in every row
NO_EXPLOIT = "no exploit found"  # as psro.gaps says it, which imports NumPy
LOWER = "lower bound: oracle gap"
RATED = {"fighter_selfplay"}  # scripts that measure a win rate; their iterations are updates
WIN_RATE = "win rate against Based"


class Measured(NamedTuple):
    iteration: int
    value: float
    kind: str  # "exact", "lower bound (…)", "kind not stated", "win rate against Based"
    text: str


class Progress(NamedTuple):
    """`iteration` is the last row's; None before the first."""

    iteration: int | None
    planned: int | None
    measured: Measured | None  # the latest; None as long as none has been made
    what: str  # is measured: "exploitability" or "win rate"
    value_loss: float | None  # the last row's, which says nothing of exploitability
    each: float | None  # seconds an iteration
    basis: str  # what `each` is
    updated: float | None  # seconds since the epoch

    @property
    def left(self) -> float | None:
        """Seconds to go; None where nothing tells."""
        if self.each is None or self.iteration is None or self.planned is None:
            return None
        return max(0, self.planned - self.iteration) * self.each


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; none before it is there."""
    path = run_dir / "metrics.jsonl"
    return read_jsonl(path) if path.exists() else []


def progress(run_dir: Path, *logs: Path) -> Progress:
    """What the run directory says. `logs` too tell when something was written last."""
    rows = rows_of(run_dir)
    config = read_json(run_dir / "config.json") if (run_dir / "config.json").exists() else {}
    manifest, exact = _manifest(run_dir), measures_exactly(run_dir)
    each, basis = iteration_seconds(rows, manifest.get(TIMING, {}).get("resumed", []))
    files = [run_dir / "metrics.jsonl", run_dir / "training.log", *logs]
    return Progress(
        step_of(rows[-1], None) if rows else None,
        config.get("iterations", config.get("updates")),
        next((found for row in reversed(rows) if (found := measured(row, exact=exact))), None),
        "win rate" if _script(run_dir) in RATED else "exploitability",
        rows[-1].get("value_loss") if rows else None,
        each,
        basis,
        max((path.stat().st_mtime for path in files if path.exists()), default=None),
    )


def measures_exactly(run_dir: Path) -> bool:
    """Whether the run's script measures nothing but exact exploitability."""
    return _script(run_dir) in EXACT


def _script(run_dir: Path) -> str:
    return Path((_manifest(run_dir).get("command") or [""])[0]).stem


def _manifest(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "manifest.json"
    return read_json(path) if path.exists() else {}


def step_of(row: dict[str, Any], otherwise: Any) -> Any:
    """The number of a row's iteration, or of its update in rows that have no iterations."""
    return row.get("iteration", row.get("update", otherwise))


def measured(row: dict[str, Any], *, exact: bool = False) -> Measured | None:
    """A row's exploitability or its bound, or its win rate; an oracle gap below 0 bounds nothing."""
    iteration = step_of(row, 0)
    if (rate := row.get("based_win_rate")) is not None:
        low, high = row["evaluation"]["based"]["win_rate_interval"]
        return Measured(iteration, rate, WIN_RATE, f"{rate:.3f} [{low:.3f}, {high:.3f}] ({WIN_RATE}, 99 %)")
    if (value := row.get("exploitability")) is not None:
        kind = row.get("exploitability_kind") or ("exact" if exact else "kind not stated")
        return Measured(iteration, value, kind, f"{value:.4g} ({kind})")
    if (gap := row.get("oracle_gap")) is not None:
        text = f"{gap:+.3f} ({LOWER})" if gap > 0 else f"{NO_EXPLOIT} ({LOWER})"
        return Measured(iteration - 1, gap, LOWER, text)  # of the mixture before
    return None


def iteration_seconds(rows: list[dict[str, Any]], resumed: list[str]) -> tuple[float | None, str]:
    """The median seconds of one of the recent iterations, and in words where it comes from.

    Rows with "phases" hold their own seconds; else the time between two rows counts, where no resume (UTC, as
    in manifest.json) lies between them; else "seconds", which then are the run's so far.
    """
    timings = [row.get(TIMING, {}) for row in rows]
    steps = [step_of(row, k) for k, row in enumerate(rows)]
    found: list[float] = []
    clock = ""
    pairs = list(zip(steps, steps[1:], timings, timings[1:]))
    if timings and "phases" in timings[-1] and timings[-1].get("seconds") is not None:
        sizes = [1, *(b - a for a, b, _, _ in pairs)]
        own = [(n, t["seconds"]) for n, t in zip(sizes, timings) if t.get("seconds") is not None]
        found = [seconds / max(1, n) for n, seconds in own]
        # The first one compiles: it counts only where it is all there is.
        found = found[1:] or found
    elif timings and "timestamp" in timings[-1]:
        for a, b, before, after in pairs:
            first, last = before.get("timestamp"), after.get("timestamp")
            if first and last and b > a and not any(first <= moment <= last for moment in resumed):
                found.append((_epoch(last) - _epoch(first)) / (b - a))
    else:
        clock = ", by the run's own clock"
        for a, b, before, after in pairs:
            first, last = before.get("seconds"), after.get("seconds")
            if first is not None and last is not None and b > a and last >= first:
                found.append((last - first) / (b - a))
    recent = found[-RECENT:]
    if not recent:
        return None, "no iteration has been measured yet"
    each = statistics.median(recent)
    what = "the one measured" if len(recent) == 1 else f"the median of the last {len(recent)} measured"
    return each, f"{seconds_text(each)} an iteration, {what}{clock}"


def spent_seconds(attempts: tuple[dict[str, Any], ...], updated: float | None, *, running: bool) -> float:
    """Seconds of all attempts; one that left no end counts up to its last sign of life."""
    total = 0.0
    for k, attempt in enumerate(attempts):
        began = _epoch(attempt["started"])
        last = k == len(attempts) - 1
        ended = time.time() if running and last else (updated if last else None)
        total += max(0.0, (_epoch(attempt["ended"]) if "ended" in attempt else ended or began) - began)
    return total


def _epoch(moment: str | float) -> float:
    if isinstance(moment, int | float):
        return float(moment)
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def seconds_text(seconds: float) -> str:
    """ "12 ms", "3.1 s", "6 min 42 s", "1 h 05 min", "2 d 03 h"."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"
