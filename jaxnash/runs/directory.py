"""Where a run is written when nobody says."""

from __future__ import annotations

from pathlib import Path

from jaxnash.types import JaxnashError


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
