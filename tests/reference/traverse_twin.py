"""External and robust sampling as a plain recursion, one trajectory at a time, on the same random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.games.game import Game


class Decision(NamedTuple):
    """A visited decision."""

    node: int
    obs: Any  # what the mover knew
    legal: np.ndarray
    target: list[float]  # the traverser's regrets, or the strategy that the other player drew from


class Twin(NamedTuple):
    """`walk(key, params, player, trajectory, setups)` gives the player's decisions, the other's, and the
    number of nodes."""

    walk: Callable[..., tuple[list[Decision], list[Decision], int]]


def twin(game: Game, strategy: Callable[..., Any], explore: int | None = None) -> Twin:
    """A recursion over `game` with `strategy(params, obs[1], legal[1, A])`, as `traverser`'s."""
    init, step, look = jax.jit(game.init), jax.jit(game.step), jax.jit(game.observe)
    network = jax.jit(strategy)

    @jax.jit
    def randoms(key, node):
        own = jax.random.fold_in(key, node)
        subset = jax.random.uniform(jax.random.fold_in(own, 2), (game.actions.n,))
        return jax.random.uniform(own), subset, jax.random.fold_in(own, 1)

    def walk(key, params, player, trajectory, setups):
        key = jax.random.fold_in(key, trajectory)
        mine: list[Decision] = []
        theirs: list[Decision] = []
        nodes = 0

        def after(state, action):
            """Chance draws with the key of the node that was met last."""
            return step(randoms(key, nodes - 1)[2], state, np.array([action, action], np.int32))

        def worth(state) -> float:
            nonlocal nodes
            here = jax.device_get(look(state))
            node, nodes = nodes, nodes + 1
            if here.terminated:
                return float(here.reward[player])
            mover = int(np.flatnonzero(here.active)[0])
            obs, legal = jax.tree.map(lambda leaf: leaf[mover], here.obs), here.legal[mover]
            side = params[0] if mover == player else params[1]
            one = jax.tree.map(lambda leaf: leaf[None], obs)
            played = [float(p) for p in network(side, one, legal[None])[0]]
            uniform, places = (np.asarray(number) for number in randoms(key, node)[:2])
            choices = [a for a in range(len(legal)) if legal[a]]

            if mover != player:
                theirs.append(Decision(node, obs, legal, played))
                return worth(after(state, drawn(played, float(uniform))))

            tried = choices
            if explore is not None and len(choices) > explore:
                tried = sorted(sorted(choices, key=lambda a: places[a])[:explore])
            place = len(mine)
            mine.append(Decision(node, obs, legal, []))
            # a tried action stands for as many as were there to choose from
            value = [0.0] * len(legal)
            for action in tried:
                value[action] = worth(after(state, action)) * len(choices) / len(tried)
            total = sum(p * v for p, v in zip(played, value))
            mine[place] = Decision(node, obs, legal, [v - total for v in value])
            return total

        root = init(jax.random.fold_in(key, 0x7FFFFFFF), setups)
        worth(root)
        return mine, theirs, nodes

    return Twin(walk)


def drawn(probabilities: list[float], uniform: float) -> int:
    """The action on whose stretch of [0, sum) `uniform` times the sum falls."""
    left = uniform * sum(probabilities)
    for action, probability in enumerate(probabilities):
        left -= probability
        if left < 0:
            return action
    return max(a for a, p in enumerate(probabilities) if p > 0)
