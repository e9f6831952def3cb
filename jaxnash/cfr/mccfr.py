"""Monte Carlo CFR (Lanctot, Waugh, Zinkevich and Bowling 2009) as batched samplers on a written-out game.

    histories = compile_histories(leduc())
    state = run(key, histories, external_sampling(), 10_000)
    policy = average_policy(histories, state)

One update takes `batch` independent samples for player 0 with the strategy of the moment and adds the mean of
their sampled counterfactual regrets; then the same for player 1, who already sees player 0's new strategy.
`batch=1` is the published algorithm. A larger batch is CFR with regrets of a `batch`-th of the variance: the
strategy changes once per batch. On Leduc that costs nothing per history touched up to about 256 samples.

The average policy is collected at the opponent's decisions (stochastically-weighted averaging): in
expectation they weigh the opponent's policy by the opponent's reach, times a constant of the infoset. float32
sums stop growing after some 2**24 updates; before that, take `dtype=float64` inside `jax.enable_x64`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.cfr.sampling import Histories, Slots, compile_histories
from jaxnash.games.game import CHANCE
from jaxnash.types import Array, Key

__all__ = [
    "MCCFR",
    "Histories",
    "Sampler",
    "average_policy",
    "compile_histories",
    "external_sampling",
    "nodes_touched",
    "outcome_sampling",
    "run",
]


class MCCFR(NamedTuple):
    """What a sampler has gathered, by rank of action (see `Histories`)."""

    sums: Array  # f[2, I, K]: of sampled counterfactual regrets, of policies
    step: Array  # i32[]: updates done
    nodes: Array  # u32[2]: histories touched, low word first; see `nodes_touched`


class Sampler(NamedTuple):
    """A sampler as pure functions."""

    init: Callable[[Histories], MCCFR]
    update: Callable[[Key, Histories, MCCFR], MCCFR]  # both players, one after the other


def _normalised(weights: Array, legal: Array) -> Array:
    """Rows f[..., K] in proportion to `weights`, even over `legal` where those are all zero."""
    total = weights.sum(-1, keepdims=True)
    even = legal / jnp.maximum(legal.sum(-1, keepdims=True), 1)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), even).astype(weights.dtype)


def _strategy(histories: Histories, sums: Array) -> Array:
    """Regret matching on sums f[2I, K]: f[I + 1, K], the last row 0 for histories where nobody decides."""
    matched = _normalised(jnp.maximum(sums[: len(histories.legal)], 0), histories.legal)
    return jnp.concatenate([matched, jnp.zeros_like(matched[:1])])


def _draw(cumulative: Array, uniform: Array) -> Array:
    """A rank from a policy's running sums f[..., K]."""
    return (uniform[..., None] >= cumulative).sum(-1, dtype=jnp.int32)


def _move(histories: Histories, history: Array, rank: Array, uniform: Array) -> Array:
    """The child that chance deals or that the mover's rank leads to; means nothing where there is none."""
    count, last = histories.count[history], histories.last[history]
    scaled = uniform * count
    even = jnp.minimum(scaled.astype(jnp.int32), count - 1)
    outcome = last - even
    dealt = jnp.where(scaled - even < histories.keep[outcome], outcome, histories.alias[outcome])
    # rounding must not lead to an action that is not there
    return jnp.where(histories.player[history] == CHANCE, dealt, last - jnp.minimum(rank, count - 1))


def _row(histories: Histories, history: Array, own: Array) -> Array:
    """Where a history adds to sums f[2I, K]: the traverser's regrets, the opponent's policy, else nowhere."""
    rows, infoset = len(histories.legal), histories.infoset[history]
    return jnp.where(infoset == rows, 2 * rows, jnp.where(own, infoset, rows + infoset))


def _external(
    histories: Histories, sums: Array, traverser: Array, uniform: Array, weights: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Sums f[2I, K] after one traversal per lane, and the histories touched.

    `uniform` f[D, B] serves all histories that a lane meets at a depth. Every path still meets independent
    numbers, so each terminal is reached with the opponent's and chance's probability, which is all that
    unbiasedness needs; and an infoset met twice is answered alike.
    """
    slots: Slots = jax.tree.map(lambda x: x[traverser], histories.slots)
    (n, size), (_, batch) = slots.parent.shape, uniform.shape
    dead, ranks = len(histories.player) - 1, jnp.arange(sums.shape[-1])
    strategy = _strategy(histories, sums)
    cumulative = jnp.cumsum(strategy, -1)

    def child(base: Array, span: Array, parent: Array, rank: Array) -> Array:
        return jnp.where(rank[:, None] < span[parent], base[parent] - rank[:, None], dead)

    def down(k: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        met, base, span = carry  # children of a slot are the histories base - rank for rank < span
        history = child(base, span, slots.parent[k], slots.rank[k])
        chance = uniform[slots.depth[k]]
        rank = _draw(cumulative[histories.infoset[history]], chance[None])
        own, count = histories.player[history] == traverser, histories.count[history]
        sampled = _move(histories, history, rank, jnp.broadcast_to(chance, history.shape))
        now = (history, jnp.where(own, histories.last[history], sampled), jnp.where(own, count, count > 0))
        met, base, span = (
            jax.lax.dynamic_update_slice_in_dim(all_, new.astype(jnp.int32), k * size, 0)
            for all_, new in zip(carry, now, strict=True)
        )
        return met, base, span

    none = jnp.zeros((n * size + 1, batch), jnp.int32)
    start = (jnp.full_like(none, dead), none, none.at[-1].set(1))  # the root: child 0 of the last slot
    met, base, span = jax.lax.fori_loop(0, slots.tiles, down, start)
    ends = child(base, span, slots.end_parent, slots.end_rank)
    nodes = (met < dead).sum(dtype=jnp.uint32) + (ends < dead).sum(dtype=jnp.uint32)
    payoff = jnp.where(traverser == 0, histories.payoff, -histories.payoff)

    def up(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        value, sums = carry
        k = slots.tiles - 1 - i
        history = jax.lax.dynamic_slice_in_dim(met, k * size, size)
        own, count = (histories.player[history] == traverser), histories.count[history, None]
        policy = strategy[histories.infoset[history]]
        below = value[slots.children[k]].swapaxes(1, 2)  # [S, B, K]
        here = (jnp.where(own[..., None], policy, ranks == 0) * below).sum(-1)
        regret = jnp.where(ranks < count, below - here[..., None], 0)
        gain = jnp.where(own[..., None], regret * weights[0], policy * weights[1])
        value = jax.lax.dynamic_update_slice_in_dim(value, here + payoff[history], k * size, 0)
        return value, sums.at[_row(histories, history, own)].add(gain, mode="drop")

    zeros = jnp.zeros((n * size + 1, batch), sums.dtype)
    value = jnp.concatenate([zeros[1:], payoff[ends], zeros[:1]])
    return jax.lax.fori_loop(0, slots.tiles, up, (value, sums))[1], nodes


def _importance(reach: Array) -> Array:
    """The weight of what the traverser's own choices sampled with probability `reach`. The opponent and
    chance are sampled as they play, so their reach cancels."""
    return 1 / reach


def _outcome(
    histories: Histories,
    sums: Array,
    traverser: Array,
    uniform: Array,
    weights: tuple[Array, Array],
    *,
    epsilon: float,
) -> tuple[Array, Array]:
    """Sums f[2I, K] after one walk from the root to a terminal per lane, and the histories touched."""
    ranks = jnp.arange(sums.shape[-1])
    regrets = sums[: len(histories.legal)]

    def step(carry: tuple[Array, Array], uniform: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        history, reach = carry
        own, count = histories.player[history] == traverser, histories.count[history, None]
        legal = ranks < count
        # of the rows that are met, unlike in `_external`: a walk meets few
        policy = _normalised(jnp.maximum(regrets.at[histories.infoset[history]].get(mode="clip"), 0), legal)
        explored = epsilon * legal / jnp.maximum(count, 1) + (1 - epsilon) * policy
        sampling = jnp.where(own[:, None], explored, policy).astype(policy.dtype)
        rank = jnp.minimum(_draw(jnp.cumsum(sampling, -1), uniform), count[:, 0] - 1)
        after = jnp.where(count[:, 0] > 0, _move(histories, history, rank, uniform), history)
        chosen = (ranks == rank[:, None]) & own[:, None]
        likely = jnp.where(own, (policy * chosen).sum(-1), 1)
        sampled = jnp.where(own, (sampling * chosen).sum(-1), 1)
        return (after, reach * sampled), (history, own, policy, chosen, likely, reach)

    root, batch = jnp.zeros(uniform.shape[1], jnp.int32), uniform.shape[1]
    (end, reach), walked = jax.lax.scan(step, (root, jnp.ones(batch, sums.dtype)), uniform)
    met, own, policy, chosen, likely, before = walked  # [D, B, ...]
    payoff = jnp.where(traverser == 0, histories.payoff[end], -histories.payoff[end]) * _importance(reach)
    from_here = jax.lax.cumprod(likely, 0, reverse=True)  # the traverser's own reach of the end
    from_next = jnp.concatenate([from_here[1:], jnp.ones_like(from_here[:1])])
    legal = ranks < histories.count[met, None]
    regret = jnp.where(legal, chosen * from_next[..., None] - from_here[..., None], 0) * payoff[:, None]
    collected = policy * _importance(before)[..., None]
    gain = jnp.where(own[..., None], regret * weights[0], collected * weights[1])
    nodes = (histories.count[met] > 0).sum(dtype=jnp.uint32) + jnp.uint32(batch)
    return sums.at[_row(histories, met, own)].add(gain, mode="drop"), nodes


def _sampler(sample: Callable, batch: int, regret_power: float, average_power: float, floor: bool) -> Sampler:
    if batch < 1:
        raise ValueError(f"batch is {batch}, at least one sample is needed")

    def init(histories: Histories) -> MCCFR:
        sums = jnp.zeros((2, *histories.legal.shape), histories.payoff.dtype)
        return MCCFR(sums, jnp.zeros((), jnp.int32), jnp.zeros(2, jnp.uint32))

    def update(key: Key, histories: Histories, state: MCCFR) -> MCCFR:
        rows, width = histories.legal.shape
        dtype = state.sums.dtype
        uniform = jax.random.uniform(key, (2, len(histories.levels), batch), dtype)
        time = (state.step + 1).astype(dtype)
        weights = (time**regret_power / batch, time**average_power / batch)
        is_regret = jnp.arange(2 * rows)[:, None] < rows

        def one(traverser: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            sums, nodes = carry
            sums, touched = sample(histories, sums, traverser, uniform[traverser], weights)
            if floor:
                sums = jnp.where(is_regret, jnp.maximum(sums, 0), sums)
            low = nodes[0] + touched
            return sums, jnp.stack([low, nodes[1] + (low < touched)])

        sums, nodes = jax.lax.fori_loop(0, 2, one, (state.sums.reshape(2 * rows, width), state.nodes))
        return MCCFR(sums.reshape(2, rows, width), state.step + 1, nodes)

    return Sampler(init, update)


@cache  # so that `run` meets the same sampler again and need not compile it again
def external_sampling(
    *, batch: int = 256, regret_power: float = 0.0, average_power: float = 0.0, floor: bool = False
) -> Sampler:
    """External sampling (Lanctot et al. 2009, section 3.2): all of the traverser's actions, one elsewhere.

    Update t counts t**regret_power in the regrets and t**average_power in the average policy: 0 and 0 is
    MCCFR, 1 and 1 linear MCCFR (Brown and Sandholm 2019). `floor` cuts regrets off at 0 after each player, as
    CFR+ does. `batch` traversals at once, see above. Raises ValueError for a batch below 1.
    """
    return _sampler(_external, batch, regret_power, average_power, floor)


@cache
def outcome_sampling(
    *,
    batch: int = 256,
    epsilon: float = 0.6,
    regret_power: float = 0.0,
    average_power: float = 0.0,
    floor: bool = False,
) -> Sampler:
    """Outcome sampling (Lanctot et al. 2009, section 3.1): one terminal per sample.

    The traverser plays evenly with probability `epsilon` and by the strategy of the moment otherwise; the
    opponent plays by the strategy, so that only the traverser's own choices need importance weights. The rest
    is as in `external_sampling`. Raises ValueError for a batch below 1 or an epsilon outside (0, 1].
    """
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}, not in (0, 1]: every action must be sampled now and then")
    return _sampler(partial(_outcome, epsilon=epsilon), batch, regret_power, average_power, floor)


def run(
    key: Key, histories: Histories, sampler: Sampler, updates: int, *, state: MCCFR | None = None
) -> MCCFR:
    """`updates` further updates from `state`, or from nothing. Update t draws from `fold_in(key, t)`, so that
    several runs with one key, each from the last one's state, equal one run."""
    return _run(key, histories, sampler, updates, sampler.init(histories) if state is None else state)


@partial(jax.jit, static_argnames="sampler")
def _run(key: Key, histories: Histories, sampler: Sampler, updates: Array, state: MCCFR) -> MCCFR:
    def one(_: Array, state: MCCFR) -> MCCFR:
        return sampler.update(jax.random.fold_in(key, state.step), histories, state)

    return jax.lax.fori_loop(0, updates, one, state)


@jax.jit
def average_policy(histories: Histories, state: MCCFR) -> Array:
    """The average policy f[I, A], in the order of the tree's infosets; even where no sample has come."""
    policy = _normalised(state.sums[1], histories.legal)
    rows = jnp.arange(len(policy))[:, None]
    return (
        jnp.zeros((len(policy), len(histories.ids)), policy.dtype)
        .at[rows, histories.actions]
        .set(policy, mode="drop")
    )


def nodes_touched(state: MCCFR) -> int:
    """Histories met so far, chance and terminals included, in both players' traversals."""
    low, high = (int(word) for word in state.nodes)
    return (high << 32) + low
