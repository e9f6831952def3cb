"""The processes of local jobs: which one is which, and the supervisor that each job has.

A supervisor is a small process (no JAX) that runs the script as its child, hands SIGTERM on and writes down
how it ended: `python -m jaxnash.runs.job_process STATE.json SCRIPT ARGS...`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jaxnash.runs.compare import LOCK
from jaxnash.runs.files import now, read_json, write_json
from jaxnash.types import JaxnashError


def born(pid: int) -> str | None:
    """What tells a process from a later one of the same id: its start since boot, and the boot.

    None when there is none, or only a zombie that nobody has waited for.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in (b"Z", b"X") else f"{boot} {int(fields[19])}"
    except OSError:
        return None if Path("/proc/self/stat").exists() else _born_by_ps(pid)


def _born_by_ps(pid: int) -> str | None:
    """Where there is no /proc (macOS), to the second."""
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    told = subprocess.run(asked, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    state, _, started = told.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def alive(attempt: dict[str, Any], who: str) -> int | None:
    """The process id of the attempt's "supervisor" or "child" where that very process still runs here."""
    process = attempt.get(who)
    if process is None:
        return None
    here = born(process["pid"])
    return process["pid"] if here is not None and here == process["born"] else None


def writer(run_dir: Path) -> int | None:
    """The process that holds the run's lock: None if nobody does, 0 if it cannot be seen from here."""
    order = "hhqqi" if sys.platform == "linux" else "qqihh"  # struct flock of Linux; of macOS and the BSDs
    values = (
        (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0) if order[0] == "h" else (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    )
    try:
        with open(run_dir / LOCK, "rb") as file:  # closing it would let go of a lock of our own: we hold none
            found = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(order, *values) + bytes(8))
    except OSError:
        return None
    fields = struct.unpack_from(order, found)
    kind, pid = (fields[0], fields[4]) if order[0] == "h" else (fields[3], fields[2])
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def supervise(state: Path, line: list[str]) -> int:
    """Run `python LINE` as a child, hand SIGTERM on to it, keep `state`; returns the child's exit code."""
    attempts = read_attempts(state)
    attempt: dict[str, Any] = {"started": now(), "command": line, "host": socket.gethostname()}
    attempt |= {"supervisor": {"pid": os.getpid(), "born": born(os.getpid())}}
    attempt |= {"log_offset": os.fstat(1).st_size}
    child: subprocess.Popen | None = None
    handed_on, writing, changed = False, False, False

    def keep() -> bool:
        nonlocal writing, changed
        changed = True
        if writing:  # called by a signal in the midst of it: the call below us writes once more
            return True
        writing = True
        try:
            while changed:
                changed = False
                write_json(state, {"attempts": [*attempts, attempt]})
            return True
        except JaxnashError as error:  # a full disk is no reason to leave the child alone
            print(f"error: {error}", flush=True)
            return False
        finally:
            writing = False

    def hand_on(*_: Any) -> None:
        nonlocal handed_on
        attempt.setdefault("stop_asked", now())
        if child is not None:
            handed_on = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
            keep()

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the child inherits that
    print(f"{attempt['started']} {shlex.join(line)}", flush=True)
    # A group of its own: a signal to the supervisor's whole group reaches the script once, not twice.
    child = subprocess.Popen([sys.executable, *line], stdin=subprocess.DEVNULL, process_group=0)
    attempt["child"] = {"pid": child.pid, "born": born(child.pid)}
    keep()
    if "stop_asked" in attempt and not handed_on:  # it came before there was a child
        child.send_signal(signal.SIGTERM)
    code, child = child.wait(), None
    attempt |= {"ended": now(), "exit_code": code}
    for _ in range(60):
        if keep():
            break
        time.sleep(1)
    return code


def read_attempts(state: Path) -> tuple[dict[str, Any], ...]:
    return tuple(read_json(state)["attempts"]) if state.exists() else ()


if __name__ == "__main__":
    _code = supervise(Path(sys.argv[1]), sys.argv[2:])
    sys.exit(_code if _code >= 0 else 128 - _code)
