"""A best response trained by policy gradient: a lower bound on how much its opponent can lose.

No strategy earns more than a best response does, so what a trained one earns on hands that it was neither
trained nor selected on bounds the opponent's exploitability from below, in expectation. How tight that is
nobody knows: training may have failed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnash.games.game import Game
from jaxnash.games.holdem import HoldemSetup, Observation
from jaxnash.learners.ppo import ppo
from jaxnash.policies.networks import mlp_policy
from jaxnash.policies.poker import feature_size, features
from jaxnash.rollouts.matches import Score, Seats, by_seat, hands, score
from jaxnash.rollouts.scan import scan_rollout
from jaxnash.types import Array, Key, Member, Neural, Params, Policy, PyTree, Trajectory

KIND = "lower bound (trained)"


class Settings(NamedTuple):
    """Fixed numbers, never a clock."""

    updates: int = 200
    batch: int = 512  # games at once, in each seat
    length: int = 16  # decisions of each game, both players', between updates
    networks: int = 8  # drawn for each update where the opponent is a mixture; at most `batch`
    learning_rate: float = 1e-3
    clip_norm: float = 0.5
    minibatch: int = 1024
    epochs: int = 4
    entropy: float = 0.003
    validate_every: int = 20  # updates
    validation_pairs: int = 4096
    test_pairs: int = 16384  # in whole multiples of `validation_pairs`, rounded up


def trained_response(
    key: Key,
    game: Game,
    opponent: Seats,
    *,
    most_decisions: int,
    mixture: Array | None = None,
    setups: PyTree = None,
    unit: float = 1.0,
    policy: Policy | None = None,
    greedy: bool = True,
    settings: Settings = Settings(),  # noqa: B008
    level: float = 0.95,
    bound: float | None = None,
    on_update: Callable[[dict[str, Any]], None] = lambda row: None,
) -> tuple[Neural, Score]:
    """Train one network to play both seats against a fixed opponent, by PPO from scratch.

    After every `validate_every` updates and after the last it is played against the opponent on validation
    pairs, each time the same. Who earned most there is tested once, on fresh pairs: that score is returned,
    in the game's unit (chips a hand), kind "lower bound (trained)". It bounds the opponent's exploitability
    (NashConv / 2) from below; what is certain to `level` is `low`. Below 0 it shows no exploit.

    Args:
        opponent: a `Neural` or `Scripted` member, or a tuple of two, who play seat 0 and seat 1.
        most_decisions: more than a hand can have is an error.
        mixture: weights f[K] (or f[2, K] by seat) of an opponent whose params are stacked [K, ...], as in
            `matches.play`: one network a hand. In training each of `networks` groups of games meets one.
        setups: one setup for all games.
        unit: rewards are divided by it for learning; hold'em's is the big blind.
        policy: feed-forward, of the game's observations; by default `response_policy(game, setups)`.
        greedy: the response plays its most likely action, in validation and test as well. A best response
            needs no randomness.
        bound: of the interval, see `matches.score`.
        on_update: called with each update's metrics and, where validated, `validation`, in chips a hand.

    Raises:
        JaxnashError: as `matches.play` does.
    """
    policy = response_policy(game, setups) if policy is None else policy
    first, second = by_seat(opponent, mixture)
    mixed = mixture is not None
    groups = min(settings.networks, settings.batch) if mixed else 1
    rows = -(-settings.batch // groups)
    optimizer = optax.chain(optax.clip_by_global_norm(settings.clip_norm), optax.adam(settings.learning_rate))
    learner = ppo(
        policy,
        optimizer,
        actions=game.actions,
        capacity=2 * settings.length * rows * groups,
        minibatch=settings.minibatch,
        epochs=settings.epochs,
        entropy=settings.entropy,
        gamma=1.0,
    )
    rollout = scan_rollout(game, length=settings.length, batch=rows)
    match = hands(game, pairs=settings.validation_pairs, most_decisions=most_decisions)
    started, training, validating, testing = jax.random.split(key, 4)
    given = _repeated(setups, rows)

    def experience(key: Key, params: Params) -> Trajectory:
        """Games of both seats, against each group's network."""
        me, parts = Neural("response", policy, params), []
        for here in jax.random.split(key, groups):
            keys = jax.random.split(here, 4)
            parts.append(rollout(keys[0], (me, _one(*second, keys[1])), given, ids=(0, 1)))
            parts.append(rollout(keys[2], (_one(*first, keys[3]), me), given, ids=(1, 0)))
        return _joined(parts, jnp.float32(1 / unit))

    def playing(params: Params) -> Neural:
        return Neural("response", policy, params, greedy=greedy)

    def payoffs(key: Key, params: Params) -> np.ndarray:
        return match(key, (playing(params), opponent), setups, mixtures=(None, mixture))

    state = learner.init(started)
    best, best_mean = learner.policy(state), -np.inf
    for update in range(1, settings.updates + 1):
        here = jax.random.split(jax.random.fold_in(training, update))
        state, metrics = learner.update(here[0], state, experience(here[1], learner.behaviour(state)))
        row: dict[str, Any] = {"update": update} | metrics
        if update == settings.updates or update % settings.validate_every == 0:
            mean = float(np.mean(payoffs(validating, learner.policy(state)), dtype=np.float64))
            row["validation"] = mean
            if mean > best_mean:
                best, best_mean = learner.policy(state), mean
        on_update(row)

    rounds = -(-settings.test_pairs // settings.validation_pairs)
    tested = [payoffs(jax.random.fold_in(testing, number), best) for number in range(rounds)]
    return playing(best), score(np.concatenate(tested), level=level, bound=bound, kind=KIND)


def response_policy(game: Game, setups: PyTree = None, *, hidden: tuple[int, ...] = (64, 64)) -> Policy:
    """A feed-forward policy for a game of flat observations f32[P, D] or for hold'em, whose `features` it
    reads."""
    obs = jax.eval_shape(lambda key: game.observe(game.init(key, setups)), jax.random.key(0)).obs
    if isinstance(obs, Observation):
        return _features_policy(feature_size(obs, game.actions.n), game.actions.n, tuple(hidden))
    return mlp_policy(observation_size=obs.shape[-1], actions=game.actions.n, hidden=hidden)


@lru_cache  # equal arguments give the identical Policy, so that jit compiles it once
def _features_policy(size: int, actions: int, hidden: tuple[int, ...]) -> Policy:
    flat = mlp_policy(observation_size=size, actions=actions, hidden=hidden)

    def apply(params: Params, obs: Observation, legal: Array, carry: tuple[()], reset: Array):
        return flat.apply(params, features(obs, actions), legal, carry, reset)

    return flat._replace(apply=apply)


def _one(member: Member, weights: Array | None, key: Key) -> Member:
    """The member, with one of its networks where it is a mixture."""
    if weights is None or not isinstance(member, Neural):
        return member
    number = jax.random.categorical(key, jnp.log(jnp.asarray(weights, jnp.float32)))
    return member._replace(params=_picked(member.params, number))


@jax.jit
def _picked(params: Params, number: Array) -> Params:
    return jax.tree.map(lambda leaf: leaf[number], params)


@jax.jit
def _joined(parts: list[Trajectory], scale: Array) -> Trajectory:
    """All rows of several rollouts, rewards scaled."""
    bare = [part._replace(first_carry=(), bootstrap_value=()) for part in parts]
    rows = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *bare)  # [T, B, P, ...]
    bootstrap = jnp.concatenate([part.bootstrap_value for part in parts])
    return rows._replace(bootstrap_value=bootstrap, reward=rows.reward * scale)


def _repeated(setups: PyTree, rows: int) -> PyTree:
    """One setup for each row; the evaluator's tables stay out, which `init` then brings itself."""
    if isinstance(setups, HoldemSetup):
        setups = setups._replace(tables=None)
    if setups is None:
        return None
    return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (rows, *np.shape(leaf))), setups)
