"""What a run of the judge has counted, kept in a file so that a long one can be cut off and go on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from jaxnash.games.gen1 import game
from jaxnash.runs.files import write_json
from jaxnash.showdown import codec
from jaxnash.types import JaxnashError

COUNTERS = ("draws", "reached", "thrown")


@dataclass
class Tally:
    """Sums over battles: draws by site, rows and moves reached, what the simulator itself threw."""

    battles: int = 0
    decisions: int = 0
    divergences: list[str] = field(default_factory=list)
    draws: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    thrown: Counter[str] = field(default_factory=Counter)


def code() -> str:
    """Digest of the engine, the bridge and the judge: battles compared by different code are not summed."""
    digest = sha256()
    for module in (game.__file__, codec.__file__, __file__):
        for file in sorted(Path(module).parent.iterdir()):
            if file.is_file() and not file.name.startswith("test_"):
                digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def load(path: str | Path, run: dict[str, Any]) -> Tally:
    """The tally of `path`, an empty one where there is no such file.

    run: all that decides which battles are played, and `code`. Raises `JaxnashError` for another run's.
    """
    if not Path(path).exists():
        return Tally()
    try:
        kept = json.loads(Path(path).read_text())
        other = [name for name, value in run.items() if kept["run"].get(name) != value]
        counts = {name: Counter(kept["tally"].pop(name)) for name in COUNTERS}
        tally = Tally(**kept["tally"], **counts)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise JaxnashError(f"{path} is not a tally of this command: give --tally another name") from None
    if other:
        raise JaxnashError(f"{path} counts another run (other {', '.join(other)}): give --tally another name")
    return tally


def save(path: str | Path, run: dict[str, Any], tally: Tally) -> None:
    """Atomically, as `write_json`."""
    write_json(path, {"run": run, "tally": vars(tally)})
