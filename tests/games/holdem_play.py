"""Random hold'em hands with given cards, and walks of betting trees, for the tests."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.evaluator import tables
from jaxnash.games.game import Game
from jaxnash.games.holdem import HoldemSetup, holdem

SIZES = ((0.3, 0.5, 1.0, 2.0), (1 / 3, 0.75, 1.5), (0.1, 1.0, 3.0), (0.25, 1.0, 2.5, 4.0))
KINDS = ("no-limit", "limit", "flop")
LONGEST = 25  # no hand of the three has more actions


class Hands(NamedTuple):
    """`N` hands, as they were before each action; a hand that has ended stays as it was."""

    setup: HoldemSetup
    obs: Any  # [T, N, 2, ...]
    legal: np.ndarray  # [T, N, 2, A]
    active: np.ndarray  # [T, N, 2]
    reward: np.ndarray  # [T, N, 2]
    ended: np.ndarray  # [T, N]
    street: np.ndarray  # [T, N]
    last_raise: np.ndarray  # [T, N]
    action: np.ndarray  # [T, N]


@cache
def the_game(kind: str) -> Game:
    return holdem(kind, bet_sizes=SIZES)


@cache
def compiled(kind: str) -> tuple[Any, Any]:
    """(setup[N]) -> (state, time step) and (state, actions[N]) -> (state, time step), N hands at once."""
    game, key = the_game(kind), jax.random.key(0)

    def begin(setup):
        state = jax.vmap(lambda one: game.init(key, one), (HoldemSetup(0, 0, 0, None, 0),))(setup)
        return state, jax.vmap(game.observe)(state)

    def go(state, actions):
        state = jax.vmap(lambda s, a: game.step(key, s, jnp.stack([a, a])))(state, actions)
        return state, jax.vmap(game.observe)(state)

    return jax.jit(begin), jax.jit(go)


def deals(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.permuted(np.tile(np.arange(52, dtype=np.int32), (n, 1)), axis=1)[:, :9]


def random_setups(rng: np.random.Generator, n: int, least: int = 1) -> HoldemSetup:
    """A third with deep and equal stacks, the rest unequal and shorter, down to `least` chips."""
    deep = rng.random((n, 1)) < 1 / 3
    low = rng.choice([120, 1000, 5000], (n, 1))
    stacks = np.where(deep, 20_000, rng.integers(least, low, (n, 2)))
    blinds = np.array([(50, 100), (50, 100), (33, 70), (5, 5)])[rng.integers(4, size=n)]
    as_i32 = [array.astype(np.int32) for array in (stacks, blinds, rng.integers(2, size=n))]
    return HoldemSetup(*as_i32, tables(), deals(rng, n))


def play(kind: str, setup: HoldemSetup, seed: int) -> Hands:
    """Random legal actions: folds seldom, and a hand's own habit of raising."""
    rng = np.random.default_rng(seed)
    begin, go = compiled(kind)
    state, now = begin(setup)
    trace = []
    n = len(now.terminated)
    habit = rng.choice([0.1, 1.0, 10.0], (n, 1))
    for _ in range(LONGEST):
        legal = np.asarray(now.legal)
        mine = np.where(np.asarray(now.active)[:, 1, None], legal[:, 1], legal[:, 0])
        weight = np.where(
            np.arange(mine.shape[1]) == 0, 0.1, np.where(np.arange(mine.shape[1]) == 1, 1, habit)
        )
        action = np.argmax(np.where(mine, weight, 0) / rng.exponential(size=mine.shape), axis=1)
        trace.append((now.obs, *now[1:5], state.street, state.last_raise, action))
        state, now = go(state, jnp.asarray(action, jnp.int32))
    return Hands(setup, *jax.tree.map(lambda *rows: np.stack(rows), *trace))


class Walk(NamedTuple):
    """A betting tree: decisions by depth, then the ends."""

    path: list[tuple[int, ...]]
    street: np.ndarray
    mover: np.ndarray
    obs: Any  # the mover's, [nodes, ...]
    rewards: np.ndarray  # [ends, 2]


def walk(game: Game, setup: HoldemSetup, width: int = 1024) -> Walk:
    """All histories of one deal."""
    key, count = jax.random.key(0), game.actions.n

    @jax.jit
    def expand(states):
        actions = jnp.arange(count)
        grown = jax.vmap(lambda s: jax.vmap(lambda a: game.step(key, s, jnp.stack([a, a])))(actions))(states)
        return grown, jax.vmap(game.observe)(states), states.street

    root = jax.tree.map(np.asarray, jax.jit(game.init)(key, setup))
    level, paths = jax.tree.map(lambda leaf: leaf[None], root), [()]
    found, ends, kept = [], [], []
    while paths:
        following = []
        for start in range(0, len(paths), width):
            own = paths[start : start + width]
            size = np.arange(len(own))
            part = _rows(level, start + np.minimum(np.arange(width), len(own) - 1))
            grown, now, street = _rows(jax.device_get(expand(part)), size)
            mover = np.argmax(now.active, axis=1)
            live = np.flatnonzero(~now.terminated)
            ends.append(now.reward[now.terminated])
            kept += [own[i] for i in live]
            found.append((street[live], mover[live], _rows(now.obs, (live, mover[live]))))
            node, action = np.nonzero(now.legal[size, mover] & ~now.terminated[:, None])
            children = [(*own[i], a) for i, a in zip(node.tolist(), action.tolist())]
            following.append((_rows(grown, (node, action)), children))
        paths = [path for _, children in following for path in children]
        level = jax.tree.map(lambda *rows: np.concatenate(rows), *[states for states, _ in following])
    street, mover, obs = jax.tree.map(lambda *rows: np.concatenate(rows), *found)
    return Walk(kept, street, mover, obs, np.concatenate(ends))


def _rows(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
