"""Proximal policy optimisation, clipped and masked (Schulman et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnash.games.game import Buttons, Categorical
from jaxnash.learners.minibatches import State, apply_gradient, over_epochs, start
from jaxnash.learners.returns import gae
from jaxnash.types import Array, Key, Learner, Params, Policy, PyTree, Trajectory

__all__ = ["State", "ppo", "start"]


class _Samples(NamedTuple):
    """Decisions, compacted: leading axis [capacity], the real ones first."""

    obs: PyTree
    legal: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


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
) -> Learner:
    """A learner over `Trajectory`s. Its state is `State`; see `start` for one from given params.

    It learns from the valid decisions of seats whose `Trajectory.member` is `member`, at most `capacity` of
    them; what is beyond is left out and counted in the metric `dropped`. An update costs what the samples
    found cost, whatever the capacity: see `over_epochs`. Advantages are normalised over all samples of the
    update. Clipping of gradients belongs into `optimizer`. Feed-forward policies only: every sample starts
    from a fresh carry.

    Metrics, means over all minibatches unless said: policy_loss, value_loss, entropy, approx_kl,
    clip_fraction, grad_norm; explained_variance (of the behaviour's values), samples, dropped, and
    ratio_deviation (max |ratio - 1| in the first minibatch, about 0 unless the data is off-policy).
    """

    def loss(params: Params, batch: _Samples, weight: Array):
        carry = policy.initial_carry(minibatch)
        head, values, _ = policy.apply(params, batch.obs, batch.legal, carry, jnp.ones(minibatch, bool))
        log_ratio = jnp.where(weight > 0, actions.log_prob(head, batch.action) - batch.log_prob, 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
        gain = jnp.minimum(ratio * batch.advantage, clipped * batch.advantage)

        def mean(x: Array) -> Array:
            return jnp.sum(weight * x) / jnp.sum(weight)

        parts = {
            "policy_loss": -mean(gain),
            "value_loss": 0.5 * mean((values - batch.target) ** 2),
            "entropy": mean(actions.entropy(head)),
            "approx_kl": mean(ratio - 1 - log_ratio),
            "clip_fraction": mean(jnp.abs(ratio - 1) > clip),
            "ratio_deviation": jnp.max(weight * jnp.abs(ratio - 1)),
        }
        return parts["policy_loss"] + value * parts["value_loss"] - entropy * parts["entropy"], parts

    def compact(trajectory: Trajectory) -> tuple[_Samples, Array, Array]:
        advantage, target = gae(trajectory, gamma=gamma, gae_lambda=gae_lambda)
        wanted = (trajectory.valid & trajectory.active & (trajectory.member == member)).reshape(-1)
        (rows,) = jnp.nonzero(wanted, size=capacity, fill_value=0)
        everything = _Samples(
            trajectory.obs,
            trajectory.legal,
            trajectory.action,
            trajectory.log_prob,
            trajectory.value,
            advantage,
            target,
        )
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[rows], everything)
        found = jnp.sum(wanted, dtype=jnp.int32)
        return samples, jnp.minimum(found, capacity), found

    @jax.jit
    def update(key: Key, state: State, trajectory: Trajectory) -> tuple[State, dict[str, Array]]:
        samples, count, found = compact(trajectory)
        real = jnp.arange(capacity) < count
        weight = real / jnp.maximum(count, 1)
        centred = samples.advantage - jnp.sum(weight * samples.advantage)
        deviation = jnp.sqrt(_variance(samples.advantage, weight))
        samples = samples._replace(advantage=centred / (deviation + 1e-8))
        first = state.steps

        def step(carry: tuple[State, dict], rows: Array, present: Array) -> tuple[State, dict]:
            state, totals = carry
            batch = jax.tree.map(lambda leaf: leaf[rows], samples)
            gradient, parts = jax.grad(loss, has_aux=True)(state.params, batch, present.astype(jnp.float32))
            parts["grad_norm"] = optax.global_norm(gradient)
            parts["ratio_deviation"] *= state.steps == first
            totals = {name: total + parts[name] for name, total in totals.items()}
            return apply_gradient(optimizer, state, gradient), totals

        carry = (state, {name: jnp.zeros(()) for name in METRICS})
        state, totals = over_epochs(key, real, step, carry, minibatch=minibatch, epochs=epochs)
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


def _variance(x: Array, weight: Array) -> Array:
    return jnp.sum(weight * (x - jnp.sum(weight * x)) ** 2)
