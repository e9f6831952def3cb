"""Goofspiel with hidden bids: sealed cards are bid for the point cards, from the highest down (Ross 1971).

The rules are those of OpenSpiel's `goofspiel(imp_info=True,points_order=descending)` made turn-based: player
1 bids without seeing player 0's card, afterwards both are told only who won the point card (nobody at a tie).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import TERMINAL, TreeError, TreeGame
from jaxnash.types import Array


def goofspiel(cards: int = 4) -> TreeGame:
    """The game as a tree. Each player holds the cards 1 to `cards`; the point cards are the same.

    Returns are 1, 0 and -1: who has more points, not by how many. Action `c` bids the card `c + 1`; the last
    cards play themselves. A state is i32[2, n] with n = cards - 1: each player's bids in order, -1 where
    nothing was bid yet. Observations are f32[2, n * (cards + 3) + 2]: own bids (n x cards), who won each
    point card (n x 3: self, the other, tie), seat (2), all one-hot.

    Raises `TreeError` for fewer than two cards.
    """
    if cards < 2:
        raise TreeError(f"goofspiel needs two cards at least, not {cards}: nobody would decide anything")
    worth = np.arange(cards, 0, -1, dtype=np.int32)  # of the point cards, in the order they are played for

    def results(state: Array) -> Array:
        """i32[n]: 1 where player 0 won the point card, -1 where player 1 did, else 0."""
        both = jnp.all(jnp.asarray(state) >= 0, axis=0)
        return jnp.where(both, jnp.sign(state[0] - state[1]), 0)

    def player(state: Array) -> Array:
        first, second = jnp.sum(state[0] >= 0), jnp.sum(state[1] >= 0)
        return jnp.where(first > second, 1, jnp.where(first == cards - 1, TERMINAL, 0))

    def legal(state: Array) -> Array:
        mover = jnp.maximum(player(state), 0)
        return jnp.all(jnp.arange(cards)[:, None] != jnp.asarray(state)[mover], axis=1)

    def chance(state: Array) -> Array:
        return jnp.ones(1)

    def next(state: Array, action: Array) -> Array:
        state, mover = jnp.asarray(state), jnp.maximum(player(state), 0)
        return state.at[mover, jnp.sum(state[mover] >= 0)].set(jnp.asarray(action, jnp.int32))

    def returns(state: Array) -> Array:
        held = cards * (cards - 1) // 2 - jnp.sum(jnp.asarray(state), axis=1)  # the card that plays itself
        lead = jnp.sum(results(state) * worth[:-1]) + jnp.sign(held[0] - held[1]) * worth[-1]
        return jnp.stack([jnp.sign(lead), -jnp.sign(lead)]).astype(float)

    def infoset(state: Array, player: int) -> str:
        pairs = list(zip(*np.asarray(state).tolist()))
        own = " ".join([str(pair[player] + 1) for pair in pairs if pair[player] >= 0])
        won = "".join(["1t0"[(a > b) - (a < b) + 1] for a, b in pairs if a >= 0 and b >= 0])
        return f"{player}:{own}:{won}"  # the winners' seats, t for a tie

    def observe(state: Array) -> Array:
        state = jnp.asarray(state)
        both = jnp.all(state >= 0, axis=0)

        def seat(index: int) -> Array:
            won = results(state) * (1 - 2 * index)
            kind = jnp.where(both, jnp.where(won > 0, 0, jnp.where(won < 0, 1, 2)), -1)
            bids, winners = jax.nn.one_hot(state[index], cards), jax.nn.one_hot(kind, 3)
            return jnp.concatenate([bids.reshape(-1), winners.reshape(-1), jax.nn.one_hot(index, 2)])

        return jnp.stack([seat(0), seat(1)])

    root: Any = np.full((2, cards - 1), -1, np.int32)
    return TreeGame(root, player, legal, chance, next, returns, infoset, observe, num_actions=cards)
