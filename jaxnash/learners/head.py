"""The last layer of a network by weighted least squares over a whole memory.

A network's outputs are linear in its last layer, so that layer's best values for a squared error are known in
closed form once the layers below are given (variable projection: Golub and Pereyra, "The Differentiation of
Pseudo-Inverses and Nonlinear Least Squares Problems Whose Variables Separate", 1973, section 2). Stochastic
gradient steps come near them slowly: what is left is a shrinkage towards the mean, and in counterfactual
regret minimisation such a bias is paid for in exploitability, where noise averages out over iterations.

With features `phi` f32[H] (1 appended), weights `w` and the rows where action `a` is legal, the change of the
head that the gradient steps ended with is, for each action,

    (mean w phi phi' + ridge trace / (H + 1) I)^-1 mean w phi (target - output).

The ridge holds back what the memory does not determine.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from jaxnash.learners.reservoir import Reservoir, filled
from jaxnash.policies.advantage import Network, with_head
from jaxnash.types import Array, Key, Params, PyTree

BLOCK = 4096  # rows at a time
PANEL = 256  # columns of a matrix at a time


def mean_of(key: Key, filled: Array, most: int, add: Callable[[Array, Array], PyTree]) -> PyTree:
    """The mean of what rows contribute, over some `most` of the first `filled` rows, spread evenly over them
    (one drawn of each so many in order). `add(rows i32[B], counted bool[B])` gives the sum of those that
    count; arrays of fixed shapes."""
    stride = (filled + most - 1) // most
    taken = jnp.maximum((filled + stride - 1) // stride, 1)

    def block(i: Array, total: PyTree) -> PyTree:
        order = i * BLOCK + jnp.arange(BLOCK)
        drawn = jax.random.randint(jax.random.fold_in(key, i), order.shape, 0, stride)
        place = jnp.minimum(order * stride + drawn, filled - 1)
        return jax.tree.map(jnp.add, total, add(place, order < taken))

    shapes = jax.eval_shape(add, jnp.zeros(BLOCK, jnp.int32), jnp.zeros(BLOCK, bool))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total = jax.lax.fori_loop(0, (taken + BLOCK - 1) // BLOCK, block, zero)
    return jax.tree.map(lambda leaf: leaf / taken, total)


def products(features: Array, weight: Array) -> Array:
    """The matrices f32[A, H, H] of features f32[B, H], a row counting `weight` f32[B, A]."""
    return jnp.einsum("bh,ba,bk->ahk", features, weight, features)


def squares(features: Array, did: Array) -> Array:
    """The sums of products of features f32[N, H] over the rows that did an action, bool[N, A]: the lower
    triangles, of f32[A, H, H]; what is above them is not all there. Of each row at most one action: rows of
    an action are taken together, so that each costs one product, not A."""
    actions, size = did.shape[1], features.shape[1]
    edges = [*range(0, max(size - PANEL // 2, 1), PANEL), size]
    which = jnp.where(jnp.any(did, axis=1), jnp.argmax(did, axis=1), actions)
    order, count = jnp.argsort(which), jnp.sum(did, axis=0)
    blocks = (count + BLOCK - 1) // BLOCK
    ends, first = jnp.cumsum(blocks), jnp.cumsum(count) - count

    def add(i: Array, total: Array) -> Array:
        action = jnp.searchsorted(ends, i, side="right")
        place = (i - (ends - blocks)[action]) * BLOCK + jnp.arange(BLOCK)
        some = features[order[jnp.minimum(first[action] + place, len(did) - 1)]]
        some = jnp.where((place < count[action])[:, None], some, 0)
        for left, right in pairwise(edges):
            total = total.at[action, left:, left:right].add(some[:, left:].T @ some[:, left:right])
        return total

    zero = jnp.zeros((actions, size, size), features.dtype)
    return jax.lax.fori_loop(0, ends[-1], add, zero)


def with_one(features: Array) -> Array:
    """The features f32[B, H + 1] with 1 appended, which the bias multiplies."""
    return jnp.concatenate([features, jnp.ones((len(features), 1), features.dtype)], axis=1)


def factor(gram: Array, ridge: float) -> Callable[[Array], Array]:
    """Solves f[A, H] right-hand sides with the matrices f[A, H, H], of which only lower triangles are read,
    each with `ridge` times its mean diagonal added to its diagonal."""
    size = gram.shape[-1]
    diagonal = ridge * jnp.trace(gram, axis1=1, axis2=2) / size + 1e-30
    lower = jax.scipy.linalg.cholesky(gram + diagonal[:, None, None] * jnp.eye(size), lower=True)
    return lambda right: jax.vmap(lambda l, b: jax.scipy.linalg.cho_solve((l, True), b))(lower, right)


def solved(
    key: Key,
    network: Network,
    params: Params,
    memory: Reservoir,
    *,
    weigh: Callable[[Any], tuple[Array, Array]],
    rows: int,
    gram_rows: int,
    ridge: float,
) -> Params:
    """The params with the last layer solved for.

    The right-hand sides are sums over some `rows` rows of the memory, the matrices over some `gram_rows`:
    products of features are the larger work and need to be known less well.
    `weigh(rows)` gives (weights f32[B], targets f32[B, A]); only legal actions' targets are fitted.
    Where the matrix cannot be factorised the params stay as they are.
    """
    used = jnp.maximum(filled(memory), 1)

    def row(place: Array, counted: Array) -> tuple[Array, Array, Array]:
        some = jax.tree.map(lambda leaf: leaf[place], memory.rows)
        weight, target = weigh(some)
        each = jnp.where(counted[:, None] & some.legal, weight[:, None], 0)
        error = each * (target - network.apply(params, some.obs))
        return with_one(network.features(params, some.obs)), each, error

    def matrices(place: Array, counted: Array) -> Array:
        phi, each, _ = row(place, counted)
        return products(phi, each)

    def errors(place: Array, counted: Array) -> Array:
        phi, _, error = row(place, counted)
        return jnp.einsum("ba,bh->ah", error, phi)

    solve = factor(mean_of(jax.random.fold_in(key, 0), used, gram_rows, matrices), ridge)
    return moved(params, solve(mean_of(jax.random.fold_in(key, 1), used, rows, errors)))


def moved(params: Params, change: Array) -> Params:
    """The params with f32[A, H + 1] added to the last layer, if all of it is finite."""
    change = jnp.where(jnp.all(jnp.isfinite(change)), change, 0)
    return with_head(params, lambda kernel, bias: (kernel + change[:, :-1].T, bias + change[:, -1]))
