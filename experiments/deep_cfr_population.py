"""A population of deep CFR agents: train, match all pairs, let the best go on, mutate, and again.

python3 -m uv run experiments/deep_cfr_population.py --preset leduc
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jaxnash.cfr import exploitability
from jaxnash.memory import available_memory
from jaxnash.psro.meta_solvers import nash
from jaxnash.psro.tournament import Table, pairs_missing, payoffs
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import save_state
from jaxnash.runs.cli import command_line
from jaxnash.runs.cli import main as cli
from jaxnash.runs.deep_cfr import iterate
from jaxnash.runs.deep_cfr_forecast import predicted_bytes
from jaxnash.runs.deep_cfr_knobs import Knobs, config_of, from_arguments
from jaxnash.runs.directory import run_directory
from jaxnash.runs.files import TIMING, now
from jaxnash.runs.population import (
    begun,
    exact_policy,
    holds_steps,
    meeting,
    parts_for,
    restored_agent,
    sampler_for,
    strategy_of,
    table_for,
    table_from_json,
    table_to_csv,
    table_to_json,
)
from jaxnash.runs.population_knobs import (
    HYPERPARAMETERS,
    Agent,
    PopulationKnobs,
    agent_knobs,
    checked_population,
    defaults,
    first_pool,
    largest,
    next_pool,
    pool_from_json,
    pool_to_json,
    ranked,
)
from jaxnash.runs.run import (
    append_jsonl,
    close_run,
    logger,
    open_run,
    read_json,
    read_jsonl,
    update_summary,
    write_bytes,
    write_json,
)
from jaxnash.types import JaxnashError


class Run(NamedTuple):
    """What all stages need."""

    knobs: PopulationKnobs
    run_dir: Path
    console: Console
    bar: Progress
    deadline: float  # of the monotonic clock

    def folder(self, generation: int) -> Path:
        return self.run_dir / f"generation_{generation}"

    def say(self, line: str) -> None:
        logger(self.run_dir).info(line)
        self.console.print(line, highlight=False, soft_wrap=True)

    def leave_if_asked(self, done: str) -> None:
        """End here, where all is saved, after a stop or the time limit."""
        if stop.requested() or time.monotonic() >= self.deadline:
            self.bar.stop()
            logger(self.run_dir).info("left after %s", done)
            stop.leave(done)


def main() -> None:
    cli(lambda: run(parsed(sys.argv[1:])))


def parsed(arguments: list[str]) -> PopulationKnobs:
    left, base = from_arguments(arguments)
    if "--at" in left:
        raise JaxnashError("a population has no @: --resume RUN continues where it stopped")
    default = defaults(base.preset)
    return command_line(
        PopulationKnobs, "deep_cfr_population", args=left, default=default, description=__doc__
    )


def run(knobs: PopulationKnobs) -> Path:
    """Generation by generation: who is in it, training, matches, ranking. Returns the run directory."""
    stop.watch()
    console = Console()
    refuse_too_large(checked_population(knobs))
    run_dir = run_directory("deep_cfr_population", knobs.run_dir, resume=knobs.resume)
    config = dataclasses.asdict(knobs) | {"run_dir": str(run_dir)}
    open_run(run_dir, config=config, resume=knobs.resume, command=sys.argv, seed=knobs.seed)
    columns = BarColumn(bar_width=12), TextColumn("{task.fields[note]}"), TimeElapsedColumn()
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    now_running = Run(knobs, run_dir, console, bar, time.monotonic() + 3600 * knobs.max_hours)
    now_running.say(f"run directory {run_dir}")
    pool: list[Agent] = []
    ranking: list[str] = []
    with bar:
        for generation in range(knobs.generations):
            pool, ranking = one_generation(now_running, generation, pool, ranking)
        write_result(now_running, ranking[0])
    return run_dir


def refuse_too_large(knobs: PopulationKnobs) -> None:
    """Raise where the largest agent there can be does not fit memory. One is trained at a time."""
    for choice in knobs.hidden:
        one = agent_knobs(knobs, largest(knobs, choice))
        needed, there = predicted_bytes(one, parts_for(one)), available_memory()
        if needed > there:
            raise JaxnashError(
                f"an agent with --hidden {choice} needs {needed / 2**30:.3g} GiB and {there / 2**30:.3g} GiB "
                f"are available: take a smaller --memory (now {knobs.memory:,} decisions a player) or network"
            )


def one_generation(
    run: Run, generation: int, before: list[Agent], ranking: list[str]
) -> tuple[list[Agent], list[str]]:
    """Train and rank a generation. What is on disk is not done again."""
    knobs, folder = run.knobs, run.folder(generation)
    if (folder / "population.json").exists():
        pool = pool_from_json(read_json(folder / "population.json"))
    else:
        pool = next_pool(knobs, generation, before, ranking) if generation else first_pool(knobs)
        write_json(folder / "population.json", pool_to_json(pool, generation))
    done = folder / "generation_summary.json"
    if done.exists():
        return pool, read_json(done)["ranking"]
    clock = time.perf_counter()
    for agent in pool:
        train(run, generation, agent)
    trained = time.perf_counter()
    if generation and not knobs.keep_checkpoints:  # all who inherit have done so
        for agent in before:
            shutil.rmtree(run.folder(generation - 1) / agent.name / "checkpoints", ignore_errors=True)
    table = tournament(run, generation, pool)
    summary = summarised(run, generation, pool, table)
    seconds = {"train": trained - clock, "matches": time.perf_counter() - trained}
    timing = {"timestamp": now(), "seconds": sum(seconds.values()), "phases": seconds}
    append_jsonl(run.run_dir / "metrics.jsonl", summary | {TIMING: timing}, key="iteration")
    update_summary(run.run_dir, metric="exploitability", lower_is_better=True)
    tell(run, summary)
    write_json(done, summary)  # last: a kill before it repeats the rest
    return pool, summary["ranking"]


def train(run: Run, generation: int, agent: Agent) -> None:
    """An agent's run of deep CFR up to the end of a generation: a normal run directory, and what it plays."""
    folder = run.folder(generation) / agent.name
    if holds_steps(folder / "strategy"):
        return
    knobs, last = agent_knobs(run.knobs, agent, run_dir=folder), run.knobs.each * (generation + 1)
    parts, table = parts_for(knobs), table_for(knobs.game)
    open_run(folder, config=config_of(knobs), resume=folder.exists(), command=sys.argv, seed=knobs.seed)
    log, where = logger(folder), f"generation_{generation}/{agent.name}"
    state = begun(knobs, agent, run_dir=folder, generation=generation)
    task = run.bar.add_task("", total=last, completed=int(state.iteration), note=where)
    found, sampler = None, sampler_for(knobs)
    try:
        while (t := int(state.iteration)) < last:
            clock = time.perf_counter()
            state, row, seconds = iterate(knobs, parts, sampler, state)
            t += 1
            if t == last:
                before = time.perf_counter()
                found, row["policy_loss"] = strategy_of(knobs, parts, state)
                if table is not None:
                    policy = exact_policy(knobs, table, found)
                    row["exploitability"] = exploitability(table.tree, policy)
                    row["exploitability_kind"] = "exact"
                seconds["measure"] = time.perf_counter() - before
            saving = t % knobs.checkpoint_every == 0 or t == last
            if saving:
                row["checkpoint_path"] = f"checkpoints/{t}"
            timing = {"timestamp": now(), "seconds": time.perf_counter() - clock, "phases": seconds}
            # before its checkpoint, so that a kill between the two costs no row
            append_jsonl(folder / "metrics.jsonl", row | {TIMING: timing}, key="iteration")
            log.info("iteration %d: value loss %.4g", t, row["value_loss"])
            run.bar.update(task, completed=t, note=f"{where}: iteration {t:,} of {last:,}")
            asked = stop.requested() or time.monotonic() >= run.deadline
            if saving or asked:
                save_state(folder / "checkpoints", t, state, keep=1)
            if asked and t < last:
                run.leave_if_asked(f"iteration {t} of {where}")
    finally:
        sampler.close()
    write_agent(knobs, folder, last)
    save_state(folder / "strategy", last, found or strategy_of(knobs, parts, state)[0])
    run.bar.remove_task(task)
    close_run(folder)
    for handler in list(log.handlers):
        handler.close()
        log.removeHandler(handler)
    run.leave_if_asked(f"iteration {last} of {where}")


def write_agent(knobs: Knobs, folder: Path, iterations: int) -> None:
    """result.json and summary.json of an agent, as deep_cfr.py writes them."""
    update_summary(folder, metric="exploitability", lower_is_better=True)
    rows = read_jsonl(folder / "metrics.jsonl")
    names = ("iteration", "nodes", "exploitability", "exploitability_kind")
    curve = [[row[name] for name in names] for row in rows if "exploitability" in row]
    content = {
        "game": knobs.game,
        "algorithm": knobs.algorithm,
        "iterations": iterations,
        "curve": curve,
    }
    seconds = sum(row[TIMING]["seconds"] for row in rows)
    write_json(folder / "result.json", content | {TIMING: {"seconds": seconds}})


def tournament(run: Run, generation: int, pool: list[Agent]) -> Table:
    """All pairs, each written as soon as it is played."""
    folder = run.folder(generation)
    path, names = folder / "interaction_matrix.json", tuple(agent.name for agent in pool)
    table = table_from_json(read_json(path)) if path.exists() else Table(names, {})
    if not (missing := pairs_missing(table)):
        return table
    meet = meeting(run.knobs, [restored_agent(run.knobs, run.run_dir, generation, agent) for agent in pool])
    for i, j in missing:
        cell = meet(i, j, (run.knobs.seed, "match", generation, i, j))
        table = Table(names, {**table.cells, (i, j): cell})
        write_bytes(folder / "interaction_matrix.csv", table_to_csv(table).encode())
        write_json(path, table_to_json(table))
        run.leave_if_asked(f"{names[i]} against {names[j]} in generation {generation}")
    return table


def summarised(run: Run, generation: int, pool: list[Agent], table: Table) -> dict[str, Any]:
    """What a generation comes to: its equilibrium, the ranking, and each agent's figures."""
    knobs = run.knobs
    matrix = payoffs(table, payoff=lambda cell: cell.mean)
    mixture, mean = nash(matrix).row, matrix.sum(axis=1) / (len(pool) - 1)
    last = [read_jsonl(run.folder(generation) / name / "metrics.jsonl")[-1] for name in table.names]
    gaps = [row["exploitability"] for row in last] if knobs.select == "exploitability" else None
    ranking = ranked(table.names, mixture, mean, gaps)
    agents = {
        agent.name: {
            "mean_payoff": float(mean[k]),
            "probability": float(mixture[k]),
            "exploitability": last[k].get("exploitability"),
            "nodes": last[k]["nodes"],
            "num_updates": last[k]["num_updates"],
        }
        | {key: getattr(agent, key) for key in HYPERPARAMETERS}
        for k, agent in enumerate(pool)
    }
    best = agents[ranking[0]]
    row = {
        "generation": generation,
        "iteration": knobs.each * (generation + 1),
        "best": ranking[0],
        "mean_payoff": best["mean_payoff"],
        "payoff_kind": next(iter(table.cells.values())).kind,
        "ranking": ranking,
        "agents": agents,
    }
    if best["exploitability"] is not None:
        row |= {"exploitability": best["exploitability"], "exploitability_kind": "exact"}
    return row


def tell(run: Run, row: dict[str, Any]) -> None:
    """A generation in words, the best agent first."""
    what = parts_for(agent_knobs(run.knobs, first_pool(run.knobs)[0])).what
    run.say(
        f"generation {row['generation']}, {row['iteration']:,} iterations ({row['payoff_kind']} payoffs):"
    )
    for name in row["ranking"]:
        agent = row["agents"][name]
        exact = agent["exploitability"]
        gap = (
            ""
            if exact is None
            else f", exploitability {1000 * exact / what.unit:.4g} milli-{what.unit_name}s"
        )
        settings = ", ".join(f"{key} {agent[key]}" for key in HYPERPARAMETERS)
        won = f"{agent['mean_payoff']:+.4f} chips a hand, probability {agent['probability']:.2f}{gap}"
        run.say(f"  {name}: {won}; {settings}")


def write_result(run: Run, best: str) -> None:
    """result.json: each generation's best agent, and the last of them on fresh hands against the others."""
    knobs, last = run.knobs, run.knobs.generations - 1
    rows = [read_json(run.folder(g) / "generation_summary.json") for g in range(knobs.generations)]
    names = [f"generation_{row['generation']}/{row['best']}" for row in rows]
    content = {
        "game": knobs.game,
        "algorithm": knobs.algorithm,
        "best": names[last],
        "hyperparameters": {key: rows[last]["agents"][best][key] for key in HYPERPARAMETERS},
        "curve": [[row["iteration"], row.get("exploitability"), name] for row, name in zip(rows, names)],
        "against_earlier": [],
    }
    if last:
        pools = [
            pool_from_json(read_json(run.folder(g) / "population.json")) for g in range(knobs.generations)
        ]
        champions = [
            next(agent for agent in pool if agent.name == row["best"]) for pool, row in zip(pools, rows)
        ]
        meet = meeting(
            knobs,
            [restored_agent(knobs, run.run_dir, g, agent) for g, agent in enumerate(champions)],
        )
        cells = {(0, 1 + g): meet(last, g, (knobs.seed, "final", g)) for g in range(last)}
        table = table_to_json(Table((names[last], *names[:last]), cells))
        content["against_earlier"] = table["matchups"]
        for row in table["matchups"]:
            low, high = row["payoff_ci"]
            told = "exact" if row["kind"] == "exact" else f"[{low:+.4f}, {high:+.4f}]"
            run.say(f"{row['policy1']} against {row['policy2']}: {row['payoff']:+.4f} chips a hand, {told}")
    write_json(run.run_dir / "result.json", content | {TIMING: {"timestamp": now()}})


if __name__ == "__main__":
    main()
