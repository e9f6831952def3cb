"""Kuhn poker: three cards, one chip ante, one bet. The value for the first player is -1/18 (Kuhn 1950)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, TreeGame
from jaxnash.types import Array

PASS, BET = 0, 1  # check or fold, bet or call
OBSERVATION_SIZE = 11


def kuhn() -> TreeGame:
    """The game as a tree. A state is i32[5]: both players' cards (0 J, 1 Q, 2 K), then up to three actions,
    -1 where nothing has happened yet; its entries fill from left to right. Returns are in chips.

    Observations are f32[2, 11]: own card (3), the betting so far (3 x 2), seat (2), all one-hot.
    """

    def player(state: Array) -> Array:
        first, second, third = state[2], state[3], state[4]
        called_or_folded = (first == BET) & (second >= 0)
        checked_down = (first == PASS) & (second == PASS)
        ended = called_or_folded | checked_down | (third >= 0)
        mover = jnp.where((first >= 0) & (second < 0), 1, 0)
        return jnp.where(state[1] < 0, CHANCE, jnp.where(ended, TERMINAL, mover))

    def legal(state: Array) -> Array:
        return jnp.ones(2, bool)

    def chance(state: Array) -> Array:
        left = jnp.arange(3) != state[0]
        return left / jnp.sum(left)

    def next(state: Array, action: Array) -> Array:
        return jnp.asarray(state).at[jnp.sum(jnp.asarray(state) >= 0)].set(jnp.asarray(action, jnp.int32))

    def returns(state: Array) -> Array:
        first, second, third = state[2], state[3], state[4]
        showdown = jnp.where(state[0] > state[1], 1, -1)
        second_folded = (first == BET) & (second == PASS)
        first_folded = (second == BET) & (third == PASS)
        bets = (first == BET) | (second == BET)
        won = jnp.where(second_folded, 1, jnp.where(first_folded, -1, jnp.where(bets, 2, 1) * showdown))
        return jnp.stack([won, -won]).astype(float)

    def infoset(state: Array, player: int) -> str:
        card, betting = int(state[player]), [int(action) for action in state[2:] if action >= 0]
        return f"{player}:{'JQK'[card] if card >= 0 else '?'}:{''.join('pb'[action] for action in betting)}"

    def observe(state: Array) -> Array:
        def seat(index: int) -> Array:
            own = jax.nn.one_hot(state[index], 3)
            betting = jax.nn.one_hot(jnp.asarray(state[2:]), 2).reshape(-1)
            return jnp.concatenate([own, betting, jax.nn.one_hot(index, 2)])

        return jnp.stack([seat(0), seat(1)])

    root: Any = np.full(5, -1, np.int32)
    return TreeGame(root, player, legal, chance, next, returns, infoset, observe, num_actions=2)
