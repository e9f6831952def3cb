"""The betting of a hold'em subgame, public cards aside: who may bet what, and what each end is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, TreeError

FOLD, CALL, BET = (
    0,
    1,
    2,
)  # check or call; the first bet size, the others follow and the last action is all-in
MOST_LINES, MOST_RAISES = 1_000_000, 100


class Rules(NamedTuple):
    pot: float
    stack: float
    sizes: tuple[tuple[float, ...], ...]  # per street, as fractions of the pot
    max_raises: int
    min_bet: float
    all_in_from: float
    num_actions: int


class _Street(NamedTuple):
    """Where the betting stands: chips put in since the subgame began, the last raise, how many there were."""

    street: int
    mover: int
    put: tuple[float, float]
    last_raise: float
    raises: int
    acted: bool


class Line(NamedTuple):
    """A node of the betting tree, public cards aside."""

    parent: int
    action: int
    player: int
    name: str  # the actions of its street so far
    late: bool  # after the last board card
    before: str = ""  # the actions before that card, where late
    loser: int = -1  # who folded
    stake: float = 0.0  # what the winner wins, the loser's half of the pot included


def rules_of(
    pot: float,
    stacks: float | Sequence[float],
    bet_sizes: float | Sequence[float] | Sequence[Sequence[float]],
    max_raises: int,
    min_bet: float,
    all_in_from: float,
    streets: int,
) -> Rules:
    """The rules from what `holdem_subgame` was given; raises its `TreeError`s."""
    behind = [float(stack) for stack in np.atleast_1d(np.asarray(stacks, float))]
    if len(behind) not in (1, 2):
        raise TreeError(f"stacks: one number or one per player, not {len(behind)}")
    amounts = [("pot", float(pot)), *(("stack", stack) for stack in behind), ("min_bet", float(min_bet))]
    for name, amount in amounts:
        if not (np.isfinite(amount) and amount >= 0):
            raise TreeError(f"{name} {amount}: chips are finite and not negative")
    if int(max_raises) != max_raises or not 0 <= max_raises <= MOST_RAISES:
        raise TreeError(
            f"max_raises {max_raises}: a number of bets and raises on a street, 0 to {MOST_RAISES}"
        )
    if not 0 < all_in_from <= 1:
        raise TreeError(f"all_in_from {all_in_from}: a share of the chips behind, in (0, 1]")

    listed: list[Any] = list(bet_sizes) if isinstance(bet_sizes, Iterable) else [bet_sizes]
    nested = any(np.ndim(size) > 0 for size in listed)
    if nested and len(listed) != streets:
        raise TreeError(f"bet_sizes for {len(listed)} streets: this subgame has {streets}")
    per_street = [tuple(float(size) for size in np.atleast_1d(street)) for street in listed] if nested else []
    sizes = tuple(per_street) if nested else (tuple(float(size) for size in listed),) * streets
    for size in sum(sizes, ()):
        if not (np.isfinite(size) and size > 0):
            raise TreeError(f"bet size {size}: a positive fraction of the pot")
    sizes = tuple(tuple(sorted(set(street))) for street in sizes)
    num_actions = BET + max(map(len, sizes)) + 1
    return Rules(
        float(pot), min(behind), sizes, int(max_raises), float(min_bet), float(all_in_from), num_actions
    )


def betting(rules: Rules) -> list[Line]:
    """The betting tree, parents first."""
    lines: list[Line] = []
    last = len(rules.sizes) - 1

    def add(line: Line) -> int:
        if len(lines) == MOST_LINES:
            raise TreeError(
                f"the betting has more than {MOST_LINES:,} lines: take fewer bet_sizes or max_raises"
            )
        lines.append(line)
        return len(lines) - 1

    def end_street(line: Line, put: tuple[float, float], street: int) -> None:
        over = Line(
            line.parent, line.action, TERMINAL, line.name, line.late, line.before, -1, rules.pot / 2 + put[0]
        )
        if street == last:
            add(over)
            return
        card = add(line._replace(player=CHANCE))
        below = Line(card, 0, 0, "", True, line.name)
        if put[0] == rules.stack:
            add(over._replace(parent=card, action=0, late=True, name="", before=line.name))
        else:
            play(below, _Street(street + 1, 0, put, rules.min_bet, 0, False))

    def play(line: Line, at: _Street) -> None:
        """Add a decision and all that follows it."""
        node = add(line._replace(player=at.mover))
        mover, other = at.mover, 1 - at.mover
        owed = at.put[other] - at.put[mover]

        def after(action: int, label: str) -> Line:
            return Line(node, action, TERMINAL, f"{line.name} {label}".strip(), line.late, line.before)

        if owed > 0:
            add(after(FOLD, "f")._replace(loser=mover, stake=rules.pot / 2 + at.put[mover]))
        called = after(CALL, "c" if owed > 0 else "x")
        if at.acted:
            end_street(called, (at.put[other], at.put[other]), at.street)
        else:
            play(called, at._replace(mover=other, acted=True))
        for action, label, total in _raises(rules, at):
            put = (total, at.put[1]) if mover == 0 else (at.put[0], total)
            raised = total - at.put[other]
            play(after(action, label), _Street(at.street, other, put, raised, at.raises + 1, True))

    play(Line(-1, -1, 0, "", last == 0), _Street(0, 0, (0.0, 0.0), rules.min_bet, 0, False))
    return lines


def _raises(rules: Rules, at: _Street) -> list[tuple[int, str, float]]:
    """The bets or raises open to the mover: action, label, and the chips they will have put in."""
    own, facing = at.put[at.mover], at.put[1 - at.mover]
    if at.raises == rules.max_raises or facing == rules.stack:
        return []
    found = []
    letter = "r" if facing > own else "b"
    for i, size in enumerate(rules.sizes[at.street]):
        raised = size * (rules.pot + 2 * facing)
        total = facing + raised
        enough = raised > 0 and raised >= at.last_raise * (1 - 1e-9)
        if enough and total - own < rules.all_in_from * (rules.stack - own):
            found.append((BET + i, f"{letter}{100 * size:.6g}", total))
    return [*found, (rules.num_actions - 1, "a", rules.stack)]
