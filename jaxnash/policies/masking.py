"""The inactive rule: illegal actions get a logit that no softmax lets through."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.game import MASKED
from jaxnash.types import Array


def mask(logits: Array, legal: Array) -> Array:
    """Logits f32[..., A] with `MASKED` where `legal` bool[..., A] is False.

    A row with one legal action, such as an inactive seat's, has log-probability, entropy and gradient
    exactly zero under `Categorical`.
    """
    return jnp.where(legal, logits, MASKED)
