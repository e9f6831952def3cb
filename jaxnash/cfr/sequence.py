"""Sequence form as arrays, and the two sweeps over it that every exact algorithm here is made of.

A player's sequences are numbered from 0, the empty one, level by level: level d holds the sequences whose
last action was the player's d-th real choice. Within a level, infosets of like width form a `Bucket`, stored
action by action ([W, N]: all first actions, then all second ones), so that sums over actions are sums of
contiguous vectors. Infosets with one legal action are left out: their sequence is their parent. In a game
of public actions an "infoset" is a public node, and every array has the private hands as its last axis
(`lanes`).

Von Stengel, "Efficient computation of behavior strategies" (1996).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxnash.types import Array

UNROLLED = 16  # terms
LARGE = 10_000  # elements, beyond what the nearest cache holds


class Bucket(NamedTuple):
    """`N` infosets of one depth with at most `W` actions."""

    parent: Array  # i32[N]: the sequence that leads here, counted within the level above
    legal: Array | None  # bool[W, N]; None: all of them are
    position: Array  # i32[W, N, *lanes]: index into a policy f[I, A] laid flat; I * A at padding


class Treeplex(NamedTuple):
    """One player's sequences."""

    root: Array  # f[*lanes] of ones: the reach of the empty sequence
    levels: tuple[tuple[Bucket, ...], ...]


class Rows(NamedTuple):
    """Where the terms of each of a player's sequences stand, in groups of sequences with like many."""

    groups: tuple[tuple[Array, Array], ...]  # index i32[K, n] and factor f[K, n] of K terms each
    position: tuple[Array, ...]  # per level i32[s]: a sequence's place among (with `direct`: the terms, then)
    # the groups' sums; beyond them where it has none

    def sums(self, terms: Array, *, direct: bool) -> list[Array]:
        """Per level f[s, *lanes]: the weighted sum of each sequence's terms f[n, *lanes]. With `direct`, a
        sequence of one term reads it without a group."""
        table = [terms] if direct else []
        table += [_weighted_sums(index, factor, terms) for index, factor in self.groups]
        flat = jnp.concatenate(table) if len(table) != 1 else table[0]
        return [flat.at[position].get(mode="fill", fill_value=0) for position in self.position]


def _weighted_sums(index: Array, factor: Array, terms: Array) -> Array:
    factor = factor.reshape(factor.shape + (1,) * (terms.ndim - 1))
    if len(index) > UNROLLED or index.size * terms[0].size < LARGE:
        return jnp.sum(factor * terms[index], axis=0)
    # Written out: on a CPU, XLA sums over a leading axis by walking down columns, eight times slower here.
    return sum(factor[k] * terms[index[k]] for k in range(1, len(index))) + factor[0] * terms[index[0]]


class SparsePayoffs(NamedTuple):
    """The payoff matrix between the players' sequences, chance included."""

    rows: tuple[Rows, Rows]  # of each player, over the opponent's sequences

    def gradient(self, player: int, reach: Array) -> list[Array]:
        """The payoff of each of the player's sequences, f[s] a level, against the opponent's reach f[S]."""
        return self.rows[player].sums(reach, direct=False)


class PublicPayoffs(NamedTuple):
    """Payoffs at public terminal nodes, between the sequences that lead to them."""

    sequence: tuple[Array, Array]  # i32[Z]: each player's sequence at a terminal
    rows: tuple[Rows, Rows]  # of each player, over the terminals
    terminals: Any  # PublicGame.terminals

    def gradient(self, player: int, reach: Array) -> list[Array]:
        """As `SparsePayoffs.gradient`, with hands: from f[S, H_opponent] to f[s, H_player] a level."""
        values = self.terminals.values(player, reach[self.sequence[1 - player]])
        return self.rows[player].sums(values, direct=True)


class Arrays(NamedTuple):
    """All that enters jit."""

    sides: tuple[Treeplex, Treeplex]
    payoffs: SparsePayoffs | PublicPayoffs
    unit: Array  # f[]: one unit of `payoffs` in the game's own unit


class Tree(NamedTuple):
    """A compiled game. Policies are f[I, A], player 0's infosets first."""

    arrays: Arrays
    infosets: tuple[str, ...]  # I names
    player: Array  # i8[I]
    legal: Array  # bool[I, A]
    dtype: Any


Strategy = tuple[tuple[Array, ...], ...]  # per level and bucket, f[W, N, *lanes]


def split(side: Treeplex, flat: Array) -> tuple[tuple[Array, ...], ...]:
    """A vector f[S, *lanes] over sequences as arrays f[W, N, *lanes] per level and bucket."""
    levels, at = [], 1
    for level in side.levels:
        blocks = []
        for bucket in level:
            w, n = bucket.position.shape[:2]
            blocks.append(flat[at : at + w * n].reshape(w, n, *side.root.shape))
            at += w * n
        levels.append(tuple(blocks))
    return tuple(levels)


def reach(side: Treeplex, strategy: Strategy) -> Array:
    """The sweep down: the product of the player's own probabilities along each sequence, f[S, *lanes]."""
    levels = [side.root[None]]
    for level, blocks in zip(side.levels, strategy):
        products = [s * levels[-1][b.parent] for b, s in zip(level, blocks)]
        levels.append(jnp.concatenate([p.reshape(-1, *side.root.shape) for p in products]))
    return jnp.concatenate(levels)


def sweep(
    side: Treeplex, gradient: list[Array], choose: Callable[[int, int, Array], tuple[Array, Any]]
) -> tuple[Array, Any]:
    """The sweep up, deepest infosets first.

    `gradient`, per level f[s, *lanes], is what sequences earn at terminals.
    `choose(level, index, q)` is given a bucket's action values f[W, N, *lanes] (counterfactual: weighted by
    chance and the opponent) and returns the infosets' values f[N, *lanes] and anything else it wants kept.
    Returns the value of the game f[*lanes] and what was kept, per level and bucket.
    """
    above = gradient[-1]
    kept: list[tuple[Any, ...]] = []
    for level in reversed(range(len(side.levels))):
        q, above, offset = above, gradient[level], 0
        here = []
        for index, bucket in enumerate(side.levels[level]):
            w, n = bucket.position.shape[:2]
            values, extra = choose(level, index, q[offset : offset + w * n].reshape(w, n, *side.root.shape))
            above = above.at[bucket.parent].add(values, indices_are_sorted=True)
            offset += w * n
            here.append(extra)
        kept.append(tuple(here))
    return above[0], tuple(reversed(kept))


def plan(side: Treeplex, policy: Array) -> Strategy:
    """A policy f[I, A] as per-bucket arrays; padding is 0."""
    flat = policy.reshape(-1)
    return tuple(
        tuple(flat.at[b.position].get(mode="fill", fill_value=0) for b in level) for level in side.levels
    )


def write(side: Treeplex, policy: Array, strategy: Strategy) -> Array:
    """The policy f[I, A] with the rows of one player's buckets replaced."""
    flat = policy.reshape(-1)
    for level, blocks in zip(side.levels, strategy):
        for bucket, block in zip(level, blocks):
            flat = flat.at[bucket.position].set(block, mode="drop")
    return flat.reshape(policy.shape)


def legal_mask(side: Treeplex, bucket: Bucket) -> Array:
    """bool[W, N, *lanes], or all True."""
    shape = bucket.position.shape
    if bucket.legal is None:
        return jnp.ones(shape, bool)
    return jnp.broadcast_to(bucket.legal.reshape(shape[:2] + (1,) * (len(shape) - 2)), shape)
