"""Leduc hold'em: six cards, two rounds of betting, one public card (Southey et al. 2005, "Bayes' Bluff").

The rules and the order of actions are those of OpenSpiel's `leduc_poker`; the two suits are told apart.
The value for the first player is -0.085606424078 chips.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, TreeGame
from jaxnash.types import Array

FOLD, CALL, RAISE = 0, 1, 2  # call is check where there is no bet to call
CARDS = ("Js", "Jh", "Qs", "Qh", "Ks", "Kh")
ANTE = 1
BETS = (2, 4)  # by round
MOST_RAISES = 2  # a round
LONGEST = 4  # actions of a round: check, raise, raise, call


def leduc(*, suits: bool = True) -> TreeGame:
    """The game as a tree. A state is i32[11]: both players' cards and the public one (0..5, as in `CARDS`),
    then up to four actions of each round, -1 where nothing has happened yet. Returns are in chips.

    Observations are i8[2, 38]: own card (6), public card (6), the betting so far (2 x 4 x 3), seat (2), all
    one-hot. Without `suits`, players see ranks only: 288 infosets instead of 936 and observations i8[2, 32].
    Suits decide nothing, so a policy that does not look at them is exactly as exploitable in both.
    """
    kinds = 6 if suits else 3

    def rounds(state: Array) -> tuple[Array, Array]:
        return state[3 : 3 + LONGEST], state[3 + LONGEST :]

    def length(betting: Array) -> Array:
        return jnp.sum(betting >= 0)

    def raises(betting: Array) -> Array:
        return jnp.sum(betting == RAISE)

    def folded(betting: Array) -> Array:
        return jnp.any(betting == FOLD)

    def last(betting: Array) -> Array:
        return betting[jnp.maximum(length(betting) - 1, 0)]

    def over(betting: Array) -> Array:
        return folded(betting) | ((length(betting) >= 2) & (last(betting) == CALL))

    def now(state: Array) -> Array:
        """The betting of the round that is being played."""
        first, second = rounds(state)
        return jnp.where(state[2] < 0, first, second)

    def player(state: Array) -> Array:
        first, second = rounds(state)
        dealing = (state[1] < 0) | (over(first) & ~folded(first) & (state[2] < 0))
        ended = folded(first) | over(second)
        return jnp.where(dealing, CHANCE, jnp.where(ended, TERMINAL, length(now(state)) % 2))

    def legal(state: Array) -> Array:
        betting = now(state)
        return jnp.stack([last(betting) == RAISE, jnp.array(True), raises(betting) < MOST_RAISES])

    def chance(state: Array) -> Array:
        left = jnp.all(jnp.arange(6)[:, None] != state[:3], axis=1)
        return left / jnp.sum(left)

    def next(state: Array, action: Array) -> Array:
        state = jnp.asarray(state)
        first, second = rounds(state)
        hole = jnp.sum(state[:2] >= 0)
        public = jnp.where(over(first), 2, 3 + length(first))
        betting = jnp.where(state[2] < 0, public, 3 + LONGEST + length(second))
        place = jnp.where(hole < 2, hole, betting)
        return state.at[place].set(jnp.asarray(action, jnp.int32))

    def returns(state: Array) -> Array:
        first, second = rounds(state)
        level = ANTE + BETS[0] * raises(first)  # what both put in who did not fold to the last raise
        small, large = level - BETS[0], level + BETS[1] * (raises(second) - 1)
        lost = jnp.where(
            folded(first), small, jnp.where(folded(second), large, level + BETS[1] * raises(second))
        )
        loser = jnp.where(folded(first), length(first) - 1, length(second) - 1) % 2
        ranks = state[:2] // 2
        strength = ranks + 3 * (ranks == state[2] // 2)  # a pair beats every high card
        showdown = jnp.sign(strength[0] - strength[1])
        won = jnp.where(folded(first) | folded(second), 2 * loser - 1, showdown) * lost
        return jnp.stack([won, -won]).astype(float)

    def infoset(state: Array, player: int) -> str:
        cards = np.asarray(state).tolist()
        own, public, betting = cards[player], cards[2], cards[3:]
        named = CARDS if suits else tuple(card[0] for card in CARDS)
        first, second = ("".join("fcr"[a] for a in part if a >= 0) for part in (betting[:4], betting[4:]))
        board = f"{named[public]}:{first}/{second}" if public >= 0 else f":{first}"
        return f"{player}:{named[own] if own >= 0 else '?'}:{board}"

    # each number of an observation asks whether one place of (state, 0, 1) holds one value
    own, public, betting = [0] * kinds, [2] * kinds, np.repeat(np.arange(3, 3 + 2 * LONGEST), 3)
    places = np.stack(
        [np.concatenate([np.add(own, seat), public, betting, [11 + seat] * 2]) for seat in (0, 1)]
    )
    values = np.concatenate([np.arange(kinds), np.arange(kinds), np.tile(np.arange(3), 2 * LONGEST), [0, 1]])

    def observe(state: Array) -> Array:
        held = jnp.concatenate([jnp.asarray(state), jnp.arange(2)])
        if not suits:
            held = held.at[:3].set(jnp.where(held[:3] < 0, -1, held[:3] // 2))
        return (held[places] == values).astype(jnp.int8)

    root: Any = np.full(3 + 2 * LONGEST, -1, np.int32)
    return TreeGame(root, player, legal, chance, next, returns, infoset, observe, num_actions=3)
