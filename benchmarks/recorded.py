"""What every benchmark says of when and where it ran, and where its results are written."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def conditions(backend: str | None = None, *, cores: str = "{} cores") -> dict[str, Any]:
    """The machine, the date and the load; to be called before anything is measured.

    `backend` is JAX's, `cores` how many of all were used.
    """
    count = cores.format(os.cpu_count())
    return {
        "machine": ", ".join([platform.machine(), count, *([backend] if backend else [])]),
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],  # near 0, or the figures are not to be trusted
    }


def write(name: str, result: dict[str, Any], *, gpu: bool = False) -> None:
    """benchmarks/results/<name>.json, or <name>_gpu.json, numbers to ten digits."""
    name += "_gpu" * gpu
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(_rounded(result), indent=2) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
