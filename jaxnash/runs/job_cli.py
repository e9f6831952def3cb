"""The console script `jaxnash`: submit, status, metrics, logs, stop, resume and copy of jobs.

What needs JAX or matplotlib is imported by the command that does: the others answer at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxnash.runs import jobs
from jaxnash.runs.cli import main as cli
from jaxnash.runs.files import write_bytes
from jaxnash.runs.job_progress import (
    Measured,
    Progress,
    measures_exactly,
    progress,
    rows_of,
    seconds_text,
    spent_seconds,
)
from jaxnash.types import JaxnashError

Script = Annotated[str, tyro.conf.arg(metavar="SCRIPT")]
Run = Annotated[str, tyro.conf.arg(metavar="RUN")]
Folder = Annotated[str, tyro.conf.arg(metavar="FOLDER")]

NO_MEASURE = "not measured"
POLL_SECONDS = 0.2


def main() -> None:
    """`jaxnash COMMAND ...`; what stands behind -- belongs to the script."""
    own, more = _split(sys.argv[1:])

    def run() -> None:
        if more is not None and own[:1] not in (["submit"], ["resume"]):
            raise JaxnashError("-- and what follows go with submit and resume only")
        chosen = COMMANDS.get(own[0]) if own else None
        if chosen is None:
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="jaxnash", description=__doc__, args=own)
            return
        _rest[:] = more or []
        try:
            tyro.cli(chosen, prog=f"jaxnash {own[0]}", args=own[1:])
        except KeyboardInterrupt:  # of us; no job is interrupted by it
            sys.exit(130)

    try:
        cli(run)
    except BrokenPipeError:  # `jaxnash logs RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


_rest: list[str] = []  # the script's arguments


def _split(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    if "--" not in arguments:
        return arguments, None
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


# -- commands ---------------------------------------------------------------------------------------------


def submit(
    script: Script,
    /,
    *,
    backend: str = "local",
    name: str | None = None,
    price_per_hour: float | None = None,
) -> None:
    """Start an experiment in the background and return at once; prints its name.

    jaxnash submit experiments/deep_cfr.py -- --preset leduc --iterations 1000

    Args:
        script: The experiment's file; its own arguments follow behind --.
        backend: Where it runs.
        name: Of the job and of its run directory runs/NAME; by default the script's with a number.
        price_per_hour: Of the machine, for the cost in `jaxnash status`.
    """
    job = jobs.submit(script, tuple(_rest), backend=backend, name=name, price_per_hour=price_per_hour)
    print(job.name, flush=True)
    print(
        f"submitted: jaxnash status {job.name} | logs {job.name} --follow | stop {job.name}", file=sys.stderr
    )


def status(run: Run | None = None, /) -> None:
    """State, progress, exploitability or win rate, time and cost of one run, or a table of all jobs.

    Args:
        run: A name below runs/, or a path.
    """
    if run is None:
        _table_of_jobs()
    else:
        _one_job(jobs.find(run))


def metrics(run: Run, /, *, rows: int = 20) -> None:
    """The latest rows of a run's metrics as a table, and all of them as a figure, metrics.png in the run.

    Args:
        run: A name below runs/, or a path.
        rows: How many to print.
    """
    job = jobs.find(run)
    found = rows_of(job.run_dir)
    if not found:
        raise JaxnashError(f"{job.name} has no metrics yet: see jaxnash status {job.name}")
    if rows < 1:
        raise JaxnashError(f"--rows is {rows}: pass at least 1")
    from jaxnash.runs.job_metrics import metrics_figure, rows_table

    console, exact = _console(), measures_exactly(job.run_dir)
    console.print(rows_table(found[-rows:], exact=exact, width=console.width))
    write_bytes(job.run_dir / "metrics.png", metrics_figure(job.name, found, exact=exact))
    told = (
        "" if len(found) <= rows else f"; the last {rows} of {len(found)} rows, all of them in metrics.jsonl"
    )
    console.print(f"figure: {_shown(job.run_dir / 'metrics.png')}{told}", soft_wrap=True)


def logs(run: Run, /, *, follow: bool = False, lines: int = 100) -> None:
    """A job's output and its run's training.log.

    Args:
        run: A name below runs/, or a path.
        follow: Go on printing what comes, until the job ends.
        lines: How many of the last lines of each to begin with.
    """
    job = jobs.find(run)
    files = {job.log: 0, job.run_dir / "training.log": 0}
    if not follow and not any(path.exists() for path in files):
        raise JaxnashError(f"{job.name} has written no log")
    shown: Path | None = None
    last: int | None = lines
    while True:
        over = not follow or jobs.backend_of(job.backend).poll(job, None).state != "running"
        for path in files:
            text, files[path] = _new_text(path, files[path], lines=last, partly=over)
            if text:
                sys.stdout.write(f"==> {_shown(path)} <==\n" * (shown != path) + text)
                shown = path
        sys.stdout.flush()
        last = None
        if over:
            return
        time.sleep(POLL_SECONDS)


def stop(run: Run, /, *, timeout: float = 60.0, now: bool = False) -> None:
    """Ask a job to finish its update, save and end; waits for it.

    Args:
        run: A name below runs/, or a path.
        timeout: Seconds to wait; the job ends at its next safe point also if nobody waits.
        now: Do not wait for a safe point: end it at once, what was saved last stands.
    """
    job = jobs.find(run)
    backend = jobs.backend_of(job.backend)
    found = backend.poll(job, None)
    if found.state != "running":
        raise JaxnashError(f"{job.name} is not running ({found.state}: {found.detail}): nothing to stop")
    asked = bool(found.attempts) and "stop_asked" in found.attempts[-1]
    if now or not asked:  # a second SIGTERM would end it at once
        backend.poll(job, "stop")
    if now:
        if not asked:
            _ended(job, 0.5)
            backend.poll(job, "stop")
        if _ended(job, 5.0) is None:  # long in compiled code
            backend.poll(job, "kill")
    else:
        print(f"{job.name}: asked to stop; waiting up to {seconds_text(timeout)}", file=sys.stderr)
    ended = _ended(job, timeout)
    if ended is None:
        again = f"jaxnash stop {job.name} --now"
        print(f"{job.name} still finishes its update and ends by itself after it; {again} ends it at once")
        sys.exit(1)
    print(f"{job.name} {ended.state}: {ended.detail}")
    sys.exit(0 if ended.state in ("stopped", "finished", "not running") else 1)


def resume(run: Run, /) -> None:
    """Start a job again where it was saved last: same script, same arguments, --resume.

    jaxnash resume deep_cfr_1 -- --workers 2

    Args:
        run: A name below runs/, or a path; further arguments for this time follow behind --.
    """
    job = jobs.find(run)
    jobs.resume(job, tuple(_rest))
    print(f"{job.name} goes on: jaxnash status {job.name}")


def copy(run: Run, folder: Folder, /) -> None:
    """Copy a run, also while it runs: a consistent state that can be read and resumed.

    Args:
        run: A name below runs/, or a path.
        folder: A new folder, or an earlier copy of the same run, which is brought up to date.
    """
    job = jobs.find(run)
    made = jobs.backend_of(job.backend).copy(job, Path(folder))
    steps = f", checkpoints {', '.join(map(str, made.steps))}" if made.steps else ""
    print(f"{_shown(made.folder)}: {made.files} files, {made.size / 1e6:.1f} MB{steps}")


COMMANDS: dict[str, Callable[..., None]] = {
    "submit": submit,
    "status": status,
    "metrics": metrics,
    "logs": logs,
    "stop": stop,
    "resume": resume,
    "copy": copy,
}


# -- their parts ------------------------------------------------------------------------------------------


def _ended(job: jobs.Job, seconds: float) -> jobs.Poll | None:
    """How the job ended, within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = jobs.backend_of(job.backend).poll(job, None)
        if found.state != "running":
            return found
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS / 2)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _shown(path: Path) -> str:
    """Relative to where we are, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _new_text(path: Path, offset: int, *, lines: int | None, partly: bool) -> tuple[str, int]:
    """What a growing file holds from `offset` on, and where that ends.

    Only whole lines, or with `partly` all of it; with `lines` only so many of the last ones.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return "", offset
    if not partly:
        data = data[: data.rfind(b"\n") + 1]
    offset += len(data)
    if lines is not None:
        data = b"".join(data.splitlines(keepends=True)[-lines:] if lines > 0 else [])
    text = data.decode(errors="replace")
    return text + "\n" * (partly and text != "" and not text.endswith("\n")), offset


def _table_of_jobs() -> None:
    from rich.table import Table
    from rich.text import Text

    console, found = _console(), jobs.jobs()
    if not found:
        console.print(f"no jobs in {Path(jobs.RUNS).absolute()}: jaxnash submit experiments/... starts one")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    notes: list[str] = []
    lines: list[tuple[Any, ...]] = []
    measures: dict[str, None] = {}
    for job in found:
        try:
            polled = jobs.backend_of(job.backend).poll(job, None)
            now = progress(job.run_dir, job.log)
        except JaxnashError as error:  # one broken file must not hide the other jobs
            lines.append((job.name, Text("unreadable", style="bold red")))
            notes.append(f"{job.name}: {error}")
            continue
        left = now.left if polled.state == "running" else None
        lines.append(
            (
                Text(job.name),
                Text(polled.state, style=STYLES.get(polled.state, "")),
                _iterations(now),
                Text(now.measured.text if now.measured else NO_MEASURE),
                "–" if left is None else f"~{seconds_text(left)}",
                _ago(now),
            )
        )
        measures.setdefault(now.what)
        if polled.state in ("failed", "lost"):
            notes.append(f"{job.name}: {polled.detail}")
    what = " or ".join(measures) or "exploitability"
    for title in ("run", "state", "iteration", what, "left", "updated"):
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


STYLES = {"running": "green", "failed": "bold red", "lost": "bold red", "stopped": "yellow"}


def _one_job(job: jobs.Job) -> None:
    from rich.table import Table
    from rich.text import Text

    polled = jobs.backend_of(job.backend).poll(job, None)
    now = progress(job.run_dir, job.log)
    running = polled.state == "running"
    lines = {
        "run": f"{_shown(job.run_dir)} ({job.backend})" if polled.attempts else _shown(job.run_dir),
        "command": " ".join([job.script, *job.args]),
        "state": f"{polled.state}: {polled.detail}",
        "iteration": _iterations(now),
        now.what: _measure(now.measured, now),
        "time left": _time_left(now, running=running),
    }
    if polled.attempts:
        spent = spent_seconds(polled.attempts, now.updated, running=running)
        starts = "" if len(polled.attempts) == 1 else f", in {len(polled.attempts)} starts"
        lines["time spent"] = f"{seconds_text(spent)}{starts}"
        if job.price_per_hour is not None:
            hour = job.price_per_hour / 3600
            total = "" if now.left is None else f", about {hour * (spent + now.left):.2f} in all"
            lines["cost"] = f"{hour * spent:.2f} so far{total}, at {job.price_per_hour:g} an hour"
    lines["last update"] = _ago(now)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines.items():
        style = STYLES.get(polled.state, "") if name == "state" else ""
        table.add_row(Text(name, style="dim"), Text(value, style=style, overflow="fold"))
    _console().print(table)


def _iterations(now: Progress) -> str:
    if now.iteration is None:
        return "–" if now.planned is None else f"none yet of {now.planned:,}"
    return f"{now.iteration:,}" + (f" of {now.planned:,}" if now.planned is not None else "")


def _measure(found: Measured | None, now: Progress) -> str:
    if found is not None:
        return f"{found.text}, at iteration {found.iteration:,}"
    if now.value_loss is None:
        return NO_MEASURE
    return f"{NO_MEASURE}; the value loss, {now.value_loss:.4g}, says nothing of convergence"


def _time_left(now: Progress, *, running: bool) -> str:
    if now.iteration is not None and now.planned is not None and now.iteration >= now.planned:
        return "all iterations are done" if running else "none"
    if now.left is None:
        return now.basis if now.each is None else f"unknown: {now.basis}"
    more = (now.planned or 0) - (now.iteration or 0)
    told = f"about {seconds_text(now.left)}: {more:,} more, {now.basis}"
    return told if running else f"{told}, once it runs again"


def _ago(now: Progress) -> str:
    if now.updated is None:
        return "–"
    ago = time.time() - now.updated
    return "just now" if ago < 1 else f"{seconds_text(ago)} ago"
