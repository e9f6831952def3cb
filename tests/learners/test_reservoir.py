"""A reservoir against Vitter's algorithm in plain Python, and how evenly it keeps what it saw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from jaxnash.learners.reservoir import (
    Reservoir,
    _high_product,
    draw,
    filled,
    insert,
    reservoir,
    size_in_bytes,
)

KEY = jax.random.key(5)
SHAPE = {"what": jax.ShapeDtypeStruct((2,), jnp.int8), "which": jax.ShapeDtypeStruct((), jnp.int32)}


def rows_of(numbers) -> dict[str, np.ndarray]:
    numbers = np.asarray(numbers, np.int32)
    return {"what": np.stack([numbers % 100, numbers % 7], -1).astype(np.int8), "which": numbers}


def offered(capacity: int, sizes: list[int], key=KEY, *, padded: int | None = None) -> Reservoir:
    """Rows 0, 1, 2, ... in inserts of these sizes; with `padded`, each filled up with rubbish."""
    memory, seen = reservoir(SHAPE, capacity), 0
    for size in sizes:
        numbers = np.full(padded or size, 10**9)
        numbers[:size] = np.arange(seen, seen + size)
        memory = insert(key, memory, rows_of(numbers), np.int32(size))
        seen += size
    return memory


def test_it_is_algorithm_r_on_the_same_bits():
    capacity, count = 50, 400
    held = list(range(capacity))
    bits = jax.vmap(lambda n: jax.random.bits(jax.random.fold_in(KEY, n)))(jnp.arange(count))
    for n in range(capacity, count):
        slot = int(bits[n]) * (n + 1) // 2**32
        if slot < capacity:
            held[slot] = n  # the last that wants a slot has it
    memory = offered(capacity, [count])
    np.testing.assert_array_equal(memory.number, held)
    for leaf, expected in zip(jax.tree.leaves(memory.rows), jax.tree.leaves(rows_of(held))):
        np.testing.assert_array_equal(leaf, expected)
    assert int(memory.seen) == count


@pytest.mark.parametrize("capacity", [1, 7, 64, 500])
def test_how_rows_are_cut_into_inserts_does_not_show(capacity):
    """Many of the rows of one insert want the same slot where there are few."""
    whole = offered(capacity, [400])
    for memory in (
        offered(capacity, [100] * 4),
        offered(capacity, [3, 90, 7, 200, 100], padded=256),
        offered(capacity, [1, 0, 255, 144], padded=256),
    ):
        for leaf, expected in zip(jax.tree.leaves(memory), jax.tree.leaves(whole), strict=True):
            np.testing.assert_array_equal(leaf, expected)


def test_a_reservoir_larger_than_what_it_saw_keeps_all_in_order():
    memory = offered(1000, [250, 150], padded=256)
    assert int(filled(memory)) == int(memory.seen) == 400
    np.testing.assert_array_equal(memory.number[:400], np.arange(400))
    np.testing.assert_array_equal(memory.rows["which"][:400], np.arange(400))
    assert np.all(np.asarray(memory.number[400:]) == -1)
    seen = np.asarray(jax.jit(draw, static_argnums=2)(KEY, memory, 4000)["which"])
    assert seen.min() >= 0 and seen.max() < 400 and len(np.unique(seen)) > 350
    assert int(filled(reservoir(SHAPE, 5))) == 0


def test_every_row_is_kept_alike_wherever_it_lands():
    """1,000 reservoirs of 20 of 200 rows: how often each age and slot of the latest is seen, by chi-square
    at the level 1e-4 (seeds are fixed; three tests)."""
    capacity, count, repeats = 20, 200, 1000
    rows = rows_of(np.arange(count))
    keys = jax.random.split(jax.random.key(0), repeats)
    many = jax.jit(
        jax.vmap(lambda key: insert(key, reservoir(SHAPE, capacity), rows, jnp.int32(count)).number)
    )
    number = np.asarray(many(keys))
    assert all(len(set(one)) == capacity for one in number.tolist())  # no row twice
    kept = np.bincount(number.ravel(), minlength=count)
    expected = repeats * capacity / count
    # which rows are kept is a sample without replacement: the variance is smaller by this factor
    shrunk = (1 - capacity / count) * count / (count - 1)
    statistic = ((kept - expected) ** 2).sum() / expected / shrunk
    assert statistic < chi2.ppf(1 - 1e-4, count - 1)
    assert statistic > chi2.ppf(1e-4, count - 1)
    late = np.argwhere(number >= count - 100)[:, 1]  # slots of rows that came when it was full
    where = np.bincount(late, minlength=capacity)
    assert ((where - where.mean()) ** 2).sum() / where.mean() < chi2.ppf(1 - 1e-4, capacity - 1)


def test_rows_are_drawn_evenly_with_replacement():
    memory = offered(50, [400])
    numbers = np.asarray(draw(KEY, memory, 20_000)["which"])
    seen = np.array([(numbers == number).sum() for number in np.asarray(memory.number)])
    assert seen.sum() == 20_000
    assert chi2.ppf(1e-4, 49) < ((seen - 400) ** 2).sum() / 400 < chi2.ppf(1 - 1e-4, 49)


def test_the_high_half_of_products_is_that_of_whole_numbers():
    edges = [0, 1, 2, 3, 0xFFFF, 0x10000, 0x10001, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFF0000, 0xFFFFFFFF]
    edges += np.random.default_rng(0).integers(0, 2**32, 200).tolist()
    a, b = np.meshgrid(np.array(edges, np.uint32), np.array(edges, np.uint32))
    expected = [[x * y >> 32 for x, y in zip(left, right)] for left, right in zip(a.tolist(), b.tolist())]
    np.testing.assert_array_equal(jax.jit(_high_product)(a, b), np.array(expected, np.uint32))


def test_bytes_are_those_of_the_arrays():
    memory = reservoir(SHAPE, 1000)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((memory.rows, memory.number)))
    assert size_in_bytes(SHAPE, 1000) == held == 1000 * (2 + 4 + 4)
