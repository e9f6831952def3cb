"""What a PSRO run directory says, read back from its files for the report; tolerates an unfinished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from jaxnash.psro.gaps import NO_EXPLOIT
from jaxnash.psro.members import Entry, population_from_json
from jaxnash.psro.tournament import Table, flipped, from_json, interval, wilson, winrate
from jaxnash.runs.files import TIMING, read_json, read_jsonl

SIGMA = "sigma"
FLOORS = {
    "random": 0.95,
    "max-base-power": 0.55,
}  # what the last best response has to win, or the report is red
NEGLIGIBLE = 1e-6  # a probability below this is shown as 0: the LP's own accuracy


class BestResponse(NamedTuple):
    name: str
    iteration: int
    evaluation: dict[str, Any]
    metrics: list[dict[str, Any]]


class Results(NamedTuple):
    run_dir: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    planned: int | None  # iterations the run was to have; None before psro_summary.json is there
    iterations: list[dict[str, Any]]  # rows of psro_summary.json, or of the iteration summaries so far
    population: tuple[Entry, ...]  # the last one
    table: Table  # the last one; without names before the first tournament
    mixtures: dict[int, dict[str, float]]  # by iteration
    analysis: dict[str, Any]  # the last one
    best_responses: list[BestResponse]  # the evaluated ones
    phases: dict[str, float]  # seconds
    seconds: float | None  # of the whole run

    @property
    def sigma(self) -> dict[str, float]:
        """The last mixture, by name, largest first."""
        last = self.mixtures[max(self.mixtures)] if self.mixtures else {}
        return dict(sorted(last.items(), key=lambda item: -item[1]))

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """A row per mixture: its iteration, members and gaps, and the oracle gap against it.

        That one was measured by the next iteration's best response, `br_name`; None for the last mixture.
        """
        next_rows = {row["iteration"]: row for row in self.iterations}
        rows = []
        for row in self.iterations:
            tested = next_rows.get(row["iteration"] + 1, {})
            oracle = {key: tested.get(key) for key in ("br_name", "oracle_gap", "oracle_gap_ci")}
            rows.append({**row, **oracle})
        return rows

    @property
    def support(self) -> dict[str, float]:
        return {name: p for name, p in self.sigma.items() if p > NEGLIGIBLE}


def short(opponent: str, record: dict[str, Any] | None) -> bool:
    """Does the last best response's record against this opponent fall below what it should reach?"""
    return bool(record) and (record["winrate"] is None or record["winrate"] < FLOORS.get(opponent, 0.0))


class Warned(NamedTuple):
    red: bool  # a result that falls short; otherwise something to know
    text: str


def read_results(run_dir: str | Path) -> Results:
    """Read a run. Raises `JaxnashError` naming the file that is missing (config.json) or broken."""
    run_dir = Path(run_dir)
    folders = sorted(
        (int(folder.name.split("_")[1]), folder)
        for folder in run_dir.glob("iteration_*")
        if folder.name.split("_")[1].isdigit()
    )
    summary = _optional(run_dir / "psro_summary.json")
    rows = summary.get("iterations")
    if rows is None:
        rows = [_optional(folder / "iteration_summary.json") for _, folder in folders]
    strategies = {i: _optional(folder / "meta_strategy.json") for i, folder in folders}
    population = _last(folders, "population.json")
    table = _last(folders, "interaction_matrix.json")
    timing = summary.get(TIMING, {})
    phases = dict(timing.get("phases", {}))
    total = timing.get("total", phases.pop("all", None))
    return Results(
        run_dir=run_dir,
        config=read_json(run_dir / "config.json"),
        manifest=_optional(run_dir / "manifest.json"),
        planned=summary.get("num_iterations"),
        iterations=[row for row in rows if row],
        population=population_from_json(population) if population else (),
        table=from_json(table) if table else Table((), {}),
        mixtures={i: _mixture(strategy) for i, strategy in strategies.items() if strategy},
        analysis=_last(folders, "meta_game_analysis.json"),
        best_responses=[response for i, folder in folders for response in _best_responses(i, folder)],
        phases=phases,
        seconds=sum(phases.values()) if total is None and phases else total,
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _last(folders: list[tuple[int, Path]], name: str) -> dict[str, Any]:
    return next((read_json(folder / name) for _, folder in reversed(folders) if (folder / name).exists()), {})


def _mixture(strategy: dict[str, Any]) -> dict[str, float]:
    mixture = strategy["meta_strategy"]
    return mixture if isinstance(mixture, dict) else dict(zip(strategy["policy_names"], mixture))


def _best_responses(iteration: int, folder: Path) -> list[BestResponse]:
    return [
        BestResponse(path.parent.name, iteration, read_json(path), _metrics(path.parent))
        for path in sorted(folder.glob("br_training/*/evaluation.json"))
    ]


def _metrics(folder: Path) -> list[dict[str, Any]]:
    lines = folder / "metrics.jsonl"
    return read_jsonl(lines) if lines.exists() else _optional(folder / "rows.json").get("rows", [])


def cell_rate(table: Table, i: int, j: int) -> tuple[float, float, float, str] | None:
    """Win rate of i against j with its 95 % interval, and the counts in words; None when unplayed."""
    cell = table.cells.get((min(i, j), max(i, j)))
    if cell is None or not cell.pairs:
        return None
    cell = cell if i < j else flipped(cell)
    words = f"{cell.wins} won, {cell.draws} drawn, {cell.losses} lost, {cell.pairs} pairs"
    return winrate(cell), *interval(cell), words


def gap_text(gap: float | None, ci: list[float] | None) -> str:
    """An oracle gap for people: at 0 or below it says that no exploit was found."""
    if gap is None:
        return "–"
    around = "" if not ci or None in ci else f" [{ci[0]:+.3f}, {ci[1]:+.3f}]"
    return (f"{gap:+.3f}" if gap > 0 else NO_EXPLOIT) + around


def rate_text(record: dict[str, Any] | None) -> str:
    """ "58.7 % [54.2, 63.1]" of one entry of evaluation.json's "versus"."""
    if not record or record.get("winrate") is None:
        return "–"
    around = record.get("winrate_ci")
    text = f"{100 * record['winrate']:.1f} %"
    return text + (f" [{100 * around[0]:.1f}, {100 * around[1]:.1f}]" if around else "")


def opponents(results: Results) -> list[str]:
    """Whom the best responses were tried against, in the order of the population, sigma last."""
    seen = {name for response in results.best_responses for name in response.evaluation.get("versus", {})}
    known = [entry.name for entry in results.population if entry.name in seen]
    return known + sorted(seen - {*known, SIGMA}) + [SIGMA] * (SIGMA in seen)


def warnings(results: Results) -> list[Warned]:
    """What a reader must not overlook; `red` where a result falls short."""
    found = []
    if results.best_responses:
        last = results.best_responses[-1]
        for name, floor in FLOORS.items():
            for where, teams in (("versus", ""), ("final", " on the evaluation teams")):
                record = last.evaluation.get(where, {}).get(name)
                if short(name, record):
                    text = (
                        f"{last.name}, the last best response, wins {rate_text(record)} against {name}{teams}"
                    )
                    found.append(Warned(True, f"{text}, below the {100 * floor:.0f} % it should reach"))
    below, unsure = [], []
    for response in results.best_responses:
        gap, versus = response.evaluation.get("oracle_gap"), response.evaluation.get("versus", {})
        against = versus.get(SIGMA, {})
        tested = gap is not None and against.get("pairs")
        if gap is not None and gap <= 0:
            below.append(f"{response.name} (win rate {rate_text(against)} against σ)")
        elif tested and wilson(against["winrate"], against["pairs"], 0.99)[0] <= 0.5:
            unsure.append(response.name)
        for name, record in versus.items():
            if record.get("invalid"):
                text = f"{response.name} made {record['invalid']} invalid choices against {name}"
                found.append(Warned(True, text))
    if below:
        found.append(Warned(True, f"{NO_EXPLOIT} by {', '.join(below)}: these bound nothing"))
    if unsure:
        text = f"the oracle gap found by {', '.join(unsure)} is not significantly above 0 (99 % on pairs)"
        found.append(Warned(False, text))
    if results.config.get("backend") == "engine":
        text = "PPO played on the JAX engine; every figure here was measured on Showdown"
        found.append(Warned(False, text))
    size = len(results.table.names)
    unplayed = size * (size - 1) // 2 - len(results.table.cells)
    if unplayed:
        text = f"{unplayed} of the pairs are unplayed: their payoff is anything in [−1, 1], not 0"
        found.append(Warned(True, text))
    if results.planned is None:
        found.append(Warned(False, "the run is not finished: this report shows what is there so far"))
    if any(session.get("changed") for session in results.manifest.get("resumed", [])):
        text = "the run was resumed under other versions or on another device (see the manifest)"
        found.append(Warned(False, text))
    return found


def duration(seconds: float | None) -> str:
    """ "40.2 s", "6 min 42 s", "1 h 05 min"."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None, form: str = "+.3f") -> str:
    return "–" if value is None else format(value, form)


def span(ci: list[float] | None) -> str:
    return "–" if not ci or None in ci else f"[{ci[0]:.3f}, {ci[1]:.3f}]"
