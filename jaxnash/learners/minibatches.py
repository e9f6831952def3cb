"""What gradient learners share: their state, and shuffled minibatches of a buffer that may not be full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnash.types import Array, Key, Params


class State(NamedTuple):
    """What a gradient learner carries from one update to the next."""

    params: Params
    optimizer: Any  # optax state
    steps: Array  # i32[], gradient steps taken


def start(params: Params, optimizer: optax.GradientTransformation) -> State:
    """A learner's state from given params, such as a clone's or a checkpoint's."""
    params = jax.tree.map(jnp.asarray, params)
    return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))


def over_epochs(
    key: Key,
    real: Array,
    step: Callable[[Any, Array, Array], Any],
    carry: Any,
    *,
    minibatch: int,
    epochs: int,
) -> Any:
    """Fold `step(carry, rows i32[minibatch], present bool[minibatch])` over `epochs` shuffles of a buffer.

    `real` bool[capacity] marks the buffer's used rows. Each shuffle deals them into ceil(used / minibatch)
    minibatches of equal size, give or take one, so that none is so small that its gradient is noise; rows
    that are not `present` fill a minibatch up. The work grows with the rows used, not with the capacity.
    """
    capacity = real.shape[0]
    used = jnp.sum(real, dtype=jnp.int32)
    minibatches = -(-used // minibatch)
    share, longer = used // jnp.maximum(minibatches, 1), used % jnp.maximum(minibatches, 1)

    def one(carry: Any, key: Key) -> tuple[Any, None]:
        order = jnp.argsort(jnp.where(real, jax.random.uniform(key, (capacity,)), 2.0))
        order = jnp.concatenate([order, jnp.zeros(minibatch, order.dtype)])

        def body(i: Array, carry: Any) -> Any:
            rows = jax.lax.dynamic_slice(order, (i * share + jnp.minimum(i, longer),), (minibatch,))
            return step(carry, rows, jnp.arange(minibatch) < share + (i < longer))

        return jax.lax.fori_loop(0, minibatches, body, carry), None

    return jax.lax.scan(one, carry, jax.random.split(key, epochs))[0]


def apply_gradient(optimizer: optax.GradientTransformation, state: State, gradient: Params) -> State:
    """The state after one gradient step."""
    change, inner = optimizer.update(gradient, state.optimizer, state.params)
    return State(optax.apply_updates(state.params, change), inner, state.steps + 1)
