"""What XLA compiles well on a CPU and what on a GPU: the same numbers by other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnash.types import Array


def cpu_or_gpu(cpu: Callable[..., Any], gpu: Callable[..., Any], *args: Any) -> Any:
    """`cpu(*args)` in what is compiled for a CPU, `gpu(*args)` elsewhere.

    In a process without a GPU the latter is not even traced, which would take seconds.
    """
    if jax.default_backend() == "cpu":
        return cpu(*args)
    return jax.lax.platform_dependent(*args, cpu=cpu, default=gpu)


def cut(place: Array, tree: Any) -> Any:
    """`tree`, as it is, but stored at this point on a CPU.

    XLA on a CPU works out again, for every number that it stores, all that leads up to it; a conditional
    makes it store them. On a GPU that would be a copy of each. `place` is any i32[] that is not negative and
    that changes from step to step of a loop; if it depended on the battle, there would be no conditional
    under vmap.
    """

    def stored(place: Array, tree: Any) -> Any:
        return jax.lax.cond(place >= 0, lambda x: x, lambda x: jax.tree.map(jnp.zeros_like, x), tree)

    return cpu_or_gpu(stored, lambda place, tree: tree, place, tree)
