"""What each action at a history is worth, learned from both players' observations: `q` for `rollouts.walk`.

A critic is fitted by expected SARSA (van Seijen et al., "A Theoretical and Empirical Analysis of Expected
Sarsa", 2009, equation 6), as DREAM's baseline is (Steinberger, Lerer and Brown 2020): from a decision and the
action taken there to the next decision on the path, whoever's it is,

    y = payoff                                   if the path ended,
    y = sum_a sigma(a) q(next decision, a)       otherwise,

with the strategies `sigma` of now, not of when the path was walked. So nothing depends on what was sampled
with, there are no importance weights, and old transitions are as good as new ones: the game does not change.
Monte Carlo returns would need the former and could not use the latter. What remains is the noise of chance;
therefore memories are large, and what is read is a running average of the parameters. Everything is from
player 0's side, so both players share a critic and all transitions.

    memory = extend(memory, steps, count=count)                     # after each walk
    state, loss = learner.update(key, state, memory, (params of player 0, of player 1))
    q = learner.q(state.params, observations)                       # what a `rollouts.walk.walker` takes
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnash.games.game import Game
from jaxnash.games.holdem import Observation
from jaxnash.policies.advantage import Mlp, Network
from jaxnash.policies.poker import features
from jaxnash.rollouts.traverse import Strategy
from jaxnash.rollouts.walk import Critic, Steps
from jaxnash.types import Array, Key, Params, PyTree


class Transition(NamedTuple):
    """A decision, what was done and what it paid; the path's next decision is the next row."""

    obs: PyTree  # [2, ...], what each player knew
    legal: Array  # bool[A], the mover's
    mover: Array  # i32[]
    action: Array  # i32[]
    payoff: Array  # f32[]: player 0's if the path ended, else 0
    last: Array  # bool[]: it did


class Ring(NamedTuple):
    """The last transitions. Whole paths are added, so only after a path's end is the next row not its own."""

    rows: Transition  # [C, ...]
    place: Array  # i32[], where the next row goes
    filled: Array  # i32[], slots in use


class CriticFit(NamedTuple):
    """How a critic is fitted to a ring."""

    steps: int = 200
    batch: int = 512  # transitions a step, drawn evenly from the ring
    learning_rate: float = 3e-3  # Adam's, constant: the strategies go on changing
    clip: float = 1.0  # norm of the gradient
    scale: float = 10.0  # values are divided by it, and outputs multiplied
    average: float = 100.0  # steps that the running average of the parameters reaches back
    restart: bool = False  # from fresh parameters each time; then take some 1000 steps


class CriticState(NamedTuple):
    """A critic between two fits."""

    params: Params  # the running average: what is read, also for the targets
    latest: Params  # what is stepped
    optimizer: Any


class CriticLearner(NamedTuple):
    """A critic as pure functions; see `critic_learner`."""

    init: Callable[[Key], CriticState]
    update: Callable[..., tuple[CriticState, Array]]
    q: Critic


def transition_of(game: Game, setups: PyTree = None) -> Transition:
    """The shapes of a `Transition` of this game."""
    step = jax.eval_shape(lambda key: game.observe(game.init(key, setups)), jax.random.key(0))
    some = partial(jax.ShapeDtypeStruct, ())
    legal = jax.ShapeDtypeStruct((game.actions.n,), jnp.bool_)
    return Transition(step.obs, legal, some(jnp.int32), some(jnp.int32), some(jnp.float32), some(jnp.bool_))


def ring(row: Transition, capacity: int) -> Ring:
    """An empty ring for rows of the shapes and dtypes of `row`."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    return Ring(rows, jnp.int32(0), jnp.int32(0))


def ring_bytes(row: Transition, capacity: int) -> int:
    """What `ring(row, capacity)` will hold."""
    return capacity * sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(row))


def extend(memory: Ring, steps: Steps, *, count: int) -> Ring:
    """Add the first `count` steps [M, ...], whole paths in the order (trajectory, node); the oldest ones go.

    `memory` is used up (donated). Raises `ValueError` where the ring is too small for so many at once.
    """
    capacity = memory.rows.last.shape[0]
    if count > capacity:
        raise ValueError(f"{count} transitions of one walk do not fit a ring of {capacity}")
    rows = Transition(steps.obs, steps.legal, steps.mover, steps.action, steps.payoff, steps.last)
    return _extend(memory, rows, jnp.int32(count))


@partial(jax.jit, donate_argnums=0)
def _extend(memory: Ring, rows: Transition, count: Array) -> Ring:
    capacity, order = memory.rows.last.shape[0], jnp.arange(rows.last.shape[0], dtype=jnp.int32)
    slot = jnp.where(order < count, (memory.place + order) % capacity, capacity)
    kept = jax.tree.map(lambda held, new: held.at[slot].set(new, mode="drop"), memory.rows, rows)
    filled = jnp.minimum(memory.filled + count, capacity)
    return Ring(kept, (memory.place + count) % capacity, filled)


class Pair(nn.Module):
    """A perceptron over both players' features [..., 2, D], joined with the products of their embeddings: who
    holds the better hand is no sum of what each one holds."""

    actions: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        each = nn.Dense(self.hidden[0])(x)
        first, second = each[..., 0, :], each[..., 1, :]
        joined = jnp.concatenate([first * second, first, second], axis=-1)
        return Mlp(self.actions, self.hidden)(joined)


def critic_network(game: Game, hidden: tuple[int, ...] = (64, 64, 64)) -> Network:
    """A network of both players' observations [B, 2, ...], one output per action of the mover.

    Hold'em's observations name suits each in their own way, so of two hands together it knows the ranks and
    each one's suits, but not which suits they share: a slightly blurred history.
    """
    step = jax.eval_shape(lambda key: game.observe(game.init(key, None)), jax.random.key(0))
    return _network(step.obs.__class__ is Observation, game.actions.n, hidden, _shapes(step.obs))


def _shapes(obs: PyTree) -> tuple:
    return tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(obs))


@lru_cache  # equal arguments give the identical functions, so that jit compiles them once
def _network(holdem: bool, actions: int, hidden: tuple[int, ...], shapes: tuple) -> Network:
    module = Pair(actions, hidden)

    def read(obs: PyTree) -> Array:
        return features(obs, actions) if holdem else obs

    @jax.jit
    def init(key: Key) -> Params:
        leaves = [jnp.zeros((1, *shape), dtype) for shape, dtype in shapes]
        return module.init(key, read(Observation(*leaves) if holdem else leaves[0]))

    def apply(params: Params, obs: PyTree) -> Array:
        return module.apply(params, read(obs))

    return Network(init, apply)


def targets(
    q: Critic,
    strategy: Strategy,
    params: Params,
    players: tuple[Params, Params],
    now: Transition,
    then: Transition,
) -> Array:
    """Expected SARSA's targets f32[B] for the actions taken `now`, with `then` the rows after; `players` are
    the params that player 0 and player 1 play by."""
    second = then.mover == 1

    def of_mover(leaf: Array) -> Array:
        return jnp.where(second.reshape(-1, *[1] * (leaf.ndim - 2)), leaf[:, 1], leaf[:, 0])

    obs = jax.tree.map(of_mover, then.obs)
    first_plays, second_plays = (strategy(one, obs, then.legal) for one in players)
    played = jnp.where(second[:, None], second_plays, first_plays)
    worth = jnp.sum(jnp.where(then.legal, played * q(params, then.obs), 0), axis=-1)
    return jnp.where(now.last, now.payoff, worth)


def critic_learner(network: Network, strategy: Strategy, fit: CriticFit) -> CriticLearner:
    """A critic of `network` (see `critic_network`) for players who play by `strategy`.

    `update(key, state, memory, (params of player 0, of player 1)) -> (state, loss)` is jitted. The loss is
    the mean squared error, in chips squared, of the last tenth of the steps. The ring must not be empty. Only
    the output of the action that was taken is fitted, so illegal ones never are.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(fit.clip), optax.adam(fit.learning_rate))

    def q(params: Params, obs: PyTree) -> Array:
        return fit.scale * network.apply(params, obs)

    def init(key: Key) -> CriticState:
        params = network.init(key)
        return CriticState(params, params, optimizer.init(params))

    @jax.jit
    def update(
        key: Key, state: CriticState, memory: Ring, players: tuple[Params, Params]
    ) -> tuple[CriticState, Array]:
        fresh, drawn = jax.random.split(key)
        state = init(fresh) if fit.restart else state
        capacity = memory.rows.last.shape[0]

        def objective(latest: Params, now: Transition, target: Array) -> Array:
            taken = jnp.take_along_axis(network.apply(latest, now.obs), now.action[:, None], axis=-1)[:, 0]
            return jnp.mean((taken - target / fit.scale) ** 2)

        def step(state: CriticState, key: Key) -> tuple[CriticState, Array]:
            place = jax.random.randint(key, (fit.batch,), 0, jnp.maximum(memory.filled, 1))
            now, then = (
                jax.tree.map(lambda leaf: leaf[at], memory.rows)  # noqa: B023
                for at in (place, (place + 1) % capacity)
            )
            target = targets(q, strategy, state.params, players, now, then)
            loss, gradient = jax.value_and_grad(objective)(state.latest, now, target)
            change, inner = optimizer.update(gradient, state.optimizer, state.latest)
            latest = optax.apply_updates(state.latest, change)
            params = jax.tree.map(lambda mean, new: mean + (new - mean) / fit.average, state.params, latest)
            return CriticState(params, latest, inner), loss

        state, losses = jax.lax.scan(step, state, jax.random.split(drawn, fit.steps))
        return state, jnp.mean(losses[-max(1, fit.steps // 10) :]) * fit.scale**2

    return CriticLearner(init, update, q)
