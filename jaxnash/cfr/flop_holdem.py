"""Exact exploitability of a policy for flop hold'em, in public-tree form.

The game of the Deep CFR paper (Brown et al. 2019, "Deep Counterfactual Regret Minimization"):
`jaxnash.games.holdem("flop")` with its default stacks and blinds, the dealer as player 0. The public tree is
walked with all hands at once (Johanson et al. 2011, "Accelerating Best Response Calculation in Large
Extensive Games"). Flops that are equal up to suits are worked out once, and so are equal hands beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from math import comb
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.flop_betting import (
    ACTIONS,
    BIG,
    DEALER,
    OTHER,
    Decision,
    End,
    Rows,
    after_flop,
    before_flop,
    decisions,
    ends,
    lines,
    rows_after,
    rows_before,
)
from jaxnash.cfr.flop_cards import FlopDeals, flop_deals
from jaxnash.cfr.flop_values import blocks, climb, spans, values
from jaxnash.games.cards import DECK
from jaxnash.types import Array, JaxnashError, Params

TOLERANCE = 1e-4  # of a row's sum: float32 policies pass

Apply = Callable[[Params, Any, Array], Array]


class FlopExploitability(NamedTuple):
    """Chips a game, where the big blind is 100. Player 0 is the dealer."""

    exploitability: float  # NashConv / 2
    mbb: float  # the same in milli big blinds a game
    value: float  # what player 0 earns when both follow the policy
    best_responses: tuple[float, float]  # what each player's best response earns against the other's policy
    rows: int  # of the networks, both players' together
    network_seconds: float
    value_seconds: float


def exploitability(
    apply: Apply,
    params: tuple[Params, Params],
    weights: Array = (1.0,),
    *,
    deck: str | Iterable[int | str] = DECK,
    dtype: Any = np.float32,
    batch: int = 16_384,
    progress: Callable[[float], None] | None = None,
) -> FlopExploitability:
    """What best responses win against a policy of flop hold'em; exact, over all deals.

    Args:
        apply: (params, `holdem.Observation` of leaves [B, ...], legal bool[B, 3]) -> probabilities f[B, 3].
            It is compiled once for each function object, so pass the same one each time, and mapped over
            hands and over bets: it sees one row, and what reads only the cards is done once a hand.
        params: the networks of player 0, who deals, and of player 1; leaves have a leading axis [T].
        weights: of the networks, f[T], or f[2, T] by player; not negative, in any unit. The policy is their
            mixture: a player draws one of them by weight for a whole game, which at an infoset is their
            average by weight times the player's own reach (Steinberger 2019, "Single Deep Counterfactual
            Regret Minimization"). A plain network has T = 1.
        deck: the cards in play, for small games.
        dtype: float32 or float64, of the reaches and values.
        batch: rows of each call of `apply`, at most, in whole hands of 35. A GPU wants more.
        progress: called with the share of the rows done, now and then.

    Every two hands and flop that share no card weigh the same. It holds some 0.3 GB, twice that in float64,
    beside what `apply` needs for `batch` rows.

    Raises:
        JaxnashError: networks or weights of the wrong number, weights that are negative or all zero, a batch
            below 35, a deck that `flop_deals` refuses, or a policy that is no distribution over the legal
            actions.
    """
    if batch < len(rows_after(DEALER).legal):
        raise JaxnashError(f"batch {batch}: one hand has {len(rows_after(DEALER).legal)} rows")
    weights = mixture_weights(params, weights)
    deals = flop_deals(deck)
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        return _exploitability(
            apply, params, weights.astype(dtype), deals, batch, progress or (lambda share: None)
        )


def _exploitability(
    apply: Apply,
    params: tuple[Params, Params],
    weights: Array,
    deals: FlopDeals,
    batch: int,
    progress: Callable[[float], None],
) -> FlopExploitability:
    began = time.perf_counter()
    rows = [rows_after(player) for player in (DEALER, OTHER)]
    before, starts = [], []
    for player in (DEALER, OTHER):
        plan, start, worst = _before(
            apply, player, params[player], weights[player], rows_before(player), deals.before
        )
        _check_policy(worst, player)
        before.append(np.asarray(plan, np.float64)[:, 0])
        starts.append(start)

    ranges = list(spans(deals))
    chunk = min(batch // len(rows[0].legal), len(deals.cards))
    chunks = -(-max(int(deals.first[stop] - deals.first[start]) for start, stop in ranges) // chunk)
    flops = np.zeros((2, len(deals.before), len(lines())))  # what best responses earn after each line
    value, value_seconds = 0.0, 0.0
    for start, stop in ranges:
        hands = np.arange(deals.first[start], deals.first[stop])
        hands = np.pad(hands, (0, chunks * chunk - len(hands)), "edge").reshape(chunks, chunk)
        plans = []
        for player in (DEALER, OTHER):
            cards, private = deals.cards[hands], deals.private[hands]
            plan, worst = _after(apply, player, params[player], starts[player], rows[player], cards, private)
            _check_policy(worst, player)
            plans.append(plan)
        plans = jax.block_until_ready((plans[0], plans[1]))

        valued = time.perf_counter()
        for block in blocks(deals, start, stop, weights.dtype):
            responses, own = jax.tree.map(np.asarray, values(block.hands, plans))
            value += float(np.sum(block.weight * own))
            for player, line in np.ndindex(2, flops.shape[2]):
                earned = block.weight * responses[player][:, line]
                flops[player, :, line] += np.bincount(block.private.ravel(), earned.ravel(), flops.shape[1])
        value_seconds += time.perf_counter() - valued
        progress(float(deals.first[stop] / deals.first[-1]))

    total = comb(len(deals.deck), 2) * comb(len(deals.deck) - 2, 2) * comb(len(deals.deck) - 4, 3)
    best = []
    for player in (DEALER, OTHER):
        earned = _before_values(deals, player, before[1 - player], flops[player])
        best.append(float(np.sum(climb(before_flop(), player, earned, np.maximum))) / total)
        if player == DEALER:
            folds = [end for end in ends(before_flop()) if end.loser >= 0]
            value += sum(float(_reach(before[player], end, player) @ earned[end.actions]) for end in folds)
    gap = (best[0] + best[1]) / 2
    per_hand = [len(rows[player].legal) * len(deals.cards) + before[player][..., 0].size for player in (0, 1)]
    return FlopExploitability(
        exploitability=gap,
        mbb=1000 * gap / BIG,
        value=value / total,
        best_responses=(best[0], best[1]),
        rows=weights.shape[1] * sum(per_hand),
        network_seconds=time.perf_counter() - began - value_seconds,
        value_seconds=value_seconds,
    )


# Plans. A mixture's is the weighted sum of its networks', so the average policy is never needed.


def _plan(
    apply: Apply, root: Decision, player: int, params: Params, rows: Rows, cards: Array, start: Array
) -> tuple[Array, Array]:
    """One network's plan f[n, L, K, 3] from the reach f[n, L] of a street's root; how far it is no policy."""
    legal = jnp.broadcast_to(rows.legal, (len(cards), *rows.legal.shape))
    raw = rows.each(lambda obs, legal: apply(params, obs, legal)[0], cards)
    if raw.shape != legal.shape:
        shapes = f"[B{''.join(f', {size}' for size in raw.shape[2:])}]"
        raise JaxnashError(f"apply gave probabilities of shape {shapes}: [B, {ACTIONS}] is that of `legal`")
    raw = raw.astype(start.dtype)
    probs = jnp.where(legal, raw, 0)
    sums = jnp.sum(probs, axis=-1, keepdims=True)
    worst = jnp.max(jnp.abs(sums - 1)) + jnp.max(jnp.abs(raw - probs)) - jnp.min(probs)
    probs = (probs / sums).reshape(*start.shape, -1, ACTIONS)

    plan: list[Array] = []
    for k, node in enumerate(node for node in decisions(root) if node.player == player):
        step = node.last[player]
        reach = start if step is None else plan[step[0]][:, :, step[1]]
        plan.append(reach[:, :, None] * probs[:, :, k])
    return jnp.stack(plan, axis=2), worst


@partial(jax.jit, static_argnames=("apply", "player"))
def _before(
    apply: Apply, player: int, params: Params, weights: Array, rows: Rows, cards: Array
) -> tuple[Array, Array, Array]:
    """The mixture's plan f[C, 1, K, 3] before the flop; each network's share of the reach of the lines,
    f[T, C, L]; how far the worst is from a policy."""

    def one(network: tuple[Params, Array]) -> tuple[Array, Array]:
        params, weight = network
        start = jnp.full((len(cards), 1), weight)
        return _plan(apply, before_flop(), player, params, rows, cards, start)

    plans, worst = jax.lax.map(one, (params, weights))
    steps = [line.last[player] for line in lines()]
    return jnp.sum(plans, axis=0), _steps(plans[:, :, 0], steps), jnp.max(worst)


@partial(jax.jit, static_argnames=("apply", "player"))
def _after(
    apply: Apply, player: int, params: Params, starts: Array, rows: Rows, cards: Array, private: Array
) -> tuple[Array, Array]:
    """The mixture's plan f[S * n, L, K, 3] on the flop, from `_before`'s shares and cards i8[S, n, 7]; how
    far the worst is from a policy."""

    def chunk(hands: tuple[Array, Array]) -> tuple[Array, Array]:
        cards, private = hands

        def add(
            total: tuple[Array, Array], network: tuple[Params, Array]
        ) -> tuple[tuple[Array, Array], None]:
            params, start = network
            plan, worst = _plan(apply, after_flop(), player, params, rows, cards, start[private])
            return (total[0] + plan, jnp.maximum(total[1], worst)), None

        count = len([node for node in decisions(after_flop()) if node.player == player])
        zero = jnp.zeros((len(private), starts.shape[2], count, ACTIONS), starts.dtype)
        return jax.lax.scan(add, (zero, jnp.zeros((), starts.dtype)), (params, starts))[0]

    plans, worst = jax.lax.map(chunk, (cards, private))
    return plans.reshape(-1, *plans.shape[2:]), jnp.max(worst)


def _steps(plan: Array, steps: list[Any]) -> Array:
    """f[..., K, 3] -> f[..., len(steps)]."""
    return jnp.stack([plan[..., number, action] for number, action in steps], axis=-1)


# Values before the flop.


def _before_values(deals: FlopDeals, player: int, plan: Array, flops: Array) -> dict[tuple[int, ...], Array]:
    """What a player's hands earn at the ends of the street before the flop against the other's plan
    f64[C, K, 3]: f64[C], by the end's actions. `flops` f64[C, L] is what they earn after each line."""
    size = len(deals.before)
    holding = np.zeros((size, len(DECK)))
    np.add.at(holding, (deals.before_class[:, None], deals.pairs), 1)
    count = np.bincount(deals.before_class, minlength=size)
    meetings = np.outer(count, count) - holding @ holding.T + np.diag(count)  # pairs that share no card
    boards = comb(len(deals.deck) - 4, 3)

    earned = {line.actions: flops[:, i] for i, line in enumerate(lines())}
    for end in ends(before_flop()):
        if end.loser >= 0:
            stake = end.paid[end.loser] * (-1 if end.loser == player else 1)
            earned[end.actions] = stake * boards * meetings @ _reach(plan, end, 1 - player)
    return earned


def _reach(plan: Array, end: End, player: int) -> Array:
    step = end.last[player]
    return np.ones(len(plan)) if step is None else plan[:, step[0], step[1]]


def mixture_weights(params: tuple[Params, Params], weights: Array) -> Array:
    """The weights f64[2, T] of both players' stacked networks [T, ...], each player's summing to one.

    `weights` are f[T], or f[2, T] by player. Raises `JaxnashError` where they do not fit the networks, or are
    negative or all zero.
    """
    if len(params) != 2:
        raise JaxnashError(f"params of {len(params)} players: hold'em is for two")
    weights = np.asarray(weights, np.float64)
    if weights.ndim not in (1, 2) or (weights.ndim == 2 and len(weights) != 2) or not weights.size:
        raise JaxnashError(f"weights of shape {weights.shape}: (T,) for T networks, or (2, T) by player")
    weights = np.broadcast_to(weights, (2, weights.shape[-1]))
    for player in (DEALER, OTHER):
        for leaf in jax.tree.leaves(params[player]):
            if np.shape(leaf)[:1] != weights.shape[1:]:
                raise JaxnashError(
                    f"player {player}'s params have a leaf of shape {np.shape(leaf)}: its leading axis "
                    f"counts the networks, and there are {weights.shape[1]} weights"
                )
        if not (np.all(weights[player] >= 0) and 0 < np.sum(weights[player]) < np.inf):
            raise JaxnashError(f"player {player}'s weights {weights[player]}: none negative, one positive")
    return weights / weights.sum(axis=1, keepdims=True)


def _check_policy(worst: Array, player: int) -> None:
    if not float(worst) < TOLERANCE:
        raise JaxnashError(
            f"player {player}'s probabilities are off by {float(worst):.3g}: apply is to give distributions "
            "over the legal actions"
        )
