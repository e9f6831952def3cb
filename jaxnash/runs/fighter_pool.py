"""Opponents that a fighter's run is given by name, and where each of its snapshots came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnash.runs.checkpoint import describe, restore
from jaxnash.runs.files import read_json, write_json
from jaxnash.types import JaxnashError, Neural, PolicySpec

ORIGINS = "snapshots.json"


def pool(names: tuple[str, ...], spec: PolicySpec, capacity: int) -> list[tuple[Path, Neural]]:
    """The policies that `names` hold, with their paths: the oldest of each run first, its last policy last.

    A name is a policy's checkpoint, a run directory with `snapshots/` and `policy`, a folder of snapshots, or
    what one of these is called below runs/. A last policy that equals the last snapshot counts once. Raises
    `JaxnashError` for a name that holds none, more than `capacity` in all, another attack table (both hashes)
    or architecture (the sizes), and files that cannot be read.
    """
    found = [member for name in names for member in _members(name, spec)]
    if len(found) > capacity:
        raise JaxnashError(
            f"--pool holds {len(found)} policies, --keep-snapshots {capacity}: name fewer, or keep more"
        )
    return found


def _members(name: str, spec: PolicySpec) -> list[tuple[Path, Neural]]:
    places = [place for place in (Path(name), Path("runs") / name) if place.is_dir()]
    if not places:
        raise JaxnashError(f"--pool {name}: there is no such folder, here or below runs/")
    path = places[0]
    within = [*_snapshots(path / "snapshots"), *_snapshots(path)]
    within += [path / "policy"] if (path / "policy").is_dir() else []
    if not within and not any(step.name.isdigit() for step in path.iterdir()):
        raise JaxnashError(f"--pool {name}: {path} is neither a policy nor a run with snapshots/ or policy")
    found = [(each, fitting(each, spec)) for each in within or [path]]
    if len(found) > 1 and found[-1][0].name == "policy" and _same(found[-1][1], found[-2][1]):
        found.pop()
    return found


def _snapshots(folder: Path) -> list[Path]:
    """Those of a folder, the oldest first."""
    paths = [path for path in folder.glob("snapshot_*") if path.name.rpartition("_")[2].isdigit()]
    return sorted(paths, key=lambda path: int(path.name.rpartition("_")[2]))


def fitting(path: Path, spec: PolicySpec) -> Neural:
    """The policy saved at `path`; raises `JaxnashError` where it is not of this spec, or cannot be read."""
    theirs = describe(path)["spec"]
    if theirs["name"] != spec.name:
        raise JaxnashError(f"--pool {path} is a policy {theirs['name']!r}: this run needs {spec.name!r}")
    if theirs["layout"] != spec.layout:
        raise JaxnashError(
            f"--pool {path} was trained under the rules and attack table {theirs['layout']}, this version "
            f"has {spec.layout}: use the version that made it, or another pool"
        )
    known = theirs["kwargs"].keys() | spec.kwargs.keys()
    differing = [
        f"{size} {theirs['kwargs'].get(size, 'not given')} there, {spec.kwargs.get(size, 'not given')} here"
        for size in sorted(known)
        if theirs["kwargs"].get(size) != spec.kwargs.get(size)
    ]
    if differing:
        raise JaxnashError(
            f"--pool {path} has another architecture: {', '.join(differing)}; name others, or take its sizes"
        )
    return restore(path)


def _same(one: Neural, other: Neural) -> bool:
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def write_origins(run_dir: Path, rows: list[dict[str, Any]], paths: list[Path] | None = None) -> None:
    """snapshots.json: where the snapshot of each number came from, a path of the pool or the run's frames.

    `paths` are the pool's, of a run that begins; else those that the file has. The run's own are the rows'.
    """
    if paths is None:
        held = read_json(run_dir / ORIGINS)["snapshots"] if (run_dir / ORIGINS).exists() else []
        pooled = [entry for entry in held if "pool" in entry]
    else:
        pooled = [{"number": number, "pool": str(path)} for number, path in enumerate(paths)]
    own = [{"number": row["snapshots"] - 1, "frames": row["frames"]} for row in rows if row["snapshot_saved"]]
    write_json(run_dir / ORIGINS, {"snapshots": [*pooled, *own]})
