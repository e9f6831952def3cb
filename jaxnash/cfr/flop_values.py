"""What hands earn on the flop, flop by flop: the values of `flop_holdem`.

Values are counterfactual and in units of deals: summed, not averaged, over the opponent's hands. A player's
plan f[n, L, K, 3] is, of n hands, its own reach of each action at its K decisions in each of L lines. The
showdowns of a flop are one product of matrices: the pairs of hands up to suits times both players' reaches.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.flop_betting import DEALER, OTHER, Decision, End, after_flop, ends, lines
from jaxnash.cfr.flop_cards import FlopDeals
from jaxnash.games.cards import DECK
from jaxnash.types import Array

PLANNED = 1 << 16  # hands beside flops whose plans are held at once
BLOCK = 8  # flops of one shape that are valued by one call
CLOSE = 0.85  # flops whose numbers of hands differ by less than this factor share a shape, a program each,
FEW = 64  # and so do those of fewer hands than this


class Hands(NamedTuple):
    """`H` hands beside each of `F` flops, the last of them fillers with count 0."""

    row: Array  # i32[F, H]: of the plans
    count: Array  # f[F, H]: hands of the class
    strength: Array  # i32[F, H]
    holes: Array  # i32[F, H, 2]
    holding: Array  # f[F, 52, H]: hands of the class that hold a card


class Block(NamedTuple):
    hands: Hands
    private: Array  # i32[F, H]: the hands' numbers before the flop
    weight: Array  # f64[F, H]: how many pairs of flop and hand are equal to this one; 0 for fillers


@jax.jit
def values(hands: Hands, plans: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
    """What each player's hands earn on the flop against the other's plan by a best response, f[F, L, H], and
    what player 0's earn with its own plan, f[F, H]."""
    return jax.lax.map(lambda hands: _flop_values(hands, plans), hands)


def _flop_values(hands: Hands, plans: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
    earned, reach = end_values(hands, plans)
    responses = [
        climb(
            after_flop(),
            player,
            {end.actions: earned[player, i] for i, end in enumerate(flop_ends())},
            jnp.maximum,
        )
        for player in (DEALER, OTHER)
    ]
    return (responses[0], responses[1]), jnp.sum(reach * earned[DEALER], axis=(0, 1))


def flop_ends() -> list[End]:
    """The ends of the flop, showdowns first."""
    return sorted(ends(after_flop()), key=lambda end: end.loser >= 0)


def end_values(hands: Hands, plans: tuple[Array, Array]) -> tuple[Array, Array]:
    """What each player's hands beside one flop earn against the other's plan at the `Z` ends of `flop_ends`,
    f[2, Z, L, H], and player 0's reach of them, f[Z, L, H]."""
    over = flop_ends()
    shown = sum(end.loser < 0 for end in over)
    lanes = [jnp.transpose(plan[hands.row], (2, 3, 1, 0)) for plan in plans]  # f[K, 3, L, H]

    def reach(player: int, some: list[End]) -> Array:
        number, action = np.array([end.last[player] for end in some]).T
        return lanes[player][number, action]

    put = np.array([line.paid[DEALER] for line in lines()])
    both = (DEALER, OTHER)
    won = _won(hands, jnp.stack([reach(1 - player, over[:shown]) for player in both]))
    stakes = np.array([put + end.paid[DEALER] for end in over[:shown]])
    won = won * jnp.asarray(stakes[..., None], won.dtype)
    met = _met(hands, jnp.stack([reach(1 - player, over[shown:]) for player in both]))
    stakes = np.array(
        [[(put + end.paid[end.loser]) * (-1) ** (end.loser == p) for end in over[shown:]] for p in both]
    )
    met = met * jnp.asarray(stakes[..., None], met.dtype)
    return jnp.concatenate([won, met], axis=1), reach(DEALER, over)


def _won(hands: Hands, lanes: Array) -> Array:
    """Of an opponent's reach f[..., H] what each hand beats, less what beats it."""
    first, second = (hands.holding[hands.holes[:, i]] for i in (0, 1))
    sign = jnp.sign(hands.strength[:, None] - hands.strength).astype(first.dtype)
    # what shares both cards is taken away twice, but it is of the same class, where the sign is 0
    return _product(lanes, (hands.count - first - second) * sign)


def _met(hands: Hands, lanes: Array) -> Array:
    """Of an opponent's reach f[..., H] what shares no card with each hand."""
    every, holding = _product(lanes, hands.count[None]), _product(lanes, hands.holding)
    return every - holding[..., hands.holes[:, 0]] - holding[..., hands.holes[:, 1]] + lanes


def _product(lanes: Array, matrix: Array) -> Array:
    flat = lanes.reshape(-1, lanes.shape[-1])
    product = jnp.matmul(flat, matrix.T, precision=jax.lax.Precision.HIGHEST)
    return product.reshape(*lanes.shape[:-1], -1)


def climb(node: Decision | End, player: int, earned: dict[tuple[int, ...], Array], best: Any) -> Array:
    """A best response's value at a node, from those at the ends by their actions."""
    if isinstance(node, End):
        return earned[node.actions]
    below = [climb(child, player, earned, best) for child in node.children if child is not None]
    return reduce(best if node.player == player else operator.add, below)


def spans(deals: FlopDeals) -> Iterator[tuple[int, int]]:
    """Ranges of flops of at most `PLANNED` hands."""
    start = 0
    while start < len(deals.flops):
        stop = int(np.searchsorted(deals.first, deals.first[start] + PLANNED, "right")) - 1
        yield start, stop
        start = stop


def _shapes(deals: FlopDeals) -> Array:
    """To how many hands each flop is filled up, i64[F]."""
    shapes = np.diff(deals.first)
    largest = shapes[-1]
    for flop in range(len(shapes) - 1, -1, -1):
        if shapes[flop] < CLOSE * largest and largest > FEW:
            largest = shapes[flop]
        shapes[flop] = largest
    return shapes


def blocks(deals: FlopDeals, start: int, stop: int, dtype: Any) -> Iterator[Block]:
    """The flops of a span, `BLOCK` at a time, the last of a shape filled up with flops that count nothing."""
    shapes = _shapes(deals)
    for size in np.unique(shapes[start:stop]):
        length = min(BLOCK, np.sum(shapes == size))
        same = start + np.flatnonzero(shapes[start:stop] == size)
        for at in range(0, len(same), length):
            flops = same[at : at + length]
            yield _block(deals, flops, (length, size), origin=deals.first[start], dtype=dtype)


def _block(deals: FlopDeals, flops: Array, shape: tuple[int, int], *, origin: int, dtype: Any) -> Block:
    rows, count, weight = np.zeros(shape, np.int64), np.zeros(shape, dtype), np.zeros(shape)
    holding = np.zeros((shape[0], len(DECK), shape[1]), dtype)
    for i, flop in enumerate(flops):
        size = deals.first[flop + 1] - deals.first[flop]
        rows[i] = deals.first[flop] + np.minimum(np.arange(shape[1]), size - 1)
        count[i, :size] = deals.count[rows[i, :size]]
        weight[i] = deals.flop_count[flop] * count[i]
        beside = np.flatnonzero(deals.index[flop] >= 0)
        np.add.at(holding[i], (deals.pairs[beside], deals.index[flop, beside, None]), 1)
    rows[len(flops) :] = origin
    holes, strength = deals.holes[rows], deals.strength[rows]
    hands = Hands((rows - origin).astype(np.int32), count, strength, holes, holding)
    return Block(hands, deals.private[rows], weight)
