"""How the outcome of each stage of a PSRO iteration is kept, for `runs.run.saver`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxnash.psro.tournament import Cell
from jaxnash.runs.checkpoint import restore, save
from jaxnash.runs.run import Stage, read_json, write_json
from jaxnash.types import MetaSolution, Neural


def _write_oracle(folder: Path, outcome: tuple[Neural, dict[str, Any]]) -> None:
    member, metrics = outcome
    assert member.spec is not None, "a best response has a spec"
    path = folder / "br_training" / member.name
    save(path / "checkpoint", params=member.params, spec=member.spec, name=member.name)
    write_json(folder / "oracle.json", metrics | {"greedy": member.greedy})


def _read_oracle(folder: Path) -> tuple[Neural, dict[str, Any]]:
    metrics = read_json(folder / "oracle.json")
    member = restore(folder / "br_training" / metrics["name"] / "checkpoint")
    return member._replace(greedy=metrics["greedy"]), metrics


def _write_cells(folder: Path, cells: dict[tuple[int, int], Cell]) -> None:
    write_json(folder / "cells.json", [[i, j, *cell] for (i, j), cell in sorted(cells.items())])


def _read_cells(folder: Path) -> dict[tuple[int, int], Cell]:
    rows = read_json(folder / "cells.json")
    return {
        (i, j): Cell(wins, draws, losses, tuple(pairs), teams)
        for i, j, wins, draws, losses, pairs, teams in rows
    }


def _write_meta(folder: Path, solution: MetaSolution) -> None:
    write_json(folder / "meta_solution.json", solution._asdict())


def _read_meta(folder: Path) -> MetaSolution:
    content = read_json(folder / "meta_solution.json")
    return MetaSolution(np.array(content["row"]), np.array(content["col"]), content["value"], content["gap"])


STAGES = {
    "oracle": Stage(_write_oracle, _read_oracle),
    "tournament": Stage(_write_cells, _read_cells),
    "meta": Stage(_write_meta, _read_meta),
}
