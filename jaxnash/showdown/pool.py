"""Many real Showdown battles at once, in W long-lived node processes.

Seeds, teams and choices go in; logs and requests come out.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import subprocess
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NamedTuple

from jaxnash.showdown import simulator
from jaxnash.showdown.simulator import SimulatorError
from jaxnash.types import JaxnashError

NODE_FLAGS = ("--max-old-space-size=2048",)
START_ALLOWANCE_S = 30.0  # on top of hang_timeout_s, for node to load the simulator
DEATHS_IN_A_ROW = 3
FRAMES_PER_WRITE = 8  # so that Python works on the first answers while node works on the next
PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 20


class Update(NamedTuple):
    """One decision point of one battle, or its end.

    A line that both sides may see is the same list object in both: do not change it in place.
    """

    battle_id: int
    lines: tuple[list[list[str]], list[list[str]]]
    # per side: what this side may see of the protocol since the last update, each line split on "|", so that
    # parts[1] is its type; without the `|t:|` lines, which tell the time of day
    requests: tuple[str | None, str | None]
    # raw JSON, {"wait":true,...} for a side that waits; None at the end
    errors: tuple[str | None, str | None]
    # the simulator's words where a side's last choice was refused; the other's stands, and that side waits
    ended: bool
    winner: int | None  # side 0 or 1; None for a tie, a truncated battle, or one that goes on
    turn: int
    truncated: bool  # ended by the turn limit, or (then with words in `errors`) by a fault of the simulator


class _Battle:
    __slots__ = ("asked", "crc", "delivered", "messages", "replay_crc", "skip")

    def __init__(self, first_message: bytes):
        self.messages = bytearray(first_message)  # all that was asked, to replay it
        self.asked = 1
        self.delivered = 0
        self.crc = 0  # of all answers delivered
        self.skip = 0  # answers to a replay that were delivered before the worker died
        self.replay_crc = 0


class _Worker:
    """One node process and the battles that live in it."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def __init__(self, index: int):
        self.index = index
        self.battles: dict[int, _Battle] = {}
        self.deaths = 0  # in a row, without a new answer between
        self.suspects: set[int] = set()  # battles that were under way when it last hung
        self.starting()

    def starting(self) -> None:
        self.unsent = bytearray()
        self.unread = b""
        self.outstanding: deque[int] = deque()  # battles whose answers are awaited, in order
        self.up = False
        self.waiting_to_write = False
        self.heard = time.monotonic()

    def ask(self, battle_id: int, messages: bytes | bytearray, count: int = 1) -> None:
        if not self.outstanding:
            self.heard = time.monotonic()
        self.unsent += messages
        self.outstanding.extend([battle_id] * count)

    def last_words(self) -> str:
        size = self.stderr.seek(0, os.SEEK_END)
        self.stderr.seek(max(0, size - 2000))
        return self.stderr.read().decode(errors="replace").strip()[-800:] or "(nothing on stderr)"


class Pool:
    """Battles of one format on `workers` node processes; battle b lives on worker b % workers.

    Same seed, teams and choices give the same updates, whatever `workers` and however many battles run. Used
    from one thread. A battle past `turn_limit` turns ends as truncated, without a winner.

    Faults. A worker that dies is started again and its battles are replayed from their seeds and choices: no
    update is lost and none comes twice (replayed answers are checked against those delivered, by checksum).
    A worker with work to do that is silent for `hang_timeout_s` (30 s more while node starts) is killed, and
    its battles are replayed once. `poll` raises `SimulatorError` when the same battle hangs again, so after
    twice that time and the replay; and at once when a worker dies three times without a new answer.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        turn_limit: int = 300,
        hang_timeout_s: float = 60.0,
        battle_format: str = "gen1ou",
        progress: Callable[[str], None] = print,
    ):
        simulator.check_format(battle_format)
        if workers < 1:
            raise JaxnashError(f"a pool needs at least one worker, not {workers}")
        script = str(simulator.NODE_DIR / "worker.js")
        modules = str(simulator.install(progress=progress))
        self._command = [simulator.node_path(), *NODE_FLAGS, script, modules, battle_format, str(turn_limit)]
        self._hang_timeout_s = hang_timeout_s
        self._progress = progress
        self._selector = selectors.DefaultSelector()
        self._workers = [_Worker(i) for i in range(workers)]
        self.invalid = 0  # choices refused
        self.restarts = 0
        self.faults = 0  # battles ended because the simulator threw
        for worker in self._workers:
            self._spawn(worker, FRAMES_PER_WRITE)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def running(self) -> int:
        """Battles started and not yet reported as ended."""
        return sum(len(worker.battles) for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """Of the workers, in order."""
        return [worker.process.pid for worker in self._workers]

    def start(self, battle_id: int, seed: int, teams: tuple[str, str]) -> None:
        """Queues a new battle: `seed` has 64 bits, `teams` are packed. Its first update asks for choices."""
        worker = self._workers[battle_id % len(self._workers)]
        if battle_id in worker.battles:
            raise ValueError(f"battle {battle_id} is running already")
        if "\n" in teams[0] or "\n" in teams[1]:
            raise ValueError("a packed team is one line; pack_teams makes one of an export text")
        message = _message(f"S\n{battle_id}\n{seed & (1 << 64) - 1:016x}\n{teams[0]}\n{teams[1]}")
        worker.battles[battle_id] = _Battle(message)
        worker.ask(battle_id, message)

    def choose(self, battle_id: int, choices: tuple[str | None, str | None]) -> None:
        """Queues both sides' choices in Showdown's words ("move 2", "switch 4"), None for one that waits."""
        worker = self._workers[battle_id % len(self._workers)]
        battle = worker.battles.get(battle_id)
        if battle is None:
            raise ValueError(f"battle {battle_id} is not running")
        if battle.asked != battle.delivered:
            raise ValueError(f"battle {battle_id} has yet to answer what it was asked before")
        message = _message(f"C\n{battle_id}\n{choices[0] or ''}\n{choices[1] or ''}")
        battle.messages += message
        battle.asked += 1
        worker.ask(battle_id, message)

    def poll(self, *, timeout_s: float | None = None) -> list[Update]:
        """Sends what is queued and waits for at least one update.

        [] on timeout, or at once when no battle has work to do. Raises `SimulatorError` as the class says.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for worker in self._workers:
            if worker.unsent and not worker.waiting_to_write:
                self._write(worker)
        # What has come in meanwhile counts first, so that a caller who was away does not see a hang.
        updates = self._exchange(0.0)
        while not updates:
            busy = [worker for worker in self._workers if worker.outstanding]
            now = time.monotonic()
            if not busy or (deadline is not None and now >= deadline):
                break
            wait = min(worker.heard + self._patience(worker) for worker in busy) - now
            updates = self._exchange(max(0.0, wait if deadline is None else min(wait, deadline - now)))
            for worker in busy:
                if worker.outstanding and time.monotonic() - worker.heard > self._patience(worker):
                    self._rescue(worker)
        return updates

    def close(self) -> None:
        """Ends the workers; running battles are dropped."""
        for worker in self._workers:
            self._reap(worker)
        self._workers = []
        self._selector.close()

    def _patience(self, worker: _Worker) -> float:
        return self._hang_timeout_s + (0.0 if worker.up else START_ALLOWANCE_S)

    def _spawn(self, worker: _Worker, frames_per_write: int) -> None:
        worker.starting()
        worker.stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _reap
        worker.process = subprocess.Popen(
            [*self._command, str(frames_per_write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=worker.stderr,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent, which closes the pool
        )
        assert worker.process.stdin and worker.process.stdout
        worker.stdin, worker.stdout = worker.process.stdin, worker.process.stdout
        for pipe in (worker.stdin, worker.stdout):
            os.set_blocking(pipe.fileno(), False)
            # Linux only, and only up to a limit: a worker need not stop while Python is busy elsewhere.
            with suppress(AttributeError, OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _reap(self, worker: _Worker) -> None:
        self._selector.unregister(worker.stdout)
        self._want_to_write(worker, False)
        worker.process.kill()
        worker.process.wait()
        for file in (worker.stdin, worker.stdout, worker.stderr):
            file.close()

    def _want_to_write(self, worker: _Worker, want: bool) -> None:
        if want and not worker.waiting_to_write:
            self._selector.register(worker.stdin, selectors.EVENT_WRITE, worker)
        elif worker.waiting_to_write and not want:
            self._selector.unregister(worker.stdin)
        worker.waiting_to_write = want

    def _write(self, worker: _Worker) -> None:
        try:
            while worker.unsent:
                del worker.unsent[: os.write(worker.stdin.fileno(), worker.unsent)]
        except BlockingIOError:
            return self._want_to_write(worker, True)
        except BrokenPipeError:
            pass  # it died: its output ends, which `_read` sees
        self._want_to_write(worker, False)

    def _exchange(self, wait_s: float) -> list[Update]:
        events = self._selector.select(wait_s)
        for key, mask in events:
            if mask & selectors.EVENT_WRITE:
                self._write(key.data)
        updates: list[Update] = []
        for key, mask in events:
            if mask & selectors.EVENT_READ:
                self._read(key.data, updates)
        return updates

    def _read(self, worker: _Worker, updates: list[Update]) -> None:
        try:
            data = os.read(worker.stdout.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            return self._revive(worker)
        worker.heard = time.monotonic()
        if worker.unread:
            data = worker.unread + data
        at, end = 0, len(data)
        while end - at >= 4:
            stop = at + 4 + int.from_bytes(data[at : at + 4], "little")
            if stop > end:
                break
            if stop == at + 4:
                worker.up = True
            else:
                self._receive(worker, data[at + 4 : stop], updates)
            at = stop
        worker.unread = data[at:]

    def _receive(self, worker: _Worker, payload: bytes, updates: list[Update]) -> None:
        fields = payload.decode().split("\x1f", 7)
        battle_id = worker.outstanding.popleft()
        battle = worker.battles[battle_id]
        if fields[0] != str(battle_id):
            raise SimulatorError(f"worker {worker.index} answered for battle {fields[0]}, not {battle_id}")
        if battle.skip:
            battle.skip -= 1
            battle.replay_crc = zlib.crc32(payload, battle.replay_crc)
            if not battle.skip and battle.replay_crc != battle.crc:
                raise SimulatorError(
                    f"battle {battle_id} went another way when it was replayed after a fault"
                )
            return
        battle.delivered += 1
        battle.crc = zlib.crc32(payload, battle.crc)
        worker.deaths = 0
        worker.suspects.discard(battle_id)
        updates.append(self._update(worker, battle_id, battle, fields))

    def _update(self, worker: _Worker, battle_id: int, battle: _Battle, fields: list[str]) -> Update:
        _, state, turn, error1, error2, request1, request2, log = fields
        if state:
            del worker.battles[battle_id]
        if state == "!":
            if battle.delivered == 1:
                raise SimulatorError(f"battle {battle_id} could not start: {error1}")
            self.faults += 1
            self._progress(f"battle {battle_id} ended without a result, the simulator failed: {error1}")
        elif error1 or error2:
            self.invalid += bool(error1) + bool(error2)
        return Update(
            battle_id,
            _lines(log),
            (request1 or None, request2 or None),
            (error1 or None, error2 or None),
            state != "",
            int(state) if state in ("0", "1") else None,
            int(turn),
            state in ("x", "!"),
        )

    def _rescue(self, worker: _Worker) -> None:
        suspect = worker.outstanding[0]
        silent_s = time.monotonic() - worker.heard
        if suspect in worker.suspects:
            raise SimulatorError(
                f"worker {worker.index} hung twice on battle {suspect}, now silent for {silent_s:.1f} s; "
                f"its last words: {worker.last_words()}"
            )
        worker.suspects.update(worker.outstanding)
        self._progress(f"simulator worker {worker.index} was silent for {silent_s:.1f} s: restarting it")
        self._restart(worker, 1)  # one answer a write, so that a second hang shows which battle it is

    def _revive(self, worker: _Worker) -> None:
        worker.deaths += 1
        if worker.deaths >= DEATHS_IN_A_ROW:
            raise SimulatorError(
                f"simulator worker {worker.index} died {worker.deaths} times in a row; "
                f"its last words: {worker.last_words()}"
            )
        self._progress(f"simulator worker {worker.index} died: restarting it")
        self._restart(worker, FRAMES_PER_WRITE)

    def _restart(self, worker: _Worker, frames_per_write: int) -> None:
        self._reap(worker)
        self._spawn(worker, frames_per_write)
        self.restarts += 1
        for battle_id, battle in worker.battles.items():
            battle.skip, battle.replay_crc = battle.delivered, 0
            worker.ask(battle_id, battle.messages, battle.asked)
        self._write(worker)


def _message(text: str) -> bytes:
    payload = text.encode()
    return len(payload).to_bytes(4, "little") + payload


def _lines(log: str) -> tuple[list[list[str]], list[list[str]]]:
    first: list[list[str]] = []
    second: list[list[str]] = []
    for line in log.split("\n") if log else ():
        parts = line.split("|")
        seen_by = parts[0]
        if seen_by:  # "1" or "2": a secret of that side
            parts[0] = ""
        if seen_by != "2":
            first.append(parts)
        if seen_by != "1":
            second.append(parts)
    return first, second
