"""CFR+ against OpenSpiel and LiteEFG: iterations a second on one core, and how far they are from the floor.

Every contender is a process of its own (`benchmarks.contenders`), all on the same core, one at a time, in
turn round by round. Before anything is timed, their NashConv after 100 iterations must agree. The floor of
ours is the traffic that an iteration cannot avoid, each array that it reads once and each that it carries on
written once, at the speed at which this core streams a buffer of that size. A contender that is not
installed, does not build in time or finds no GPU is named as such; no figure is made up for it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import CONTENDERS, serve
from benchmarks.recorded import conditions, write
from jaxnash.types import JaxnashError

OURS = ("ours, public", "ours, generic")
PEERS = ("OpenSpiel C++", "LiteEFG", "JaxCFR")
ON_GPU = (*OURS, "JaxCFR")
AGREE_AFTER = 100  # iterations
# NashConv may differ by this much; a share of it where regrets tie at zero (goofspiel) and in float32.
TOLERANCE = {"kuhn": 1e-9, "leduc": 1e-9, "liars_dice": 1e-7}
LOOSE = 0.1
GAMES = ("kuhn", "leduc", "liars_dice", "goofspiel_5")
TITLES = {"liars_dice": "liar's dice", "liars_dice_2": "liar's dice, 2 dice of 4 sides"}
LARGE = ("liars_dice_2", "goofspiel_6")  # for a GPU
TOO_LARGE = {"liars_dice_2": PEERS, "goofspiel_6": ("OpenSpiel C++", "JaxCFR")}  # who is not asked


class Aim(NamedTuple):
    game: str
    ours: str | None  # which form; None: the better one
    peer: str
    ratio: float
    figure: str = "rate"


AIMS = (
    Aim("kuhn", None, "LiteEFG", 10),
    Aim("leduc", None, "LiteEFG", 40),
    Aim("leduc", None, "OpenSpiel C++", 300),
    Aim("leduc", None, "LiteEFG", 1, "nash_conv_ms"),
    Aim("liars_dice", "ours, public", "OpenSpiel C++", 280),
    Aim("liars_dice", "ours, generic", "OpenSpiel C++", 100),
    Aim("goofspiel_5", None, "JaxCFR", 4),
    Aim("liars_dice", "ours, public, GPU", "LiteEFG", 14),  # published of another solver on a GPU: 14 to 258
    Aim("goofspiel_6", "ours, generic, GPU", "LiteEFG", 14),
)
BUILD_AIM = ("liars_dice", 6.0)  # seconds until the first iteration is done, from the game's rules


class Running(NamedTuple):
    """A contender's process that has been built."""

    process: Any
    connection: Connection
    facts: dict[str, Any]


class Gone(Exception):
    """Why a contender has no figures, or no more."""


@dataclass(frozen=True)
class Cfr:
    """CFR+ against OpenSpiel and LiteEFG on one core."""

    games: tuple[str, ...] = ()
    """by default kuhn, leduc, liars_dice, goofspiel_5 and, with a GPU, liars_dice_2, goofspiel_6"""
    contenders: tuple[str, ...] = (*OURS, *PEERS)
    """who takes part"""
    rounds: int = 5
    """rounds, of which the median counts"""
    sample: float = 0.3
    """seconds a contender runs in a round, at least"""
    build_limit: float = 180.0
    """seconds a contender may take to build (JaxCFR would take minutes on liar's dice)"""
    core: int = 0
    """the core that all of them run on"""
    write: bool = False
    """write the results to benchmarks/results/cfr.json, with a GPU cfr_gpu.json"""


def start(name: str, game: str, device: str, limit: float) -> Running:
    """Builds a contender in its process; raises `Gone` with the reason where it cannot be had."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, name, game, device), daemon=True)
    process.start()
    there.close()
    facts = _receive(process, here, limit, f"no build within {limit:.0f} s")
    if isinstance(facts, str):
        process.join()
        raise Gone(facts)
    return Running(process, here, facts)


def ask(running: Running, what: str, argument: Any = None, limit: float = 900.0) -> Any:
    """One question to a contender (`contenders.answer`); raises `Gone` where its process has died."""
    with contextlib.suppress(OSError):
        running.connection.send((what, argument))
    return _receive(running.process, running.connection, limit, f"no answer within {limit:.0f} s")


def _receive(process: Any, connection: Connection, limit: float, late: str) -> Any:
    try:
        if connection.poll(limit):
            return connection.recv()
        process.kill()
        raise Gone(late)
    except (EOFError, OSError):
        process.join()
        raise Gone(f"does not run (its process ended with {process.exitcode})") from None


def stop(running: Running) -> None:
    with contextlib.suppress(OSError):
        running.connection.send(None)
    running.process.join(10)
    running.process.kill()


def assert_agreement(game: str, found: dict[str, float]) -> None:
    """All must have the NashConv that OpenSpiel C++ has, or, without it, the first of them."""
    reference = found.get("OpenSpiel C++", next(iter(found.values()), 0.0))
    for name, value in found.items():
        exact = game in TOLERANCE and "JaxCFR" not in name
        allowed = TOLERANCE[game] if exact else LOOSE * reference
        assert abs(value - reference) <= allowed, (
            f"{game}: NashConv after {AGREE_AFTER} iterations differs, {name} has {value!r}: {found}"
        )


def measure(game: str, names: list[tuple[str, str]], config: Cfr) -> list[dict[str, Any]]:
    """The rows of one game; `names` are contenders and their devices."""
    running: dict[str, Running] = {}
    absent: dict[str, str] = {}
    try:
        for name, device in names:
            title = name if device == "cpu" else f"{name}, GPU"
            try:
                if name in TOO_LARGE.get(game, ()):
                    raise Gone("not measured (too large for it)")
                running[title] = start(name, game, device, config.build_limit)
            except Gone as reason:
                absent[title] = str(reason)
        agreed, evaluations, samples = {}, {}, {}
        for title, contender in list(running.items()):
            try:
                ask(contender, "run", AGREE_AFTER)
                agreed[title], _ = ask(contender, "nash_conv", 1)  # compiles
                if "JaxCFR" not in title:  # it has no evaluation of its own
                    evaluations[title] = ask(contender, "nash_conv", 1)[1]
                samples[title] = calibrated(contender, config.sample)
            except Gone as reason:
                absent[title] = str(reason)
                del running[title]
        assert_agreement(game, {title: agreed[title] for title in running})
        figures = _rounds(running, samples, evaluations, config.rounds)
        rows = [_row(title, contender, figures[title], agreed[title]) for title, contender in running.items()]
        return rows + [{"row": title, "absent": reason} for title, reason in absent.items()]
    finally:
        for contender in running.values():
            stop(contender)


def calibrated(contender: Running, sample: float) -> int:
    """How many iterations take `sample` seconds or a little more."""
    iterations = 1
    while True:
        spent = ask(contender, "run", iterations)
        if spent >= sample:
            return iterations
        iterations = int(iterations * min(100, 1.3 * sample / max(spent, 1e-9))) + 1


def _rounds(
    running: dict[str, Running], samples: dict[str, int], evaluations: dict[str, float], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """`samples` is the iterations of a round, `evaluations` the seconds that one NashConv took."""
    figures: dict[str, dict[str, list[float]]] = {t: {"rate": [], "nash": [], "stream": []} for t in running}
    for title, seconds in evaluations.items():
        if title in running and seconds > 1:  # once is enough
            figures[title]["nash"].append(seconds)
    for _ in range(rounds):
        for title, contender in running.items():
            figures[title]["rate"].append(samples[title] / ask(contender, "run", samples[title]))
            if "traffic" in contender.facts:
                figures[title]["stream"].append(ask(contender, "stream"))
            if evaluations.get(title, 2.0) <= 1:
                times = max(1, int(0.1 / evaluations[title]))
                figures[title]["nash"].append(ask(contender, "nash_conv", times)[1])
    return figures


def _row(title: str, contender: Running, figures: dict[str, list[float]], nash_conv: float) -> dict[str, Any]:
    rate = statistics.median(figures["rate"])
    row = {
        "row": title,
        "rate": rate,
        "rates": figures["rate"],
        "nash_conv": nash_conv,
        "nash_conv_ms": statistics.median(figures["nash"]) * 1e3 if figures["nash"] else None,
        "build_s": contender.facts["build"],
        "compile_s": contender.facts.get("compile"),
        "peak_mb": ask(contender, "peak"),
        "device": contender.facts.get("device", "cpu"),
    }
    if figures["stream"]:
        stream = statistics.median(figures["stream"])
        row["traffic_bytes"], row["stream_gb_s"] = contender.facts["traffic"], stream / 1e9
        row["floor_rate"] = stream / contender.facts["traffic"]
        row["share_of_floor"] = rate / row["floor_rate"]
    return row


def judge(games: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each aim, what was measured against it (None where either side is absent) and whether it is met."""
    judged = []
    for aim in AIMS:
        rows = {row["row"]: row for row in games.get(aim.game, []) if "absent" not in row}
        forms = [rows[form] for form in ([aim.ours] if aim.ours else OURS) if form in rows]
        ours = [row[aim.figure] for row in forms if row[aim.figure] is not None]
        peer = rows.get(aim.peer, {}).get(aim.figure)
        ratio = None
        if ours and peer is not None:
            ratio = max(ours) / peer if aim.figure == "rate" else peer / min(ours)
        what = f"{title_of(aim.game)}, {aim.ours or 'ours'}, against {aim.peer}"
        what += "" if aim.figure == "rate" else ": NashConv"
        judged.append({"aim": what, "at_least": aim.ratio, "measured": ratio, "met": _met(ratio, aim.ratio)})
    game, limit = BUILD_AIM
    for row in games.get(game, []):
        if row["row"] in OURS and "absent" not in row:
            seconds = row["build_s"] + row["compile_s"]
            what = f"{title_of(game)}, {row['row']}: build + compile, s"
            judged.append({"aim": what, "at_most": limit, "measured": seconds, "met": seconds <= limit})
    return judged


def _met(ratio: float | None, wanted: float) -> bool | None:
    return None if ratio is None else ratio >= wanted


def run(config: Cfr) -> dict[str, Any]:
    """Times all contenders on all games, prints the tables and returns what they say."""
    for word, asked, known in (
        ("contenders", config.contenders, list(CONTENDERS)),
        ("games", config.games, [*GAMES, *LARGE]),
    ):
        if unknown := [name for name in asked if name not in known]:
            raise JaxnashError(f"unknown {word} {unknown}: there are {known}")
    gpu = _default_backend() == "gpu"
    names = [(name, "cpu") for name in config.contenders]
    names += [(name, "gpu") for name in config.contenders if name in ON_GPU and gpu]
    chosen = config.games or (GAMES + LARGE if gpu else GAMES)
    result: dict[str, Any] = {
        "config": asdict(config),
        **conditions(cores=f"core {config.core} of {{}}"),
        "games": {},
    }
    console = Console(width=None if sys.stdout.isatty() else 160)
    with one_core(config.core):
        for game in chosen:
            rows = measure(game, names, config)
            if not gpu:
                rows.append({"row": f"GPU: {'; '.join(ON_GPU)}", "absent": "not measured (no GPU)"})
            result["games"][game] = rows
            console.print(table(game, rows, config.rounds, result["machine"]))
            for row in rows:
                if "absent" in row:
                    console.print(f"{row['row']}: {row['absent']}")
    result["aims"] = judge(result["games"])
    console.print(aims_table(result["aims"]))
    console.print(f"Load of the machine before: {result['load']:.1f}")
    if config.write:
        write("cfr", result, gpu=gpu)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[Cfr] = Cfr()) -> None:
    """CFR+ against OpenSpiel and LiteEFG on one core."""
    run(config)


@contextlib.contextmanager
def one_core(core: int) -> Iterator[None]:
    """Pins this process, and so all that it starts, to one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & allowed or {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _default_backend() -> str:
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip()


def title_of(game: str) -> str:
    return TITLES.get(game, game.replace("_", " "))


def table(game: str, rows: list[dict[str, Any]], rounds: int, machine: str) -> Table:
    rates = {row["row"]: row["rate"] for row in rows if "rate" in row}
    peers = [peer for peer in PEERS if peer in rates]
    result = Table(title=f"CFR+ on {title_of(game)}, median of {rounds} ({machine})")
    columns = ["iterations/s", "min – max", *(f"× {peer.split()[0]}" for peer in peers)]
    columns += ["floor", "share", "NashConv ms", "build s", "compile s", "MB"]
    for column in ("", *columns):
        result.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        if "rate" in row:
            cells = [figure(row["rate"]), f"{figure(min(row['rates']))} – {figure(max(row['rates']))}"]
            cells += [figure(row["rate"] / rates[peer]) for peer in peers]
            cells += [figure(row.get("floor_rate")), figure(row.get("share_of_floor"))]
            cells += [figure(row[key]) for key in ("nash_conv_ms", "build_s", "compile_s", "peak_mb")]
            result.add_row(row["row"], *cells)
    return result


def aims_table(aims: list[dict[str, Any]]) -> Table:
    result = Table(title="Aims")
    for column in ("", "aim", "measured", ""):
        result.add_column(column, justify="left" if not column else "right")
    for aim in aims:
        bound = f"≥ {aim['at_least']:g}" if "at_least" in aim else f"≤ {aim['at_most']:g}"
        word = {None: "not measured", True: "met", False: "missed"}[aim["met"]]
        result.add_row(aim["aim"], bound, figure(aim["measured"]), word)
    return result


def figure(value: float | None) -> str:
    """About three digits."""
    if value is None:
        return "–"
    for unit, size, least in (("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if value >= least:
            shown = value / size
            return f"{shown:.{0 if shown >= 100 else 1 if shown >= 10 else 2}f}{unit}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-3 else "0"
