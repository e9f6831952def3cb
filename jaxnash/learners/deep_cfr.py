"""Deep counterfactual regret minimisation, as an update of one player's side from sampled regrets.

Brown, Lerer, Gross and Sandholm, "Deep Counterfactual Regret Minimization" (2019): a network is fitted to all
sampled regrets so far, weighed by their iteration (linear CFR), and the next strategy is matched to it.
Steinberger, "Single Deep Counterfactual Regret Minimization" (2019): all past networks are kept, and the
average strategy is theirs, each weighed by its iteration and by the player's own reach under it, exactly.

    side = side_of(key, network, row, iterations=T, capacity=C)      # one per player
    side, loss = update(key, side, samples, count, t)                # after each traversal of the game
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnash.games.game import Game
from jaxnash.learners.head import solved
from jaxnash.learners.reservoir import Reservoir, bytes_of, draw, filled, insert, reservoir, size_in_bytes
from jaxnash.policies.advantage import Network
from jaxnash.rollouts.traverse import Samples
from jaxnash.rollouts.walk import Steps
from jaxnash.types import Array, Key, Params, PyTree

S = TypeVar("S", Samples, Steps)


class Row(NamedTuple):
    """What is remembered of a decision."""

    obs: PyTree
    legal: Array  # bool[A]
    target: Array  # f32[A]: sampled regrets, or the strategy that was played
    weight: Array  # f32[]: what it counts, the iteration (linear CFR) times the sample's own weight


class Side(NamedTuple):
    """What one player has learned."""

    params: Params  # of the advantage network that is played now
    memory: Reservoir  # of sampled regrets
    history: PyTree  # params [T, ...]: history[t - 1] was played in iteration t; () where not kept
    policies: Any  # reservoir of the strategies that this player played; () where not kept


class Fit(NamedTuple):
    """How a network is fitted to a memory."""

    batch: int = 256  # rows a step, drawn evenly from the memory
    learning_rate: float = 5e-3  # Adam's, falling to 0 along a half cosine
    clip: float = 1.0  # norm of the gradient
    scale: float = 10.0  # targets are divided by it, and outputs multiplied
    restart: bool = True  # from fresh parameters each time, so that errors are independent
    head_rows: int = 0  # rows from which the last layer is solved for at the end; 0: it is not
    gram_rows: int = 32_768  # and so many for the matrix, see `learners.head`
    ridge: float = 3e-5


def row_of(game: Game, setups: PyTree = None) -> Row:
    """The shapes of a `Row` of this game."""
    step = jax.eval_shape(lambda key: game.observe(game.init(key, setups)), jax.random.key(0))
    obs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), step.obs)
    each = lambda dtype: jax.ShapeDtypeStruct((game.actions.n,), dtype)  # noqa: E731
    return Row(obs, each(jnp.bool_), each(jnp.float32), jax.ShapeDtypeStruct((), jnp.float32))


def side_of(
    key: Key, network: Network, row: Row, *, capacity: int, iterations: int, policy_capacity: int = 0
) -> Side:
    """A player who knows nothing: every legal action alike.

    `iterations` is how many past networks are kept (0: none), `policy_capacity` how many strategies.
    """
    params = network.init(key)
    history = jax.tree.map(lambda leaf: jnp.zeros((iterations, *leaf.shape), leaf.dtype), params)
    policies = reservoir(row, policy_capacity) if policy_capacity else ()
    return Side(params, reservoir(row, capacity), history if iterations else (), policies)


def memory_bytes(network: Network, row: Row, *, capacity: int, iterations: int, policy_capacity: int) -> int:
    """Bytes that both players' sides will hold."""
    one = bytes_of(jax.eval_shape(network.init, jax.random.key(0)))
    return 2 * ((1 + iterations) * one + size_in_bytes(row, capacity) + size_in_bytes(row, policy_capacity))


def ordered(chunks: list[S], *, least: int = 4096) -> tuple[S, int]:
    """Samples on the host in the order (trajectory, node), filled up to a power of two of rows, and their
    number. What is learned from them does not depend on who took them, or in how many chunks."""
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)
    count = len(whole.node)
    order = np.lexsort((whole.node, whole.trajectory))
    size = max(least, 1 << (count - 1).bit_length()) if count else least
    order = np.concatenate([order, np.zeros(size - count, order.dtype)]) if count else order
    if not count:
        return jax.tree.map(lambda leaf: np.zeros((size, *leaf.shape[1:]), leaf.dtype), whole), 0
    return jax.tree.map(lambda leaf: leaf[order], whole), count


def remember(key: Key, memory: Reservoir, samples: Samples, *, count: int, iteration: int) -> Reservoir:
    """Offer the first `count` samples to a memory (which is used up)."""
    weight = np.float32(iteration) * samples.weight
    rows = Row(samples.obs, samples.legal, np.where(samples.legal, samples.target, 0), weight)
    return insert(key, memory, rows, np.int32(count))


@jax.jit
def kept(history: PyTree, params: Params, iteration: Array) -> PyTree:
    """The history with the networks played in `iteration` (from 1)."""
    return jax.tree.map(lambda all_, new: all_.at[iteration - 1].set(new), history, params)


def fitter(network: Network, fit: Fit, loss: Callable[[Array, Row], Array]) -> Callable[..., Any]:
    """`(key, params, memory, steps) -> (params, mean loss of the last tenth of the steps)`, jitted.

    `loss` is of one output row f32[A] and its `Row`, weighed by the row's weight over the mean of all.
    The number of steps is data of the program, so that fits may grow without being compiled again.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(fit.clip), optax.scale_by_adam())

    @jax.jit
    def run(key: Key, params: Params, memory: Reservoir, steps: Array) -> tuple[Params, Array]:
        fresh, drawn = jax.random.split(key)
        params = network.init(fresh) if fit.restart else params
        used = jnp.arange(memory.number.shape[0]) < filled(memory)
        mean = jnp.sum(jnp.where(used, memory.rows.weight, 0))
        mean = jnp.maximum(mean / jnp.maximum(filled(memory), 1), 1e-6)

        def objective(params: Params, rows: Row) -> Array:
            each = jax.vmap(loss)(network.apply(params, rows.obs), rows)
            return jnp.mean(each * rows.weight / mean)

        def step(i: Array, carry: tuple[Params, Any, Array]) -> tuple[Params, Any, Array]:
            params, state, total = carry
            rows = draw(jax.random.fold_in(drawn, i), memory, fit.batch)
            value, gradient = jax.value_and_grad(objective)(params, rows)
            change, state = optimizer.update(gradient, state, params)
            rate = fit.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * i / steps))
            params = jax.tree.map(lambda leaf, by: leaf - rate * by, params, change)
            return params, state, total + jnp.where(i >= steps - _last(steps), value, 0)

        start = (params, optimizer.init(params), jnp.float32(0))
        params, _, total = jax.lax.fori_loop(0, steps, step, start)
        if fit.head_rows:
            each = lambda rows: (rows.weight / mean, rows.target / fit.scale)  # noqa: E731
            sizes = {"rows": fit.head_rows, "gram_rows": fit.gram_rows, "ridge": fit.ridge}
            params = solved(drawn, network, params, memory, weigh=each, **sizes)
        return params, total / _last(steps)

    return run


def _last(steps: Array) -> Array:
    return jnp.maximum(steps // 10, 1)


def regret_loss(scale: float) -> Callable[[Array, Row], Array]:
    """Squared error of the legal actions' advantages; what the others' outputs are does not count."""

    def loss(output: Array, row: Row) -> Array:
        return jnp.sum(jnp.where(row.legal, output - row.target / scale, 0) ** 2)

    return loss


def policy_loss(output: Array, row: Row) -> Array:
    """Kullback-Leibler divergence of the network's strategy from the one that was played."""
    log_p = jax.nn.log_softmax(jnp.where(row.legal, output, -1e9))
    entropy = jnp.sum(jnp.where(row.target > 0, row.target * jnp.log(jnp.maximum(row.target, 1e-30)), 0))
    return entropy - jnp.sum(jnp.where(row.target > 0, row.target * log_p, 0))


class Learner(NamedTuple):
    """The two fits of a side, jitted; see `learner`."""

    advantages: Callable[..., tuple[Params, Array]]
    policy: Callable[..., tuple[Params, Array]]


def learner(network: Network, fit: Fit, policy_fit: Fit) -> Learner:
    """How advantages and, for Deep CFR, the average policy are fitted."""
    return Learner(fitter(network, fit, regret_loss(fit.scale)), fitter(network, policy_fit, policy_loss))


@partial(jax.jit, static_argnums=0)
def strategies(strategy: Callable[..., Array], params: PyTree, obs: PyTree, legal: Array) -> Array:
    """The strategies f32[T, B, A] of stacked params [T, ...] at the same observations, one by one."""
    return jax.lax.map(lambda one: strategy(one, obs, legal), params)
