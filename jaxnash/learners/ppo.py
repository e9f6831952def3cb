"""Proximal policy optimisation, clipped and masked (Schulman et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxnash.games.game import Buttons, Categorical
from jaxnash.learners.minibatches import State, apply_gradient, over_epochs, start
from jaxnash.learners.parallel import over
from jaxnash.learners.returns import gae
from jaxnash.types import Array, Key, Learner, Params, Policy, PyTree, Trajectory

__all__ = ["State", "ppo", "start"]


class _Samples(NamedTuple):
    """Decisions, or sequences of them with a second axis [T], compacted: the real ones first."""

    obs: PyTree
    legal: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array
    weight: Array  # f32: 1 where there is a decision to learn from
    reset: Array
    memory: PyTree  # what a sequence starts from; () for decisions


def ppo(
    policy: Policy,
    optimizer: optax.GradientTransformation,
    *,
    actions: Categorical | Buttons,
    capacity: int,
    member: int = 0,
    minibatch: int = 256,
    epochs: int = 2,
    clip: float = 0.2,
    entropy: float = 0.01,
    value: float = 0.5,
    gamma: float = 0.999,
    gae_lambda: float = 0.95,
    mesh: Mesh | None = None,
) -> Learner:
    """A learner over `Trajectory`s. Its state is `State`; see `start` for one from given params.

    It learns from the valid decisions of seats whose `Trajectory.member` is `member`, at most `capacity` of
    them; what is beyond is left out and counted in the metric `dropped`. An update costs what the samples
    found cost, whatever the capacity: see `over_epochs`. Advantages are normalised over all samples of the
    update. Clipping of gradients belongs into `optimizer`.

    A policy with `Policy.segments` learns from whole rows, each a segment that starts from the `memory` in
    `Trajectory.first_carry`; `capacity` and `minibatch` are rounded down to rows, but to no fewer than one.
    Others are feed-forward: their samples are single decisions.

    With a `mesh` of one axis its devices share the rows of each minibatch, and the update is, to rounding,
    what it is on one device; see `parallel.over`. A minibatch of fewer rows than devices leaves some idle.

    Metrics, means over all minibatches unless said: policy_loss, value_loss, entropy, approx_kl,
    clip_fraction, grad_norm; explained_variance (of the behaviour's values), samples, dropped, and
    ratio_deviation (max |ratio - 1| in the first minibatch, about 0 unless the data is off-policy).
    """

    segments, devices = policy.segments, over(mesh)

    def evaluate(params: Params, batch: _Samples) -> tuple[Array, Array]:
        if segments is None:
            count = batch.weight.shape[0]
            fresh = policy.initial_carry(count), jnp.ones(count, bool)
            return policy.apply(params, batch.obs, batch.legal, *fresh)[:2]
        obs, legal, reset = jax.tree.map(_turned, (batch.obs, batch.legal, batch.reset))
        return jax.tree.map(_turned, segments.unroll(params, obs, legal, batch.memory, reset))

    def loss(params: Params, batch: _Samples, whole: Array):
        """Of some of a minibatch's rows, where `whole` is the weight of all: the losses of parts add up."""
        head, values = evaluate(params, batch)
        weight = batch.weight
        log_ratio = jnp.where(weight > 0, actions.log_prob(head, batch.action) - batch.log_prob, 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
        gain = jnp.minimum(ratio * batch.advantage, clipped * batch.advantage)

        def mean(x: Array) -> Array:
            return jnp.sum(weight * x) / whole

        parts = {
            "policy_loss": -mean(gain),
            "value_loss": 0.5 * mean((values - batch.target) ** 2),
            "entropy": mean(actions.entropy(head)),
            "approx_kl": mean(ratio - 1 - log_ratio),
            "clip_fraction": mean(jnp.abs(ratio - 1) > clip),
            "ratio_deviation": jnp.max(weight * jnp.abs(ratio - 1)),
        }
        return parts["policy_loss"] + value * parts["value_loss"] - entropy * parts["entropy"], parts

    def compact(trajectory: Trajectory) -> tuple[_Samples, Array, int, Array]:
        """The samples, which of them are real, how many a minibatch has, and decisions found."""
        advantage, target = gae(trajectory, gamma=gamma, gae_lambda=gae_lambda)
        wanted = trajectory.valid & trajectory.active & (trajectory.member == member)
        length = 1 if segments is None else wanted.shape[0]
        most, part = max(1, capacity // length), max(1, minibatch // length)
        (rows,) = jnp.nonzero((wanted.any(0) if segments else wanted).reshape(-1), size=most, fill_value=-1)

        def taken(leaf: Array) -> Array:
            flat = leaf.reshape(-1, *leaf.shape[3:]) if segments is None else _turned(_joined(leaf))
            return flat[rows]

        everything = _Samples(
            trajectory.obs,
            trajectory.legal,
            trajectory.action,
            trajectory.log_prob,
            trajectory.value,
            advantage,
            target,
            wanted.astype(jnp.float32),
            trajectory.reset,
            (),
        )
        samples = jax.tree.map(taken, everything)
        if segments is not None:
            first = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[rows], trajectory.first_carry)
            samples = samples._replace(memory=first)
        return samples, rows >= 0, part, jnp.sum(wanted, dtype=jnp.int32)

    @devices.run
    def update(key: Key, state: State, trajectory: Trajectory) -> tuple[State, dict[str, Array]]:
        samples, real, part, found = compact(trajectory)
        weight = samples.weight * jnp.expand_dims(real, range(1, samples.weight.ndim))
        count = jnp.sum(weight).astype(jnp.int32)
        weight = weight / jnp.maximum(count, 1)
        centred = samples.advantage - jnp.sum(weight * samples.advantage)
        deviation = jnp.sqrt(_variance(samples.advantage, weight))
        samples = samples._replace(advantage=centred / (deviation + 1e-8))
        first = state.steps

        def step(carry: tuple[State, dict], rows: Array, present: Array) -> tuple[State, dict]:
            state, totals = carry
            rows, present = devices.own((rows, present))
            batch = jax.tree.map(lambda leaf: leaf[rows], samples)
            weight = batch.weight * jnp.expand_dims(present, range(1, batch.weight.ndim)).astype(jnp.float32)
            whole = devices.sum(jnp.sum(weight))
            gradient, parts = jax.grad(loss, has_aux=True)(state.params, batch._replace(weight=weight), whole)
            deviation = devices.max(parts.pop("ratio_deviation"))
            gradient, parts = devices.sum((gradient, parts))
            parts["grad_norm"] = optax.global_norm(gradient)
            parts["ratio_deviation"] = deviation * (state.steps == first)
            totals = {name: total + parts[name] for name, total in totals.items()}
            return apply_gradient(optimizer, state, gradient), totals

        carry = (state, {name: jnp.zeros(()) for name in METRICS})
        state, totals = over_epochs(key, real, step, carry, minibatch=part, epochs=epochs)
        deviation = totals.pop("ratio_deviation")
        metrics = {name: total / jnp.maximum(state.steps - first, 1) for name, total in totals.items()}
        residual = _variance(samples.target - samples.value, weight)
        return state, metrics | {
            "ratio_deviation": deviation,
            "explained_variance": 1 - residual / jnp.maximum(_variance(samples.target, weight), 1e-8),
            "samples": count,
            "dropped": found - count,
        }

    def init(key: Key) -> State:
        return start(policy.init(key), optimizer)

    return Learner(init, update, lambda state: state.params, lambda state: state.params)


METRICS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "grad_norm",
    "ratio_deviation",
)


def _joined(leaf: Array) -> Array:
    """[T, B, P, ...] -> [T, B P, ...]."""
    return leaf.reshape(leaf.shape[0], -1, *leaf.shape[3:])


def _turned(leaf: Array) -> Array:
    """[T, N, ...] -> [N, T, ...], and back."""
    return jnp.swapaxes(leaf, 0, 1)


def _variance(x: Array, weight: Array) -> Array:
    return jnp.sum(weight * (x - jnp.sum(weight * x)) ** 2)
