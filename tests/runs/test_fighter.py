"""What a fighter's update is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
from jax.random import split

from jaxnash.games.fighter import fighter
from jaxnash.games.fighter.state import start as start_of
from jaxnash.runs.fighter import iterate, parts_of, scattering, start
from jaxnash.runs.fighter_knobs import PRESETS, steps_of, updates_of

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "latents": 2, "core": 8, "hidden": (8,), "span": 6}
SMALL = replace(PRESETS["smoke"], **SIZES, segment=8, matches=4, groups=2, minibatch=16, epochs=2)


def test_some_matches_begin_scattered():
    """A quarter of them, with both anywhere over the stage; the others as ever, and homes too."""
    keys = jax.random.split(jax.random.key(1), 2000)
    begin, usual = scattering(fighter().init, 0.25), jax.vmap(lambda key: start_of(split(key, 3)[0], None))
    found, wanted = jax.vmap(lambda key: begin(key, None))(keys), usual(keys)
    first, second = found.fighters
    away = np.asarray(first.y != wanted.fighters[0].y)
    assert abs(away.mean() - 0.25) < 0.05
    for old, new in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
        assert np.array_equal(np.asarray(old)[~away], np.asarray(new)[~away])
    for one in (first, second):
        x, y = np.asarray(one.x)[away], np.asarray(one.y)[away]
        assert x.min() < -6.5 and x.max() > 6.5 and abs(x.mean()) < 0.6 and np.abs(x).max() <= 7
        assert -1.15 <= y.min() < -1 and 0.7 < y.max() <= 0.85
        assert np.all(np.abs(one.home) == 5)
    assert abs(np.corrcoef(first.x[away], second.x[away])[0, 1]) < 0.2
    np.testing.assert_allclose(found.apart, np.abs(first.x - second.x), rtol=1e-6)


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
