"""A run's metrics.jsonl for people: a table as wide as the terminal, and a figure."""

from __future__ import annotations

import io
from typing import Any

from jaxnash.runs.files import TIMING
from jaxnash.runs.job_progress import NO_EXPLOIT, WIN_RATE, measured, step_of

FIRST = {  # columns in this order; what else a row holds follows as far as the width goes
    "iteration": "iteration",
    "update": "update",
    "frames": "frames",
    "exploitability": "exploitability",
    "win_rate": "win rate",
    "value_loss": "value loss",
    "policy_loss": "policy loss",
    "trajectories_generated": "trajectories",
    "num_updates": "updates",
    "nodes": "nodes",
    "samples": "samples",
    "memory_fill": "memory",
    "seconds": "seconds",
}
TOLD_OTHERWISE = {"exploitability_kind", "oracle_gap", "oracle_gap_ci", "based_win_rate", "snapshot_saved"}
NEEDED = ("iteration", "update", *(MEASURES := ("exploitability", "win_rate")))


def rows_table(rows: list[dict[str, Any]], *, exact: bool, width: int) -> Any:
    """A rich `Table` of the rows. `exact`: what an exploitability without a kind is."""
    from rich.table import Table
    from rich.text import Text

    told = [dict(row) | {"seconds": row.get(TIMING, {}).get("seconds")} for row in rows]
    for row in told:
        found = measured(row, exact=exact)
        row[_measure(found.kind if found else None)] = found.text if found else None
    shown = {key for row in told for key, value in row.items() if isinstance(value, int | float | str)}
    others = [key for key in dict.fromkeys(key for row in told for key in row) if key not in FIRST]
    table, columns, used = Table(box=None, pad_edge=False, header_style="dim"), [], -2
    for key in [*FIRST, *others]:
        if key not in shown or key in TOLD_OTHERWISE:
            continue
        title, column = FIRST.get(key, key.replace("_", " ")), [_cell(row.get(key)) for row in told]
        needs = 2 + max(len(title), *map(len, column))
        if used + needs <= width or key in NEEDED:
            used += needs
            columns.append(column)
            table.add_column(title, justify="left" if key in MEASURES else "right", overflow="fold")
    for cells in zip(*columns):
        table.add_row(*map(Text, cells))
    return table


def _measure(kind: str | None) -> str:
    return "win_rate" if kind == WIN_RATE else "exploitability"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else "–"


def metrics_figure(title: str, rows: list[dict[str, Any]], *, exact: bool) -> bytes:
    """A PNG of what the rows have: exploitability by its kind, the losses, seconds by phase."""
    import matplotlib
    from matplotlib.figure import Figure

    from jaxnash.runs.figures import COLOURS, INK, STYLE

    panels = [_win_rates(rows), _gaps(rows, exact), _losses(rows), _seconds(rows)]
    panels = [panel for panel in panels if panel[1]]
    panels = panels or [_numbers(rows)]
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(1 + 3.9 * len(panels), 3.6), layout="constrained")
        drawn.suptitle(title, fontsize=11, color=INK)
        for axes, (name, curves) in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels):
            for colour, (label, points) in zip(COLOURS, curves.items()):
                apart = label.startswith(("lower bound", NO_EXPLOIT))  # no curve of one and the same thing
                look = {"marker": "^" if apart else "o" if len(points) <= 60 else "", "markersize": 3.5}
                look |= {"linestyle": "" if apart else "-", "linewidth": 1.3}
                if label.startswith(NO_EXPLOIT):
                    look |= {"marker": "v", "markerfacecolor": "white"}
                axes.plot(*zip(*points), color=colour, label=label, **look)
            values = [y for points in curves.values() for _, y in points]
            if values and name != WIN_RATE and min(values) > 0 and max(values) > 30 * min(values):
                axes.set_yscale("log")
            axes.set_title(name, fontsize=10, color=INK)
            axes.set_xlabel("update" if "update" in rows[0] and "iteration" not in rows[0] else "iteration")
            if curves:
                axes.legend(fontsize=8)
        out = io.BytesIO()
        drawn.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


Panel = tuple[str, dict[str, list[tuple[int, float]]]]  # title, points by label


def _gaps(rows: list[dict[str, Any]], exact: bool) -> Panel:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if (found := measured(row, exact=exact)) is not None and found.kind != WIN_RATE:
            label = NO_EXPLOIT if found.text.startswith(NO_EXPLOIT) else found.kind
            curves.setdefault(label, []).append((found.iteration, found.value))
    return "exploitability", curves


def _win_rates(rows: list[dict[str, Any]]) -> Panel:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if (found := measured(row)) is not None and found.kind == WIN_RATE:
            low, high = row["evaluation"]["based"]["win_rate_interval"]
            for label, value in {"measured": found.value, "99 %: from": low, "to": high}.items():
                curves.setdefault(label, []).append((found.iteration, value))
    return WIN_RATE, curves


def _losses(rows: list[dict[str, Any]]) -> Panel:
    keys = {"value_loss": "value loss", "policy_loss": "policy loss"}
    return "losses (they say nothing of convergence)", _curves(rows, keys)


def _seconds(rows: list[dict[str, Any]]) -> Panel:
    timed = [{"iteration": step_of(row, None), **row.get(TIMING, {}).get("phases", {})} for row in rows]
    names = dict.fromkeys(key for row in timed for key in row if key != "iteration")
    return "seconds by phase", _curves(timed, {name: name for name in names})


def _numbers(rows: list[dict[str, Any]]) -> Panel:
    """For rows of a kind that is not known: their first few numbers."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, int | float))
    chosen = [key for key in keys if key != "iteration"][:6]
    return "metrics", _curves(rows, {key: key.replace("_", " ") for key in chosen})


def _curves(rows: list[dict[str, Any]], keys: dict[str, str]) -> dict[str, list[tuple[int, float]]]:
    found = {
        label: [(step_of(row, k), row[key]) for k, row in enumerate(rows) if row.get(key) is not None]
        for key, label in keys.items()
    }
    return {label: points for label, points in found.items() if points}
