"""A uniform sample of everything seen so far, on device (Vitter 1985, "Random Sampling with a Reservoir", R).

Which rows stay is a function of the key and of the rows' order alone, however they are cut into inserts.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.types import Array, Key, PyTree


class Reservoir(NamedTuple):
    """`C` slots, of which the first `min(seen, C)` are filled."""

    rows: PyTree  # [C, ...]
    number: Array  # i32[C]: the row's place among all seen, -1 in an empty slot
    seen: Array  # i32[], rows offered so far


def reservoir(row: PyTree, capacity: int) -> Reservoir:
    """An empty reservoir for rows of the shapes and dtypes of `row` (arrays or `jax.ShapeDtypeStruct`)."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    return Reservoir(rows, jnp.full(capacity, -1, jnp.int32), jnp.int32(0))


def size_in_bytes(row: PyTree, capacity: int) -> int:
    """What `reservoir(row, capacity)` will hold."""
    return capacity * (4 + bytes_of(row))


def bytes_of(tree: PyTree) -> int:
    """Of all leaves, of which only shapes and dtypes are read."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def filled(memory: Reservoir) -> Array:
    """Slots in use, i32[]."""
    return jnp.minimum(memory.seen, memory.number.shape[0])


@partial(jax.jit, donate_argnums=1)
def insert(key: Key, memory: Reservoir, rows: PyTree, count: Array) -> Reservoir:
    """Offer the first `count` of `rows` [M, ...], in order. The `n`-th row ever seen takes slot `n` while
    there is room, then an evenly drawn number in [0, n], which it takes if that is a slot.

    At most 2**31 rows may be offered in all. `memory` is used up (donated).
    """
    capacity, given = memory.number.shape[0], jax.tree.leaves(rows)[0].shape[0]
    number = memory.seen + jnp.arange(given, dtype=jnp.int32)
    bits = jax.vmap(lambda n: jax.random.bits(jax.random.fold_in(key, n)))(number)
    drawn = _high_product(bits, number.astype(jnp.uint32) + 1).astype(jnp.int32)
    slot = jnp.where(number < capacity, number, drawn)
    slot = jnp.where((jnp.arange(given) < count) & (slot < capacity), slot, capacity)
    # of rows that want the same slot the last one has it; scatters promise no order, so ask who won
    winners = memory.number.at[slot].max(number, mode="drop")
    won = winners.at[slot].get(mode="fill", fill_value=-1) == number
    place = jnp.where(won, slot, capacity)
    kept = jax.tree.map(lambda held, new: held.at[place].set(new, mode="drop"), memory.rows, rows)
    return Reservoir(kept, winners, memory.seen + count)


def _high_product(a: Array, b: Array) -> Array:
    """The upper 32 bits of a 64-bit product of u32, which is even on [0, b) for an even `a`."""
    low, high = a & 0xFFFF, a >> 16
    below, above = b & 0xFFFF, b >> 16
    middle = high * below + (low * below >> 16)
    return high * above + (middle >> 16) + ((middle & 0xFFFF) + low * above >> 16)


def draw(key: Key, memory: Reservoir, batch: int) -> PyTree:
    """`batch` filled rows, drawn evenly with replacement."""
    picked = jax.random.randint(key, (batch,), 0, jnp.maximum(filled(memory), 1))
    return jax.tree.map(lambda leaf: leaf[picked], memory.rows)
