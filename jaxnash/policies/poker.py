"""What a network reads of a hold'em observation."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxnash.games.holdem import Observation
from jaxnash.types import Array

GROUPS = (slice(0, 2), slice(2, 5), slice(5, 6), slice(6, 7))  # hole, flop, turn, river
SUITS, RANKS, CARDS = 4, 13, 52
GROUP = SUITS + RANKS + CARDS  # features of each group
NUMBERS = 6


def features(obs: Observation, num_actions: int) -> Array:
    """An observation as numbers of order one, f32[..., D] for leading axes [...] (none is fine): `parts`
    beside each other. D is `feature_size`."""
    return jnp.concatenate(parts(obs, num_actions), axis=-1)


def parts(obs: Observation, num_actions: int) -> tuple[Array, Array]:
    """What is read of the cards and what is read of the rest, f32[..., C] and f32[..., D - C].

    A layer that adds up its products with either can share the one among all bets beside the same cards.

    For hole, flop and turn (and river, in games of four streets; flop hold'em stops at the flop): how many
    cards of each suit (4), of each rank (13) and whether each card (52). Then one-hots of the street (S) and
    of each action so far (S x N x `num_actions`), six numbers, and whether this player deals. The numbers are
    log(1 + x) / 4 of pot, to call, own and opponent's stack in big blinds; the chips to call as a share of
    the pot after calling; and the pot as a share of it and the own stack.
    """
    streets = obs.bets.shape[-2]
    lead = obs.dealer.shape
    shown = []
    for group in GROUPS[:streets]:
        cards = obs.cards[..., group, None].astype(jnp.int32)
        known = cards >= 0
        for same in (
            known & ((cards & 3) == np.arange(SUITS)),
            (cards >> 2) == np.arange(RANKS),
            cards == np.arange(CARDS),
        ):
            shown.append(jnp.sum(same, axis=-2, dtype=jnp.float32))
    dealt = jnp.sum(obs.cards >= 0, axis=-1)
    shown.append((dealt[..., None] == np.array([2, 5, 6, 7])[:streets]).astype(jnp.float32))
    played = obs.bets[..., None] == np.arange(1, num_actions + 1)
    pot, to_call, own = obs.chips[..., 0], obs.chips[..., 1], obs.chips[..., 2]
    bets = (
        played.astype(jnp.float32).reshape(*lead, -1),
        jnp.log1p(obs.chips) / 4,
        jnp.stack([to_call / (pot + to_call), pot / (pot + own)], axis=-1),
        obs.dealer[..., None].astype(jnp.float32),
    )
    return jnp.concatenate(shown, axis=-1), jnp.concatenate(bets, axis=-1)


def part_sizes(obs: Observation, num_actions: int) -> tuple[int, int]:
    """C and D - C of `parts(obs, num_actions)`; only the shapes of `obs` are read."""
    streets, longest = obs.bets.shape[-2:]
    return streets * (GROUP + 1), streets * longest * num_actions + NUMBERS + 1


def feature_size(obs: Observation, num_actions: int) -> int:
    """D of `features(obs, num_actions)`; only the shapes of `obs` are read."""
    return sum(part_sizes(obs, num_actions))
