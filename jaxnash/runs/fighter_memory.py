"""What a self-play run of the fighter will hold in memory, from the shapes alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxnash.learners.reservoir import bytes_of
from jaxnash.memory import in_words
from jaxnash.rollouts.snapshots import drawn
from jaxnash.runs.fighter import Parts, State, start
from jaxnash.runs.fighter_knobs import Knobs
from jaxnash.types import PyTree, Trajectory


def predicted(knobs: Knobs, parts: Parts) -> dict[str, int]:
    """Bytes of parameters, of the optimiser's state, the stack of snapshots, the matches under way and a
    rollout's arrays; nothing is computed.

    Left out is what only an update's compiled program takes, its gradients and activations: see `scratch`.
    """
    state, (_, *rollout) = _shapes(knobs, parts)
    return {
        "parameters": bytes_of(state.learner.params),
        "optimizer": bytes_of(state.learner.optimizer),
        "snapshots": bytes_of(state.snapshots),
        "matches": bytes_of((state.matches, state.tally)),
        "rollout": bytes_of(rollout),
    }


def memory_line(sizes: dict[str, int]) -> str:
    """The prediction in words."""
    each = ", ".join(f"{name} {in_words(size)}" for name, size in sizes.items())
    return (
        f"memory: {in_words(sum(sizes.values()))} held ({each}), without what an update takes for its "
        "gradients and activations, which a smaller --minibatch lessens"
    )


def scratch(knobs: Knobs, parts: Parts) -> int:
    """Bytes that the update's program takes beside its arguments and results, by XLA's account.

    Compiles it, which takes seconds to a minute. For one device: with a mesh the learner has no one program.
    """
    state, (_, trajectory, _) = _shapes(knobs, parts)
    lowered: Any = parts.learner.update
    program = lowered.lower(jax.eval_shape(lambda: jax.random.key(0)), state.learner, trajectory).compile()
    return program.memory_analysis().temp_size_in_bytes


def _shapes(knobs: Knobs, parts: Parts) -> tuple[State, tuple[PyTree, Trajectory, PyTree]]:
    """Of the state, and of what a rollout returns."""
    state = jax.eval_shape(partial(start, knobs, parts))
    key = jax.eval_shape(lambda: jax.random.key(0))
    rivals, _ = jax.eval_shape(partial(drawn, groups=knobs.groups, latest=knobs.latest), key, state.snapshots)
    shares = jax.ShapeDtypeStruct((len(knobs.shares),), jnp.float32)
    inputs = (key, state.learner.params, rivals, state.matches, None, shares)
    return state, jax.eval_shape(parts.arena.play, *inputs)
