"""Advantages over packed rows in which a seat does not act at every step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnash.types import Array, Trajectory


def gae(trajectory: Trajectory, *, gamma: float, gae_lambda: float) -> tuple[Array, Array]:
    """Generalised advantages and value targets, f[T, B, P] each, of `bootstrap_value`'s dtype; 0 where the
    seat does not decide.

    Schulman et al. 2016, equation 16, over a seat's own decisions: its next decision may be several steps
    later (never in another episode), discounting counts decisions, and what is paid in between is added to
    the decision that waits for it. A termination is worth 0 afterwards. A truncation is worth what the seat's
    last decision thought it was: what came after was never seen. A row that stops within an episode goes on
    with `bootstrap_value`. Padding is stepped over.
    """

    def back(carry, at):
        next_value, next_advantage, unpaid, unseen = carry
        active, value, reward, terminated, truncated, valid = at
        ended = terminated | truncated
        next_value = jnp.where(ended, 0.0, next_value)
        next_advantage = jnp.where(ended, 0.0, next_advantage)
        unpaid = jnp.where(ended, 0.0, unpaid) + reward
        unseen = jnp.where(ended, truncated & ~terminated, unseen)
        delta = unpaid + gamma * jnp.where(unseen, value, next_value) - value
        advantage = jnp.where(active, delta + gamma * gae_lambda * next_advantage, 0.0)
        new = (
            jnp.where(active, value, next_value),
            jnp.where(active, advantage, next_advantage),
            jnp.where(active, 0.0, unpaid),
            unseen & ~active,
        )
        kept = jax.tree.map(lambda new, old: jnp.where(valid, new, old), new, carry)
        return kept, jnp.where(valid, advantage, 0.0)

    nothing = jnp.zeros_like(trajectory.bootstrap_value)
    first = (trajectory.bootstrap_value, nothing, nothing, jnp.zeros(nothing.shape, bool))
    steps = (
        trajectory.active,
        trajectory.value,
        trajectory.reward,
        trajectory.terminated,
        trajectory.truncated,
        trajectory.valid,
    )
    _, advantage = jax.lax.scan(back, first, steps, reverse=True)
    decides = trajectory.active & trajectory.valid
    return advantage, jnp.where(decides, advantage + trajectory.value, 0.0)
