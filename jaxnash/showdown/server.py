"""A real Pokémon Showdown server on the loopback interface, of the pool's own npm package."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxnash.showdown import simulator
from jaxnash.showdown.simulator import SimulatorError
from jaxnash.types import JaxnashError

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0
NODE_FLAGS = ("--preserve-symlinks", "--preserve-symlinks-main")
FOLDERS = ("config/chat-plugins", "logs/repl", "logs/chat", "logs/modlog", "databases")


class Server:
    """A server that runs while the context does.

    `with Server() as server:` listens on 127.0.0.1 at `server.port` (a free port unless one is given), with
    the websocket at `server.url`. It takes any user name without a password and asks nothing of the internet.
    All it writes goes to a temporary folder of its own, so that several can run at once.

    Raises `JaxnashError` for a port that is taken, `SimulatorError` (with the server's words) if the server
    is not up within 60 s.
    """

    def __init__(self, *, port: int | None = None, progress: Callable[[str], None] = print):
        self.port = port or 0
        self._progress = progress
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/showdown/websocket"

    def __enter__(self) -> Server:
        package = simulator.install(progress=self._progress) / "pokemon-showdown"
        self.port = _free_port(self.port)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="jaxnash-server-")))
            _lay_out(folder, package)
            process = _launch(folder, self.port)
            stack.callback(_stop, process)
            _await_start(process, folder, self.port)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the server and removes its folder."""
        self._running.close()


def _launch(folder: Path, port: int) -> subprocess.Popen[bytes]:
    start = ["pokemon-showdown", "start", "--no-security", "--skip-build", str(port)]
    with open(folder / "server.log", "wb") as log:
        return subprocess.Popen(
            [simulator.node_path(), *NODE_FLAGS, *start],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_start(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        words = (folder / "server.log").read_text(errors="replace")
        # Its own word first: another program may have taken the port meanwhile.
        if f"now listening on {HOST}:{port}" in words and _answers(port):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SimulatorError(f"the Showdown server did not start on port {port}: {words[-800:].strip()}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr] - a pipe, and its end is the sign to leave
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError, PermissionError):  # it has a session: its subprocesses with it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as node does: a past connection is no obstacle
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise JaxnashError(
                f"port {port} cannot be used for the Showdown server ({error}): stop what listens there "
                "or give another port"
            ) from error
        return probe.getsockname()[1]


def _lay_out(folder: Path, package: Path) -> None:
    # The server reads and writes config/, logs/ and databases/ beside its code. The code is shared by links,
    # which node is told to take at their word, so that the installed package is never written to.
    for name in ("pokemon-showdown", "package.json", "dist", "server"):
        (folder / name).symlink_to(package / name)
    (folder / "node_modules").symlink_to(package.parent)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    shutil.copy(simulator.NODE_DIR / "server-config.js", folder / "config" / "config.js")
