"""The report's figures, each an SVG text; matplotlib is imported when one is drawn, without pyplot."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

from jaxnash.runs.results import NEGLIGIBLE, Results

COLOURS = (  # told apart also by colour-blind readers for the first eight
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c", "#f0e442"),
    *("#332288", "#117733", "#ddcc77", "#882255", "#44aa99", "#aa4499", "#999933", "#88ccee"),
)
INK, FAINT = "#1f2933", "#8a94a0"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "jaxnash",
}


def colours(results: Results) -> dict[str, str]:
    """A colour per member that is ever in a mixture or is a best response, in the order of the population."""
    met = {name for mixture in results.mixtures.values() for name, p in mixture.items() if p > NEGLIGIBLE}
    met |= {response.name for response in results.best_responses}
    names = [entry.name for entry in results.population if entry.name in met]
    names += sorted(met - set(names))
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}


def _drawn(width: float, height: float, draw: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def gap_curve(results: Results) -> str | None:
    """The oracle gap with its interval and the hindsight gap, by mixture; None before the first."""
    rows = [row for row in results.gaps if row["oracle_gap"] is not None]
    if not rows:
        return None

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        x = [row["iteration"] for row in rows]
        y = [row["oracle_gap"] for row in rows]
        intervals = [row.get("oracle_gap_ci") or (gap, gap) for row, gap in zip(rows, y)]
        axes.axhline(0, color=INK, linewidth=1)
        axes.plot(  # broken where no exploit was found: that is no progress
            *(x, [gap if gap > 0 else math.nan for gap in y]),
            color=COLOURS[0],
            linewidth=1.5,
            alpha=0.5,
        )
        labels = {True: "oracle gap, 95 % interval", False: "no exploit found, 95 % interval"}
        for position, gap, (low, high) in zip(x, y, intervals):
            found = gap > 0
            axes.errorbar(
                *(position, gap),
                yerr=[[max(0, gap - low)], [max(0, high - gap)]],
                fmt="o",
                color=COLOURS[0] if found else "#c0392b",
                markerfacecolor=COLOURS[0] if found else "white",
                capsize=5,
                markersize=7,
                linewidth=1.8,
                zorder=3,
                label=labels.pop(found, None),
            )
            if found:
                axes.annotate(
                    f"{gap:+.3f}", (position, gap), (9, 7), textcoords="offset points", fontsize=9, color=INK
                )
        known = [row for row in results.gaps if row.get("hindsight_gap") is not None]
        if known:
            axes.plot(
                [row["iteration"] for row in known],
                [row["hindsight_gap"] for row in known],
                "s--",
                color=COLOURS[1],
                markersize=5,
                label="hindsight gap",
            )
        everywhere = [*x, *(row["iteration"] for row in known)]
        axes.set_xlim(min(everywhere) - 0.4, max(everywhere) + 0.6)
        axes.set_xticks(sorted(set(everywhere)))
        axes.set_xlabel("mixture of iteration")
        axes.set_ylabel("payoff u of the best response")
        rate = axes.secondary_yaxis("right", functions=(lambda u: 50 * (u + 1), lambda w: w / 50 - 1))
        rate.set_ylabel("win rate, %")
        rate.spines["right"].set_color(FAINT)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=3, fontsize=9)

    return _drawn(7.6, 3.9, draw)


def mixture_bars(results: Results) -> str | None:
    """The mixture of every iteration, one stacked bar each; members of probability 0 are left out."""
    mixtures = results.mixtures
    if not mixtures:
        return None
    colour = colours(results)
    shown = [name for name in colour if any(m.get(name, 0) > NEGLIGIBLE for m in mixtures.values())]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        iterations = sorted(mixtures)
        bottom = dict.fromkeys(iterations, 0.0)
        for name in shown:
            heights = [mixtures[i].get(name, 0.0) for i in iterations]
            axes.bar(
                *([str(i) for i in iterations], heights),
                bottom=[bottom[i] for i in iterations],
                color=colour[name],
                edgecolor="white",
                width=0.62,
                label=name,
            )
            for position, (i, height) in enumerate(zip(iterations, heights)):
                if height >= 0.06:
                    middle = bottom[i] + height / 2
                    ink = "white" if dark(colour[name]) else INK
                    axes.text(
                        *(position, middle, f"{100 * height:.0f} %"),
                        ha="center",
                        va="center",
                        fontsize=9,
                        color=ink,
                    )
                bottom[i] += height
        axes.set_ylim(0, 1)
        axes.set_xlim(-0.6, max(len(iterations), 4) - 0.4)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("iteration")
        axes.set_ylabel("probability")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))

    return _drawn(7.6, 3.7, draw)


def validation_curves(results: Results) -> str | None:
    """Win rate against sigma on the validation battles, by update, one panel per best response."""
    curves = [(r, r.evaluation["curve"]) for r in results.best_responses if r.evaluation.get("curve")]
    if not curves:
        return None
    columns = min(3, len(curves))
    lines = math.ceil(len(curves) / columns)

    def draw(figure: Any) -> None:
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(curves) :]:
            axes.set_visible(False)
        for axes, (response, curve) in zip(grid.flat, curves):
            x = [point.get("update", point.get("step")) for point in curve]
            y = [100 * point["winrate"] for point in curve]
            bounds = [point.get("winrate_ci") or (point["winrate"],) * 2 for point in curve]
            axes.fill_between(x, [100 * a for a, _ in bounds], [100 * b for _, b in bounds], **BAND)
            axes.plot(x, y, color=COLOURS[0], linewidth=1.8)
            axes.axhline(50, color=INK, linewidth=0.8, linestyle=":")
            chosen = response.evaluation.get("chosen")
            if chosen in x:
                axes.plot(chosen, y[x.index(chosen)], "o", color="#d55e00", markersize=7, label="chosen")
                axes.legend(loc="lower right", fontsize=9)
            axes.set_title(response.name, fontsize=10, color=INK)
            axes.set_xlabel("step")
        for row in grid:
            row[0].set_ylabel("win rate against σ, %")

    return _drawn(7.6, 0.6 + 2.5 * lines, draw)


BAND = {"color": COLOURS[0], "alpha": 0.18, "linewidth": 0}
PANELS = {
    "entropy": "entropy, nats",
    "approx_kl": "approximate KL",
    "explained_variance": "explained variance",
}


def training_curves(results: Results) -> str | None:
    """Entropy, KL and explained variance by step, one line per best response; None without metrics."""
    found = [key for key in PANELS if any(key in row for r in results.best_responses for row in r.metrics)]
    if not found:
        return None
    colour = colours(results)

    def draw(figure: Any) -> None:
        for axes, key in zip(figure.subplots(1, len(found), squeeze=False)[0], found):
            for response in results.best_responses:
                points = [
                    (row.get("step", row.get("update", k)), row[key])
                    for k, row in enumerate(response.metrics)
                    if row.get(key) is not None
                ]
                if points:
                    axes.plot(*zip(*points), color=colour[response.name], label=response.name, linewidth=1.4)
            axes.set_title(PANELS[key], fontsize=10, color=INK)
            axes.set_xlabel("step")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=8, fontsize=9)

    return _drawn(7.6, 3.0, draw)


def dark(colour: str) -> bool:
    """Does white read better than ink on "#rrggbb"? By WCAG's relative luminance."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.2
