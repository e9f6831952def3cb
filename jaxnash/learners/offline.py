"""Learning from recorded decisions: weighted behaviour cloning."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnash.games.game import Categorical
from jaxnash.learners.minibatches import State, apply_gradient, over_epochs, start
from jaxnash.types import Array, Key, Learner, Params, Policy, PyTree

__all__ = ["Samples", "State", "cloning", "start"]


class Samples(NamedTuple):
    """Recorded decisions, leading axis [N]. Equal N in every update, padded up, saves compiling."""

    obs: PyTree
    legal: Array  # bool[N, A]
    action: Array  # i32[N]
    weight: Array  # f32[N], 0 on padding


def cloning(
    policy: Policy,
    optimizer: optax.GradientTransformation,
    *,
    actions: Categorical,
    minibatch: int = 256,
    epochs: int = 1,
    label_smoothing: float = 0.0,
) -> Learner:
    """A learner over `Samples`: weighted cross-entropy with the recorded action, as a mean of the weights.

    An update goes over the samples of positive weight `epochs` times, in shuffled minibatches; see
    `over_epochs`. `label_smoothing` is the share of the target spread evenly over the legal actions.
    Metrics, weighted means over the update: loss, accuracy (of the likeliest action), grad_norm; samples.
    """

    def loss(params: Params, batch: Samples, weight: Array):
        carry = policy.initial_carry(minibatch)
        head, _, _ = policy.apply(params, batch.obs, batch.legal, carry, jnp.ones(minibatch, bool))
        log_p = jax.nn.log_softmax(head)
        even = jnp.sum(jnp.where(batch.legal, log_p, 0.0), axis=-1) / jnp.sum(batch.legal, axis=-1)
        recorded = actions.log_prob(head, batch.action)
        cost = -(1 - label_smoothing) * recorded - label_smoothing * even
        total = jnp.sum(weight * cost)
        right = jnp.sum(weight * (actions.mode(head) == batch.action))
        return total / jnp.sum(weight), {"loss": total, "accuracy": right, "weight": jnp.sum(weight)}

    @jax.jit
    def update(key: Key, state: State, data: Samples) -> tuple[State, dict[str, Array]]:
        first, real = state.steps, data.weight > 0

        def step(carry: tuple[State, dict], rows: Array, present: Array) -> tuple[State, dict]:
            state, totals = carry
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
            gradient, parts = jax.grad(loss, has_aux=True)(state.params, batch, present * batch.weight)
            parts["grad_norm"] = optax.global_norm(gradient)
            totals = {name: total + parts[name] for name, total in totals.items()}
            return apply_gradient(optimizer, state, gradient), totals

        carry = (state, {name: jnp.zeros(()) for name in ("loss", "accuracy", "weight", "grad_norm")})
        state, totals = over_epochs(key, real, step, carry, minibatch=minibatch, epochs=epochs)
        weight = jnp.where(totals["weight"] > 0, totals["weight"], 1.0)
        return state, {
            "loss": totals["loss"] / weight,
            "accuracy": totals["accuracy"] / weight,
            "grad_norm": totals["grad_norm"] / jnp.maximum(state.steps - first, 1),
            "samples": jnp.sum(real, dtype=jnp.int32),
        }

    def init(key: Key) -> State:
        return start(policy.init(key), optimizer)

    return Learner(init, update, lambda state: state.params, lambda state: state.params)
