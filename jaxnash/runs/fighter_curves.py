"""Learning curves of fighter runs over seeds and lengths, and what others have published beside them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from jaxnash.psro.tournament import wilson
from jaxnash.runs.compare import CHANGEABLE
from jaxnash.runs.fighter_alerts import LEVEL, pooled
from jaxnash.runs.files import read_json, read_jsonl
from jaxnash.types import JaxnashError

OPPONENTS = {"based": "Based", "constant": "Constant"}
APART = {*CHANGEABLE, "seed", "preset", "name", "debug", "updates", "device"}  # may differ in one group
NEAR = 0.1  # an evaluation within 10 % of a length counts as after it
SHOWN = 8  # lines a table has of one curve, about


class Point(NamedTuple):
    """Evaluations after so many frames of training, a draw being half a win."""

    frames: int
    rate: float
    low: float  # Wilson's 99 % interval on pairs, of these agents against one opponent
    high: float
    pairs: int
    rates: tuple[float, ...]  # of each run


class Run(NamedTuple):
    path: str
    seed: int
    curves: dict[str, list[Point]]  # by opponent


class Group(NamedTuple):
    """Runs that differ in their seed only."""

    label: str
    runs: tuple[Run, ...]

    def curve(self, opponent: str) -> list[Point]:
        """The mean over the runs that were evaluated after just so many frames, with the interval of all
        their pairs: it is of these agents, and says nothing of other seeds."""
        found: dict[int, list[Point]] = {}
        for run in self.runs:
            for point in run.curves[opponent]:
                found.setdefault(point.frames, []).append(point)
        return [_mean(found[frames]) for frames in sorted(found)]


class Expectation(NamedTuple):
    """What others say that a run comes to: a hypothesis."""

    frames: int
    low: float
    high: float


PUBLISHED = (Expectation(50_000, 0.30, 0.50), Expectation(10_000_000, 0.70, 0.85))
CAVEAT = "published expectation, not measured here"


def curve(rows: Iterable[dict[str, Any]], opponent: str) -> list[Point]:
    """What a run's rows say of an opponent, one point an evaluation."""
    points = []
    for row in rows:
        if found := row.get("evaluation", {}).get(opponent):
            rate, (low, high) = found["win_rate"], found["win_rate_interval"]
            points.append(Point(row["frames"], rate, low, high, found["matches"] // 2, (rate,)))
    return points


def _mean(points: list[Point]) -> Point:
    rate, pairs = pooled([{"win_rate": point.rate, "matches": 2 * point.pairs} for point in points])
    rates = tuple(rate for point in points for rate in point.rates)
    low, high = wilson(rate, pairs, LEVEL)
    return Point(points[0].frames, rate, low, high, pairs, rates)


def groups(runs: Iterable[str]) -> list[Group]:
    """The runs (directories, or names below runs/) by their configuration, in the order given.

    Raises `JaxnashError` for a path that is no fighter's run, a run without an evaluation yet, and two of one
    configuration and seed.
    """
    found: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for name in runs:
        config, run = _read(name)
        kept = {key: value for key, value in config.items() if key not in APART}
        group = found.setdefault(repr(sorted(kept.items())), (config, []))[1]
        if twice := [other.path for other in group if other.seed == run.seed]:
            raise JaxnashError(
                f"{twice[0]} and {run.path} have one configuration and one seed, {run.seed}: name one of them"
            )
        group.append(run)
    configs = [config for config, _ in found.values()]
    return [Group(_label(config, configs), tuple(members)) for config, members in found.values()]


def _read(name: str) -> tuple[dict[str, Any], Run]:
    places = [place for place in (Path(name), Path("runs") / name) if (place / "config.json").exists()]
    if not places:
        raise JaxnashError(f"{name} is not a run directory (no config.json), here or below runs/")
    path, config = places[0], read_json(places[0] / "config.json")
    if not {"segment", "save_every", "frames"} <= config.keys():
        raise JaxnashError(f"{path} is no run of fighter_selfplay.py")
    rows = read_jsonl(path / "metrics.jsonl") if (path / "metrics.jsonl").exists() else []
    curves = {opponent: curve(rows, opponent) for opponent in OPPONENTS}
    if not curves["based"]:
        raise JaxnashError(f"{path} has no evaluation yet: see its --evaluate-every")
    return config, Run(str(path), config["seed"], curves)


def _label(config: dict[str, Any], all_of_them: list[dict[str, Any]]) -> str:
    """The preset and length, and in what it differs from others of the same."""
    alike = [it for it in all_of_them if (it["preset"], it["frames"]) == (config["preset"], config["frames"])]
    keys = dict.fromkeys(key for it in alike for key in it if key not in APART)
    differing = [key for key in keys if any(it.get(key) != config.get(key) for it in alike)]
    own = [f"{key} {config.get(key)}" for key in differing]
    return ", ".join([config["preset"], f"{config['frames']:,} frames", *own])


def hypotheses(points: list[Point]) -> str:
    """One line: each published expectation, what was measured against Based at that length, and whether the
    two agree, which they do where the interval and the range have a rate in common."""
    return f"{CAVEAT}: " + "; ".join(_beside(points, expected) for expected in PUBLISHED)


def _beside(points: list[Point], expected: Expectation) -> str:
    told = f"{100 * expected.low:.0f}-{100 * expected.high:.0f} % wins after {expected.frames:,} frames"
    near = [point for point in points if abs(point.frames - expected.frames) <= NEAR * expected.frames]
    if not near:
        return f"{told}: no measurement at this length"
    point = min(near, key=lambda point: abs(point.frames - expected.frames))
    agree = point.low <= expected.high and point.high >= expected.low
    verdict = "consistent with it" if agree else "contradicts it"
    return f"{told}: ours {_shown(point)} against Based after {point.frames:,}, {verdict}"


def _shown(point: Point) -> str:
    seeds = f" of {len(point.rates)} seeds" if len(point.rates) > 1 else ""
    return f"{point.rate:.3f} [{point.low:.3f}, {point.high:.3f}]{seeds}"


def lines(group: Group) -> list[dict[str, str]]:
    """A table's lines: some lengths, the first, last and the published ones among them, with each seed."""
    found = []
    for opponent, name in OPPONENTS.items():
        for point in _chosen(group.curve(opponent)):
            found.append(
                {
                    "against": name,
                    "frames": f"{point.frames:,}",
                    "win rate [99 %]": _shown(point),
                    "pairs": f"{point.pairs:,}",
                    "each seed": ", ".join(f"{rate:.3f}" for rate in point.rates),
                }
            )
    return found


def _chosen(points: list[Point]) -> list[Point]:
    """About `SHOWN` of them, evenly on a logarithmic scale."""
    if len(points) <= SHOWN:
        return points
    first, last = points[0].frames, points[-1].frames
    marks = [first * (last / first) ** (k / (SHOWN - 1)) for k in range(SHOWN)]
    marks += [expected.frames for expected in PUBLISHED if first <= expected.frames <= last]
    nearest = [min(points, key=lambda point, mark=mark: abs(point.frames - mark)) for mark in marks]
    return sorted(set(nearest))


def figure(found: list[Group], kind: str = "png") -> bytes:
    """Win rates by frames (logarithmic): each run with its interval, means, the expectations as boxes."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from jaxnash.runs.figures import COLOURS, INK, STYLE

    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(9.6, 4.4), layout="constrained")
        for axes, (opponent, name) in zip(drawn.subplots(1, 2, sharex=True, sharey=True), OPPONENTS.items()):
            for colour, group in zip(COLOURS * len(found), found):
                for run in group.runs:
                    frames, rate, low, high, *_ = zip(*run.curves[opponent])
                    axes.fill_between(frames, low, high, color=colour, alpha=0.12, linewidth=0)
                    axes.plot(frames, rate, color=colour, linewidth=0.8, marker=".", markersize=3, alpha=0.7)
                frames, rate, *_ = zip(*group.curve(opponent))
                seeds = "1 seed" if len(group.runs) == 1 else f"mean of {len(group.runs)} seeds"
                axes.plot(frames, rate, color=colour, linewidth=2.2, label=f"{group.label}: {seeds}")
            for expected in PUBLISHED if opponent == "based" else ():
                left, right = (1 - NEAR) * expected.frames, (1 + NEAR) * expected.frames
                label = CAVEAT if expected is PUBLISHED[0] else None
                look = {"facecolor": "none", "edgecolor": INK, "hatch": "////", "linewidth": 0.8}
                axes.fill_between([left, right], expected.low, expected.high, label=label, **look)
            axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(10))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(-0.02, 1.02)
            axes.set_title(f"against {name}, 99 % interval of each run", fontsize=10, color=INK)
            axes.set_xlabel("frames of training")
        drawn.axes[0].set_ylabel("win rate, a draw half a win")
        drawn.legend(*drawn.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
        out = io.BytesIO()
        plain = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        drawn.savefig(out, format=kind, dpi=150, metadata=plain)
    return out.getvalue()
