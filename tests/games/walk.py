"""Plain computations on written-out games, to test them by: no sequence form, no solver."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeGame


def levels(tree: HistoryTree) -> list[np.ndarray]:
    """The histories by depth, the root first."""
    depth = np.zeros(len(tree.parent), int)
    for history, parent in enumerate(tree.parent[1:], 1):
        depth[history] = depth[parent] + 1
    return [np.flatnonzero(depth == d) for d in range(depth.max() + 1)]


def edge_probabilities(tree: HistoryTree) -> np.ndarray:
    """f64[H]: the probability of a history's last action when both players draw their actions evenly."""
    children = np.bincount(tree.parent[1:], minlength=len(tree.parent))
    by_chance = tree.player[tree.parent] == CHANCE
    return np.where(by_chance, tree.chance, 1 / np.maximum(children, 1)[tree.parent])


def uniform_value(tree: HistoryTree) -> float:
    """What player 0 earns when both draw their actions evenly."""
    value = np.where(tree.player == TERMINAL, tree.returns[:, 0], 0.0)
    p = edge_probabilities(tree)
    for rows in levels(tree)[:0:-1]:
        np.add.at(value, tree.parent[rows], p[rows] * value[rows])
    return float(value[0])


def best_response_value(tree: HistoryTree, player: int) -> float:
    """What a player earns at best against an opponent who draws evenly.

    The histories of an infoset must be equally deep.
    """
    by_depth, p = levels(tree), edge_probabilities(tree)
    others = np.ones(len(tree.parent))  # reach by chance and the opponent
    for rows in by_depth[1:]:
        mine = tree.player[tree.parent[rows]] == player
        others[rows] = others[tree.parent[rows]] * np.where(mine, 1.0, p[rows])
    value = np.where(tree.player == TERMINAL, tree.returns[:, player], 0.0)
    for rows in by_depth[:0:-1]:
        above = tree.parent[rows]
        mine = tree.player[above] == player
        infoset, action = tree.infoset[above[mine]], tree.action[rows[mine]]
        worth = np.zeros((len(tree.infosets), tree.num_actions))
        offered = np.zeros_like(worth, bool)
        offered[infoset, action] = True
        np.add.at(worth, (infoset, action), others[rows[mine]] * value[rows[mine]])
        best = np.argmax(np.where(offered, worth, -np.inf), axis=1)
        weight = np.where(mine, 0.0, p[rows])
        weight[mine] = action == best[infoset]
        np.add.at(value, above, weight * value[rows])
    return float(value[0])


def uniform_nash_conv(tree: HistoryTree) -> float:
    """How much both gain together by best responses to even play."""
    return best_response_value(tree, 0) + best_response_value(tree, 1)


def play(game: TreeGame, *steps: int) -> Any:
    """The state after the steps, chance outcomes and actions alike."""
    state, next = game.root, jax.jit(game.next)
    for step in steps:
        state = next(state, step)
    return state


def legal(game: TreeGame, *steps: int) -> tuple[int, list[int]]:
    """Who moves after the steps, and the legal actions, or the possible chance outcomes."""
    state = play(game, *steps)
    player = int(jax.jit(game.player)(state))
    choices = jax.jit(game.chance if player == CHANCE else game.legal)(state)
    return player, np.flatnonzero(choices).tolist()


def paid(game: TreeGame, *steps: int) -> float:
    """What player 0 earns where the steps end the game."""
    state = play(game, *steps)
    assert jax.jit(game.player)(state) == TERMINAL
    won, lost = jax.jit(game.returns)(state).tolist()
    assert won == -lost
    return won


def paid_each(game: TreeGame, steps: Any) -> np.ndarray:
    """What player 0 earns where each row of steps i32[N, T] ends the game."""

    def one(steps: Any) -> Any:
        state = jax.lax.scan(lambda state, step: (game.next(state, step), None), game.root, steps)[0]
        return game.player(state), game.returns(state)

    player, returns = jax.jit(jax.vmap(one))(np.asarray(steps, np.int32))
    assert np.all(player == TERMINAL) and not np.any(np.sum(returns, axis=1))
    return np.asarray(returns)[:, 0]
