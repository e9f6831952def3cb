"""Zero-sum matrix games: both players choose at once, written as two moves of which the second is blind."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import TERMINAL, TreeError, TreeGame
from jaxnash.types import Array


def matrix(payoffs: Array) -> TreeGame:
    """The game as a tree: player 0 chooses a row of `payoffs` f[m, n], then player 1 a column unseeing.

    Player 0 earns the entry and player 1 its negative. A state is i32[2]: the row and the column, -1 before
    they are chosen. Observations are f32[2, 2]: the seat, one-hot.

    Raises `TreeError` where `payoffs` is empty, not two-dimensional or not finite.
    """
    table = _checked(payoffs)
    rows, columns = table.shape
    actions = max(rows, columns)

    def player(state: Array) -> Array:
        return jnp.where(state[0] < 0, 0, jnp.where(state[1] < 0, 1, TERMINAL))

    def legal(state: Array) -> Array:
        return jnp.arange(actions) < jnp.where(state[0] < 0, rows, columns)

    def chance(state: Array) -> Array:
        return jnp.ones(1)

    def next(state: Array, action: Array) -> Array:
        chosen = jnp.sum(jnp.asarray(state) >= 0)
        return jnp.asarray(state).at[chosen].set(jnp.asarray(action, jnp.int32))

    def returns(state: Array) -> Array:
        # a copy: JAX types a NumPy constant once, by its identity; after use in float32 it stays float32
        won = jnp.asarray(table.copy())[state[0], state[1]]
        return jnp.stack([won, -won])

    def infoset(state: Array, player: int) -> str:
        return ("0:row", "1:column")[player]

    def observe(state: Array) -> Array:
        return jnp.eye(2)

    root: Any = np.full(2, -1, np.int32)
    return TreeGame(root, player, legal, chance, next, returns, infoset, observe, num_actions=actions)


def _checked(payoffs: Array) -> np.ndarray:
    try:
        table = np.array(payoffs, np.float64)
    except (TypeError, ValueError) as error:
        raise TreeError(f"payoffs must be a matrix of numbers: {error}") from None
    if table.ndim != 2 or not table.size:
        raise TreeError(
            f"payoffs must be a matrix with a row and a column at least, not of shape {table.shape}"
        )
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        row, column = bad[0]
        raise TreeError(f"the payoff of row {row} against column {column} is {table[row, column]}")
    return table
