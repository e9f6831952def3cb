"""Liar's dice: bid how many of all dice show a face, or call the last bid a lie; the highest face is wild.

The rules and the order of actions are those of OpenSpiel's `liars_dice`. A player's dice are one chance
outcome, a multiset: the order of one's dice tells nothing, and the tree is smaller for it.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import factorial, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, TreeError, TreeGame
from jaxnash.types import Array


def liars_dice(dice: int = 1, sides: int = 6) -> TreeGame:
    """The game as a tree, for two players with `dice` dice each, of `sides` sides.

    Action `(q - 1) * sides + f - 1` bids "at least q dice show face f", wild dice counted; a bid must be
    higher than the last one. The last action, number `2 * dice * sides`, calls the last bid a lie. Returns
    are 1 and -1.

    A state is i32[2 + 2 * dice * sides + 1]: both players' hands (numbers of multisets, in lexicographic
    order; -1 before the roll), then 1 for each action that was taken. Bids rise, so their order need not be
    kept. Observations are f32[2, sides + 2 * dice * sides + 1 + 2]: own dice by face, actions taken, seat.

    Raises `TreeError` where there is no die or no side.
    """
    if dice < 1 or sides < 1:
        raise TreeError(f"liar's dice needs a die and a side at least, not {dice} dice of {sides} sides")
    hands = list(combinations_with_replacement(range(sides), dice))
    faces = np.array([[hand.count(face) for face in range(sides)] for hand in hands], np.int32)
    ways = [factorial(dice) // prod(factorial(int(count)) for count in row) for row in faces]
    odds = np.array(ways, np.float64) / sides**dice
    bids = 2 * dice * sides
    shown = ["".join(str(face + 1) if sides < 10 else f"{face + 1}," for face in hand) for hand in hands]
    spoken = [f"{bid // sides + 1}-{bid % sides + 1}" for bid in range(bids)] + ["liar"]

    def highest(state: Array) -> Array:
        """The last bid, -1 before the first."""
        return jnp.max(jnp.where(jnp.asarray(state[2:-1]) > 0, jnp.arange(bids), -1))

    def player(state: Array) -> Array:
        mover = jnp.where(state[-1] > 0, TERMINAL, jnp.sum(state[2:]) % 2)
        return jnp.where(state[1] < 0, CHANCE, mover)

    def legal(state: Array) -> Array:
        bid = highest(state)
        action = jnp.arange(bids + 1)
        return jnp.where(action == bids, bid >= 0, action > bid)

    def chance(state: Array) -> Array:
        # a copy: JAX types a NumPy constant once, by its identity; after use in float32 it stays float32
        return jnp.asarray(odds.copy())

    def next(state: Array, action: Array) -> Array:
        state, action = jnp.asarray(state), jnp.asarray(action, jnp.int32)
        rolled = jnp.sum(state[:2] >= 0)
        place = jnp.where(rolled < 2, rolled, 2 + action)
        return state.at[place].set(jnp.where(rolled < 2, action, 1))

    def returns(state: Array) -> Array:
        bid = highest(state)
        both = jnp.sum(jnp.asarray(faces)[jnp.asarray(state[:2])], axis=0)
        face = bid % sides
        count = both[face] + jnp.where(face == sides - 1, 0, both[sides - 1])
        bidder = jnp.sum(state[2:]) % 2  # after the call, as many actions as lead back to the bidder
        sign = jnp.where((count >= bid // sides + 1) == (bidder == 0), 1, -1)
        return jnp.stack([sign, -sign]).astype(float)

    def infoset(state: Array, player: int) -> str:
        hand, taken = int(state[player]), np.flatnonzero(state[2:]).tolist()
        return (
            f"{player}:{shown[hand] if hand >= 0 else '?'}:{' '.join([spoken[action] for action in taken])}"
        )

    def observe(state: Array) -> Array:
        def seat(index: int) -> Array:
            own = jnp.where(state[index] < 0, 0, jnp.asarray(faces)[state[index]])
            return jnp.concatenate([own, jnp.asarray(state[2:]), jax.nn.one_hot(index, 2)]).astype(
                jnp.float32
            )

        return jnp.stack([seat(0), seat(1)])

    root: Any = np.array([-1, -1] + [0] * (bids + 1), np.int32)
    return TreeGame(root, player, legal, chance, next, returns, infoset, observe, num_actions=bids + 1)
