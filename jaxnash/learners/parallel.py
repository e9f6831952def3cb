"""One program on several devices: they share the rows of each minibatch and repeat everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnash.types import Array, JaxnashError, PyTree


class Devices(NamedTuple):
    """What an update needs to be the same on one device and on many; see `over`."""

    own: Callable[[PyTree], PyTree]  # leaves [M] -> [ceil(M / devices)]: this device's part, filled up with 0
    sum: Callable[[PyTree], PyTree]  # over the devices
    max: Callable[[PyTree], PyTree]
    run: Callable[[Callable], Callable]  # a pure function of positional arguments, jitted


def over(mesh: Mesh | None) -> Devices:
    """The devices of a mesh of one axis; None is the one that JAX would take.

    What `run` makes sends its arguments to all devices, gives every device all of them, and leaves the
    results on the mesh's first. With a mesh it is no function for another `jit`. Every device must come to
    the same results but for what it does with `own`, whose sums and maxima it has to take itself; `shard_map`
    does not check that. So differentiate before summing, not through a sum: transposing one would count the
    gradient once for each device.

    Raises `JaxnashError` for a mesh of several axes.
    """
    if mesh is None:
        return Devices(lambda tree: tree, lambda tree: tree, lambda tree: tree, jax.jit)
    if len(mesh.axis_names) != 1:
        raise JaxnashError(f"a learner shares its rows over a mesh of one axis, not {mesh.axis_names}")
    axis, count, first = mesh.axis_names[0], mesh.size, mesh.devices.flat[0]
    everywhere = PartitionSpec()

    def own(leaf: Array) -> Array:
        each = -(-leaf.shape[0] // count)
        filled = jnp.pad(leaf, (0, each * count - leaf.shape[0]))
        return jax.lax.dynamic_slice_in_dim(filled, jax.lax.axis_index(axis) * each, each)

    def run(update: Callable) -> Callable:
        program = jax.jit(
            jax.shard_map(update, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
        )

        def call(*inputs: PyTree) -> PyTree:
            return jax.device_put(program(*jax.device_put(inputs, NamedSharding(mesh, everywhere))), first)

        return call

    return Devices(
        lambda tree: jax.tree.map(own, tree),
        lambda tree: jax.lax.psum(tree, axis),
        lambda tree: jax.lax.pmax(tree, axis),
        run,
    )
