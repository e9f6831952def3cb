"""What looks wrong in a fighter's training, told from the rows of metrics.jsonl alone.

So a run that was stopped and resumed raises the alerts of an unbroken one. An alert is a reason to look, not
a verdict: each says the figures that it goes by.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxnash.games.fighter.rewards import Weights
from jaxnash.psro.tournament import wilson

Row = dict[str, Any]
LOSSES = ("policy_loss", "value_loss", "grad_norm", "entropy")
RATED = "based"  # the opponent whose evaluations tell improvement
LEVEL = 0.99


class Limits(NamedTuple):
    """When an alert is raised. Rows are updates; what looks back waits until there are so many rows."""

    window: int = 20
    """updates that are looked back on"""
    matches: int = 20
    """that must have ended in the window before a reward for winning can be called never active"""
    same: int = 5
    """updates in a row with one and the same total of a term, not 0, make it stuck"""
    share: float = 0.95
    """of all that was paid: a term with more is all there is, where nobody is knocked out and no match won"""
    explosion: float = 10.0
    """times the median of the window before"""
    explosion_rows: int = 5
    """finite ones before, at least"""
    entropy: float = 0.1
    """of the first update's: the policy has collapsed below it"""
    deviation: float = 1e-4
    """of the first minibatch's ratios from 1: behaviour and learner disagree beyond it"""
    evaluations: int = 5
    """in each of the two blocks that are compared, at least; else a quarter of all there are"""
    enough: float = 0.9
    """a win rate whose interval lies above it need not improve"""


class Alert(NamedTuple):
    name: str  # the same as long as it stands: "never active: combo"
    told: str  # with the figures


def alerts(rows: list[Row], weights: Weights, limits: Limits | None = None) -> list[Alert]:
    """What stands after the last of the rows, which are as `read_jsonl` gives them: not finite is None.

    `weights` are the run's rewards. Nothing for no rows.
    """
    limits = limits or Limits()
    if not rows:
        return []
    return [
        *never_active(rows, weights, limits),
        *stuck(rows, limits),
        *exploding(rows, limits),
        *collapsed(rows, limits),
        *deviating(rows, limits),
        *not_improving(rows, limits),
    ]


def news(found: Iterable[Alert], before: list[Row], limits: Limits | None = None) -> list[Alert]:
    """Those that none of the last rows of the window before already had, so that one that comes and goes is
    not told again and again."""
    recent = before[-(limits or Limits()).window :]
    known = {each["name"] for row in recent for each in row.get("alerts", [])}
    return [alert for alert in found if alert.name not in known]


def weighted(weights: Weights) -> set[str]:
    """The terms that these weights can make pay something."""
    terms = {name for name, weight in weights._asdict().items() if weight}
    armed = {"pick_up"} if terms & {"spear", "hammer"} else set()
    return terms - {"spear", "hammer", "damage_most"} | armed


def never_active(rows: list[Row], weights: Weights, limits: Limits) -> list[Alert]:
    """Terms with a weight that paid in no frame of the window.

    A reward for winning is not blamed before enough matches have ended.
    """
    if len(rows) < limits.window:
        return []
    recent, found = rows[-limits.window :], []
    ended = sum(len(row["matches"]) for row in recent)
    for name in sorted(weighted(weights)):
        if any(row["signals"].get(name) for row in recent) or (name == "win" and ended < limits.matches):
            continue
        more = f", in which {ended} matches ended" if name == "win" else ""
        told = f"the reward term {name} was not 0 in any frame of the last {limits.window} updates{more}"
        found.append(Alert(f"never active: {name}", told))
    return found


def stuck(rows: list[Row], limits: Limits) -> list[Alert]:
    """Terms that pay the same in every update, and one that is nearly all of what is paid."""
    found, last = [], rows[-limits.same :]
    for name, value in rows[-1]["terms"].items():
        if len(last) == limits.same > 1 and value and all(row["terms"][name] == value for row in last):
            told = f"the reward term {name} came to just {value:g} in each of the last {limits.same} updates"
            found.append(Alert(f"stuck: {name}", told))
    recent = rows[-limits.window :]
    decided = any(row["signals"].get(name) for row in recent for name in ("win", "knock_out"))
    if len(recent) < limits.window or decided:
        return found
    paid = {name: sum(abs(row["terms"][name] or 0) for row in recent) for name in recent[-1]["terms"]}
    total = sum(paid.values())
    for name, part in paid.items():
        if total and part > limits.share * total:
            told = (
                f"the reward term {name} is {100 * part / total:.1f} % of all that the last {limits.window} "
                "updates paid, and in them nobody was knocked out and no match was won or lost"
            )
            found.append(Alert(f"all there is: {name}", told))
    return found


def exploding(rows: list[Row], limits: Limits) -> list[Alert]:
    """Losses that are not finite, or far above the median of the window before."""
    found, row = [], rows[-1]
    wrong = [name for name in LOSSES if not _finite(row[name])]
    if wrong:
        found.append(Alert("not finite", f"{', '.join(wrong)} not finite"))
    for name in ("value_loss", "grad_norm"):
        before = [old[name] for old in rows[-1 - limits.window : -1] if _finite(old[name])]
        if name in wrong or len(before) < limits.explosion_rows:
            continue
        usual = statistics.median(before)
        if usual > 0 and row[name] > limits.explosion * usual:
            told = f"{name} is {row[name]:.4g}, the median of the {len(before)} updates before {usual:.4g}"
            found.append(Alert(f"exploding: {name}", told))
    return found


def collapsed(rows: list[Row], limits: Limits) -> list[Alert]:
    """A policy that hardly draws any more."""
    first, last = rows[0]["entropy"], rows[-1]["entropy"]
    if not (_finite(first) and _finite(last)) or last >= limits.entropy * first:
        return []
    return [Alert("policy collapse", f"the policy's entropy is {last:.4g} nats; it began at {first:.4g}")]


def deviating(rows: list[Row], limits: Limits) -> list[Alert]:
    """A learner that does not see what behaviour saw."""
    deviation = rows[-1]["ratio_deviation"]
    if _finite(deviation) and deviation <= limits.deviation:
        return []
    shown = f"{deviation:.3g}" if _finite(deviation) else "not finite"
    told = f"the first minibatch's ratios are off 1 by {shown}: behaviour and learner disagree"
    return [Alert("ratio deviation", told)]


def not_improving(rows: list[Row], limits: Limits) -> list[Alert]:
    """No improvement shown: the latest block of evaluations is not above the block before, at 99 %.

    Both blocks are pooled and as long as one another, the last quarter of all evaluations each, so that no
    best of many is picked, which would be too good by chance. The interval of the difference is Newcombe's
    (1998, method 10) from Wilson's of both, on pairs; evaluations are on fresh keys.
    """
    found = [row["evaluation"][RATED] for row in rows if RATED in row.get("evaluation", {})]
    size = max(limits.evaluations, len(found) // 4)
    if len(found) < 2 * size:
        return []
    (old, old_pairs), (new, pairs) = pooled(found[-2 * size : -size]), pooled(found[-size:])
    (old_low, old_high), (low, high) = wilson(old, old_pairs, LEVEL), wilson(new, pairs, LEVEL)
    least = new - old - math.hypot(new - low, old_high - old)
    most = new - old + math.hypot(high - new, old - old_low)
    if least > 0 or low > limits.enough:
        return []
    told = (
        f"no improvement against Based is shown: {new:.3f} [{low:.3f}, {high:.3f}] in the last {size} "
        f"evaluations, {old:.3f} [{old_low:.3f}, {old_high:.3f}] in the {size} before, difference "
        f"{new - old:+.3f} [{least:+.3f}, {most:+.3f}]"
    )
    return [Alert("no improvement", told)]


def pooled(evaluations: list[Row]) -> tuple[float, int]:
    """The win rate over all matches of these evaluations, and how many pairs those are."""
    pairs = [found["matches"] // 2 for found in evaluations]
    rates = [found["win_rate"] for found in evaluations]
    return sum(n * rate for n, rate in zip(pairs, rates)) / sum(pairs), sum(pairs)


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)
