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
    weight: Array  # f32[N], of the action; 0 on padding
    target: Array | None = None  # f32[N], what the decision came to; None where no value is learned
    value_weight: Array | None = None  # f32[N], of the target; 0 on padding


def cloning(
    policy: Policy,
    optimizer: optax.GradientTransformation,
    *,
    actions: Categorical,
    minibatch: int = 256,
    epochs: int = 1,
    label_smoothing: float = 0.0,
    value: float = 0.0,
) -> Learner:
    """A learner over `Samples`: weighted cross-entropy with the recorded action, as a mean of the weights.

    An update goes over the samples of positive weight `epochs` times, in shuffled minibatches; see
    `over_epochs`. `label_smoothing` is the share of the target spread evenly over the legal actions. With
    `value` > 0 the policy's value learns `Samples.target` too (squared error / 2 times `value`), also where
    the action has no weight: losers teach what a position is worth, not what to do.
    Metrics, weighted means over the update: loss (of the action), accuracy (of the likeliest action),
    value_loss, grad_norm; samples.
    """

    def loss(params: Params, batch: Samples, present: Array):
        carry = policy.initial_carry(minibatch)
        head, values, _ = policy.apply(params, batch.obs, batch.legal, carry, jnp.ones(minibatch, bool))
        weight = present * batch.weight
        log_p = jax.nn.log_softmax(head)
        even = jnp.sum(jnp.where(batch.legal, log_p, 0.0), axis=-1) / jnp.sum(batch.legal, axis=-1)
        recorded = actions.log_prob(head, batch.action)
        cost = jnp.sum(weight * (-(1 - label_smoothing) * recorded - label_smoothing * even))
        right = jnp.sum(weight * (actions.mode(head) == batch.action))
        parts = {"loss": cost, "accuracy": right, "weight": jnp.sum(weight)}
        total = cost / _positive(parts["weight"])
        if value:
            known = present * batch.value_weight
            error = 0.5 * jnp.sum(known * (values - batch.target) ** 2)
            parts |= {"value_loss": error, "value_weight": jnp.sum(known)}
            total += value * error / _positive(parts["value_weight"])
        return total, parts

    names = ("loss", "accuracy", "weight", "grad_norm", *(("value_loss", "value_weight") if value else ()))

    @jax.jit
    def update(key: Key, state: State, data: Samples) -> tuple[State, dict[str, Array]]:
        first, real = state.steps, data.weight > 0
        if value:
            real |= jnp.asarray(data.value_weight) > 0

        def step(carry: tuple[State, dict], rows: Array, present: Array) -> tuple[State, dict]:
            state, totals = carry
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
            gradient, parts = jax.grad(loss, has_aux=True)(state.params, batch, present)
            parts["grad_norm"] = optax.global_norm(gradient)
            totals = {name: total + parts[name] for name, total in totals.items()}
            return apply_gradient(optimizer, state, gradient), totals

        carry = (state, {name: jnp.zeros(()) for name in names})
        state, totals = over_epochs(key, real, step, carry, minibatch=minibatch, epochs=epochs)
        weight = _positive(totals["weight"])
        metrics = {
            "loss": totals["loss"] / weight,
            "accuracy": totals["accuracy"] / weight,
            "grad_norm": totals["grad_norm"] / jnp.maximum(state.steps - first, 1),
            "samples": jnp.sum(real, dtype=jnp.int32),
        }
        if value:
            metrics["value_loss"] = totals["value_loss"] / _positive(totals["value_weight"])
        return state, metrics

    def init(key: Key) -> State:
        return start(policy.init(key), optimizer)

    return Learner(init, update, lambda state: state.params, lambda state: state.params)


def _positive(total: Array) -> Array:
    return jnp.where(total > 0, total, 1.0)
