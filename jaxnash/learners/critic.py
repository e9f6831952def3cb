"""What each action at a history is worth, learned from both players' observations: `q` for `rollouts.walk`.

A critic evaluates the strategies of now on the transitions of all times: the game does not change, so only
what is played at the next decision does, and that is known. With `sigma` the strategies,

    y = payoff                                   if the path ended with the action,
    y = sum_a sigma(a) q(next decision, a)       otherwise, whoever's decision that is

(expected SARSA: van Seijen et al., "A Theoretical and Empirical Analysis of Expected Sarsa", 2009, equation
6; DREAM's baseline is learned so: Steinberger, Lerer and Brown 2020). Nothing depends on what was sampled
with, so there are no importance weights. Gradient steps towards `y` move the layers below; then the last
layer is solved for by repeated least squares (fitted evaluation: Le, Voloshin and Yue, "Batch Policy
Learning under Constraints", 2019, algorithm 3), as many times as a path has decisions, so payoffs reach the
root and the critic is of the strategies of now however few steps there were. Everything is from player 0's
side, so both players share a critic and all transitions.

    memory = extend(memory, steps, count=count)                     # after each walk
    state, loss = learner.update(key, state, memory, (params of player 0, of player 1))
    q = learner.q(state.params, observations)                       # what a `rollouts.walk.walker` takes
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxnash.games.game import Game
from jaxnash.games.holdem import Observation
from jaxnash.learners.head import BLOCK, factor, moved, squares, with_one
from jaxnash.learners.reservoir import bytes_of
from jaxnash.policies.advantage import Network, head, network_of
from jaxnash.policies.poker import features
from jaxnash.rollouts.traverse import Strategy, of_mover
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

    steps: int = 500  # 0: only the last layer is learnt
    batch: int = 256  # transitions a step, drawn evenly from the ring
    learning_rate: float = 1e-3  # Adam's, constant: the strategies go on changing
    clip: float = 1.0  # norm of the gradient
    scale: float = 10.0  # values are divided by it, and outputs multiplied
    rows: int = 65_536  # transitions from which the last layer is solved for, in runs of 4096
    sweeps: int = 8  # least squares one after the other: the most decisions of a path
    ridge: float = 3e-5  # see `learners.head`


class CriticState(NamedTuple):
    """A critic between two fits."""

    params: Params
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
    return capacity * bytes_of(row)


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


def _cosine(x: Array) -> Array:
    """To 1e-6: a polynomial in the square of what is left of whole turns. XLA's own runs one number at a
    time on a CPU."""
    turns = x * (0.5 / math.pi)
    square = (turns - jnp.round(turns)) ** 2
    value = COSINE[0]
    for term in COSINE[1:]:
        value = value * square + term
    return value


COSINE = (-21.0711056, 58.7904921, -85.2716215, 64.9286574, -19.7389804, 0.999999211)  # least squares
FREQUENCY = 2.0  # of unit input; at 1 or .5 Leduc's histories look alike, and errors are 3 and 8 times larger
_frequencies = nn.initializers.variance_scaling(FREQUENCY**2, "fan_in", "normal")
_phases = nn.initializers.uniform(2 * math.pi)


class Pair(nn.Module):
    """A perceptron over both players' features [..., 2, D], joined with the products of their embeddings: who
    holds the better hand is no sum of what each one holds.

    `cosines`: the layers are random Fourier features (Rahimi and Recht, "Random Features for Large-Scale
    Kernel Machines", 2007, algorithm 1), which are well-conditioned as drawn and need no training.
    """

    actions: int
    hidden: tuple[int, ...]
    cosines: bool = False

    @nn.compact
    def __call__(self, x: Array, *, features: bool = False) -> Array:
        each = nn.Dense(self.hidden[0])(x)
        first, second = each[..., 0, :], each[..., 1, :]
        x = jnp.concatenate([first * second, first, second], axis=-1)
        for width in self.hidden[1:]:
            if self.cosines:
                x = nn.LayerNorm(use_bias=False, use_scale=False)(x)
                x = _cosine(nn.Dense(width, kernel_init=_frequencies, bias_init=_phases)(x))
            else:
                x = nn.relu(nn.Dense(width, kernel_init=nn.initializers.he_normal())(x))
        return x if features else head(self.actions)(x)


def critic_network(game: Game, hidden: tuple[int, ...] = (64, 64, 64), *, cosines: bool = False) -> Network:
    """A network of both players' observations [B, 2, ...], one output per action of the mover.

    `cosines`: layers that need no training, for fits of 0 steps, in which each update draws its own. They are
    worth their width where there are as many as histories to be told apart; else layers have to be trained.

    Hold'em's observations name suits each in their own way, so of two hands together it knows the ranks and
    each one's suits, but not which suits they share: a slightly blurred history.
    """
    step = jax.eval_shape(lambda key: game.observe(game.init(key, None)), jax.random.key(0))
    return _network(step.obs.__class__ is Observation, game.actions.n, hidden, cosines, _shapes(step.obs))


def _shapes(obs: PyTree) -> tuple:
    return tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(obs))


@lru_cache  # equal arguments give the identical functions, so that jit compiles them once
def _network(holdem: bool, actions: int, hidden: tuple[int, ...], cosines: bool, shapes: tuple) -> Network:
    def read(obs: PyTree) -> Array:
        return features(obs, actions) if holdem else obs

    def example() -> Array:
        leaves = [jnp.zeros((1, *shape), dtype) for shape, dtype in shapes]
        return read(Observation(*leaves) if holdem else leaves[0])

    return network_of(Pair(actions, hidden, cosines), read, example)


def _played(strategy: Strategy, players: tuple[Params, Params], rows: Transition) -> Array:
    """What is played f32[B, A] at these decisions; `players` are the params that 0 and 1 play by."""
    second = rows.mover == 1
    obs = of_mover(second, rows.obs)
    first_plays, second_plays = (strategy(one, obs, rows.legal) for one in players)
    return jnp.where(rows.legal, jnp.where(second[:, None], second_plays, first_plays), 0)


def _runs(key: Key, filled: Array, number: int) -> Array:
    """Places i32[number, BLOCK] that follow each other in each row, rows spread evenly over the first
    `filled`; all of them, and some beyond, where there are not more."""
    stretch = jnp.maximum(filled // number, BLOCK)
    first = jnp.arange(number) * stretch + jax.random.randint(key, (number,), 0, stretch - BLOCK + 1)
    return first[:, None] + jnp.arange(BLOCK)


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
        return CriticState(params, optimizer.init(params))

    def pairs(memory: Ring, place: Array, players: tuple[Params, Params]) -> tuple[Transition, PyTree, Array]:
        """The transitions, what is seen after them, and what is played there (0 after a path's end)."""
        now = jax.tree.map(lambda leaf: leaf[place], memory.rows)
        following = (place + 1) % memory.rows.last.shape[0]
        then = jax.tree.map(lambda leaf: leaf[following], memory.rows)
        return now, then.obs, jnp.where(now.last[:, None], 0, _played(strategy, players, then))

    def solved(key: Key, params: Params, memory: Ring, players: tuple[Params, Params]) -> Params:
        """What follows a row is the next row, so each row's features are needed once."""
        capacity = memory.rows.last.shape[0]
        number = -(-min(fit.rows, capacity) // BLOCK)

        def look(place: Array) -> tuple[Array, ...]:
            now = jax.tree.map(lambda leaf: leaf[place % capacity], memory.rows)
            known = jnp.append(jnp.full(BLOCK - 1, True), now.last[-1])  # whether what follows is here
            counted = (place < memory.filled) & known
            phi, played = with_one(network.features(params, now.obs)), _played(strategy, players, now)
            did = (now.action[:, None] == jnp.arange(played.shape[1])) & counted[:, None]
            return phi, did, played, now.payoff / fit.scale, now.last

        seen = jax.lax.map(look, _runs(key, jnp.maximum(memory.filled, 1), number))
        phi, did, played, paid, last = (leaf.reshape(-1, *leaf.shape[2:]) for leaf in seen)
        most, solve = jnp.max(jnp.abs(paid)), factor(squares(phi, did), fit.ridge)

        def sweep(_: Array, now: Array) -> Array:
            here = jnp.sum(played * (phi @ now.T), axis=1)
            here = jnp.clip(here, -most, most)  # or errors could feed themselves
            target = paid + jnp.where(last, 0, jnp.roll(here, -1))
            return solve((did * target[:, None]).T @ phi)

        kernel, bias = (params["params"]["head"][name] for name in ("kernel", "bias"))
        start = jnp.concatenate([kernel, bias[None]]).T
        return moved(params, jax.lax.fori_loop(0, fit.sweeps, sweep, start) - start)

    @jax.jit
    def update(
        key: Key, state: CriticState, memory: Ring, players: tuple[Params, Params]
    ) -> tuple[CriticState, Array]:
        before = state.params

        def objective(params: Params, now: Transition, target: Array) -> Array:
            taken = jnp.take_along_axis(network.apply(params, now.obs), now.action[:, None], axis=-1)[:, 0]
            return jnp.mean((taken - target / fit.scale) ** 2)

        def step(state: CriticState, key: Key) -> tuple[CriticState, Array]:
            place = jax.random.randint(key, (fit.batch,), 0, jnp.maximum(memory.filled, 1))
            now, seen, played = pairs(memory, place, players)
            target = now.payoff + jnp.sum(played * q(before, seen), axis=-1)
            loss, gradient = jax.value_and_grad(objective)(state.params, now, target)
            change, inner = optimizer.update(gradient, state.optimizer, state.params)
            return CriticState(optax.apply_updates(state.params, change), inner), loss

        stepping, solving = jax.random.split(key)
        if (
            fit.steps == 0
        ):  # drawn anew: what layers cannot tell apart is noise then, which iterations average
            state = init(stepping)
        state, losses = jax.lax.scan(step, state, jax.random.split(stepping, fit.steps))
        state = state._replace(params=solved(solving, state.params, memory, players))
        last = losses[-max(1, fit.steps // 10) :]
        return state, jnp.sum(last) / max(1, len(last)) * fit.scale**2

    return CriticLearner(init, update, q)
