"""What a deep CFR run will take: nodes, seconds and bytes, before it starts."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from jaxnash.learners.critic import ring_bytes, transition_of
from jaxnash.learners.deep_cfr import memory_bytes, row_of
from jaxnash.learners.reservoir import reservoir, size_in_bytes
from jaxnash.rollouts.sampling import here, timed
from jaxnash.runs.deep_cfr import SCRATCH, Parts, State, build, sizes_of, steps_of, walked_by
from jaxnash.runs.deep_cfr_knobs import Knobs


class Forecast(NamedTuple):
    """What a probe predicts."""

    nodes: float  # an iteration
    seconds: float  # an iteration
    phases: dict[str, float]
    bytes: int  # that the run holds


def predicted_bytes(knobs: Knobs, parts: Parts) -> int:
    """Bytes of memories and past networks, of which writing a checkpoint holds a copy besides; of the
    critic's least squares; and of the traversers' buffers."""
    row, features = row_of(parts.what.game, parts.what.setups), 0
    saved = memory_bytes(parts.net, row, **sizes_of(knobs))
    if parts.critic is not None:
        saved += ring_bytes(transition_of(parts.what.game, parts.what.setups), knobs.critic_memory)
        features = min(knobs.critic_rows, knobs.critic_memory) * 4 * (knobs.critic_hidden[-1] + 1)
    each = size_in_bytes(row, max(SCRATCH, 4 * knobs.lanes)) * (2 if parts.plan.policies else 1)
    return 2 * saved + features + each * knobs.workers


def probe(knobs: Knobs, parts: Parts, state: State) -> Forecast:
    """Measure a few traversals and gradient steps, and predict an iteration; nothing is kept."""
    sampler = here(partial(build, parts.plan))
    params = (state.sides[0].params, state.sides[1].params)
    networks = (*params, state.critic[0].params if state.critic else ()) if parts.plan.walks else params
    count = min(walked_by(knobs), 4 * knobs.lanes)
    key = jax.random.key(0)
    nodes, traverse_seconds = 0, 0.0
    for player in (0, 1):
        sampler.take(key, player, networks, count)  # compiles
        taken, seconds = timed(sampler, key, player, networks, count)
        nodes += taken.nodes
        traverse_seconds += seconds
    share = walked_by(knobs) / count
    steps, few = np.mean([steps_of(knobs, t) for t in range(1, knobs.iterations + 1)]), np.int32(20)
    fit = parts.learner.advantages
    memory = reservoir(row_of(parts.what.game, parts.what.setups), min(knobs.memory, 100_000))
    jax.block_until_ready(fit(key, params[0], memory, few))
    clock = time.perf_counter()
    jax.block_until_ready(fit(key, params[0], memory, few))
    fitting = 2 * (time.perf_counter() - clock) / float(few) * float(steps)
    phases = {"traverse": traverse_seconds * share / min(knobs.workers, os.cpu_count() or 1), "fit": fitting}
    if parts.critic is not None:
        transitions = state.critic[1]._replace(filled=np.int32(knobs.critic_memory))
        update = partial(parts.critic.update, key, state.critic[0], transitions, params)
        jax.block_until_ready(update())
        clock = time.perf_counter()
        jax.block_until_ready(update())
        phases["critic"] = 2 * (time.perf_counter() - clock)
    return Forecast(nodes * share, sum(phases.values()), phases, predicted_bytes(knobs, parts))
