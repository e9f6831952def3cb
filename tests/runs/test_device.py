"""The device a run is on, what is asked of it, and what is told of its use."""

from __future__ import annotations

import os
from types import SimpleNamespace

import jax
import pytest

from jaxnash.runs.device import choose, described, mesh_of, meter, pick
from jaxnash.types import JaxnashError

GPU = SimpleNamespace(
    platform="gpu",
    device_kind="H200",
    local_hardware_id=1,
    memory_stats=lambda: {"bytes_in_use": 5, "peak_bytes_in_use": 7, "bytes_limit": 3 * 2**30},
    client=SimpleNamespace(platform_version="PJRT C API\ncuda 12080"),
)


def smi(folder, monkeypatch, script: str) -> None:
    """An nvidia-smi of this body on the PATH."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_fastest_kind_there_is_or_the_one_asked_for():
    both = {"cuda": ["g0", "g1"], "cpu": ["c0"]}
    assert pick("auto", both) == ["g0", "g1"]
    assert pick("auto", {"metal": ["m"], "cpu": ["c0"]}) == ["m"]
    assert pick("cpu", both) == ["c0"]
    with pytest.raises(JaxnashError, match=r"--device metal is not there: JAX finds cuda \(2\), cpu \(1\)"):
        pick("metal", both)
    with pytest.raises(JaxnashError, match="--device auto is not there: JAX finds no device"):
        pick("auto", {})


def test_the_cpu_is_there():
    assert choose("cpu") == jax.devices("cpu")
    assert choose("auto")[0] in jax.devices()


def test_a_mesh_of_no_more_devices_than_there_are():
    devices = jax.devices("cpu")
    assert mesh_of(devices, 1) is None
    with pytest.raises(
        JaxnashError, match=rf"--devices 9 are more than there are: {len(devices)} of kind cpu"
    ):
        mesh_of(devices[:1], 9)
    with pytest.raises(JaxnashError, match=r"--devices 2 are more than there are: 1 of kind H200$"):
        mesh_of([GPU], 2)


def test_a_cpu_in_words_and_in_use():
    line = described(jax.devices("cpu"))
    assert line.startswith("device: cpu cpu, 1 of ") and f"JAX {jax.__version__}" in line
    used = meter(jax.devices("cpu"))()
    assert set(used) == {"process_bytes"} and used["process_bytes"] > 2**20


def test_a_gpu_is_asked_for_by_its_number(tmp_path, monkeypatch):
    """The fake echoes which GPU it was asked for; the driver's order is that of CUDA_VISIBLE_DEVICES."""
    smi(tmp_path, monkeypatch, 'for word in "$@"; do last=$word; done; echo "${last#--id=}, 570.1, 143771"')
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    line = described([GPU])
    assert "gpu H200, 1 of 1" in line and "3 GiB of memory each" in line and "cuda 12080" in line
    assert "1 of 143771 MiB, driver 570.1" in line
    used = meter([GPU])()
    assert (used["bytes"], used["peak"], used["utilization"], used["used_mib"]) == (
        [5],
        [7],
        [1.0],
        [143771.0],
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert meter([GPU])()["utilization"] == [6.0]


@pytest.mark.parametrize("script", ["exit 9", "echo nothing; echo of; echo use", "printf '\\377'"])
def test_a_failing_nvidia_smi_is_done_without(tmp_path, monkeypatch, script):
    smi(tmp_path, monkeypatch, f"echo . >> {tmp_path}/asked; {script}")
    assert "driver" not in described([GPU])
    asked = (tmp_path / "asked").stat().st_size
    read = meter([GPU])
    assert read()["bytes"] == [5] and "utilization" not in read()
    assert (tmp_path / "asked").stat().st_size == asked + 2  # not asked again


def test_what_is_not_a_number_is_none(tmp_path, monkeypatch):
    smi(tmp_path, monkeypatch, 'echo "[N/A], 12"')
    assert meter([GPU])()["utilization"] == [None]
