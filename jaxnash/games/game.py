"""`Game` (a simulator), `TreeGame` (enumerable, chance explicit) and the action types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.types import Array, JaxnashError, Key, TimeStep

MASKED = -1e9  # a logit no softmax lets through, finite so that 0 * MASKED is 0


class Categorical(NamedTuple):
    """One of `n` actions. A head is logits f32[..., n], masked by `legal`."""

    n: int

    def sample(self, key: Key, head: Array) -> Array:
        return jax.random.categorical(key, head, axis=-1)

    def mode(self, head: Array) -> Array:
        return jnp.argmax(head, axis=-1)

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

    def mode(self, head: Array) -> Array:
        return head > 0

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
    chance: Callable[[Any], Array]  # State -> f[C] probabilities, at chance nodes; C is the game's own
    next: Callable[[Any, Array], Any]  # (State, action) -> State
    returns: Callable[[Any], Array]  # State -> f[P], at terminal states
    infoset: Callable[[Any, int], str]  # (State, player) -> key with perfect recall, on the host
    observe: Callable[[Any], Array]  # State -> f[P, D]: what each player may know, for networks
    num_actions: int
    num_players: int = 2


CHANCE, TERMINAL = -1, -2


class TreeError(JaxnashError, ValueError):
    """A game that the exact core cannot solve; the message names the history and the reason."""


class HistoryTree(NamedTuple):
    """A game written out on the host: its `H` histories breadth first, the root first, NumPy throughout."""

    parent: Array  # i32[H], -1 at the root
    action: Array  # i32[H]: what the parent's mover (or chance) did to come here; -1 at the root
    player: Array  # i8[H]: 0, 1, CHANCE or TERMINAL
    chance: Array  # f64[H]: probability of the chance outcome that leads here, 1 after a player's action
    returns: Array  # f64[H, 2], read at terminals
    infoset: Array  # i32[H]: index into `infosets` at decisions, -1 elsewhere
    infosets: tuple[str, ...]  # their keys, each of one player
    num_actions: int


class PublicGame(NamedTuple):
    """A game of public actions and private hands: `N` public nodes, parents first, and each player's hands.

    Both players know the public node; each knows their own hand. `terminals` is a pytree with a method
    `values(player, reach)`: from the opponent's reach f[Z, H_opponent] at the `Z` terminal nodes (in the
    order of the nodes, the opponent's own actions only) to the player's expected payoffs f[Z, H_player].
    Chance, the hands' weights and card removal belong to `terminals`; an impossible hand's payoff is 0.
    """

    parent: Array  # i32[N], -1 at the root
    action: Array  # i32[N], -1 at the root
    player: Array  # i8[N]: 0, 1, CHANCE (a public card) or TERMINAL
    nodes: tuple[str, ...]  # names of the nodes
    hands: tuple[tuple[str, ...], tuple[str, ...]]  # names of each player's hands
    terminals: Any
    num_actions: int
    infoset: tuple[Array, Array] | None = None  # per player, i32[own nodes, hands]: an index into `infosets`,
    # -1 where a hand cannot be there; None: node by node, all hands of each
    infosets: tuple[str, ...] = ()


def sampled(tree: TreeGame) -> Game:
    """A `Game` that draws a tree's chance outcomes, so that poker is written once and serves both.

    The state is the tree's own and `setup` is not read. A player who is not to move is inactive. The reward
    is the tree's return, paid with the last action.
    """

    def past_chance(key: Key, state: Any) -> Any:
        def draw(carry: tuple[Any, Key]) -> tuple[Any, Key]:
            state, key = carry
            key, now = jax.random.split(key)
            outcome = jax.random.categorical(now, jnp.log(tree.chance(state)))
            return tree.next(state, outcome), key

        return jax.lax.while_loop(lambda carry: tree.player(carry[0]) == CHANCE, draw, (state, key))[0]

    def init(key: Key, setup: Any) -> Any:
        del setup
        return past_chance(key, jax.tree.map(jnp.asarray, tree.root))

    def step(key: Key, state: Any, actions: Array) -> Any:
        return past_chance(key, tree.next(state, actions[tree.player(state)]))

    def observe(state: Any) -> TimeStep:
        player = tree.player(state)
        active = jnp.arange(tree.num_players) == player
        waiting = jnp.arange(tree.num_actions) == 0
        ended = player == TERMINAL
        return TimeStep(
            obs=tree.observe(state),
            legal=jnp.where(active[:, None], tree.legal(state), waiting),
            active=active,
            reward=jnp.where(ended, tree.returns(state), 0).astype(jnp.float32),
            terminated=ended,
            truncated=jnp.zeros((), bool),
        )

    return Game(init, step, observe, tree.num_players, Categorical(tree.num_actions))
