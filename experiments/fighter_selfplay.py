"""Self-play PPO with an opponent model on the platform fighter.

python3 -m uv run experiments/fighter_selfplay.py --preset smoke
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from jaxnash.games.fighter.rewards import weights_of
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore_state, save, save_state
from jaxnash.runs.cli import command_line
from jaxnash.runs.cli import main as cli
from jaxnash.runs.device import choose, described, mesh_of, meter
from jaxnash.runs.directory import run_directory
from jaxnash.runs.fighter import Parts, State, evaluated, iterate, parts_of, start
from jaxnash.runs.fighter_alerts import alerts, news
from jaxnash.runs.fighter_curves import curve, hypotheses
from jaxnash.runs.fighter_knobs import (
    PRESETS,
    Knobs,
    checked,
    differing,
    from_arguments,
    rollout_frames,
    rows_of,
    rows_of_minibatch,
    steps_of,
    updates_of,
)
from jaxnash.runs.fighter_memory import memory_line, predicted
from jaxnash.runs.fighter_pool import pool, write_origins
from jaxnash.runs.fighter_tables import write_tables
from jaxnash.runs.files import TIMING, now, plain, read_jsonl
from jaxnash.runs.run import append_jsonl, logger, open_run, update_summary
from jaxnash.types import JaxnashError, Neural

METRIC = "based_win_rate"
LINES = 20  # of progress, about, that a whole run prints


def main() -> None:
    cli(lambda: run(parsed(sys.argv[1:])))


def parsed(arguments: list[str]) -> Knobs:
    """The knobs of the command line; what it leaves out is the preset's, or the resumed run's."""
    left, defaults = from_arguments(arguments)
    return command_line(Knobs, "fighter", args=left, default=defaults, description=__doc__)


def run(knobs: Knobs) -> Path:
    """Check, say what will be done, train, evaluate. Returns the run directory."""
    stop.watch()
    console = Console()
    devices = choose(checked(knobs).device)
    parts = parts_of(knobs, mesh_of(devices, knobs.devices))
    run_dir = run_directory("fighter", knobs.run_dir, resume=knobs.resume)
    rivals = [] if saved(run_dir) else pool(knobs.pool, parts.spec, knobs.keep_snapshots)
    config = plain(knobs.__dict__) | {"run_dir": str(run_dir), "updates": updates_of(knobs)}
    open_run(run_dir, config=config, resume=knobs.resume, command=sys.argv, seed=knobs.seed)
    log, state = logger(run_dir), begun(knobs, parts, run_dir, rivals)
    told = [f"{len(rivals)} policies of the pool are the first snapshots"] if rivals else []
    device = described(devices, knobs.devices)
    for line in [f"run directory {run_dir}", device, *resolved(knobs, parts), *told]:
        console.print(line, highlight=False)
        log.info(line)
    train(knobs, parts, state, run_dir, console, meter(devices[: knobs.devices]))
    return run_dir


def resolved(knobs: Knobs, parts: Parts) -> list[str]:
    """What the knobs come to."""
    shapes = jax.eval_shape(parts.policy.init, jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    rows, frames = rows_of(knobs), rollout_frames(knobs)
    part = rows_of_minibatch(knobs)
    tokens = rows * (
        knobs.span + (knobs.segment if knobs.encoder == "causal" else knobs.segment * knobs.span)
    )
    told = [
        f"{size:,} parameters ({4 * size / 2**20:.3g} MiB), {knobs.keep_snapshots} snapshots "
        f"({4 * size * knobs.keep_snapshots / 2**20:.4g} MiB)",
        f"{updates_of(knobs):,} updates of {frames:,} frames ({rows} matches of {knobs.segment}), a snapshot "
        f"every {knobs.save_every:,}; {tokens:,} tokens an epoch, minibatches of {part * knobs.segment:,} "
        f"frames, {steps_of(knobs):,} optimiser steps",
        memory_line(predicted(knobs, parts)),
    ]
    if knobs.guided:
        told.append(
            f"led for the first {knobs.guided * knobs.frames:,.0f} frames, in their second half less and "
            "less: own falls forgiven, coming nearer paid; rows tell the rewards without that"
        )
    if knobs.preset in ("test", "full"):
        apart = differing(PRESETS["test"], PRESETS["full"])
        shown = ", ".join(f"{name} {one} / {other}" for name, (one, other) in apart.items())
        told.append(f"test and full differ in {shown}")
    return told


def begun(knobs: Knobs, parts: Parts, run_dir: Path, rivals: list[tuple[Path, Neural]]) -> State:
    """The state of the last checkpoint, or a fresh one with these opponents of its pool."""
    folder, steps = run_dir / "checkpoints", saved(run_dir)
    if not steps:
        write_origins(run_dir, [], [path for path, _ in rivals])
        return start(knobs, parts, [rival.params for _, rival in rivals])
    try:
        return State(*restore_state(folder, jax.eval_shape(partial(start, knobs, parts)))[1])
    except JaxnashError as error:
        before = f"to go on from update {steps[-2]}" if len(steps) > 1 else "to begin anew"
        raise JaxnashError(f"{error}; if it is damaged, remove {folder / str(steps[-1])} {before}") from error


def saved(run_dir: Path) -> list[int]:
    """The updates after which the run has checkpoints."""
    return sorted(int(step.name) for step in (run_dir / "checkpoints").glob("*") if step.name.isdigit())


def train(
    knobs: Knobs, parts: Parts, state: State, run_dir: Path, console: Console, usage: Callable[[], Any]
) -> None:
    """Update to the end or a stop: a row each, evaluations, snapshots and checkpoints in turn."""
    log, total, frames = logger(run_dir), updates_of(knobs), rollout_frames(knobs)
    apart = max(1, total // LINES)
    metrics, weights = run_dir / "metrics.jsonl", weights_of(knobs.rewards)
    rows = read_jsonl(metrics) if metrics.exists() else []
    rows = [row for row in rows if row["update"] <= int(state.update)]
    while int(state.update) < total and not stop.requested():
        began = time.perf_counter()
        state, row = iterate(knobs, parts, state)
        update = int(state.update)
        trained = time.perf_counter() - began
        if update == total or _passed(update, frames, knobs.evaluate_every):
            row |= measured(knobs, parts, state)
        seconds = {"train": trained, "evaluate": time.perf_counter() - began - trained}
        row |= {TIMING: {"timestamp": now(), "seconds": sum(seconds.values()), "phases": seconds}}
        row[TIMING]["usage"] = usage()
        standing = alerts([*rows, plain(row)], weights)
        row["alerts"] = [alert._asdict() for alert in standing]
        append_jsonl(metrics, row, key="update")
        update_summary(run_dir, metric=METRIC)
        for alert in news(standing, rows):
            log.warning("alert: %s: %s", *alert)
            console.print(f"alert: {alert.told}", style="yellow", highlight=False)
        rows.append(plain(row))
        if row["snapshot_saved"]:
            name = f"snapshot_{row['frames']}"
            params = parts.learner.policy(state.learner)
            save(run_dir / "snapshots" / name, params=params, spec=parts.spec, name=name)
            _tidy(run_dir / "snapshots", knobs.keep_snapshots)
            write_origins(run_dir, rows)
        if update % knobs.checkpoint_every == 0:
            save_state(run_dir / "checkpoints", update, state, keep=knobs.keep)
        told = said(row, frames / trained)
        log.info(told)
        if METRIC in row or update == 1 or update % apart == 0:
            write_tables(run_dir)
            console.print(told, highlight=False)
    save_state(run_dir / "checkpoints", int(state.update), state, keep=knobs.keep)
    write_tables(run_dir)
    if int(state.update) < total:
        stop.leave(int(state.update), say=console.print)
    params = parts.learner.policy(state.learner)
    save(run_dir / "policy", params=params, spec=parts.spec, name=knobs.name)
    if knobs.preset in ("test", "full"):
        told = hypotheses(curve(rows, "based"))
        log.info(told)
        console.print(told, highlight=False)


def measured(knobs: Knobs, parts: Parts, state: State) -> dict[str, Any]:
    """The learner against the scripts."""
    key = jax.random.fold_in(jax.random.key(knobs.seed + 1), int(state.update))
    found = evaluated(knobs, parts, parts.learner.policy(state.learner), key)
    return {"evaluation": found, METRIC: found["based"]["win_rate"]}


def said(row: dict[str, Any], speed: float) -> str:
    """A row in words."""
    told = f"{row['frames']:,} frames, {len(row['matches'])} matches ended, {speed:,.0f} frames/s"
    for name, found in row.get("evaluation", {}).items():
        low, high = found["win_rate_interval"]
        told += (
            f"; {name}: {found['win_rate']:.3f} [{low:.3f}, {high:.3f}] of {found['matches']}, damage "
            f"{found['damage_dealt']:.0f} / {found['damage_taken']:.0f}, knock-outs by hit "
            f"{found['knock_outs_by_hit']}, alone {found['knock_outs_alone']}"
        )
    return told


def _passed(update: int, frames: int, every: int) -> bool:
    """Whether a multiple of `every` frames was passed with this update."""
    return every > 0 and update * frames // every > (update - 1) * frames // every


def _tidy(folder: Path, keep: int) -> None:
    """Remove all but the last snapshots."""
    import shutil

    held = sorted(folder.glob("snapshot_*"), key=lambda path: int(path.name.rpartition("_")[2]))
    for path in held[:-keep]:
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
