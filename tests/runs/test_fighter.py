"""What a fighter's update is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np

from jaxnash.games.fighter.rewards import REWARDS
from jaxnash.rollouts.fights import Fights
from jaxnash.runs.fighter import guidance, guided, iterate, parts_of, start
from jaxnash.runs.fighter_knobs import PRESETS, steps_of, updates_of
from jaxnash.types import Trajectory

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


def test_guidance_is_whole_at_first_then_falls_to_nothing():
    knobs = replace(SMALL, frames=32 * 40, guided=0.5)
    assert updates_of(knobs) == 40
    assert [guidance(knobs, update) for update in (1, 11, 16, 21, 40)] == [1, 1, 0.5, 0, 0]
    assert guidance(replace(knobs, guided=0.0), 1) == 0


def test_a_led_learner_is_paid_for_coming_nearer_and_forgiven_its_own_falls():
    """By hand: four frames of a match that began before, and of one that ends after the second."""
    own, other = np.zeros((4, 2)), np.full((4, 2), 10.0)  # units of the stage
    own[:, 0], own[:, 1] = [0, 1, 3, 2], [0, 5, 0, 0]
    obs = np.zeros((4, 2, 1, 64), np.float32)
    obs[..., 0, 0], obs[..., 0, 32] = own / 14, other / 14
    reset = np.array([[False, False], [False, False], [False, True], [False, False]])
    parts = {name: () for name in Trajectory._fields}
    trajectory = Trajectory(**parts | {"obs": obs, "reset": reset[..., None], "reward": np.zeros((4, 2, 1))})
    none = np.zeros((4, 2), np.int32)
    alone, result = none.copy(), none.copy()
    alone[1], result[1, 1] = 1, -1  # both fall alone in the second frame; by that the second match is lost
    fight = Fights(**{name: none for name in Fights._fields} | {"fell_alone": alone, "result": result})
    got = guided(trajectory, fight, REWARDS["sound"], 0.5).reward[..., 0]
    wanted = 0.5 * np.array([[0.1, 0.5], [0.2 + 1, 2], [-0.1, 0], [0, 0]])
    np.testing.assert_allclose(got, wanted, atol=1e-6)
