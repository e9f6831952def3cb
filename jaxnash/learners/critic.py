"""What each action at a history is worth, learned from both players' observations: `q` for `rollouts.walk`.

A critic is fitted by expected SARSA (van Seijen et al., "A Theoretical and Empirical Analysis of Expected
Sarsa", 2009), as in DREAM (Steinberger, Lerer and Brown 2020): from a decision and the action taken there to
the next decision on the path, whoever's it is,

    y = payoff                                   if the path ended,
    y = sum_a sigma(a) q(next decision, a)       otherwise,

with the strategies `sigma` of now, not of when the path was walked. So nothing depends on what was sampled
with, no importance weights are needed, and old transitions are as good as new ones: the game does not change.
Monte Carlo returns would need either both. Everything is from player 0's side, so both players share a critic.

    memory = extend(memory, transitions, count)                       # after each walk
    params, loss = fit(key, params, memory, (params of player 0, of player 1))
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.game import Game
from jaxnash.rollouts.walk import Steps
from jaxnash.types import Array, PyTree


class Transition(NamedTuple):
    """A decision, what was done and what it paid; the path's next decision is the next row."""

    obs: PyTree  # [2, ...], what each player knew
    legal: Array  # bool[A], the mover's
    mover: Array  # i32[]
    action: Array  # i32[]
    payoff: Array  # f32[]: player 0's if the path ended, else 0
    last: Array  # bool[]: it did


class Ring(NamedTuple):
    """The last `C` transitions. Whole paths are added, so the next row is missing only where the path ended."""

    rows: Transition  # [C, ...]
    place: Array  # i32[], where the next row goes
    filled: Array  # i32[], slots in use


def transition_of(game: Game, setups: PyTree = None) -> Transition:
    """The shapes of a `Transition` of this game."""
    step = jax.eval_shape(lambda key: game.observe(game.init(key, setups)), jax.random.key(0))
    some = lambda dtype: jax.ShapeDtypeStruct((), dtype)  # noqa: E731
    legal = jax.ShapeDtypeStruct((game.actions.n,), jnp.bool_)
    return Transition(step.obs, legal, some(jnp.int32), some(jnp.int32), some(jnp.float32), some(jnp.bool_))


def ring(row: Transition, capacity: int) -> Ring:
    """An empty ring for rows of the shapes and dtypes of `row`."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    return Ring(rows, jnp.int32(0), jnp.int32(0))


def extend(memory: Ring, steps: Steps, *, count: int) -> Ring:
    """Add the first `count` steps [M, ...], whole paths in the order (trajectory, node); the oldest ones go.

    `memory` is used up. Raises `ValueError` where the ring has no room for them all.
    """
    capacity = memory.rows.last.shape[0]
    if count > capacity:
        raise ValueError(f"{count} transitions of one walk do not fit a ring of {capacity}")
    rows = Transition(steps.obs, steps.legal, steps.mover, steps.action, steps.payoff, steps.last)
    return _extend(memory, rows, jnp.int32(count))


@partial(jax.jit, donate_argnums=0)
def _extend(memory: Ring, rows: Transition, count: Array) -> Ring:
    capacity, order = memory.rows.last.shape[0], jnp.arange(rows.last.shape[0], dtype=jnp.int32)
    slot = jnp.where(order < count, (memory.place + order) % capacity, capacity)
    kept = jax.tree.map(lambda held, new: held.at[slot].set(new, mode="drop"), memory.rows, rows)
    filled = jnp.minimum(memory.filled + count, capacity)
    return Ring(kept, (memory.place + count) % capacity, filled)
