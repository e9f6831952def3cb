"""What a fighter's update is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
from jaxnash.games.fighter import stage
from jaxnash.runs.fighter import iterate, parts_of, setups_of, start
from jaxnash.runs.fighter_knobs import PRESETS, rollout_frames, steps_of, updates_of

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


def test_the_learning_rate_falls_to_what_is_left():
    """To nothing after the one update that there is: another changes no parameter, with a rate kept it does."""
    for left in (0.0, 1.0):
        knobs = replace(SMALL, frames=32, learning_rate_left=left)
        assert updates_of(knobs) == 1 and steps_of(knobs) == 4
        parts = parts_of(knobs)
        states = [start(knobs, parts)]
        for _ in range(2):
            states.append(iterate(knobs, parts, states[-1])[0])
        moved = [
            not all(map(np.array_equal, *(jax.tree.leaves(state.learner.params) for state in pair)))
            for pair in pairwise(states)
        ]
        assert moved == [True, left > 0]
