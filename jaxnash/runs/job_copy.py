"""A copy of a run directory while the run goes on: what `kill -9` at one instant would have left."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from jaxnash.runs.compare import LOCK
from jaxnash.runs.files import TIMING, disk_error, read_json
from jaxnash.types import JaxnashError

GROWING = (".jsonl", ".log")  # only ever appended to: copied last, up to the last whole line
UNFINISHED = ".orbax-checkpoint-tmp"
STEP_MARK = "_CHECKPOINT_METADATA"  # Orbax writes it into every step
QUIET_SECONDS = 0.02  # longer than a deletion pauses between two files

Listing = dict[str, tuple[int, int, int]]  # relative path -> size, time of change, inode


class CopyOf(NamedTuple):
    folder: Path
    files: int
    size: int  # bytes
    steps: tuple[int, ...]  # the checkpoints/<step> among them


def copy_run(run_dir: Path, folder: Path, *, patience: float = 60.0) -> CopyOf:
    """Copy a run to `folder`, which must be new, empty or an earlier copy of the same run.

    Files are copied until a whole pass saw none of them change, so all of them are of one instant: a copy
    resumes as the run itself would after `kill -9` then. Checkpoints under way, temporary files and the lock
    are left out; JSON lines and logs end with their last whole line. The earlier copy stays until the new one
    is complete.

    Raises `JaxnashError`, `folder` untouched, where that cannot be: another run or other files are there, the
    disk is full, or the run changes faster than it can be copied, for `patience` seconds.
    """
    run_dir, folder = Path(run_dir).absolute(), Path(folder).absolute()
    _refuse(run_dir, folder)
    staging = folder.with_name(f".{folder.name}.copying")
    aside = folder.with_name(f".{folder.name}.old")
    try:
        if aside.exists() and not folder.exists():  # killed between the two renames below
            aside.rename(folder)
        for leftover in (staging, aside):
            shutil.rmtree(leftover, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            listing = _settled(run_dir, staging, patience)
            _refuse(run_dir, folder)
            if folder.exists():
                folder.rename(aside)
            staging.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise disk_error(error.filename or folder, error) from error
    steps = {Path(name).parts[1] for name in listing if name.startswith("checkpoints/")}
    size = sum((folder / name).stat().st_size for name in listing)
    return CopyOf(folder, len(listing), size, tuple(sorted(int(step) for step in steps if step.isdigit())))


def _refuse(run_dir: Path, folder: Path) -> None:
    if not (run_dir / "config.json").exists():
        raise JaxnashError(f"{run_dir} has written nothing yet: copy it once it has begun")
    real, target = run_dir.resolve(), folder.resolve()
    if target == real or real in target.parents or target in real.parents:
        raise JaxnashError(f"{folder} and the run overlap: pass a folder elsewhere")
    if folder.exists() and not folder.is_dir():
        raise JaxnashError(f"{folder} is a file: pass a new folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "manifest.json").exists() or not (folder / "config.json").exists():
        raise JaxnashError(f"{folder} holds other files: pass a new folder, such as {folder / run_dir.name}")
    ours, theirs = _identity(run_dir), _identity(folder)
    if ours[0] != theirs[0]:
        raise JaxnashError(f"{folder} holds another run: pass a new folder")
    if theirs[1] != ours[1][: len(theirs[1])]:
        raise JaxnashError(f"{folder} is a copy that has been continued since: pass a new folder")


def _identity(run_dir: Path) -> tuple[tuple, list]:
    """What a run began with, and when it was resumed."""
    manifest = read_json(run_dir / "manifest.json")
    times = manifest.get(TIMING, {})
    began = (read_json(run_dir / "config.json"), manifest.get("command"), times.get("started"))
    return began, times.get("resumed", [])


def _settled(run_dir: Path, staging: Path, patience: float) -> Listing:
    """Bring `staging` to the run as it is at one instant; what it then holds."""
    deadline = time.monotonic() + patience
    have: Listing = {}
    while True:
        before = _listing(run_dir)
        if before is not None and _pass(run_dir, staging, before, have):
            time.sleep(QUIET_SECONDS)
            after = _listing(run_dir)
            if after is not None and _steady(before) == _steady(after):
                return before
        if time.monotonic() > deadline:
            raise JaxnashError(f"{run_dir} changes faster than it can be copied: try again, or stop it first")


def _listing(run_dir: Path) -> Listing | None:
    """The files that belong to the run; None where one went away while we looked."""
    found: Listing = {}
    try:
        for place, folders, files in os.walk(run_dir):
            folders[:] = [name for name in folders if UNFINISHED not in name]
            if os.path.basename(place).isdigit() and STEP_MARK not in files:
                folders.clear()  # a step that is being deleted
                continue
            for name in files:
                if (name.startswith(".") and name.endswith(".tmp")) or (name == LOCK):
                    continue
                path = os.path.join(place, name)
                told = os.stat(path)
                found[os.path.relpath(path, run_dir)] = (told.st_size, told.st_mtime_ns, told.st_ino)
    except FileNotFoundError:
        return None
    return found


def _steady(listing: Listing) -> dict[str, tuple[int, int, int] | None]:
    return {name: None if name.endswith(GROWING) else told for name, told in listing.items()}


def _pass(run_dir: Path, staging: Path, listing: Listing, have: Listing) -> bool:
    """Copy what is new or changed, delete what went; False where a file went away meanwhile."""
    for name in [name for name in have if name not in listing]:
        (staging / name).unlink()
        del have[name]
    for name in sorted(listing, key=lambda name: name.endswith(GROWING)):
        if have.get(name) == listing[name]:
            continue
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        have.pop(name, None)
        try:
            if name.endswith(GROWING):
                data = (run_dir / name).read_bytes()
                (staging / name).write_bytes(data[: data.rfind(b"\n") + 1])
            else:
                shutil.copy2(run_dir / name, staging / name)
        except FileNotFoundError:
            (staging / name).unlink(missing_ok=True)
            return False
        have[name] = listing[name]
    return True
