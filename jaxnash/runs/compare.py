"""Are two run directories the same run? Seconds, logs and the machine's own marks set aside."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from jaxnash.runs.files import first_line, read_json, read_jsonl, without_timing

CHANGEABLE = (
    "workers",
    "parallel_battles",
    "resume",
    "run_dir",
    "at",
    "keep",
    "max_hours",
    "device",
    "devices",
)  # knobs that may not change a result, or only by rounding, of which the manifest tells
LOCK = "run.lock"
SKIPPED = {"training.log", "manifest.json", "report.html", LOCK}
ORBAX_MARKS = {"_CHECKPOINT_METADATA", "commit_success.txt"}  # timestamps of Orbax's own
MISSING = object()


def compare_runs(a: str | Path, b: str | Path) -> list[str]:
    """The differences between two run directories, one line each; empty when they are the same run.

    JSON files and lines are compared by value without "timing", `config.json` also without the knobs that
    may change on resume, and the directory's own path reads the same in both; Orbax checkpoints by their
    restored leaves, bit for bit; every other file by its bytes. Skipped: the log, manifest, lock and report.
    """
    a, b = Path(a), Path(b)
    files_a, files_b = _files(a), _files(b)
    lines = [f"{name}: only in {a}" for name in sorted(files_a - files_b)]
    lines += [f"{name}: only in {b}" for name in sorted(files_b - files_a)]
    for name in sorted(files_a & files_b):
        if (a / name).is_dir():
            lines += [f"{name}: {line}" for line in _compare_checkpoints(a / name, b / name)]
        elif name.endswith((".json", ".jsonl")):
            lines += [f"{name}: {line}" for line in _differences(_load(a, name), _load(b, name))]
        elif (a / name).read_bytes() != (b / name).read_bytes():
            lines.append(f"{name}: the bytes differ")
    return lines


def _files(run_dir: Path) -> set[str]:
    """Relative paths of what is compared; an Orbax item is one path, its folder."""
    found: set[str] = set()
    for folder, folders, files in os.walk(run_dir):
        relative = Path(folder).relative_to(run_dir)
        if "_METADATA" in files or "manifest.ocdbt" in files:
            folders.clear()
            found.add(relative.as_posix())
            continue
        for name in files:
            temporary = name.startswith(".") and name.endswith(".tmp")
            if name not in ORBAX_MARKS and not temporary and (relative / name).as_posix() not in SKIPPED:
                found.add((relative / name).as_posix())
    return found


def _load(run_dir: Path, name: str) -> Any:
    path = run_dir / name
    value = without_timing(read_jsonl(path) if name.endswith(".jsonl") else read_json(path))
    if name == "config.json" and isinstance(value, dict):
        value = {key: entry for key, entry in value.items() if key not in CHANGEABLE}
    own = {str(run_dir.resolve()), str(run_dir.absolute())}
    if len(run_dir.parts) > 1:  # a bare "a" would match too much
        own.add(str(run_dir))
    return _relative(value, sorted(own, key=len, reverse=True))


def _relative(value: Any, own: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _relative(entry, own) for key, entry in value.items()}
    if isinstance(value, list):
        return [_relative(entry, own) for entry in value]
    if isinstance(value, str):
        for path in own:
            if value == path or value.startswith(path + "/"):
                return "<run-dir>" + value[len(path) :]
    return value


def _differences(a: Any, b: Any, where: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = list(a) + [key for key in b if key not in a]
        pairs = [
            (f"{where}.{key}" if where else key, a.get(key, MISSING), b.get(key, MISSING)) for key in keys
        ]
        lines = (
            [] if list(a) == list(b) or set(a) != set(b) else [f"{where or 'top'}: the order of keys differs"]
        )
        return lines + [line for path, x, y in pairs for line in _differences(x, y, path)]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b))]
        return [line for path, x, y in pairs for line in _differences(x, y, path)]
    if type(a) is type(b) and a == b:
        return []
    return [f"{where or 'top'}: {_show(a)} != {_show(b)}"]


def _show(value: Any) -> str:
    text = "(missing)" if value is MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _compare_checkpoints(a: Path, b: Path) -> list[str]:
    try:
        leaves_a, leaves_b = _leaves(a), _leaves(b)
    except (OSError, ValueError, KeyError) as error:
        return [f"cannot be read: {first_line(error)}"]
    if list(leaves_a) != list(leaves_b):
        return [f"the tree differs: {sorted(set(leaves_a) ^ set(leaves_b))}"]
    return [f"{name}: the leaf differs" for name in leaves_a if leaves_a[name] != leaves_b[name]]


def _leaves(folder: Path) -> dict[str, tuple]:
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the shardings come from a file
        tree = ocp.StandardCheckpointer().restore(folder.resolve())
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        found[jax.tree_util.keystr(path)] = (str(array.dtype), array.shape, array.tobytes())
    return found
