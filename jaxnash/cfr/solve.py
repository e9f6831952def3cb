"""The CFR family on compiled trees: one jitted loop, in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.best_response import best_response_value, expected_value, uniform_policy
from jaxnash.cfr.minimizers import CFR, sum_first
from jaxnash.cfr.sequence import (
    Arrays,
    Strategy,
    Tree,
    Treeplex,
    legal_mask,
    reach,
    split,
    sweep,
)
from jaxnash.types import Array, JaxnashError


class Side(NamedTuple):
    """What one player carries from iteration to iteration."""

    minimizer: Any  # per level and bucket, the minimiser's state
    strategy: Strategy  # of the next iteration
    reach: Array  # f[S, *lanes], of that strategy
    average: Array  # f[S, *lanes]: the weighted sum of reaches; [0] is the sum of weights


class State(NamedTuple):
    iteration: Array  # i32[]: iterations done
    sides: tuple[Side, Side]


class Progress(NamedTuple):
    """What `solve` knows after a chunk."""

    iteration: int
    seconds: float  # spent solving so far, compilation left out
    exploitability: float
    value: float  # player 0's expected payoff in the average profile
    state: State


class Result(NamedTuple):
    policy: np.ndarray  # f[I, A], the average policy in the tree's order
    value: float  # player 0's expected payoff when both follow it
    exploitability: float  # of it, in the game's unit
    curve: np.ndarray  # f64[n, 3]: iteration, seconds, exploitability, whenever it was measured
    iterations: int
    seconds: float  # spent iterating, compilation left out
    compile_seconds: float
    state: State  # `solve(..., state=result.state)` goes on from here


def init(arrays: Arrays, recipe: CFR) -> State:
    """Iteration 0: no regrets, the strategies that the minimisers start with."""
    return State(jnp.zeros((), jnp.int32), (_init(arrays.sides[0], recipe), _init(arrays.sides[1], recipe)))


def iterate(arrays: Arrays, recipe: CFR, state: State, iterations: Array) -> State:
    """`iterations` more iterations of the recipe: a pure function for jit and vmap (over payoffs, parameters
    of the recipe, or states). Call it where x64 is enabled if the arrays are float64."""

    def once(_: Array, state: State) -> State:
        done = state.iteration + 1
        t = done.astype(arrays.unit.dtype)  # an int32 would make every schedule float32
        first, second = state.sides
        new_first = _update(arrays, recipe, 0, first, second.reach, t)
        against = new_first if recipe.alternating else first
        return State(done, (new_first, _update(arrays, recipe, 1, second, against.reach, t)))

    return jax.lax.fori_loop(0, iterations, once, state)


def average_reach(state: State) -> tuple[Array, Array]:
    """The average strategies in sequence form, f[S, *lanes] each."""
    first, second = (side.average / side.average[:1] for side in state.sides)
    return first, second


def average_policy(tree: Tree, state: State) -> np.ndarray:
    """The average policy f[I, A], on the host; uniform at infosets that it does not reach."""
    flat = np.zeros(tree.legal.size + 1, tree.dtype)  # the last is where padding goes
    flat[:-1] = uniform_policy(tree).reshape(-1)
    for side, own in zip(tree.arrays.sides, state.sides):
        for level, blocks in zip(side.levels, split(side, np.asarray(own.average))):
            for bucket, block in zip(level, blocks):
                total = block.sum(0)
                reached = total > 0
                flat[np.asarray(bucket.position)[:, reached]] = block[:, reached] / total[reached]
    return flat[:-1].reshape(tree.legal.shape)


def measure(arrays: Arrays, state: State) -> tuple[Array, Array]:
    """Exploitability of the average profile, and player 0's payoff in it."""
    first, second = average_reach(state)
    gain = best_response_value(arrays, 0, second) + best_response_value(arrays, 1, first)
    return gain / 2, expected_value(arrays, first, second)


def solve(
    tree: Tree,
    recipe: CFR,
    *,
    iterations: int = 1000,
    evaluate_every: int | None = None,
    target: float | None = None,
    state: State | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
) -> Result:
    """Runs a recipe for `iterations` iterations in all, in chunks of `evaluate_every` (default: one chunk).

    After each chunk exploitability is measured and `on_progress` is told; at or below `target` the solve
    stops. Inside a chunk nothing is paid for any of this: it is one jitted loop. `state`, of a former result
    or a `Progress`, goes on from there, bit for bit as if it had not stopped (same chunks or not);
    `runs.checkpoint.save_state` keeps one.
    """
    if iterations < 1 or (evaluate_every is not None and evaluate_every < 1):
        raise JaxnashError("A solve needs at least one iteration, and chunks of at least one.")
    with jax.enable_x64(tree.dtype == np.float64):
        began = time.perf_counter()
        now = start(tree.arrays, recipe) if state is None else state
        now, _, _ = jax.block_until_ready(_chunk(tree.arrays, recipe, now, jnp.int32(0)))  # compiles
        compiled, spent, done = time.perf_counter() - began, 0.0, int(now.iteration)
        curve: list[tuple[float, float, float]] = []
        while True:
            size = min(evaluate_every or iterations, max(iterations - done, 0))
            began = time.perf_counter()
            now, gap, value = jax.block_until_ready(_chunk(tree.arrays, recipe, now, jnp.int32(size)))
            spent += time.perf_counter() - began
            done, gap, value = done + size, float(gap), float(value)
            curve.append((done, spent, gap))
            if on_progress is not None:
                on_progress(Progress(done, spent, gap, value, now))
            if done >= iterations or (target is not None and gap <= target):
                break
    return Result(average_policy(tree, now), value, gap, np.array(curve), done, spent, compiled, now)


def start(arrays: Arrays, recipe: CFR) -> State:
    """What `init` returns, made on the host: XLA would take seconds to compile what is done once.

    In a bucket the legal actions of an infoset come first, so their number says how it starts.
    """
    widest = max((b.position.shape[0] for s in arrays.sides for level in s.levels for b in level), default=1)
    legal = np.arange(widest)[:, None] <= np.arange(widest)  # column k: the first k + 1 actions
    table = jax.device_get(_first(recipe, legal, arrays.unit))

    def side(plex: Treeplex) -> Side:
        lanes = plex.root.shape
        minimizer, strategy, levels = [], [], [np.ones((1, *lanes), arrays.unit.dtype)]
        for level in plex.levels:
            states, blocks, flat = [], [], []
            for bucket in level:
                w, n = bucket.position.shape[:2]
                column = np.full(n, w - 1) if bucket.legal is None else np.asarray(bucket.legal).sum(0) - 1

                def spread(leaf: np.ndarray, w: int = w, column: np.ndarray = column) -> np.ndarray:
                    rows = leaf[:w, column] if leaf.ndim == 2 else leaf[column]
                    return np.broadcast_to(
                        rows.reshape(rows.shape + (1,) * len(lanes)), (*rows.shape, *lanes)
                    )

                state, block = jax.tree.map(spread, table)
                states.append(state)
                blocks.append(block)
                flat.append((block * levels[-1][np.asarray(bucket.parent)]).reshape(-1, *lanes))
            minimizer.append(tuple(states))
            strategy.append(tuple(blocks))
            levels.append(np.concatenate(flat))
        own = np.concatenate(levels)
        return Side(tuple(minimizer), tuple(strategy), own, np.zeros_like(own))

    first, second = map(side, arrays.sides)
    return jax.tree.map(jnp.asarray, State(np.zeros((), np.int32), (first, second)))


def _init(side: Treeplex, recipe: CFR) -> Side:
    minimizer = tuple(
        tuple(recipe.minimizer.init(legal_mask(side, b)) for b in level) for level in side.levels
    )
    strategy = tuple(
        tuple(_strategy(side, recipe, b, m, jnp.ones((), side.root.dtype)) for b, m in zip(level, states))
        for level, states in zip(side.levels, minimizer)
    )
    own = reach(side, strategy)
    return Side(minimizer, strategy, own, jnp.zeros_like(own))


def _strategy(side: Treeplex, recipe: CFR, bucket: Any, minimizer: Any, t: Array) -> Array:
    return recipe.minimizer.strategy(minimizer, legal_mask(side, bucket), t)


def _update(arrays: Arrays, recipe: CFR, player: int, own: Side, opponent: Array, t: Array) -> Side:
    """One player's half of iteration `t` against the opponent's reach."""
    side = arrays.sides[player]
    gradient = arrays.payoffs.gradient(player, opponent)

    def choose(level: int, index: int, q: Array) -> tuple[Array, tuple[Any, Array]]:
        bucket, strategy = side.levels[level][index], own.strategy[level][index]
        values = sum_first(strategy * q)
        regrets = q - values
        if bucket.legal is not None:
            regrets = jnp.where(legal_mask(side, bucket), regrets, 0)
        minimizer = recipe.minimizer.update(own.minimizer[level][index], regrets, t)
        return values, (minimizer, _strategy(side, recipe, bucket, minimizer, t + 1))

    _, kept = sweep(side, gradient, choose)
    minimizer = tuple(tuple(m for m, _ in level) for level in kept)
    strategy = tuple(tuple(s for _, s in level) for level in kept)
    average = own.average * recipe.averaging.decay(t) + own.reach
    # 0 * average: the new reach is made after the average has read the old one, so XLA may write it in place
    after = side._replace(root=side.root + 0 * average[0])
    return Side(minimizer, strategy, reach(after, strategy), average)


@partial(jax.jit, static_argnums=0)
def _first(recipe: CFR, legal: Array, unit: Array) -> tuple[Any, Array]:
    state = recipe.minimizer.init(legal)
    return state, recipe.minimizer.strategy(state, legal, jnp.ones_like(unit))


@partial(jax.jit, static_argnums=1)
def _chunk(arrays: Arrays, recipe: CFR, state: State, iterations: Array) -> tuple[State, Array, Array]:
    state = iterate(arrays, recipe, state, iterations)
    return state, *measure(arrays, state)
