"""What a fighter's update is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np

from jaxnash.runs.fighter import iterate, parts_of, start
from jaxnash.runs.fighter_knobs import PRESETS, steps_of, updates_of

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "latents": 2, "core": 8, "hidden": (8,), "span": 6}
SMALL = replace(PRESETS["smoke"], **SIZES, segment=8, matches=4, groups=2, minibatch=16, epochs=2)


def test_the_learning_rate_falls_to_what_is_left():
    """To nothing after the one update there is: another changes nothing, with a rate that is kept it does."""
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
