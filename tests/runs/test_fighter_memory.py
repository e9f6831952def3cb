"""What a fighter's run says that it will hold, and that a smaller minibatch takes less."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnash.learners.reservoir import bytes_of
from jaxnash.runs.fighter import parts_of, start
from jaxnash.runs.fighter_knobs import PRESETS
from jaxnash.runs.fighter_memory import memory_line, predicted, scratch

KNOBS = replace(
    PRESETS["smoke"], save_every=1024, matches=64, groups=2, segment=16, span=6, width=8, layers=1, heads=2,
    mlp=8, core=8, hidden=(8,), minibatch=1024, keep_snapshots=3, epochs=1,
)  # fmt: skip


def test_the_prediction_is_what_is_held():
    parts = parts_of(KNOBS)
    sizes = predicted(KNOBS, parts)
    state = start(KNOBS, parts)
    assert sizes["parameters"] == bytes_of(state.learner.params)
    assert sizes["optimizer"] == bytes_of(state.learner.optimizer)
    assert sizes["optimizer"] == pytest.approx(2 * sizes["parameters"], rel=0.01)
    assert sizes["snapshots"] == 3 * sizes["parameters"] + 4
    assert sizes["matches"] == bytes_of((state.matches, state.tally))
    params = parts.learner.behaviour(state.learner)
    rivals = jax.tree.map(lambda leaf: leaf[: KNOBS.groups], state.snapshots.params)
    shares = np.array(KNOBS.shares, np.float32)
    rollout = parts.arena.play(jax.random.key(0), params, rivals, state.matches, None, shares)[1:]
    assert sizes["rollout"] == bytes_of(rollout)
    assert "held (parameters" in memory_line(sizes)


def test_half_the_minibatch_takes_less():
    """Parts that a minibatch does not change, such as the samples, stay: so not half."""
    sizes = [scratch(knobs, parts_of(knobs)) for knobs in (KNOBS, replace(KNOBS, minibatch=512))]
    assert sizes[1] < 0.8 * sizes[0]
