"""A run on disk: its directory, configuration, manifest, lock, saved stages, summary and log."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jaxnash.runs.compare import CHANGEABLE, LOCK, MISSING, compare_runs
from jaxnash.runs.files import (
    TIMING,
    append_jsonl,
    disk_error,
    now,
    plain,
    read_json,
    read_jsonl,
    without_timing,
    write_bytes,
    write_json,
)
from jaxnash.runs.manifest import manifest
from jaxnash.types import JaxnashError

__all__ = [
    "CHANGEABLE",
    "Stage",
    "append_jsonl",
    "close_run",
    "compare_runs",
    "disk_error",
    "logger",
    "now",
    "open_run",
    "read_json",
    "read_jsonl",
    "saver",
    "update_summary",
    "without_timing",
    "write_bytes",
    "write_json",
]

_locks: dict[Path, int] = {}  # run directory -> open descriptor of its lock; held until the process ends

T = TypeVar("T")


def open_run(run_dir: str | Path, *, config: dict, resume: bool, command: list[str], seed: int) -> Path:
    """Create a run directory (config.json, manifest.json, lock) or, with `resume`, enter one again.

    `config` holds the resolved knobs. Raises `JaxnashError`, nothing overwritten, if the directory exists
    (without `resume`), is no run or holds another configuration (with it; the knobs in `CHANGEABLE` may
    differ), is locked by a living process, or cannot be written.
    """
    path = Path(run_dir)
    config = plain(config)
    if resume and not path.exists():
        raise JaxnashError(f"nothing to resume at {path}: check --run-dir, or start without --resume")
    held = path.resolve() in _locks
    try:
        _refuse_foreign(path, config, resume)
        _lock(path)
        _refuse_foreign(path, config, resume)  # again, now that nobody else can write it
        descriptor = _locks[path.resolve()]
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        for leftover in path.rglob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        resumed = (path / "config.json").exists()
        if not resumed:
            write_json(path / "config.json", config)
        _write_manifest(path, command=command, seed=seed, resumed=resumed)
    except BaseException as error:
        if not held:  # an earlier call of this process may still be writing the run
            close_run(path)
        if isinstance(error, OSError):
            raise disk_error(path, error) from error
        raise
    return path


def close_run(run_dir: str | Path) -> None:
    """Let go of the run's lock; the end of the process does so too."""
    descriptor = _locks.pop(Path(run_dir).resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def _refuse_foreign(path: Path, config: dict, resume: bool) -> None:
    if path.exists() and not path.is_dir():
        raise JaxnashError(f"--run-dir {path} is a file: pass another --run-dir")
    ours = {LOCK} | {f".{name}.tmp" for name in ("config.json", "manifest.json")}
    if not path.exists() or {entry.name for entry in path.iterdir()} <= ours:
        return  # new, or killed before the configuration was written
    if not resume:
        raise JaxnashError(f"the run directory {path} exists; pass --resume or another --run-dir")
    if not (path / "config.json").exists():
        raise JaxnashError(f"{path} is not a run directory (no config.json): check --run-dir")
    stored = read_json(path / "config.json")
    keys = [key for key in dict.fromkeys([*stored, *config]) if key not in CHANGEABLE]
    differing = [key for key in keys if stored.get(key, MISSING) != config.get(key, MISSING)]
    if differing:
        show = lambda value: "not set" if value is MISSING else json.dumps(value, ensure_ascii=False)  # noqa: E731
        told = ", ".join(
            f"{key} ({show(stored.get(key, MISSING))} there, {show(config.get(key, MISSING))} now)"
            for key in differing
        )
        raise JaxnashError(
            f"{path} is a run of another configuration: {told}; pass the same or another --run-dir"
        )


def _lock(path: Path) -> None:
    """Take a POSIX record lock: the kernel frees it with the process, and forked children do not hold it."""
    lock, held = path / LOCK, _locks.get(path.resolve())
    try:
        path.mkdir(parents=True, exist_ok=True)
        if held is not None:
            if lock.exists() and os.path.samestat(os.fstat(held), lock.stat()):
                return
            close_run(path)  # of a directory that was deleted meanwhile
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(lock, error) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise disk_error(lock, error) from error
        raise JaxnashError(
            f"the run {path} is being written by process {pid}: "
            "wait for it, stop it, or pass another --run-dir"
        ) from error
    _locks[path.resolve()] = descriptor


def _write_manifest(path: Path, *, command: list[str], seed: int, resumed: bool) -> None:
    made = manifest(command=command, seed=seed)
    if resumed and (path / "manifest.json").exists():
        first = read_json(path / "manifest.json")
        watched = ("git", "versions", "python", "platform", "device")
        changed = {key: made[key] for key in watched if made[key] != first.get(key)}
        first["resumed"] = [*first.get("resumed", []), {"command": list(command), "changed": changed}]
        times = first.setdefault(TIMING, {})
        times["resumed"] = [*times.get("resumed", []), now()]
        made = first
        if changed:
            told = ", ".join(changed)
            logger(path).warning("resumed under another %s: results may differ from an unbroken run", told)
    write_json(path / "manifest.json", made)


class Stage(NamedTuple):
    """How the outcome of one named stage of an iteration is kept in the iteration's folder."""

    write: Callable[[Path, Any], None]
    read: Callable[[Path], Any]


def saver(run_dir: str | Path, stages: dict[str, Stage]) -> Callable[[int, str, Callable[[], T]], T]:
    """`saved(iteration, stage, compute)` for `psro.loop`: compute and keep, or read what was kept.

    A stage counts as done once `iteration_<i>/stages.json` names it, which is written after its files; its
    seconds stand in that file's "timing". The outcome is always the one read back from the disk, so that
    a run in one go and a resumed one continue from the same values. A `stage` without entry: KeyError.
    """

    def saved(iteration: int, stage: str, compute: Callable[[], T]) -> T:
        folder = Path(run_dir) / f"iteration_{iteration}"
        ledger = folder / "stages.json"
        done = read_json(ledger) if ledger.exists() else {"done": [], TIMING: {}}
        keep = stages[stage]
        if stage not in done["done"]:
            started = time.monotonic()
            keep.write(folder, compute())
            done["done"].append(stage)
            done[TIMING][stage] = time.monotonic() - started
            write_json(ledger, done)
        return keep.read(folder)

    return saved


def update_summary(run_dir: str | Path, *, metric: str, lower_is_better: bool = False) -> dict:
    """Rewrite summary.json from metrics.jsonl: the latest row, the best by `metric`, and how many.

    A row whose `metric` is missing or NaN is never the best; on a tie the earlier row stays. Returns it.
    """
    rows = [without_timing(row) for row in read_jsonl(Path(run_dir) / "metrics.jsonl")]
    sign = -1.0 if lower_is_better else 1.0
    rated = [row for row in rows if _finite(row.get(metric))]
    summary = {
        "latest": rows[-1] if rows else None,
        "best": max(rated, key=lambda row: sign * row[metric]) if rated else None,
        "best_by": {"metric": metric, "lower_is_better": lower_is_better},
        "count": len(rows),
        TIMING: {"updated": now()},
    }
    write_json(Path(run_dir) / "summary.json", summary)
    return summary


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def logger(run_dir: str | Path) -> logging.Logger:
    """The run's logger, which writes training.log with timestamps; asking twice gives the same one.

    Raises `JaxnashError` when training.log cannot be written, now or while logging.
    """
    path = Path(run_dir).resolve() / "training.log"
    log = logging.getLogger(f"jaxnash.run.{path.parent}")
    if log.handlers and path.exists():
        return log
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()

    def fail(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise disk_error(path, error) from error
        raise  # a faulty log call is a bug of ours

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise disk_error(path, error) from error
    form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    handler.handleError = fail
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return log
