"""PSRO on Gen 1 OU: from an empty machine to a report, in one command.

python3 -m uv run experiments/psro_gen1ou.py --help
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxnash.policies.spec import token_spec
from jaxnash.psro.gaps import OracleGap, analysis
from jaxnash.psro.loop import PSROState, loop
from jaxnash.psro.members import Entry, population_to_json
from jaxnash.psro.tournament import to_csv, to_json
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore
from jaxnash.runs.cli import command_line
from jaxnash.runs.cli import main as cli
from jaxnash.runs.directory import run_directory
from jaxnash.runs.display import Display
from jaxnash.runs.gen1_engine import check_members
from jaxnash.runs.gen1_forecast import estimate
from jaxnash.runs.gen1ou import League, latest
from jaxnash.runs.knobs import Knobs, checked, first_members, first_population, trains_on_engine
from jaxnash.runs.report import terminal_report, write_report
from jaxnash.runs.run import (
    append_jsonl,
    logger,
    now,
    open_run,
    saver,
    update_summary,
    write_bytes,
    write_json,
)
from jaxnash.runs.stages import STAGES
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.simulator import cache_dir, check_format, install
from jaxnash.showdown.teams import load_teams
from jaxnash.types import Member, Neural

SMOKE = {
    "iterations": 1,
    "battles_per_matchup": 8,
    "collection_battles": 48,
    "oracle_epochs": 1,
    "oracle_updates": 2,
    "oracle_battles": 16,
    "validation_battles": 16,
    "validate_every": 2,
    "test_battles": 40,
    "final_battles": 16,
}


def main() -> None:
    cli(lambda: run(checked(parsed())))


def parsed() -> Knobs:
    """The knobs of the command line; what it leaves out is the default, or the resumed run's."""
    knobs = command_line(Knobs, "psro_gen1ou", description=__doc__)
    return dataclasses.replace(knobs, **SMOKE) if knobs.smoke else knobs


def run(knobs: Knobs) -> Path:
    """Play, solve, train, repeat, report. Returns the run directory."""
    stop.watch()
    check_format(knobs.battle_format)
    jax.config.update(
        "jax_compilation_cache_dir", str(cache_dir() / "xla")
    )  # compiling takes 4 s, reading 0.3 s
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    console = Console()
    install(progress=console.print)
    # What the user named is looked at before anything is written.
    members = first_population(knobs)
    teams = load_teams(knobs.team_set), load_teams(knobs.eval_team_set)
    first = restore(knobs.init_checkpoint) if knobs.init_checkpoint else None
    check_engine(knobs, members, first)
    run_dir = run_directory("psro_gen1ou", knobs.run_dir, resume=knobs.resume)
    config = dataclasses.asdict(knobs) | {"run_dir": str(run_dir)}
    open_run(run_dir, config=config, resume=knobs.resume, command=sys.argv, seed=knobs.seed)
    log = logger(run_dir)
    minutes = estimate(knobs, len(members)) / 60
    console.print(f"run directory {run_dir}; about {minutes:.0f} minutes on two cores", highlight=False)
    started = time.monotonic()
    with (
        Display(console, estimate=60 * minutes, log=log.info) as display,
        Pool(
            workers=knobs.workers,
            turn_limit=knobs.turn_limit,
            battle_format=knobs.battle_format,
            progress=display.say,
        ) as pool,
    ):
        league = League(knobs, run_dir, pool, display, teams=teams, first=first)
        keep = saver(run_dir, STAGES)

        def saved(iteration: int, stage: str, compute: Callable[[], Any]) -> Any:
            outcome = keep(iteration, stage, compute)
            if stop.requested():
                stop.leave(f"the {stage} of iteration {iteration}", say=display.say)
            return outcome

        state = loop(
            members=members,
            play=league.tournament,
            oracle=league.oracle,
            iterations=1 if knobs.opponent else knobs.iterations,
            saved=saved,
            after=lambda iteration, state: write_iteration(run_dir, knobs, iteration, state, display),
        )
        last = state.members[-1]
        final = {}
        if isinstance(last, Neural) and last.name.startswith("br_"):
            final = league.final(len(state.solutions) - 1, last)
        write_evaluations(run_dir, state, final)
        phases = display.seconds | {"all": time.monotonic() - started}
    write_summary(run_dir, knobs, state, phases)
    write_report(run_dir)
    terminal_report(run_dir, console)
    return run_dir


def check_engine(knobs: Knobs, members: list[Member], first: Neural | None) -> None:
    """Raises `JaxnashError` where PPO is to play on the engine and a member cannot."""
    if trains_on_engine(knobs):
        start = latest(members, first)
        check_members(members, start.spec if start else token_spec(knobs.model_size), greedy=knobs.greedy)


def write_iteration(run_dir: Path, knobs: Knobs, iteration: int, state: PSROState, display: Display) -> None:
    """The files of one finished iteration, from the state alone."""
    folder = run_dir / f"iteration_{iteration}"
    given = zip_longest(state.members, first_members(knobs))
    entries = [entry_of(member, source) for member, source in given]
    solution = state.solutions[-1]
    write_json(folder / "population.json", population_to_json(entries))
    write_json(folder / "interaction_matrix.json", to_json(state.table))
    write_bytes(folder / "interaction_matrix.csv", to_csv(state.table).encode())
    mixture = dict(zip(state.names, solution.row.tolist()))
    write_json(
        folder / "meta_strategy.json",
        {
            "meta_strategy": mixture,
            "policy_names": list(state.names),
            "metadata": {
                "battle_format": knobs.battle_format,
                "battles_per_matchup": knobs.battles_per_matchup,
            },
            "timing": {"timestamp": now()},
        },
    )
    measured = analysis(state.table, solution)
    write_json(folder / "meta_game_analysis.json", measured)
    if iteration:  # the oracle's battles measured the mixture before
        oracle = state.oracle_metrics[-1]
        before = table_of(state, len(state.solutions[-2].row))
        gap = OracleGap(
            oracle["oracle_gap"],
            tuple(oracle["oracle_gap_ci"]),
            oracle["oracle_gap_significant"],
            oracle["sigma"]["pairs"],
        )
        write_json(
            run_dir / f"iteration_{iteration - 1}" / "meta_game_analysis.json",
            analysis(before, state.solutions[-2], oracle=gap),
        )
    summary = iteration_row(iteration, state)
    write_json(folder / "iteration_summary.json", summary | {"timing": {"timestamp": now()}})
    append_jsonl(run_dir / "metrics.jsonl", summary | {"timing": {"timestamp": now()}}, key="iteration")
    update_summary(run_dir, metric="oracle_gap", lower_is_better=True)
    support = ", ".join(f"{name} {p:.2f}" for name, p in mixture.items() if p > 0.005)
    display.say(f"iteration {iteration}: mixture {support}")
    if iteration:
        display.say(
            f"iteration {iteration}: oracle gap of the mixture before: {state.oracle_metrics[-1]['verdict']}"
        )


def table_of(state: PSROState, size: int):
    """The table among the first `size` members."""
    cells = {pair: cell for pair, cell in state.table.cells.items() if max(pair) < size}
    return state.table._replace(names=state.table.names[:size], cells=cells)


def iteration_row(iteration: int, state: PSROState) -> dict[str, Any]:
    """What an iteration comes to: its best response (against the mixture before) and its mixture's gaps."""
    measured = analysis(state.table, state.solutions[-1])
    oracle = state.oracle_metrics[-1] if iteration else {}
    name = oracle.get("name")
    return {
        "iteration": iteration,
        "br_name": name,
        "br_checkpoint": f"iteration_{iteration}/br_training/{name}/checkpoint" if name else None,
        "population_size": len(state.members),
        "oracle_gap": oracle.get("oracle_gap"),
        "oracle_gap_ci": oracle.get("oracle_gap_ci"),
        "verdict": oracle.get("verdict"),
        "solver_gap": measured["solver_gap"],
        "restricted_gap_ci": measured["restricted_gap_ci"],
        "hindsight_gap": state.hindsight_gaps[-1],
    }


def entry_of(member: Member, source: str | None) -> Entry:
    """A member's line in population.json; `source` is what it was given as, None for a best response, whose
    path is relative to the run directory."""
    if not isinstance(member, Neural):
        return Entry(member.name, "heuristic", f"scripted: {member.name}")
    if source is None:
        iteration = member.name.removeprefix("br_")
        path = f"iteration_{iteration}/br_training/{member.name}/checkpoint"
        about = f"best response of iteration {iteration}"
        return Entry(member.name, "checkpoint", about, path, member.greedy)
    return Entry(member.name, "pretrained", "given at the start", os.path.abspath(source))


def write_evaluations(run_dir: Path, state: PSROState, final: dict[str, Any]) -> None:
    """evaluation.json of every best response: against each member (the table) and against its mixture."""
    rows = {(row["policy1"], row["policy2"]): row for row in to_json(state.table)["matchups"]}
    for iteration, oracle in enumerate(state.oracle_metrics, start=1):
        name = oracle["name"]
        versus: dict[str, Any] = {"sigma": oracle["sigma"]}
        for other in state.names:
            row = rows.get((other, name)) if state.names.index(other) < state.names.index(name) else None
            if row is not None:
                low, high = row["winrate_ci"]
                versus[other] = {
                    "winrate": 1 - row["winrate"],
                    "winrate_ci": [1 - high, 1 - low],
                    "battles": row["total_battles"],
                    "pairs": row["pairs"],
                    "wins": row["policy2_wins"],
                    "draws": row["draws"],
                    "losses": row["policy1_wins"],
                }
        content = oracle | {"versus": versus}
        content.pop("sigma")
        if iteration == len(state.oracle_metrics):
            content["final"] = final
        write_json(run_dir / f"iteration_{iteration}" / "br_training" / name / "evaluation.json", content)


def write_summary(run_dir: Path, knobs: Knobs, state: PSROState, phases: dict[str, float]) -> None:
    """psro_summary.json: all iterations in one place."""
    rows = []
    for t, hindsight in enumerate(state.hindsight_gaps):
        partial = state._replace(
            members=state.members[: len(state.solutions[t].row)],
            table=table_of(state, len(state.solutions[t].row)),
            solutions=state.solutions[: t + 1],
            oracle_metrics=state.oracle_metrics[:t],
        )
        rows.append(iteration_row(t, partial) | {"hindsight_gap": hindsight})
    write_json(
        run_dir / "psro_summary.json",
        {
            "phase0_dir": "iteration_0",
            "save_dir": ".",
            "num_iterations": len(state.oracle_metrics),
            "members": list(state.names),
            "iterations": rows,
            "seed": knobs.seed,
            "timing": {"timestamp": now(), "phases": phases},
        },
    )


if __name__ == "__main__":
    main()
