"""Where a run is written when nobody says, and what was asked of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from jaxnash.types import JaxnashError

K = TypeVar("K")


def run_directory(stem: str, given: str | None, *, resume: bool) -> Path:
    """`given`, else the next free runs/<stem>_<n>, or with `resume` the latest there is.

    Raises `JaxnashError` where there is nothing to resume.
    """
    if given:
        return Path(given)
    numbers = [path.name.rpartition("_")[2] for path in Path("runs").glob(f"{stem}_*")]
    taken = max((int(number) for number in numbers if number.isdigit()), default=0)
    if resume and not taken:
        raise JaxnashError("nothing to resume below runs/: pass --run-dir, or start without --resume")
    return Path("runs") / f"{stem}_{taken if resume else taken + 1}"


def knobs_of(kind: type[K], config: dict[str, Any]) -> K:
    """The knobs that config.json holds; those it does not have are the defaults."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    held = {name: tuple(it) if isinstance(it, list) else it for name, it in config.items() if name in names}
    return kind(**held)
