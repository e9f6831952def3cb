"""The betting of flop hold'em: limit, one bet size, before and after the flop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from jaxnash.games.holdem import Observation
from jaxnash.types import Array, PyTree

SMALL, BIG, BET, STACK = 50, 100, 100, 20_000
RAISES_BEFORE, BETS_AFTER = 3, 4
DEALER, OTHER = 0, 1  # the dealer acts first before the flop and last after it
FOLD, CALL, RAISE = 0, 1, 2  # check or call, bet or raise
ACTIONS = 3
LONGEST = 6  # actions of a street: check, four bets and a call

Step = tuple[int, int]  # a player's k-th decision of a street and the action taken there


class End(NamedTuple):
    """A fold, or a call that ends the street."""

    loser: int  # who folded, -1 where nobody did
    paid: tuple[int, int]  # chips in the pot, of the dealer and of the other
    last: tuple[Step | None, Step | None]  # each player's last step of the street; what came before follows
    actions: tuple[int, ...]  # of the street


class Decision(NamedTuple):
    player: int
    number: int  # of this player's decisions on the street, parents first
    paid: tuple[int, int]
    last: tuple[Step | None, Step | None]
    actions: tuple[int, ...]
    children: tuple[Decision | End | None, ...]  # by action, None where it is illegal


@cache
def before_flop() -> Decision:
    """The pre-flop street: 8 decisions, 7 ends that see the flop."""
    return _street(DEALER, (SMALL, BIG), RAISES_BEFORE)


@cache
def after_flop(paid: int = 0) -> Decision:
    """The flop street after both have paid `paid` chips: 10 decisions, 9 showdowns."""
    return _street(OTHER, (paid, paid), BETS_AFTER)


def lines() -> list[End]:
    """The ways to see the flop."""
    return [end for end in ends(before_flop()) if end.loser < 0]


def decisions(root: Decision) -> list[Decision]:
    """Parents first."""
    below = [child for child in root.children if isinstance(child, Decision)]
    return [root, *(node for child in below for node in decisions(child))]


def ends(root: Decision) -> list[End]:
    """In the order of play, the smaller action first."""
    found = []
    for child in root.children:
        if child is not None:
            found += [child] if isinstance(child, End) else ends(child)
    return found


def _street(player: int, paid: tuple[int, int], raises: int) -> Decision:
    count = [0, 0]

    def play(
        player: int,
        paid: tuple[int, int],
        raises: int,
        closes: bool,
        last: tuple[Step | None, Step | None],
        actions: tuple[int, ...],
    ) -> Decision:
        """`closes`: a call or check ends the street."""
        number, other = count[player], 1 - player
        count[player] += 1

        def after(action: int) -> tuple[tuple[Step | None, Step | None], tuple[int, ...]]:
            step = (number, action)
            return (step, last[1]) if player == DEALER else (last[0], step), (*actions, action)

        def put(amount: int) -> tuple[int, int]:
            return (amount, paid[1]) if player == DEALER else (paid[0], amount)

        fold = End(player, paid, *after(FOLD)) if paid[player] < paid[other] else None
        called = put(paid[other])
        call = End(-1, called, *after(CALL)) if closes else play(other, called, raises, True, *after(CALL))
        raised = put(paid[other] + BET)
        higher = play(other, raised, raises - 1, True, *after(RAISE)) if raises else None
        return Decision(player, number, paid, last, actions, (fold, call, higher))

    return play(player, paid, raises, False, (None, None), ())


class Rows(NamedTuple):
    """What a player sees, cards aside, at its `M` decisions."""

    bets: Array  # i8[M, 2, LONGEST]
    chips: Array  # f32[M, 4]
    dealer: Array  # i8[]
    legal: Array  # bool[M, 3]

    def each(self, see: Callable[[Observation, Array], PyTree], cards: Array) -> PyTree:
        """What `see(observation of leaves [1, ...], legal bool[1, 3])` gives for each of the hands i8[n, 7]
        and decisions: leaves [n, M, ...]. What depends on the hand or on the bets alone is worked out only
        once for each, as the one is mapped within the other."""

        def one(hand: Array, bets: Array, chips: Array, legal: Array) -> PyTree:
            return see(Observation(hand[None], bets[None], chips[None], self.dealer[None]), legal[None])

        every = jax.vmap(jax.vmap(one, (None, 0, 0, 0)), (0, None, None, None))
        return every(cards, self.bets, self.chips, self.legal)


def rows_before(player: int) -> Rows:
    """A player's decisions before the flop, in order of their number."""
    return _rows(player, [((), node) for node in decisions(before_flop())])


def rows_after(player: int) -> Rows:
    """A player's decisions on the flop: line by line, within it in order of their number."""
    return _rows(
        player,
        [(line.actions, node) for line in lines() for node in decisions(after_flop(line.paid[DEALER]))],
    )


def _rows(player: int, nodes: list[tuple[tuple[int, ...], Decision]]) -> Rows:
    own = [(before, node) for before, node in nodes if node.player == player]
    bets = np.zeros((len(own), 2, LONGEST), np.int8)
    chips = np.zeros((len(own), 4), np.float32)
    legal = np.zeros((len(own), ACTIONS), bool)
    for row, (before, node) in enumerate(own):
        for street, actions in enumerate((before, node.actions) if before else (node.actions,)):
            bets[row, street, : len(actions)] = np.array(actions) + 1
        paid, other = node.paid[player], node.paid[1 - player]
        chips[row] = paid + other, other - paid, STACK - paid, STACK - other
        legal[row] = [child is not None for child in node.children]
    return Rows(bets, chips / np.float32(BIG), np.int8(player == DEALER), legal)
