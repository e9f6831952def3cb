"""What a fighter's update is made of."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnash.games.fighter import stage
from jaxnash.runs.fighter import parts_of, setups_of
from jaxnash.runs.fighter_knobs import PRESETS, rollout_frames, steps_of, updates_of
from jaxnash.types import Trajectory

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "latents": 2, "core": 8, "hidden": (8,), "span": 6}
SMALL = replace(PRESETS["smoke"], **SIZES, segment=8, matches=4, groups=2, minibatch=16, epochs=2)


def test_stages_are_flattened_less_and_less_up_to_the_first_snapshot():
    """Of 512 matches 0.8 at first, 0.4 half way, by any share as likely; then none."""
    knobs = replace(PRESETS["smoke"], flattened=0.8, save_every=100 * rollout_frames(PRESETS["smoke"]))
    for update, often in ((0, 0.8), (50, 0.4), (100, 0), (200, 0)):
        setups = setups_of(knobs, jax.random.key(update), update)
        inner, right, high = (np.asarray(leaf) for leaf in setups.grounds[0])
        shares = 1 - inner / 2  # of the way to level ground
        np.testing.assert_allclose(high, 0.85 + 2 * shares, rtol=1e-6)
        assert np.all(right == 7) and abs(np.mean(shares > 0) - often) < 0.08
        if often:
            assert abs(np.mean(shares[shares > 0]) - 0.5) < 0.07
        else:
            usual = jax.tree.map(lambda leaf: np.full(512, leaf), stage())
            assert all(map(np.array_equal, jax.tree.leaves(setups), jax.tree.leaves(usual)))
    assert setups_of(replace(knobs, flattened=0.0), jax.random.key(0), 0) is None
