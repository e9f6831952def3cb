"""Learning curves of fighter runs over seeds and lengths, beside what others have published.

python3 -m uv run experiments/fighter_curves.py runs/fighter_1 runs/fighter_2 --out curves.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from jaxnash.runs.cli import main as cli
from jaxnash.runs.fighter_curves import Group, figure, groups, hypotheses, lines
from jaxnash.runs.files import write_bytes
from jaxnash.types import JaxnashError


@dataclass(frozen=True)
class Question:
    """Which runs, and where the figure goes."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Directories of fighter_selfplay.py's runs, or their names below runs/; those that differ in nothing but
    their seed make one mean."""
    out: str = "curves.png"
    """Or .svg."""


def main() -> None:
    cli(lambda: run(tyro.cli(Question, description=__doc__)))


def run(question: Question) -> list[Group]:
    """Print the tables and hypotheses, write the figure."""
    kind = Path(question.out).suffix.removeprefix(".")
    if kind not in ("png", "svg"):
        raise JaxnashError(f"--out {question.out}: a name that ends in .png or .svg is needed")
    if not question.runs:
        raise JaxnashError("no run is named: pass one or more directories of fighter_selfplay.py's runs")
    console, found = Console(highlight=False), groups(question.runs)
    for group in found:
        seeds = ", ".join(f"{run.seed} ({run.path})" for run in group.runs)
        console.print(f"{group.label}; seeds {seeds}", soft_wrap=True)
        table, rows = Table(box=None, pad_edge=False, header_style="dim"), lines(group)
        for title in rows[0]:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
        console.print(hypotheses(group.curve("based")), soft_wrap=True)
    write_bytes(question.out, figure(found, kind))
    console.print(f"figure: {question.out}", soft_wrap=True)
    return found


if __name__ == "__main__":
    main()
