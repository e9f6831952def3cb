"""What a learner was: a stack of past parameters of fixed capacity, and who of them is met."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.types import Array, Key, Params


class Snapshots(NamedTuple):
    """The last snapshots taken. `params` are stacked [capacity, ...]."""

    params: Params
    taken: Array  # i32[], ever


def none_yet(params: Params, capacity: int) -> Snapshots:
    """An empty stack for parameters of these shapes."""
    return Snapshots(
        jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), params), jnp.int32(0)
    )


@jax.jit
def add(stack: Snapshots, params: Params) -> Snapshots:
    """The stack with one more; the oldest goes where it is full."""
    place = stack.taken % _capacity(stack)
    kept = jax.tree.map(lambda held, new: held.at[place].set(new), stack.params, params)
    return Snapshots(kept, stack.taken + 1)


def drawn(key: Key, stack: Snapshots, groups: int, latest: float) -> tuple[Params, Array]:
    """Params stacked [groups, ...] and their numbers i32[groups], 0 for the first ever taken.

    Each is the latest with probability `latest`, else any that is held, all as likely. Where there is none
    yet, the params mean nothing and the numbers are -1: give snapshots no share then (see `shares_of`).
    """
    first, second = jax.random.split(key)
    held = jnp.minimum(stack.taken, _capacity(stack))
    back = jax.random.randint(first, (groups,), 0, jnp.maximum(held, 1))
    back = jnp.where(jax.random.bernoulli(second, latest, (groups,)), 0, back)
    number = jnp.where(held > 0, stack.taken - 1 - back, -1)
    place = jnp.maximum(number, 0) % _capacity(stack)
    return jax.tree.map(lambda leaf: leaf[place], stack.params), number


def shares_of(shares: Array, stack: Snapshots) -> Array:
    """How often opponents are a snapshot or each script, f32[1 + scripts]: as given, but before the first
    snapshot each script that has a share gets an equal part of the snapshots' share too."""
    shares = jnp.asarray(shares)
    played = (shares > 0).at[0].set(False)
    alone = jnp.where(played, shares + shares[0] / jnp.sum(played), 0)
    return jnp.where(stack.taken > 0, shares, alone)


def _capacity(stack: Snapshots) -> int:
    return jax.tree.leaves(stack.params)[0].shape[0]
