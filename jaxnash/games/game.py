"""`Game` (a simulator), `TreeGame` (enumerable, chance explicit) and the action types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.types import Array, Key, TimeStep

MASKED = -1e9  # a logit no softmax lets through, finite so that 0 * MASKED is 0


class Categorical(NamedTuple):
    """One of `n` actions. A head is logits f32[..., n], masked by `legal`."""

    n: int

    def sample(self, key: Key, head: Array) -> Array:
        return jax.random.categorical(key, head, axis=-1)

    def log_prob(self, head: Array, action: Array) -> Array:
        return jnp.take_along_axis(jax.nn.log_softmax(head), action[..., None], axis=-1)[..., 0]

    def entropy(self, head: Array) -> Array:
        log_p = jax.nn.log_softmax(head)
        return -jnp.sum(jnp.exp(log_p) * jnp.where(log_p > MASKED / 2, log_p, 0.0), axis=-1)


class Buttons(NamedTuple):
    """`n` independent buttons. A head is logits f32[..., n] of "pressed"; an inactive seat presses none."""

    n: int

    def sample(self, key: Key, head: Array) -> Array:
        return jax.random.bernoulli(key, jax.nn.sigmoid(head))

    def log_prob(self, head: Array, action: Array) -> Array:
        return jnp.sum(jnp.where(action, jax.nn.log_sigmoid(head), jax.nn.log_sigmoid(-head)), axis=-1)

    def entropy(self, head: Array) -> Array:
        p = jax.nn.sigmoid(head)
        return -jnp.sum(p * jax.nn.log_sigmoid(head) + (1 - p) * jax.nn.log_sigmoid(-head), axis=-1)


class Game(NamedTuple):
    """A simulator, simultaneous or turn-based alike. `P` players; actions carry a leading axis [P]."""

    init: Callable[[Key, Any], Any]  # (key, setup) -> State; teams, stacks, spawns are data
    step: Callable[[Key, Any, Array], Any]  # (key, State, actions[P]) -> State
    observe: Callable[[Any], TimeStep]
    num_players: int
    actions: Categorical | Buttons


class TreeGame(NamedTuple):
    """An enumerable game with explicit chance and no key anywhere. States are small arrays (jittable).

    Players are 0..P-1; `CHANCE` is -1 and `TERMINAL` is -2.
    """

    root: Any  # State
    player: Callable[[Any], Array]  # State -> i32[]: who moves, CHANCE or TERMINAL
    legal: Callable[[Any], Array]  # State -> bool[A]
    chance: Callable[[Any], Array]  # State -> f[A] probabilities, at chance nodes
    next: Callable[[Any, Array], Any]  # (State, action) -> State
    returns: Callable[[Any], Array]  # State -> f[P], at terminal states
    infoset: Callable[[Any, int], str]  # (State, player) -> key with perfect recall, on the host
    observe: Callable[[Any], Array]  # State -> f[P, D]: what each player may know, for networks
    num_actions: int
    num_players: int = 2


CHANCE, TERMINAL = -1, -2
