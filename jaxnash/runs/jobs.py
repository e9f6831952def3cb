"""Jobs: experiment scripts that run in the background and outlive the shell that submitted them.

Beside the runs of a folder, `.jobs/NAME.json` is a job's record, `NAME.state.json` what its supervisor wrote
(one entry a start), `NAME.log` its output. Neither JAX nor rich is imported here, so that
`jaxnash status` answers at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxnash.runs.files import disk_error, now, read_json, write_json
from jaxnash.runs.job_copy import copy_run
from jaxnash.runs.job_process import alive, read_attempts, writer
from jaxnash.runs.stop import AT_ONCE, SAID
from jaxnash.types import JaxnashError

RUNS, FOLDER = "runs", ".jobs"
START_SECONDS = 60.0  # for a supervisor to say that it is there
STOPPED = re.escape(SAID).replace(re.escape("{}"), "([^;]+)")
TAIL = 1 << 14  # bytes of output that are searched for the last word


class Job(NamedTuple):
    """One run and how it is started. `root` is the folder of the run and of `.jobs`."""

    name: str
    backend: str
    script: str
    args: tuple[str, ...]
    cwd: str
    price_per_hour: float | None
    submitted: str
    root: Path

    @property
    def run_dir(self) -> Path:
        return self.root / self.name

    @property
    def record(self) -> Path:
        return self.root / FOLDER / f"{self.name}.json"

    @property
    def state(self) -> Path:
        return self.root / FOLDER / f"{self.name}.state.json"

    @property
    def log(self) -> Path:
        return self.root / FOLDER / f"{self.name}.log"


class Poll(NamedTuple):
    """What a backend says of a job."""

    state: str  # running, finished, stopped, failed, lost; "not running" where nobody recorded more
    detail: str  # in words: the process, the exit code with the last line, what was saved
    attempts: tuple[dict[str, Any], ...]  # one a start: "started", "ended", "exit_code", "stop_asked", ...


Request = Literal["stop", "kill"]


class Backend(NamedTuple):
    """Where jobs run. Three functions, each raising `JaxnashError` where it cannot."""

    start: Callable[[Job, tuple[str, ...]], None]  # (job, its command); returns when it has been started
    poll: Callable[[Job, Request | None], Poll]  # (job, None or what to ask of it first); does not wait
    copy: Callable[[Job, Path], Any]  # (job, folder): consistent also while it runs; `CopyOf`


# -- records ----------------------------------------------------------------------------------------------


def submit(
    script: str,
    args: tuple[str, ...] = (),
    *,
    backend: str = "local",
    name: str | None = None,
    price_per_hour: float | None = None,
) -> Job:
    """Start a script as a job of this folder, its run directory `runs/NAME`, and return at once.

    Raises `JaxnashError`, nothing started or written, for a backend, script, name or argument that cannot be.
    """
    backend_of(backend)
    if not Path(script).is_file():
        raise JaxnashError(f"no script at {script}: pass one of experiments/")
    if taken := [arg for arg in args if _flag(arg) == "--run-dir"]:
        raise JaxnashError(f"{taken[0]} among the arguments: the run goes to {RUNS}/NAME, pass --name NAME")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise JaxnashError(f"--name {name!r}: pass letters, digits, '.', '_' and '-'")
    if price_per_hour is not None and not 0 <= price_per_hour < float("inf"):
        raise JaxnashError(f"--price-per-hour is {price_per_hour}: pass 0 or more")
    root = Path(RUNS).absolute()
    with _held(root):
        if name is None:
            name = free_name(root, Path(script).stem)
        job = Job(name, backend, script, tuple(args), os.getcwd(), price_per_hour, now(), root)
        if job.record.exists():
            raise JaxnashError(f"the name {name} is in use by a job: pass another --name")
        if job.run_dir.exists():
            raise JaxnashError(f"the name {name} is in use by the run {RUNS}/{name}: pass another --name")
        write_json(job.record, {key: value for key, value in job._asdict().items() if key != "root"})
        try:
            backend_of(backend).start(job, command(job))
        except BaseException:
            if not job.state.exists():  # never started: leave no job behind
                job.record.unlink(missing_ok=True)
                job.log.unlink(missing_ok=True)
            raise
    return job


def resume(job: Job, more: tuple[str, ...] = ()) -> None:
    """Start a job again with the same script and arguments, `more` (this time only) and --resume.

    A run that had written nothing yet starts afresh. Raises `JaxnashError` where it is running, or where
    another process writes it.
    """
    backend = backend_of(job.backend)
    with _held(job.root):
        found = backend.poll(job, None)
        if found.state == "running":
            raise JaxnashError(f"{job.name} is running ({found.detail}): nothing to resume")
        if (pid := writer(job.run_dir)) is not None:
            raise JaxnashError(f"{job.name} is being written by process {pid}: wait for it, or stop it")
        backend.start(job, command(job, more, resumed=(job.run_dir / "config.json").exists()))


def command(job: Job, more: tuple[str, ...] = (), *, resumed: bool = False) -> tuple[str, ...]:
    """The script with its arguments."""
    own = ("--run-dir", os.path.relpath(job.run_dir, job.cwd), *(["--resume"] if resumed else []))
    return (job.script, *(_others(job.args) if resumed else job.args), *more, *own)


def find(run: str) -> Job:
    """The job (or the run that nobody submitted) of a name below runs/ or of a path.

    Raises `JaxnashError`, which lists the jobs there are.
    """
    path = Path(run)
    plain = path.name == run
    for place in [Path(RUNS, run).absolute(), path.absolute()] if plain else [path.absolute()]:
        root, name = place.parent, place.name
        record = root / FOLDER / f"{name}.json"
        if record.exists():
            return read_job(record)
        if (place / "config.json").exists():
            return _unsubmitted(root, name)
    known = [job.name for job in jobs()]
    there = (
        f"there are {', '.join(known[-8:])}" if known else f"no job was submitted in {Path(RUNS).absolute()}"
    )
    raise JaxnashError(f"no run is called {run!r}: {there}")


def jobs() -> list[Job]:
    """The jobs below runs/, the latest last."""
    folder = Path(RUNS).absolute() / FOLDER
    records = [path for path in folder.glob("*.json") if not path.name.endswith(".state.json")]
    found = [read_job(path) for path in records if not path.name.startswith(".")]
    return sorted(found, key=lambda job: (job.submitted, job.name))


def read_job(record: Path) -> Job:
    content = read_json(record)
    try:
        return Job(**content | {"args": tuple(content["args"]), "root": record.parent.parent})
    except (KeyError, TypeError) as error:
        raise JaxnashError(f"{record} is not the record of a job: move it away") from error


def _unsubmitted(root: Path, name: str) -> Job:
    manifest = root / name / "manifest.json"
    line = read_json(manifest).get("command", []) if manifest.exists() else []
    script, *args = line or ["its script"]
    return Job(name, "none", script, _others(args), os.getcwd(), None, "", root)


def _others(arguments: Iterable[str]) -> tuple[str, ...]:
    """The arguments without --run-dir and --resume, which a job sets itself, and their values."""
    kept: list[str] = []
    dropping = False
    for argument in arguments:
        if argument.startswith("-"):
            dropping = _flag(argument) in ("--run-dir", "--resume")
        if not dropping:
            kept.append(argument)
    return tuple(kept)


def _flag(argument: str) -> str:
    return argument.partition("=")[0].replace("_", "-")


def free_name(root: Path, stem: str) -> str:
    """STEM_N, N one more than the largest that any run or job has."""
    entries = [*root.glob(f"{stem}_*"), *(root / FOLDER).glob(f"{stem}_*.json")]
    numbers = [path.name.removesuffix(".json").removeprefix(f"{stem}_") for path in entries]
    return f"{stem}_{1 + max((int(n) for n in numbers if n.isdigit()), default=0)}"


@contextlib.contextmanager
def _held(root: Path) -> Iterator[None]:
    """One submit or resume at a time, so that a name is given once and a run started once."""
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / FOLDER / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(root / FOLDER, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# -- backends ---------------------------------------------------------------------------------------------


def _start_local(job: Job, line: tuple[str, ...]) -> None:
    """A supervisor in a session of its own: no terminal, no hang-up, its output in the log."""
    if not Path(job.cwd).is_dir():
        raise JaxnashError(f"{job.name} was submitted in {job.cwd}, which is gone: submit it again")
    before = len(read_attempts(job.state))
    try:
        with open(job.log, "ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "jaxnash.runs.job_process", str(job.state), *line],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=job.cwd,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
    except OSError as error:
        raise disk_error(job.log, error) from error
    deadline = time.monotonic() + START_SECONDS
    try:
        while len(read_attempts(job.state)) == before:
            if supervisor.poll() is not None or time.monotonic() > deadline:
                said = last_line(job.log) or "no reason given"
                raise JaxnashError(f"{job.name} could not be started: {said}")
            time.sleep(0.01)
    except BaseException:
        supervisor.terminate()
        raise


def _poll_local(job: Job, request: Request | None = None) -> Poll:
    attempts = read_attempts(job.state)
    if not attempts:
        return Poll("lost", "it never started", ())
    if request and (pid := _listener(attempts[-1], request)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if request == "kill" else signal.SIGTERM)
    for _ in range(2):  # it may end between the two looks: then the second reads how
        last = attempts[-1]
        if "ended" in last:
            return Poll(*_how_it_ended(job, last), attempts)
        pid = alive(last, "child") or alive(last, "supervisor")
        told = None if pid is None else f"process {pid}"
        if told is None and last["host"] != socket.gethostname() and writer(job.run_dir) is not None:
            told = f"on {last['host']}"  # seen through a shared disk: all there is to go by is the run's lock
        if told:
            return Poll("running", told + (", asked to stop" if "stop_asked" in last else ""), attempts)
        attempts = read_attempts(job.state)
    said = last_line(job.log, last["log_offset"])
    where = "" if last["host"] == socket.gethostname() else f" (it was started on {last['host']})"
    detail = f"the process is gone without a record{where}; its last line: {said or 'none'}"
    return Poll("lost", detail, attempts)


def _listener(attempt: dict[str, Any], request: Request) -> int | None:
    """Whom to signal. SIGKILL goes to the script, so that its supervisor can still say so."""
    if "ended" in attempt:
        return None
    first, second = ("child", "supervisor") if request == "kill" else ("supervisor", "child")
    return alive(attempt, first) or alive(attempt, second)


def _how_it_ended(job: Job, attempt: dict[str, Any]) -> tuple[str, str]:
    code, asked = attempt["exit_code"], "stop_asked" in attempt
    lines = tail(job.log, attempt["log_offset"])
    if code == 0:
        # Joined, since a script may wrap its lines at the width of a terminal.
        stopped = re.findall(STOPPED, " ".join(" ".join(lines).split()))
        return ("stopped", f"after {stopped[-1]}") if stopped else ("finished", "exit code 0")
    if asked and code in (-signal.SIGTERM, -signal.SIGKILL, AT_ONCE):
        return "stopped", "at once: what was saved last stands"
    if code < 0:
        return (
            "failed",
            f"killed by {signal.Signals(-code).name}; its last line: {last_line_of(lines) or 'none'}",
        )
    return "failed", f"exit code {code}: {last_line_of(lines) or 'no output'}"


def tail(log: Path, offset: int = 0) -> list[str]:
    """The last lines of an attempt's output, which begins at `offset`; none where the file is gone."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - TAIL, 0))
            return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def last_line(log: Path, offset: int = 0) -> str | None:
    return last_line_of(tail(log, offset))


def last_line_of(lines: list[str]) -> str | None:
    """The last line that names an error, else the last line."""
    errors = [line for line in lines if re.match(r"(error:|[A-Za-z_.]*(Error|Exception)\b)", line)]
    return (errors or lines or [None])[-1]


def _start_nothing(job: Job, line: tuple[str, ...]) -> None:
    again = shlex.join(command(job, resumed=True))
    raise JaxnashError(f"{job.name} was not submitted; its script continues it: python {again}")


def _poll_lock(job: Job, request: Request | None = None) -> Poll:
    """A run that was started by hand: its lock says whether it is being written."""
    pid = writer(job.run_dir)
    if pid is None:
        return Poll("not running", "it was not submitted", ())
    if request:
        if not pid:
            raise JaxnashError(f"{job.name} is written from another machine or container: stop it there")
        os.kill(pid, signal.SIGKILL if request == "kill" else signal.SIGTERM)
    return Poll("running", f"process {pid}, not submitted" if pid else "elsewhere, not submitted", ())


def _copy_local(job: Job, folder: Path) -> Any:
    return copy_run(job.run_dir, folder)


BACKENDS = {"local": Backend(_start_local, _poll_local, _copy_local)}
BY_HAND = Backend(_start_nothing, _poll_lock, _copy_local)


def backend_of(name: str) -> Backend:
    """The backend of that name; `JaxnashError` lists those there are."""
    if name == "none":
        return BY_HAND
    if name not in BACKENDS:
        raise JaxnashError(f"no backend is called {name!r}: there is {', '.join(BACKENDS)}")
    return BACKENDS[name]
