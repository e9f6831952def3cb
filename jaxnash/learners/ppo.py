"""Proximal policy optimisation, clipped and masked (Schulman et al. 2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnash.games.game import Buttons, Categorical
from jaxnash.learners.returns import gae
from jaxnash.types import Array, Key, Learner, Params, Policy, PyTree, Trajectory


class State(NamedTuple):
    """What a gradient learner carries from one update to the next."""

    params: Params
    optimizer: Any  # optax state
    steps: Array  # i32[], gradient steps taken


def start(params: Params, optimizer: optax.GradientTransformation) -> State:
    """A learner's state from given params, such as a clone's or a checkpoint's."""
    params = jax.tree.map(jnp.asarray, params)
    return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))


class Samples(NamedTuple):
    """Decisions, compacted: leading axis [capacity], the first `count` of them real."""

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
    found cost, whatever the capacity. Each epoch shuffles them into ceil(samples / minibatch) minibatches
    of equal size, give or take one. Advantages are normalised over all samples of the update. Clipping of
    gradients belongs into `optimizer`. Feed-forward policies only: every sample starts from a fresh carry.

    Metrics, means over the minibatches of the last epoch unless said: policy_loss, value_loss, entropy,
    approx_kl, clip_fraction; explained_variance (of the behaviour's values), samples, dropped, grad_norm,
    ratio_deviation (max |ratio - 1| in the first minibatch, about 0 unless the data is off-policy).
    """

    def loss(params: Params, batch: Samples, weight: Array):
        carry = policy.initial_carry(minibatch)
        head, values, _ = policy.apply(params, batch.obs, batch.legal, carry, jnp.ones(minibatch, bool))
        log_ratio = jnp.where(weight > 0, actions.log_prob(head, batch.action) - batch.log_prob, 0.0)
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
        gain = jnp.minimum(ratio * batch.advantage, clipped * batch.advantage)
        total = jnp.sum(weight)

        def mean(x: Array) -> Array:
            return jnp.sum(weight * x) / total

        parts = {
            "policy_loss": -mean(gain),
            "value_loss": 0.5 * mean((values - batch.target) ** 2),
            "entropy": mean(actions.entropy(head)),
            "approx_kl": mean(ratio - 1 - log_ratio),
            "clip_fraction": mean(jnp.abs(ratio - 1) > clip),
            "ratio_deviation": jnp.max(weight * jnp.abs(ratio - 1)),
        }
        return parts["policy_loss"] + value * parts["value_loss"] - entropy * parts["entropy"], parts

    def epoch(carry: tuple[State, dict], key: Key, samples: Samples, count: Array):
        state, found = carry
        # the real samples first, in random order
        real = jnp.arange(capacity) < count
        order = jnp.argsort(jnp.where(real, jax.random.uniform(key, (capacity,)), 2.0))
        order = jnp.concatenate([order, jnp.zeros(minibatch, order.dtype)])
        minibatches = -(-count // minibatch)
        share, longer = count // jnp.maximum(minibatches, 1), count % jnp.maximum(minibatches, 1)

        def body(i: Array, carry: tuple[State, dict]):
            state, totals = carry
            begin = i * share + jnp.minimum(i, longer)
            chosen = jax.lax.dynamic_slice(order, (begin,), (minibatch,))
            weight = (jnp.arange(minibatch) < share + (i < longer)).astype(jnp.float32)
            batch = jax.tree.map(lambda leaf: leaf[chosen], samples)
            gradient, parts = jax.grad(loss, has_aux=True)(state.params, batch, weight)
            change, inner = optimizer.update(gradient, state.optimizer, state.params)
            first = jnp.where(state.steps == first_step, parts["ratio_deviation"], totals["ratio_deviation"])
            parts["grad_norm"] = optax.global_norm(gradient)
            totals = {name: totals[name] + parts[name] / minibatches for name in totals}
            totals["ratio_deviation"] = first
            return State(optax.apply_updates(state.params, change), inner, state.steps + 1), totals

        first_step = found["first_step"]
        totals = {name: jnp.zeros(()) for name in (*MEANS, "grad_norm")}
        totals["ratio_deviation"] = found["metrics"]["ratio_deviation"]
        state, totals = jax.lax.fori_loop(0, minibatches, body, (state, totals))
        return state, {"first_step": first_step, "metrics": totals}

    @jax.jit
    def update(key: Key, state: State, trajectory: Trajectory) -> tuple[State, dict[str, Array]]:
        samples, count, dropped = compact(trajectory)
        found = {
            "first_step": state.steps,
            "metrics": {name: jnp.zeros(()) for name in (*MEANS, "grad_norm", "ratio_deviation")},
        }

        def one(carry, key):
            return epoch(carry, key, samples, count), None

        (state, found), _ = jax.lax.scan(one, (state, found), jax.random.split(key, epochs))
        weight = (jnp.arange(capacity) < count) / jnp.maximum(count, 1)
        residual = _variance(samples.target - samples.value, weight)
        explained = 1 - residual / jnp.maximum(_variance(samples.target, weight), 1e-8)
        return state, found["metrics"] | {
            "explained_variance": explained,
            "samples": count,
            "dropped": dropped,
        }

    def compact(trajectory: Trajectory) -> tuple[Samples, Array, Array]:
        advantage, target = gae(trajectory, gamma=gamma, gae_lambda=gae_lambda)
        wanted = (trajectory.valid & trajectory.active & (trajectory.member == member)).reshape(-1)
        (where,) = jnp.nonzero(wanted, size=capacity, fill_value=0)
        everything = Samples(
            trajectory.obs,
            trajectory.legal,
            trajectory.action,
            trajectory.log_prob,
            trajectory.value,
            advantage,
            target,
        )
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[where], everything)
        found = jnp.sum(wanted, dtype=jnp.int32)
        count = jnp.minimum(found, capacity)
        weight = (jnp.arange(capacity) < count) / jnp.maximum(count, 1)
        mean, variance = jnp.sum(weight * samples.advantage), _variance(samples.advantage, weight)
        normal = (samples.advantage - mean) / (jnp.sqrt(variance) + 1e-8)
        return samples._replace(advantage=normal), count, found - count

    def init(key: Key) -> State:
        return start(policy.init(key), optimizer)

    return Learner(init, update, lambda state: state.params, lambda state: state.params)


MEANS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")


def _variance(x: Array, weight: Array) -> Array:
    return jnp.sum(weight * (x - jnp.sum(weight * x)) ** 2)
