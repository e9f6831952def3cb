"""A real Pokémon Showdown server on the loopback interface, of the pool's own npm package."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

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
        self._folder: Path | None = None
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/showdown/websocket"

    def __enter__(self) -> Server:
        package = simulator.install(progress=self._progress) / "pokemon-showdown"
        self.port = _free_port(self.port)
        self._folder = Path(tempfile.mkdtemp(prefix="jaxnash-server-"))
        try:
            _lay_out(self._folder, package)
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the server and removes its folder."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):
                process.stdin.close()  # its sign to leave
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            with suppress(ProcessLookupError):  # its own session: the network and simulator processes with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        command = [
            simulator.node_path(),
            *NODE_FLAGS,
            "pokemon-showdown",
            "start",
            "--no-security",
            "--skip-build",
        ]
        with open(self._folder / "server.log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self.port)],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listening():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SimulatorError(
                    f"the Showdown server did not start on port {self.port}: {self._words()}"
                )
            time.sleep(0.05)

    def _listening(self) -> bool:
        # Its own word first: another program may have taken the port meanwhile.
        if f"now listening on {HOST}:{self.port}" not in self._words():
            return False
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def _words(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-2000:]


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
