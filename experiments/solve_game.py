"""Solve a two-player zero-sum game exactly and say how exploitable the solution is.

python3 -m uv run experiments/solve_game.py --game leduc --recipe pcfr+ --iterations 10000
"""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from jaxnash.cfr import CFR, RECIPES, Progress, Result, State, Tree, compile_tree, init, public_form, solve
from jaxnash.cfr.tree import histories
from jaxnash.games import from_openspiel, goofspiel, holdem_subgame, kuhn, leduc, liars_dice
from jaxnash.games.game import HistoryTree, PublicGame, TreeError, TreeGame
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore_state, save_state
from jaxnash.runs.cli import command_line
from jaxnash.runs.cli import main as cli
from jaxnash.runs.directory import run_directory
from jaxnash.runs.files import TIMING
from jaxnash.runs.named import made
from jaxnash.runs.run import (
    append_jsonl,
    logger,
    open_run,
    read_jsonl,
    update_summary,
    write_bytes,
    write_json,
)
from jaxnash.types import JaxnashError

GAMES = {"kuhn": kuhn, "leduc": leduc, "liars_dice": liars_dice, "goofspiel": goofspiel}
HOLDEM = {"turn": 4, "river": 5}  # cards on the board
OPENSPIEL = "openspiel:"
POINTS = 100  # of the curve, where --evaluate-every does not say
SHOWN = 40  # infosets that are printed
LISTED = 5000  # infosets that policy.csv is written for


@dataclass(frozen=True)
class Knobs:
    """What is solved, how, and where it is written."""

    game: str = "leduc"
    """kuhn, leduc, "liars_dice(dice=1,sides=6)", "goofspiel(cards=4)", turn, river (hold'em: see --board).
    Any other name is OpenSpiel's, where it is installed: tic_tac_toe, "openspiel:liars_dice(numdice=1)"."""
    recipe: str = "cfr+"
    """cfr, cfr+, linear-cfr, dcfr, dcfr+, pcfr+, sapcfr+, pdcfr+, hs-dcfr, hs-pcfr+.
    Parameters in brackets, "dcfr(alpha=1.5,beta=0.5)"; the hs recipes are scheduled over --iterations."""
    iterations: int = 1000
    """Iterations in all."""
    evaluate_every: int | None = None
    """Iterations between measurements of exploitability; by default a hundredth of --iterations."""
    target: float | None = None
    """Stop at this exploitability, in the game's own unit."""
    dtype: Literal["float64", "float32"] = "float64"
    """Precision of all that is computed."""
    form: Literal["auto", "sequence", "public"] = "auto"
    """Arrays by sequence, or by public node and private hand; auto: public where the game has hands."""
    board: str | None = None
    """Hold'em: the cards on the table, such as Ks7d2c9h3s."""
    pot: float = 100.0
    """Hold'em: chips in the middle."""
    stack: float = 200.0
    """Hold'em: chips behind, of each player."""
    bet_sizes: tuple[float, ...] = (0.5, 1.0)
    """Hold'em: bets and raises as fractions of the pot; all-in is always allowed."""
    max_raises: int = 3
    """Hold'em: bets and raises on a street."""
    save_every: float = 30.0
    """Seconds between saves of the state; it is saved when a measurement is made."""
    run_dir: str | None = None
    """Where the run is written; the next free runs/solve_game_<n> by default."""
    resume: bool = False
    """Continue the run in --run-dir (by default the latest), also after kill -9."""


def main() -> None:
    cli(lambda: run(command_line(Knobs, "solve_game", description=__doc__)))


def run(knobs: Knobs) -> Path:
    """Build, solve, write. Returns the run directory."""
    stop.watch()
    console = Console()
    # What the user named is looked at before anything is written.
    recipe = recipe_of(checked(knobs))
    began = time.perf_counter()
    with console.status(f"building {knobs.game}"):
        tree, form = build(knobs)
    seconds = {"build_seconds": time.perf_counter() - began}
    run_dir = run_directory("solve_game", knobs.run_dir, resume=knobs.resume)
    config = dataclasses.asdict(knobs) | {"run_dir": str(run_dir)}
    open_run(run_dir, config=config, resume=knobs.resume, command=sys.argv, seed=0)  # nothing here is random
    log = logger(run_dir)
    told = f"{knobs.game}: {len(tree.infosets):,} infosets in {form} form, {seconds['build_seconds']:.1f} s"
    console.print(f"run directory {run_dir}\n{told}", highlight=False)
    log.info(told)
    result = solved(knobs, tree, recipe, run_dir, console)
    rows = read_jsonl(run_dir / "metrics.jsonl")
    seconds |= {"compile_seconds": result.compile_seconds, "seconds": rows[-1][TIMING]["seconds"]}
    write(knobs, tree, form, run_dir, result, rows, seconds)
    show(knobs, tree, run_dir, result, seconds, console)
    return run_dir


def solved(knobs: Knobs, tree: Tree, recipe: CFR, run_dir: Path, console: Console) -> Result:
    """`jaxnash.cfr.solve` from the last saved state on, with a bar, a row a measurement and saved states."""
    log, (rows, state) = logger(run_dir), saved(run_dir, tree, recipe)
    earlier = rows[-1][TIMING]["seconds"] if rows else 0.0
    first = rows[-1]["iteration"] if rows else 0
    ended = bool(rows) and reached(knobs, rows[-1]["exploitability"])
    iterations = first if ended else knobs.iterations
    note = TextColumn("{task.fields[note]:<22}")
    columns = BarColumn(bar_width=12), MofNCompleteColumn(), note, TimeElapsedColumn(), TimeRemainingColumn()
    bar = Bar(*columns, console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=knobs.iterations, completed=first, note="compiling")
    last_save = time.monotonic()

    def on_progress(now: Progress) -> None:
        nonlocal last_save
        row = {"iteration": now.iteration, "exploitability": now.exploitability, "value": now.value}
        row |= {TIMING: {"seconds": earlier + now.seconds}}
        append_jsonl(run_dir / "metrics.jsonl", row, key="iteration")
        told = f"exploitability {now.exploitability:.1e}"
        bar.update(task, completed=now.iteration, note=told)
        done = now.iteration >= iterations or reached(knobs, now.exploitability)
        leaving = stop.requested() and not done
        if done or leaving or time.monotonic() - last_save >= knobs.save_every:
            save_state(run_dir / "checkpoints", now.iteration, now.state)
            last_save = time.monotonic()
            log.info("iteration %d: %s", now.iteration, told)
            if not console.is_terminal:  # no bar there
                console.print(f"iteration {now.iteration:,}: {told}", highlight=False)
        if leaving:
            stop.leave(now.iteration, say=partial(console.print, highlight=False, soft_wrap=True))

    with bar:
        return solve(
            tree,
            recipe,
            iterations=iterations,
            evaluate_every=knobs.evaluate_every or max(1, knobs.iterations // POINTS),
            target=knobs.target,
            state=state,
            on_progress=on_progress,
        )


def saved(run_dir: Path, tree: Tree, recipe: CFR) -> tuple[list[dict], State | None]:
    """The rows up to the last saved state, and that state; none where nothing was saved yet."""
    folder = run_dir / "checkpoints"
    if not folder.is_dir() or not any(step.name.isdigit() for step in folder.iterdir()):
        return [], None
    with jax.enable_x64(tree.dtype == np.float64):
        template = jax.eval_shape(partial(init, recipe=recipe), tree.arrays)
        step, state = restore_state(folder, template)
    rows = [row for row in read_jsonl(run_dir / "metrics.jsonl") if row["iteration"] <= step]
    return rows, state


def reached(knobs: Knobs, exploitability: float) -> bool:
    return knobs.target is not None and exploitability <= knobs.target


def checked(knobs: Knobs) -> Knobs:
    """The same knobs, or `JaxnashError` naming the first that cannot be."""
    for name in ("iterations", "evaluate_every"):
        value = getattr(knobs, name)
        if value is not None and value < 1:
            raise JaxnashError(f"--{name.replace('_', '-')} is {value}: pass at least 1")
    if (knobs.board is not None) != (knobs.game in HOLDEM):
        raise JaxnashError("--board goes with --game turn (four cards) or river (five): pass both or neither")
    return knobs


def recipe_of(knobs: Knobs) -> CFR:
    return made("recipe", knobs.recipe, RECIPES, horizon=knobs.iterations)


def build(knobs: Knobs) -> tuple[Tree, str]:
    """The compiled game and the form it took."""
    game, dtype = game_of(knobs), np.dtype(knobs.dtype).type
    if isinstance(game, PublicGame):
        if knobs.form == "sequence":
            raise JaxnashError(f"{knobs.game} has a public form only: leave --form out")
        return compile_tree(game, dtype=dtype), "public"
    written = histories(game) if isinstance(game, TreeGame) else game
    if knobs.form != "sequence":
        try:
            public = public_form(written)
        except TreeError:
            if knobs.form == "public":
                raise
        else:
            if knobs.form == "public" or max(map(len, public.hands)) > 1:
                return compile_tree(public, dtype=dtype), "public"
    return compile_tree(written, dtype=dtype), "sequence"


def game_of(knobs: Knobs) -> TreeGame | HistoryTree | PublicGame:
    """The game that --game names."""
    if knobs.game in HOLDEM:
        game = holdem_subgame(
            knobs.board or "", knobs.pot, knobs.stack, knobs.bet_sizes, max_raises=knobs.max_raises
        )
        if len(knobs.board or "") != 2 * HOLDEM[knobs.game]:
            raise JaxnashError(f"--board {knobs.board}: a {knobs.game} has {HOLDEM[knobs.game]} cards")
        return game
    if knobs.game.partition("(")[0].strip() in GAMES:
        return made("game", knobs.game, GAMES)
    try:
        return from_openspiel(knobs.game.removeprefix(OPENSPIEL))
    except TreeError as error:
        if knobs.game.startswith(OPENSPIEL):
            raise
        known = ", ".join([*GAMES, *HOLDEM])
        raise JaxnashError(f"{knobs.game!r} is none of {known}; as a game of OpenSpiel: {error}") from error


def write(
    knobs: Knobs,
    tree: Tree,
    form: str,
    run_dir: Path,
    result: Result,
    rows: list[dict],
    seconds: dict[str, float],
) -> None:
    """result.json, policy.npz, policy.csv (small games), exploitability.png, summary.json."""
    policy = {
        "policy": result.policy,
        "infosets": np.array(tree.infosets),
        "player": tree.player,
        "legal": tree.legal,
    }
    file = io.BytesIO()
    np.savez_compressed(file, **policy)
    write_bytes(run_dir / "policy.npz", file.getvalue())
    if len(tree.infosets) <= LISTED:
        lines = io.StringIO()
        sheet = csv.writer(lines, lineterminator="\n")
        sheet.writerow(["infoset", "player", *(f"action_{a}" for a in range(tree.legal.shape[1]))])
        for name, player, legal, row in zip(tree.infosets, tree.player, tree.legal, result.policy.tolist()):
            sheet.writerow([name, player, *(p if ok else "" for p, ok in zip(row, legal))])
        write_bytes(run_dir / "policy.csv", lines.getvalue().encode())
    title = f"{knobs.game} {knobs.board or ''}".strip() + f" · {knobs.recipe} · {form} form · {knobs.dtype}"
    write_bytes(run_dir / "exploitability.png", figure(title, rows))
    update_summary(run_dir, metric="exploitability", lower_is_better=True)
    write_json(
        run_dir / "result.json",
        {
            "game": knobs.game,
            "recipe": knobs.recipe,
            "form": form,
            "dtype": knobs.dtype,
            "infosets": len(tree.infosets),
            "iterations": result.iterations,
            "value": result.value,
            "exploitability": result.exploitability,
            "curve": [[row["iteration"], row["exploitability"]] for row in rows],
            TIMING: seconds | {"curve_seconds": [row[TIMING]["seconds"] for row in rows]},
        },
    )


def figure(title: str, rows: list[dict]) -> bytes:
    """Exploitability by iteration and by second as a PNG, logarithmic: rounding's zeros are left out."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from jaxnash.runs.figures import COLOURS, INK, STYLE

    shown = [row for row in rows if row["exploitability"] > 0 and row[TIMING]["seconds"] > 0]
    y = [row["exploitability"] for row in shown]
    seconds = [row[TIMING]["seconds"] for row in shown]
    panels = [("iteration", [row["iteration"] for row in shown]), ("seconds, compilation left out", seconds)]
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(8.4, 3.8), layout="constrained")
        drawn.suptitle(title, fontsize=11, color=INK)
        for axes, (label, x) in zip(drawn.subplots(1, 2, sharey=True), panels):
            axes.loglog(x, y, color=COLOURS[0], linewidth=1.4)
            axes.set_xlabel(label)
            if shown:
                axes.plot(x[-1], y[-1], "o", color=COLOURS[5], markersize=6, zorder=3)
                where = f"{x[-1]:,}" if label == "iteration" else f"{x[-1]:.3g} s"
                place = {"transform": axes.transAxes, "ha": "right", "va": "top"}
                axes.text(0.97, 0.96, f"{y[-1]:.2g} at {where}", fontsize=10, color=COLOURS[5], **place)
            for axis, span in ((axes.xaxis, x), (axes.yaxis, y)):
                if shown and max(span) < 30 * min(span):  # hardly a power of ten within
                    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                    axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter(NullFormatter())
        drawn.axes[0].set_ylabel("exploitability")
        out = io.BytesIO()
        drawn.savefig(out, format="png", dpi=150, metadata={"Software": None})
    return out.getvalue()


def show(
    knobs: Knobs, tree: Tree, run_dir: Path, result: Result, seconds: dict[str, float], console: Console
) -> None:
    """The result and, where it is small, the strategy."""
    share = f" ({100 * result.exploitability / knobs.pot:.3g} % of the pot)" if knobs.game in HOLDEM else ""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in {
        "value for player 0": f"{result.value:.9g}",
        "exploitability": f"{result.exploitability:.3e}{share}",
        "iterations": f"{result.iterations:,}",
        "seconds": f"{seconds['seconds']:.3g}, measurements included",
        "to build, to compile": f"{seconds['build_seconds']:.1f} s, {seconds['compile_seconds']:.1f} s",
    }.items():
        table.add_row(Text(name, style="dim"), value)
    console.print(table)
    if len(tree.infosets) <= SHOWN:
        actions = range(tree.legal.shape[1])
        columns = ["infoset", *(f"action {a}" for a in actions)]
        table = Table(*columns, box=None, pad_edge=False, header_style="dim")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, legal, row in zip(tree.infosets, tree.legal, result.policy):
            table.add_row(Text(name), *(f"{row[a]:.4f}" if legal[a] else "·" for a in actions))
        console.print()
        console.print(table)
    console.print(Text(f"policy, curve and figure: {run_dir}"), soft_wrap=True)


if __name__ == "__main__":
    main()
