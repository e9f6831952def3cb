"""A run directory as an experiment leaves it, generated: members have strengths and styles."""

from __future__ import annotations

import math
import random
from pathlib import Path

from jaxnash.psro.gaps import analysis, oracle_gap
from jaxnash.psro.members import Entry, population_to_json
from jaxnash.psro.meta_solvers import nash
from jaxnash.psro.tournament import (
    Cell,
    Table,
    cell_from_scores,
    interval,
    pairs_missing,
    payoffs,
    to_csv,
    to_json,
    winrate,
)
from jaxnash.runs.run import append_jsonl, close_run, open_run, update_summary, write_bytes, write_json

SCRIPTED = {"random": 0.0, "max-base-power": 2.4, "gen1-boss-ai": 3.0, "grunt": 3.3, "gym-leader": 3.5}
SCRIPTED |= {"simple-heuristics": 3.6}
TEAMS = "5f1d0c3a"
PHASES = {
    "tournament": 61.5,
    "collection": 40.2,
    "cloning": 62.0,
    "ppo": 181.3,
    "evaluation": 44.4,
    "meta": 0.6,
}


def strength(name: str) -> float:
    return SCRIPTED[name] if name in SCRIPTED else 3.6 + 0.25 * int(name.split("_")[1])


def rate(a: str, b: str) -> float:
    style = {name: 2.1 * k for k, name in enumerate([*SCRIPTED, *(f"br_{i}" for i in range(1, 12))])}
    return 1 / (1 + math.exp(strength(b) - strength(a) - 0.9 * math.sin(style[a] - style[b])))


def played(rng: random.Random, p: float, pairs: int) -> Cell:
    draw = lambda: 0.5 if rng.random() < 0.01 else float(rng.random() < p)  # noqa: E731
    return cell_from_scores([(draw(), draw()) for _ in range(pairs)], teams=TEAMS)


def exactly(wins: int, losses: int) -> Cell:
    """A cell of even numbers of wins and losses, each pair won or lost twice."""
    return cell_from_scores([(1, 1)] * (wins // 2) + [(0, 0)] * (losses // 2), teams=TEAMS)


def versus(cell: Cell) -> dict:
    return {
        "winrate": winrate(cell),
        "winrate_ci": list(interval(cell)),
        "battles": 2 * cell.pairs,
        "pairs": cell.pairs,
        "wins": cell.wins,
        "draws": cell.draws,
        "losses": cell.losses,
    }


def make_run(run_dir: Path, *, iterations: int = 3, last: dict[str, Cell] | None = None) -> Path:
    """Write a finished run; `last` overrides what the last best response scored, by opponent."""
    rng = random.Random(7)
    config = {"iterations": iterations, "seed": 7, "team_set": "train", "learning_rate": 3e-4, "workers": 2}
    config |= {"battle_format": "gen1ou", "battles_per_matchup": 200, "run_dir": str(run_dir)}
    command = ["experiments/psro_gen1ou.py", "--seed", "7", "--run-dir", str(run_dir)]
    open_run(run_dir, config=config, resume=False, command=command, seed=7)
    table = Table(tuple(SCRIPTED), {})
    rows = []
    for iteration in range(iterations + 1):
        folder = run_dir / f"iteration_{iteration}"
        gap = None
        if iteration:
            br = f"br_{iteration}"
            cells = {name: played(rng, rate(br, name), 100) for name in SCRIPTED}
            cells["sigma"] = played(rng, 0.66 - 0.04 * iteration, 200)
            cells |= (last or {}) if iteration == iterations else {}
            gap = oracle_gap(cells["sigma"])
            final = {name: played(rng, rate(br, name), 40) for name in SCRIPTED}
            train_best_response(
                rng, folder / "br_training" / br, cells, final if iteration == iterations else {}
            )
            table = Table((*table.names, br), table.cells)
        new = {
            (i, j): played(rng, rate(table.names[i], table.names[j]), 100) for i, j in pairs_missing(table)
        }
        table = Table(table.names, {**table.cells, **new})
        solution = nash(payoffs(table))
        entries = [
            Entry(name, "heuristic", "scripted")
            if name in SCRIPTED
            else Entry(name, "checkpoint", "best response <trained>", f"br_training/{name}/checkpoint")
            for name in table.names
        ]
        report = analysis(table, solution)
        write_json(folder / "population.json", population_to_json(entries))
        write_json(folder / "interaction_matrix.json", to_json(table))
        write_bytes(folder / "interaction_matrix.csv", to_csv(table).encode())
        strategy = dict(zip(table.names, solution.row.tolist()))
        write_json(
            folder / "meta_strategy.json", {"meta_strategy": strategy, "policy_names": list(table.names)}
        )
        write_json(folder / "meta_game_analysis.json", report)
        row = {
            "iteration": iteration,
            "br_name": f"br_{iteration}" if iteration else None,
            "population_size": len(table.names),
            "oracle_gap": gap.gap if gap else None,
            "oracle_gap_ci": list(gap.ci) if gap else None,
            "solver_gap": report["solver_gap"],
            "restricted_gap_ci": report["restricted_gap_ci"],
            "hindsight_gap": 0.3 / (1 + iteration) - 0.075,
            "timing": {"seconds": 130.5 + iteration},
        }
        write_json(folder / "iteration_summary.json", row)
        append_jsonl(run_dir / "metrics.jsonl", row, key="iteration")
        rows.append(row)
    write_json(
        run_dir / "psro_summary.json",
        {
            "iterations": rows,
            "phase0_dir": str(run_dir / "iteration_0"),
            "save_dir": str(run_dir),
            "num_iterations": iterations,
            "timing": {"phases": PHASES, "total": 402.0},
        },
    )
    update_summary(run_dir, metric="oracle_gap", lower_is_better=True)
    close_run(run_dir)
    return run_dir


def train_best_response(
    rng: random.Random, folder: Path, cells: dict[str, Cell], final: dict[str, Cell]
) -> None:
    curve = []
    for update in range(0, 61, 10):
        cell = played(rng, 0.5 + 0.1 * (1 - math.exp(-update / 25)), 100)
        curve.append({"update": update, "winrate": winrate(cell), "winrate_ci": list(interval(cell))})
    gap = oracle_gap(cells["sigma"])
    write_json(
        folder / "evaluation.json",
        {
            "versus": {name: versus(cell) for name, cell in cells.items()},
            "final": {name: versus(cell) for name, cell in final.items()},
            "oracle_gap": gap.gap,
            "oracle_gap_ci": list(gap.ci),
            "verdict": gap.text,
            "curve": curve,
            "chosen": max(curve, key=lambda point: point["winrate"])["update"],
            "data": {"collected_share": 0.7125, "samples": 81920},
        },
    )
    for step in range(1, 61):
        metrics = {
            "step": step,
            "phase": "clone" if step <= 3 else "ppo",
            "entropy": 1.2 * math.exp(-step / 80) + rng.uniform(0, 0.03),
            "timing": {"seconds": 1.1},
        }
        if step > 3:
            metrics["approx_kl"] = 0.01 + rng.uniform(0, 0.004)
            metrics["explained_variance"] = float("nan") if step == 4 else 0.6 * (1 - math.exp(-step / 10))
        append_jsonl(folder / "metrics.jsonl", metrics, key="step")
