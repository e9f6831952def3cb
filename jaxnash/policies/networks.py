"""Feed-forward policies. Linen lives inside; what leaves is a `Policy` of pure functions."""

from __future__ import annotations

from functools import lru_cache

import flax.linen as nn
import jax.numpy as jnp

from jaxnash.policies.masking import mask
from jaxnash.types import Array, Key, Params, Policy

SMALL_HEAD = nn.initializers.orthogonal(0.01)  # a fresh policy is nearly uniform over legal actions


def no_carry(batch: int) -> tuple[()]:
    """The carry of a feed-forward policy."""
    del batch
    return ()


class MLP(nn.Module):
    """Flat observations f32[B, D] -> logits f32[B, A], value f32[B]."""

    actions: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: Array) -> tuple[Array, Array]:
        x = obs
        for width in self.hidden:
            x = nn.tanh(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        logits = nn.Dense(self.actions, kernel_init=SMALL_HEAD)(x)
        value = nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(x)
        return logits, value[..., 0]


@lru_cache  # equal arguments give the identical Policy, so that jit compiles it once
def _mlp_policy(observation_size: int, actions: int, hidden: tuple[int, ...]) -> Policy:
    module = MLP(actions, hidden)

    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros((1, observation_size), jnp.float32))

    def apply(params: Params, obs: Array, legal: Array, carry: tuple[()], reset: Array):
        del reset
        logits, value = module.apply(params, obs)
        return mask(logits, legal), value, carry

    return Policy(init, no_carry, apply)


def mlp_policy(*, observation_size: int, actions: int, hidden: tuple[int, ...] = (64, 64)) -> Policy:
    """A policy over flat observations f32[B, observation_size]; its value is unbounded."""
    return _mlp_policy(observation_size, actions, tuple(hidden))
