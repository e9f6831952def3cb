"""What networks play at every infoset of a game that is written out, and so their exact average policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr import Tree, compile_tree
from jaxnash.cfr.tree import depths, histories
from jaxnash.games.game import TreeGame
from jaxnash.types import Array, PyTree

Strategy = Callable[[PyTree, PyTree, Array], Array]


class Infosets(NamedTuple):
    """All `I` infosets of a game, in the order of `tree.infosets`."""

    tree: Tree
    obs: Array  # f32[I, D], what the player sees there
    legal: Array  # bool[I, A]
    player: Array  # i32[I]
    parent: Array  # i32[I]: the player's own last infoset before, -1 at the first
    action: Array  # i32[I]: what the player did there
    levels: tuple[Array, ...]  # infosets by number of own decisions before them


def infosets(game: TreeGame) -> Infosets:
    """Write a game out. Raises `TreeError` where it does not fit memory or is none of the exact core's."""
    written = histories(game)
    tree = compile_tree(written)
    states = [
        np.zeros((len(written.parent), *np.shape(leaf)), np.asarray(leaf).dtype)
        for leaf in jax.tree.leaves(game.root)
    ]
    shape = jax.tree.structure(game.root)
    for state, leaf in zip(states, jax.tree.leaves(game.root)):
        state[0] = leaf
    following = jax.jit(jax.vmap(game.next))
    for rows in depths(written)[1:]:
        above = jax.tree.unflatten(shape, [state[written.parent[rows]] for state in states])
        for state, leaf in zip(states, jax.tree.leaves(following(above, written.action[rows]))):
            state[rows] = leaf
    number = {name: i for i, name in enumerate(tree.infosets)}
    renumbered = np.array([number[name] for name in written.infosets])
    deciding = np.flatnonzero(written.infoset >= 0)
    some = np.zeros(len(renumbered), np.int64)
    some[renumbered[written.infoset[deciding[::-1]]]] = deciding[::-1]  # of each infoset its first history
    here = jax.tree.unflatten(shape, [state[some] for state in states])
    obs, player = np.asarray(jax.jit(jax.vmap(game.observe))(here)), written.player[some].astype(np.int32)

    parent, action = np.full(len(some), -1, np.int32), np.zeros(len(some), np.int32)
    at = some.copy()
    looking = np.ones(len(some), bool)
    while looking.any():
        done = written.action[at]
        at = np.where(looking, written.parent[at], at)
        found = looking & (at >= 0) & (written.player[at] == player)
        parent[found], action[found] = renumbered[written.infoset[at[found]]], done[found]
        looking &= ~found & (at > 0)
    depth = np.zeros(len(some), np.int64)
    for _ in range(len(depths(written))):
        depth = np.where(parent >= 0, depth[parent] + 1, 0)
    levels = tuple(np.flatnonzero(depth == d) for d in range(depth.max() + 1))
    obs = obs[np.arange(len(some)), player]
    return Infosets(tree, obs, np.asarray(tree.legal, bool), player, parent, action, levels)


def own_reach(table: Infosets, policy: Array) -> Array:
    """The probability f[I] with which each infoset's player does what leads there, for a policy f[I, A]."""
    reach = jnp.ones(len(table.player), policy.dtype)
    for rows in table.levels[1:]:
        above = table.parent[rows]
        reach = reach.at[rows].set(reach[above] * policy[above, table.action[rows]])
    return reach


def policy_of(table: Infosets, strategy: Strategy, params: tuple[PyTree, PyTree]) -> np.ndarray:
    """The policy f64[I, A] of one network per player."""
    first, second = (np.asarray(_at_all(strategy, one, table.obs, table.legal), np.float64) for one in params)
    policy = np.where((table.player == 0)[:, None], first, second)
    return policy / policy.sum(axis=1, keepdims=True)


def average_policy(
    table: Infosets, strategy: Strategy, histories: tuple[PyTree, PyTree], weights: Array
) -> np.ndarray:
    """The average f64[I, A] of each player's networks [T, ...] with weights f[T]: at an infoset each counts
    by its weight times its player's own reach (Steinberger 2019, equation 8); even where nothing reaches."""
    first, second = (
        np.asarray(
            _average(strategy, one, table._replace(tree=None), jnp.asarray(weights, jnp.float32)), np.float64
        )
        for one in histories
    )
    total = np.where((table.player == 0)[:, None], first, second)
    mass = total.sum(axis=1, keepdims=True)
    even = table.legal / table.legal.sum(axis=1, keepdims=True)
    return np.where(mass > 0, total / np.where(mass > 0, mass, 1), even)


_at_all = jax.jit(lambda strategy, params, obs, legal: strategy(params, obs, legal), static_argnums=0)


@partial(jax.jit, static_argnums=0)
def _average(strategy: Strategy, history: PyTree, table: Infosets, weights: Array) -> Array:
    def one(total: Array, both: tuple[PyTree, Array]) -> tuple[Array, None]:
        params, weight = both
        policy = strategy(params, table.obs, table.legal)
        return total + weight * own_reach(table, policy)[:, None] * policy, None

    return jax.lax.scan(one, jnp.zeros(table.legal.shape), (history, weights))[0]
