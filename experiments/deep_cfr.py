"""Deep CFR for poker: train by sampled regrets, and measure how exploitable the average policy is.

python3 -m uv run experiments/deep_cfr.py --preset leduc
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jaxnash.cfr import exploitability
from jaxnash.learners.exact import Infosets, infosets
from jaxnash.memory import available_memory
from jaxnash.rollouts.sampling import Sampler, here, workers
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore_state, save_state
from jaxnash.runs.cli import command_line
from jaxnash.runs.cli import main as cli
from jaxnash.runs.deep_cfr import (
    Parts,
    State,
    build,
    counts_of,
    exact_policy,
    iterate,
    parts_of,
    start,
)
from jaxnash.runs.deep_cfr_forecast import predicted_bytes, probe
from jaxnash.runs.deep_cfr_knobs import Knobs, checked, config_of, from_arguments
from jaxnash.runs.deep_cfr_rivals import agent, earned, local
from jaxnash.runs.directory import run_directory
from jaxnash.runs.files import TIMING, now
from jaxnash.runs.run import append_jsonl, logger, open_run, read_jsonl, update_summary, write_json
from jaxnash.types import JaxnashError


def main() -> None:
    cli(lambda: run(parsed(sys.argv[1:])))


def parsed(arguments: list[str]) -> Knobs:
    """The knobs of the command line; what it leaves out is the preset's, or the resumed run's."""
    left, defaults = from_arguments(arguments)
    return command_line(Knobs, "deep_cfr", args=left, default=defaults, description=__doc__)


def run(knobs: Knobs) -> Path:
    """Check, predict, train, measure. Returns the run directory."""
    stop.watch()
    console = Console()
    parts = parts_of(checked(knobs))
    refuse_too_large(knobs, parts)
    table = infosets(parts.what.tree) if parts.what.tree is not None else None
    run_dir = run_directory("deep_cfr", knobs.run_dir, resume=knobs.resume)
    config = config_of(knobs) | {"run_dir": str(run_dir)}
    open_run(run_dir, config=config, resume=knobs.resume, command=sys.argv, seed=knobs.seed)
    state = resumed(knobs, parts, run_dir)
    log = logger(run_dir)
    console.print(f"run directory {run_dir}", highlight=False)
    forecast, left = probe(knobs, parts, state), knobs.iterations - int(state.iteration)
    told = (
        f"predicted: {forecast.nodes:,.0f} nodes and {forecast.seconds:.2g} s an iteration "
        f"({', '.join(f'{name} {seconds:.2g} s' for name, seconds in forecast.phases.items())}), "
        f"{forecast.bytes / 2**30:.2g} GiB, {forecast.seconds * left / 3600:.2g} h to go"
    )
    for line in [told, *warnings(knobs, forecast.nodes)]:
        console.print(line, highlight=False)
        log.info(line)
    task = partial(build, parts.plan)
    sampler = here(task) if knobs.workers == 1 else workers(task, knobs.workers)
    try:
        train(knobs, parts, sampler, state, table, run_dir, console)
    finally:
        sampler.close()
    return run_dir


def refuse_too_large(knobs: Knobs, parts: Parts) -> None:
    """Raise where the run will not fit memory."""
    needed, there = predicted_bytes(knobs, parts), available_memory()
    if needed > there:
        raise JaxnashError(
            f"this run needs {needed / 2**30:.3g} GiB and {there / 2**30:.3g} GiB are available: take a "
            f"smaller --memory (now {knobs.memory:,} decisions a player), --lanes or network"
        )


def warnings(knobs: Knobs, nodes: float) -> list[str]:
    """What the user should know before it starts."""
    told = []
    new = nodes / 4  # about a quarter of all nodes are decisions of the traverser
    passes = 2 * knobs.steps * knobs.batch_size / max(new, 1)
    if knobs.batch_size < 128:
        told.append(
            f"warning: --batch-size {knobs.batch_size} with --steps {knobs.steps} makes {passes:.2g} passes "
            "over an iteration's new samples; a batch of 512 or more makes as many in fewer, larger steps"
        )
    if knobs.workers > (os.cpu_count() or 1):
        told.append(
            f"warning: {knobs.workers} workers share {os.cpu_count()} cores: more than that slow each other"
        )
    return told


def resumed(knobs: Knobs, parts: Parts, run_dir: Path) -> State:
    """The state of the last checkpoint or of the one asked for, or a fresh one.

    Going back to an earlier checkpoint removes the later ones: what they hold is done again, and a run that
    is killed before it comes there must not continue from them.
    """
    folder = run_dir / "checkpoints"
    there = sorted(int(step.name) for step in folder.glob("*") if step.name.isdigit())
    if knobs.at is not None and knobs.at not in there:
        known = f": there are {', '.join(map(str, there))}" if there else ""
        raise JaxnashError(f"no checkpoint of iteration {knobs.at} in {folder}{known}")
    if not there:
        return start(knobs, parts)
    wanted = there[-1] if knobs.at is None else knobs.at
    template, hook = jax.eval_shape(partial(start, knobs, parts)), sys.unraisablehook
    # a read that fails leaves threads which complain that nobody waits for them any more
    sys.unraisablehook = lambda told: None if "loop is closed" in str(told.exc_value) else hook(told)
    try:
        state = State(*restore_state(folder, template, step=wanted)[1])
    except JaxnashError as error:
        others = [f"continue with --resume {run_dir}@{step}" for step in there if step != wanted]
        ways_out = ", or ".join([*others, f"remove {folder} to begin anew"])
        raise JaxnashError(f"{error}; if iteration {wanted} is damaged, {ways_out}") from error
    sys.unraisablehook = hook
    for step in there:
        if step > wanted:
            gone = (folder / str(step)).rename(folder / f"{step}.orbax-checkpoint-tmp")  # whole or not at all
            shutil.rmtree(gone)
            logger(run_dir).info("went back to iteration %d: removed the checkpoint of %d", wanted, step)
    return state


def train(
    knobs: Knobs,
    parts: Parts,
    sampler: Sampler,
    state: State,
    table: Infosets | None,
    run_dir: Path,
    console: Console,
) -> None:
    """Iterate to the end, the time limit or a stop: a row each, measurements and checkpoints in turn."""
    log, began = logger(run_dir), time.monotonic()
    owed: dict[str, float] = {}  # seconds of the last checkpoint, which the next row tells
    note = TextColumn("{task.fields[note]}")
    columns = BarColumn(bar_width=12), MofNCompleteColumn(), note, TimeElapsedColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=knobs.iterations, completed=int(state.iteration), note="")
    with bar:
        while True:
            t = int(state.iteration)
            ended = t >= knobs.iterations or enough(knobs, state)
            late = time.monotonic() - began >= knobs.max_hours * 3600
            if ended or late or stop.requested():
                save(knobs, run_dir, state)
                break
            clock = time.perf_counter()
            state, row, seconds = iterate(knobs, parts, sampler, state)
            t += 1
            if measured(knobs, t, table) or (table is not None and enough(knobs, state)):
                before = time.perf_counter()
                row |= measurement(knobs, parts, state, table)
                seconds["measure"] = time.perf_counter() - before
            if due := t % knobs.checkpoint_every == 0:
                row["checkpoint_path"] = f"checkpoints/{t}"
            total = time.perf_counter() - clock + owed.get("checkpoint", 0.0)
            row |= {TIMING: {"timestamp": now(), "seconds": total, "phases": seconds | owed}}
            append_jsonl(run_dir / "metrics.jsonl", row, key="iteration")
            owed = {}
            if due:  # after its row, or a kill between the two would lose the row
                before = time.perf_counter()
                save(knobs, run_dir, state)
                owed = {"checkpoint": time.perf_counter() - before}
            told = said(parts, row)
            log.info("iteration %d: %s, %.2f s", t, told, total)
            bar.update(task, completed=t, note=told)
            if "exploitability" in row or t == 1 or "checkpoint_path" in row:
                update_summary(run_dir, metric="exploitability", lower_is_better=True)
                if not console.is_terminal:
                    console.print(f"iteration {t:,}: {told}", highlight=False)
    if int(state.iteration):
        write_result(knobs, run_dir, state)
    if not ended:
        why = "the time limit" if late else "a stop"
        log.info("ended by %s after iteration %d", why, t)
        stop.leave(t, say=console.print)


def measured(knobs: Knobs, iteration: int, table: Infosets | None) -> bool:
    """Every so many iterations, and after the last unless that is a long work that 0 forbids."""
    if iteration == knobs.iterations:
        return table is not None or knobs.evaluate_every > 0
    return knobs.evaluate_every > 0 and iteration % knobs.evaluate_every == 0


def measurement(knobs: Knobs, parts: Parts, state: State, table: Infosets | None) -> dict[str, Any]:
    """How exploitable the average policy is, exactly or bounded from below, and what it earns from others."""
    row: dict[str, Any] = {}
    if table is not None:
        policy, loss = exact_policy(knobs, parts, table, state)
        row |= {"policy_loss": loss, "exploitability": exploitability(table.tree, policy)}
        row |= {"exploitability_kind": "exact"}
    elif knobs.lbr_pairs:
        key = jax.random.fold_in(jax.random.key(knobs.seed), int(state.iteration))
        found = local(knobs, parts, key, agent(knobs, parts, state), pairs=knobs.lbr_pairs)
        row |= {"exploitability": found.mean, "exploitability_kind": found.kind}
        row |= {"exploitability_interval": [found.low, found.high]}
    if knobs.match_pairs:
        row |= {"chips_per_hand": earned(knobs, parts, state, pairs=knobs.match_pairs)}
    return row


def enough(knobs: Knobs, state: State) -> bool:
    return knobs.max_nodes is not None and counts_of(state)[0] >= knobs.max_nodes


def said(parts: Parts, row: dict) -> str:
    """A row in words."""
    loss = f"{row['nodes']:,} nodes, value loss {row['value_loss']:.4g}"
    if "exploitability" not in row:
        return loss
    told = 1000 * row["exploitability"] / parts.what.unit
    return f"{loss}, exploitability {told:.4g} milli-{parts.what.unit_name}s ({row['exploitability_kind']})"


def save(knobs: Knobs, run_dir: Path, state: State) -> None:
    if not int(state.iteration):
        return
    try:
        save_state(run_dir / "checkpoints", int(state.iteration), state, keep=knobs.keep)
    except JaxnashError as error:
        raise JaxnashError(f"{error}; check the disk (is it full?) and continue with --resume") from error


def write_result(knobs: Knobs, run_dir: Path, state: State) -> None:
    """result.json and summary.json, from the rows."""
    rows = read_jsonl(run_dir / "metrics.jsonl")
    update_summary(run_dir, metric="exploitability", lower_is_better=True)
    curve = [
        [row["iteration"], row["nodes"], row["exploitability"], row["exploitability_kind"]]
        for row in rows
        if "exploitability" in row
    ]
    seconds = sum(row[TIMING]["seconds"] for row in rows)
    content = {
        "game": knobs.game,
        "algorithm": knobs.algorithm,
        "iterations": int(state.iteration),
        "curve": curve,
    }
    write_json(run_dir / "result.json", content | {TIMING: {"seconds": seconds}})


if __name__ == "__main__":
    main()
