"""The report's short form, on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxnash.runs.results import (
    SIGMA,
    Results,
    cell_rate,
    duration,
    gap_text,
    number,
    opponents,
    rate_text,
    read_results,
    short,
    span,
    warnings,
)

if TYPE_CHECKING:
    from rich.console import Console


def terminal_report(run_dir: str | Path, console: Console) -> None:
    """Print payoff table, σ, best responses, gaps, time by phase, warnings and the path of report.html."""
    from rich.text import Text

    results = read_results(run_dir)
    for title, table in _tables(results, console.width):
        console.print(Text(title, style="bold"))
        console.print(table)
        console.print()
    for warned in warnings(results):
        console.print(Text(warned.text, style="bold red" if warned.red else "yellow"))
    report = Path(run_dir) / "report.html"
    console.print(Text(f"report: {report}" if report.exists() else f"run: {run_dir}"), soft_wrap=True)


def _table(*columns: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for k, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if k else "left", no_wrap=not k)
    return table


def _blocks(count: int, *, first: int, each: int, width: int) -> list[range]:
    """The columns in as many tables, one below the other, as the terminal's width asks for."""
    fit = max(1, (width - first) // (each + 2))
    return [range(k, min(k + fit, count)) for k in range(0, count, fit)]


def _tables(results: Results, width: int) -> list[tuple[str, Any]]:
    tables = _payoffs(results, width)
    sigma = _table("member", "probability")
    for name, p in results.support.items():
        sigma.add_row(name, f"{100 * p:.1f} %")
    told = f"Mixture σ: {len(results.support)} of {len(results.sigma)} members in its support"
    tables += [(told, sigma), *_best_responses(results, width)]

    gaps = _table("mixture", "oracle gap", "95 %", "by", "hindsight", "restricted", "solver")
    for row in results.gaps:
        gaps.add_row(
            str(row["iteration"]),
            gap_text(row["oracle_gap"], None),
            span(row["oracle_gap_ci"]),
            row["br_name"] or "–",
            number(row.get("hindsight_gap")),
            span(row.get("restricted_gap_ci")),
            number(row.get("solver_gap"), ".0e"),
        )
    tables.append(("Gaps of the mixtures, as payoffs (2 × win rate − 1)", gaps))

    time = _table("phase", "time")
    for name, seconds in results.phases.items():
        time.add_row(name, duration(seconds))
    return [*tables, (f"Time by phase, {duration(results.seconds)} in all", time)]


def _payoffs(results: Results, width: int) -> list[tuple[str, Any]]:
    names, tables = results.table.names, []
    rows = [f"{k + 1} {name}" for k, name in enumerate(names)]
    first = max(map(len, rows), default=0)
    for block in _blocks(len(rows), first=first, each=6, width=width):
        table = _table("", *(str(j + 1) for j in block))
        for i, row in enumerate(rows):
            found = [None if i == j else cell_rate(results.table, i, j) for j in block]
            cells = [f"{100 * f[0]:.1f}\n{100 * f[1]:.0f}–{100 * f[2]:.0f}" if f else "·" for f in found]
            table.add_row(row, *cells)
        tables.append(("Payoff table: win rate of the row in %, 95 % interval below", table))
    return tables


def _best_responses(results: Results, width: int) -> list[tuple[str, Any]]:
    from rich.text import Text

    records = [
        (response, response.name + teams, response.evaluation[where])
        for response in results.best_responses
        for where, teams in (("versus", ""), ("final", ", eval teams"))
        if response.evaluation.get(where)
    ]
    tried, tables = opponents(results), []
    first = max(map(len, tried), default=0)
    for block in _blocks(len(records), first=first, each=17, width=width):
        table = _table("against", *(records[k][1] for k in block))
        for name in tried:
            cells = []
            for response, _, versus in (records[k] for k in block):
                red = response is results.best_responses[-1] and short(name, versus.get(name))
                text = rate_text(versus.get(name)).replace(" %", "")
                cells.append(Text(text, style="bold red" if red else ""))
            table.add_row("σ" if name == SIGMA else name, *cells)
        tables.append(("Win rates of the best responses in %, 95 % interval", table))
    return tables
