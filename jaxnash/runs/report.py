"""The report of a PSRO run: `report.html`, self-contained, and its short form on the terminal."""

from __future__ import annotations

import base64
import json
import shlex
from html import escape
from pathlib import Path

from jaxnash.runs import figures
from jaxnash.runs.files import TIMING, write_bytes
from jaxnash.runs.results import (
    NEGLIGIBLE,
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
from jaxnash.runs.terminal import terminal_report

__all__ = ["terminal_report", "write_report"]

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #5f6b78; --line: #e1e5ea; --red: #b3261e;
  --blue: #0b5c92 }
* { box-sizing: border-box }
body { margin: 0; background: #f5f6f8; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 20px 16px 60px }
h1 { font-size: 1.7rem; margin: .2em 0 .1em; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 0 0 .6em }
p { margin: .4em 0 }
.faint, figcaption { color: var(--faint); font-size: .88rem }
code { font: .85em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere }
section, .card { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px }
section { margin-top: 16px }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 10px;
  margin-top: 14px }
.card { padding: 10px 14px }
.card b { display: block; font-size: 1.25rem; line-height: 1.35 }
.card span { color: var(--faint); font-size: .8rem; display: block }
.red { color: var(--red); font-weight: 600 }
.red small { color: inherit }
.warn { border: 1px solid #e5b93c; background: #fff8e1; border-radius: 10px; padding: 8px 16px;
  margin-top: 10px }
.warn.bad { border-color: var(--red); background: #fdecea; color: var(--red); font-weight: 600 }
.scroll { overflow-x: auto }
figure { margin: 0 0 14px }
figure img { width: 100%; min-width: 540px; max-width: 860px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--faint); font-weight: 600; vertical-align: bottom }
thead th { white-space: normal }
th:first-child, td:first-child, .left th, .left td { text-align: left }
td small { display: block; color: var(--faint); font-size: .78rem }
.left td { white-space: normal; overflow-wrap: break-word }
.heat td { text-align: center; border: 2px solid #fff; min-width: 54px; padding: 4px 2px; line-height: 1.25 }
.heat td small { color: inherit; font-size: .7rem }
.heat th { border: 0 }
.heat thead th span { writing-mode: vertical-rl; transform: rotate(180deg); display: inline-block;
  white-space: nowrap }
.heat thead th { text-align: center }
.heat tbody th, .pin th:first-child, .pin td:first-child { position: sticky; left: 0; background: #fff }
.heat tbody th { color: var(--ink); vertical-align: middle }
.heat .self { background: #eef0f3; color: var(--faint) }
.heat .unplayed { background: repeating-linear-gradient(45deg, #eceff2 0 5px, #fff 5px 10px);
  color: var(--faint) }
.bar { height: 14px; border-radius: 3px; background: var(--blue); min-width: 1px }
.chip { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px }
details { margin-top: 6px }
summary { cursor: pointer; color: var(--blue) }
@media (max-width: 600px) {
  main { padding: 10px 8px 40px }
  section { padding: 12px 10px }
  h1 { font-size: 1.35rem }
  th, td { padding: 4px 7px }
}
@media print { body { background: #fff } section { break-inside: avoid } .scroll { overflow: visible } }
"""


def write_report(run_dir: str | Path) -> Path:
    """Write `report.html` from the files of the run directory and return its path.

    Works on an unfinished run too, and says so. Raises `JaxnashError` naming a file that is broken.
    """
    results = read_results(run_dir)
    parts = (_head, _gaps, _heat_map, _mixture, _win_rates, _training, _time, _population, _config)
    body = "\n".join(part(results) for part in parts)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(_title(results))}</title><style>{STYLE}</style></head>"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )
    path = Path(run_dir) / "report.html"
    write_bytes(path, page.encode())
    return path


def _title(results: Results) -> str:
    return f"PSRO on {results.config.get('battle_format', 'a game')}: {results.run_dir.resolve().name}"


def _machine(results: Results) -> str:
    made = results.manifest
    device, versions = made.get("device", {}), made.get("versions", {})
    kind = device.get("kind", "")
    parts = [
        f"{made.get('cores')} × {made.get('processor') or 'cores'}" if made.get("cores") else "",
        "" if kind in ("", "cpu") else f"{device.get('count')} × {kind}",
        made.get("platform", ""),
        f"Python {made.get('python')}, JAX {versions.get('jax')}",
        f"Showdown {versions.get('pokemon-showdown')}" if versions.get("pokemon-showdown") else "",
    ]
    return " · ".join(part for part in parts if part) if made else "machine unknown"


def _figure(svg: str | None, caption: str, alt: str) -> str:
    if svg is None:
        return '<p class="faint">Nothing to draw yet.</p>'
    data = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'
    return f'<figure><div class="scroll">{image}</div><figcaption>{caption}</figcaption></figure>'


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _table(head: list[str], rows: list[list[str]], kind: str = "") -> str:
    """A scrolling table; the cells are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _head(results: Results) -> str:
    made, last = results.manifest, results.gaps[-1] if results.gaps else {}
    tested = next((row for row in reversed(results.gaps) if row["oracle_gap"] is not None), {})
    git = made.get("git")
    commit = f"commit {git['commit'][:12]}{' with changes' if git['dirty'] else ''} · " if git else ""
    started = made.get(TIMING, {}).get("started", "time unknown")
    found = f"{span(tested['oracle_gap_ci'])} by {tested['br_name']}" if tested else "none measured yet"
    cards = [
        ("last oracle gap, 95 %", gap_text(tested.get("oracle_gap"), None), found),
        ("solver gap", number(last.get("solver_gap"), ".1e"), "tests the solver, not the agents"),
        ("restricted gap", span(last.get("restricted_gap_ci")), "95 %, all cells at once"),
        ("population", str(len(results.population)), f"support of σ: {len(results.support)}"),
        ("time", duration(results.seconds), f"{len(results.mixtures)} mixtures solved"),
    ]
    boxes = "".join(
        f'<div class="card"><span>{name}</span><b>{escape(value)}</b><span>{escape(note)}</span></div>'
        for name, value, note in cards
    )
    told = "".join(
        f'<div class="warn{" bad" if warned.red else ""}">{escape(warned.text)}</div>'
        for warned in sorted(warnings(results), key=lambda warned: not warned.red)
    )
    return (
        f"<h1>{escape(_title(results))}</h1>"
        f'<p class="faint">{escape(started)} · {commit}seed {escape(str(made.get("seed", "–")))}<br>'
        f"{escape(_machine(results))}<br><code>{escape(shlex.join(made.get('command', [])))}</code></p>"
        f"{told}<div class='cards'>{boxes}</div>"
    )


def _gaps(results: Results) -> str:
    rows = []
    for row in results.gaps:
        gap = escape(gap_text(row["oracle_gap"], row["oracle_gap_ci"]))
        none_found = row["oracle_gap"] is not None and row["oracle_gap"] <= 0
        rows.append(
            [
                str(row["iteration"]),
                str(row.get("population_size", "–")),
                f'<span class="red">{gap}</span>' if none_found else gap,
                escape(row["br_name"] or "–"),
                number(row.get("hindsight_gap")),
                span(row.get("restricted_gap_ci")),
                number(row.get("solver_gap"), ".1e"),
            ]
        )
    head = ["mixture", "members", "oracle gap, 95 %", "measured by", "hindsight gap"]
    head += ["restricted gap", "solver gap"]
    caption = (
        "Oracle gap: payoff of a best response freshly trained against the mixture, on battles it was "
        "neither trained nor selected on; a lower bound on the mixture’s exploitability. At 0 or below, no "
        "exploit was found. The last mixture has met no best response yet. Hindsight gap: what the best of "
        "all members trained by the end wins against it. A payoff is 2 × win rate − 1."
    )
    return _section(
        "How exploitable was the mixture?",
        _figure(figures.gap_curve(results), caption, "oracle gap with its interval, by iteration"),
        _table(head, rows, "pin"),
    )


def _shade(rate: float) -> str:
    """The background of a win rate: red for losing, white for even, blue for winning; ink reads on all."""
    end = (110, 166, 217) if rate > 0.5 else (232, 135, 124)
    weight = min(1.0, abs(2 * rate - 1))
    return "#" + "".join(f"{round(250 + (channel - 250) * weight):02x}" for channel in end)


def _heat_map(results: Results) -> str:
    names = results.table.names
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
    lines = []
    for i, name in enumerate(names):
        cells = []
        for j, other in enumerate(names):
            found = None if i == j else cell_rate(results.table, i, j)
            if found:
                rate, low, high, words = found
                title = escape(f"{name} against {other}: {words}; payoff {2 * rate - 1:+.3f}")
                text = f"{100 * rate:.1f}<small>{100 * low:.1f}–{100 * high:.1f}</small>"
                cells.append(f'<td style="background:{_shade(rate)}" title="{title}">{text}</td>')
            else:
                cells.append(
                    '<td class="self">·</td>' if i == j else '<td class="unplayed" title="not played">–</td>'
                )
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    battles = sum(cell.wins + cell.draws + cell.losses for cell in results.table.cells.values())
    note = (
        '<p class="faint">Win rate in % of the row against the column, a draw being half a win, and its '
        f"95 % interval (Wilson on pairs). {battles:,} battles; the counts show under the pointer.</p>"
    )
    table = (
        f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )
    return _section("Payoff table", f'<div class="scroll">{table}</div>' if names else "", note)


def _mixture(results: Results) -> str:
    colour = figures.colours(results)
    expected = dict(
        zip(results.analysis.get("policy_names", []), results.analysis.get("expected_winrates", []))
    )
    rows = [
        [
            f'<span class="chip" style="background:{colour.get(name, "#ccc")}"></span>{escape(name)}',
            f"{100 * p:.1f} %" if p > NEGLIGIBLE else "0",
            f"{100 * expected[name]:.1f} %" if expected.get(name) is not None else "–",
        ]
        for name, p in results.sigma.items()
    ]
    caption = "The equilibrium of every iteration’s table; of several, the one of maximum entropy."
    return _section(
        "The mixture σ over time, and its support",
        _figure(figures.mixture_bars(results), caption, "mixture by iteration, stacked bars"),
        _table(["member", "probability in the last σ", "measured win rate against it"], rows),
    )


def _win_rates(results: Results) -> str:
    columns, rows = opponents(results), []
    for response in results.best_responses:
        evaluation = response.evaluation
        for where, teams in (("versus", ""), ("final", ", evaluation teams")):
            if not evaluation.get(where):
                continue
            row = [escape(response.name + teams)]
            for name in columns:
                record = evaluation[where].get(name)
                text = escape(rate_text(record)).replace(" [", "<small>[").replace("]", "]</small>")
                none_found = name == SIGMA and record and (record["winrate"] or 0.0) <= 0.5
                red = none_found or (response is results.best_responses[-1] and short(name, record))
                row.append(f'<span class="red">{text}</span>' if red else text)
            share = evaluation.get("data", {}).get("collected_share")
            row.append("–" if share is None or teams else f"{100 * share:.1f} %")
            rows.append(row)
    head = ["best response", *("σ" if name == SIGMA else escape(name) for name in columns)]
    head += ["cloned data from this iteration"]
    note = (
        '<p class="faint">Win rate on fresh battles, 95 % interval on pairs. σ is the mixture that the best '
        "response was trained against. Red: below what the last best response should reach, or no exploit "
        "found.</p>"
    )
    return _section("Best responses against everyone", _table(head, rows, "pin") if rows else "", note)


def _training(results: Results) -> str:
    if not results.best_responses:
        return ""
    caption = (
        "Validation battles, which choose the checkpoint; they are not the battles reported above. "
        "Band: 95 % interval."
    )
    training = figures.training_curves(results)
    return _section(
        "Training of the best responses",
        _figure(figures.validation_curves(results), caption, "validation win rate by update"),
        _figure(training, "Learner metrics by step.", "learner metrics by step") if training else "",
    )


def _time(results: Results) -> str:
    if not results.phases:
        return ""
    longest = max(results.phases.values()) or 1.0
    rows = [
        [
            escape(name),
            duration(seconds),
            f"{100 * seconds / (sum(results.phases.values()) or 1.0):.0f} %",
            f'<div class="bar" style="width:{max(1, 220 * seconds / longest):.0f}px"></div>',
        ]
        for name, seconds in results.phases.items()
    ]
    return _section("Time by phase", _table(["phase", "time", "share", ""], rows))


def _population(results: Results) -> str:
    rows = [
        [
            escape(entry.name),
            escape(entry.policy_type),
            escape(entry.description),
            escape(entry.checkpoint or "–"),
        ]
        for entry in results.population
    ]
    head = ["name", "kind", "description", "checkpoint"]
    return _section("Population", _table(head, rows, "left"))


def _config(results: Results) -> str:
    rows = [
        [escape(key), f"<code>{escape(json.dumps(value))}</code>"] for key, value in results.config.items()
    ]
    manifest = escape(json.dumps(results.manifest, indent=1, ensure_ascii=False))
    return _section(
        "Configuration",
        _table(["knob", "value"], rows, "left"),
        f"<details><summary>manifest.json</summary><pre class='scroll'>{manifest}</pre></details>",
    )
