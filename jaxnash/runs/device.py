"""On which device a run computes, and what is in use of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from jaxnash.memory import available_memory, in_words, process_memory
from jaxnash.types import JaxnashError

Kind = Literal["auto", "cuda", "metal", "cpu"]
PLATFORMS = {"cuda": "cuda", "metal": "METAL", "cpu": "cpu"}  # JAX's names, the fastest first
ASK_SECONDS = 5  # nvidia-smi, once for each row of metrics


def choose(asked: Kind = "auto") -> list[Any]:
    """The devices of the kind asked for, by default CUDA's, else Metal's, else the CPU.

    New arrays go to the first. With "cpu" JAX does not start other backends unless it has already; a GPU's
    memory stays free. This changes JAX's configuration for the process. Raises `JaxnashError`, naming what
    there is, where no device is of that kind.
    """
    if asked == "cpu":
        jax.config.update("jax_platforms", "cpu")  # read once, as JAX starts
    there = _there()
    devices = pick(asked, there)
    if devices[0] != jax.devices()[0]:
        jax.config.update("jax_default_device", devices[0])
    return devices


def _there() -> dict[str, list[Any]]:
    """The devices of each kind, the fastest kind first."""
    found = {}
    for kind, platform in PLATFORMS.items():
        try:
            found[kind] = jax.devices(platform)
        except (RuntimeError, AssertionError):  # of a backend that is not installed, or finds no device
            continue
    return found


def pick(asked: Kind, there: dict[str, Any]) -> Any:
    """The entry asked for; "auto" takes the first. Raises `JaxnashError` where it is not there."""
    kind = next(iter(there), asked) if asked == "auto" else asked
    if kind in there:
        return there[kind]
    held = (
        ", ".join(f"{kind} ({len(devices)})" for kind, devices in there.items()) or "no device of these kinds"
    )
    wanted = os.environ.get("JAX_PLATFORMS")
    told = f"; JAX_PLATFORMS={wanted} is set" if wanted else ""
    hint = "install JAX for it or pass --device auto"
    raise JaxnashError(f"--device {asked} is not there: JAX finds {held}{told}; {hint}")


def mesh_of(devices: Sequence[Any], count: int) -> Mesh | None:
    """A mesh of one axis over the first `count` devices, None for one.

    Raises `JaxnashError` where there are fewer.
    """
    if count > len(devices):
        hint = ""
        if devices[0].platform == "cpu":
            hint = " (XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of the CPU)"
        raise JaxnashError(
            f"--devices {count} are more than there are: {len(devices)} of kind "
            f"{devices[0].device_kind}{hint}"
        )
    return None if count == 1 else Mesh(np.array(devices[:count]), ("devices",))


def described(devices: Sequence[Any], count: int = 1) -> str:
    """The first `count` devices in a line: kind, number, memory, drivers and JAX's version."""
    one = devices[0]
    parts = [f"{one.platform} {one.device_kind}, {count} of {len(devices)}"]
    if limit := _stats(one).get("bytes_limit"):
        parts.append(f"{in_words(limit)} of memory each for JAX")
    parts.append(f"{in_words(available_memory())} free on the host")
    for row in _nvidia_smi("name,driver_version,memory.total", devices[:count]) or []:
        name, driver, total = (*row, "", "", "")[:3]
        parts.append(f"{name} of {total} MiB, driver {driver}")
    if one.platform != "cpu":
        parts.append(" ".join(str(one.client.platform_version).split()))
    parts.append(f"JAX {jax.__version__}, jaxlib {metadata.version('jaxlib')}")
    return "device: " + "; ".join(parts)


def meter(devices: Sequence[Any]) -> Callable[[], dict[str, Any]]:
    """A function that reads how much of the devices is in use now.

    It returns `process_bytes`, this process' resident set, and for each device that tells, in lists: `bytes`
    in use and their `peak`; for NVIDIA's `utilization` in percent and `used_mib`, by nvidia-smi. What cannot
    be read is left out; nvidia-smi is not asked again once it has failed.
    """
    asks = [devices[0].platform in ("gpu", "cuda")]

    def read() -> dict[str, Any]:
        stats = [_stats(device) for device in devices]
        found: dict[str, Any] = {"process_bytes": process_memory()}
        for name, key in (("bytes", "bytes_in_use"), ("peak", "peak_bytes_in_use")):
            if all(key in each for each in stats):
                found[name] = [int(each[key]) for each in stats]
        rows = _nvidia_smi("utilization.gpu,memory.used", devices) if asks[0] else None
        if rows is None:
            asks[0] = False
        else:
            found |= {"utilization": [_number(row[0]) for row in rows]}
            found |= {"used_mib": [_number(row[-1]) for row in rows]}
        return {name: value for name, value in found.items() if value is not None}

    return read


def _stats(device: Any) -> dict[str, int]:
    """What a device says of its memory; CPUs say nothing."""
    try:
        return device.memory_stats() or {}
    except (RuntimeError, NotImplementedError, AttributeError):
        return {}


def _nvidia_smi(query: str, devices: Sequence[Any]) -> list[list[str]] | None:
    """The fields of a query, a row for each device; None without nvidia-smi, or where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None or devices[0].platform not in ("gpu", "cuda"):
        return None
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    places = [device.local_hardware_id for device in devices]
    names = [visible[place] if place < len(visible) else str(place) for place in places]
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits", f"--id={','.join(names)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    rows = [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return rows if done.returncode == 0 and len(rows) == len(devices) else None


def _number(field: str) -> float | None:
    """A field as a number; None for "[N/A]", as of parts of a GPU."""
    try:
        return float(field)
    except ValueError:
        return None
