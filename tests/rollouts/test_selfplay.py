"""Matches that go on from rollout to rollout, against snapshots in groups of rows and against scripts."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import chisquare

from jaxnash.games.game import Buttons, Game
from jaxnash.learners.ppo import ppo
from jaxnash.policies.history import history_policy
from jaxnash.policies.networks import mlp_policy
from jaxnash.rollouts.selfplay import SelfPlay, self_play
from jaxnash.rollouts.snapshots import add, drawn, none_yet, shares_of
from jaxnash.types import JaxnashError, TimeStep

LENGTH, BATCH, GROUPS = 8, 32, 4
SHARES = np.array([0.8, 0.15, 0.05], np.float32)


class Count(NamedTuple):
    """Frames left and played, and the last buttons [2, 2]. Who pressed the first button is paid 1 by whom did
    not, and who pressed the second as much."""

    left: jax.Array
    played: jax.Array
    last: jax.Array


def count_down() -> Game:
    """Matches of 5 to 12 frames, seen from both seats as (own buttons, frames played, their buttons, 1)."""

    def init(key, setup):
        del setup
        return Count(jax.random.randint(key, (), 5, 13), jnp.int32(0), jnp.zeros((2, 2), bool))

    def step(key, state, actions):
        del key
        return Count(state.left - 1, state.played + 1, actions)

    def observe(state):
        own = state.last.astype(jnp.float32)
        time = jnp.stack([jnp.full(2, state.played / 12.0), jnp.ones(2)], axis=1)
        obs = jnp.concatenate([own, time[:, :1], own[::-1], time[:, 1:]], axis=1)
        pressed = own.sum(axis=1)
        ended, yes = state.left == 0, jnp.ones(2, bool)
        return TimeStep(obs, jnp.ones((2, 2), bool), yes, pressed - pressed[::-1], ended, jnp.bool_(False))

    return Game(init, step, observe, 2, Buttons(2))


GAME = count_down()
FIRST, SECOND = (
    lambda state, seat, pressed=pressed: jnp.array(pressed) for pressed in ((True, False), (False, True))
)
MLP = mlp_policy(observation_size=6, actions=2, hidden=(4,))
SMALL = {"width": 8, "layers": 2, "heads": 2, "mlp": 8, "span": 5, "latents": 2, "core": 8, "hidden": (8,)}
MEMORY = history_policy(observation_size=6, actions=2, segment=LENGTH, **SMALL)


@cache
def arena(policy=MLP) -> SelfPlay:
    watch = lambda state, seat: (state.played, seat)  # noqa: E731
    return self_play(GAME, policy, (FIRST, SECOND), length=LENGTH, batch=BATCH, groups=GROUPS, watch=watch)


def always(first: float, second: float):
    """Parameters that press the buttons with certainty, or (0) as often as not."""
    params = jax.tree.map(jnp.zeros_like, MLP.init(jax.random.key(0)))
    params["params"]["Dense_1"]["bias"] = jnp.array([first, second])
    return params


def played(rollouts: int, params, snapshots, shares=SHARES, policy=MLP, seed=0):
    """Trajectories and notes of rollouts one after the other, joined in time."""
    matches = arena(policy).start(jax.random.key(seed), None, shares)
    out = []
    for number in range(rollouts):
        key = jax.random.fold_in(jax.random.key(seed + 1), number)
        kinds, seats = np.asarray(matches.kind), np.asarray(matches.seat)
        matches, *now = arena(policy).play(key, params, snapshots, matches, None, shares)
        out.append((*now, kinds, seats))
    return out


def stacked(*params):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)


NEVER = stacked(*[always(-50.0, -50.0)] * GROUPS)


def test_each_group_of_rows_meets_its_snapshot_and_scripts_play_by_rule():
    """The learner presses nothing; snapshots press nothing, the first, the second, both."""
    sides = [(-50.0, -50.0), (50.0, -50.0), (-50.0, 50.0), (50.0, 50.0)]
    pressed = {0: [0, 1, 1, 2], 1: [1] * 4, 2: [1] * 4}
    for kind in range(3):
        shares = np.eye(3, dtype=np.float32)[kind]
        ((trajectory, *_),) = played(
            1, always(-50.0, -50.0), stacked(*(always(*one) for one in sides)), shares
        )
        expected = -np.repeat(pressed[kind], BATCH // GROUPS)
        assert np.all(np.asarray(trajectory.reward)[..., 0] == expected)
        theirs = np.asarray(trajectory.obs)[1:, :, 0, 3:5][~np.asarray(trajectory.reset)[1:, :, 0]]
        assert kind == 0 or np.all(theirs == np.eye(2)[kind - 1])


def test_matches_go_on_from_rollout_to_rollout():
    out = played(6, always(0.0, 0.0), NEVER)
    frame = np.concatenate([notes[0] for _, notes, *_ in out])
    ended, reset = (
        np.concatenate([np.asarray(getattr(one[0], name))[..., 0] for one in out])
        for name in ("terminated", "reset")
    )
    assert np.all(reset[0]) and np.array_equal(reset[1:], ended[:-1])
    assert np.array_equal(frame[1:], np.where(reset[1:], 1, frame[:-1] + 1)) and np.all(frame[0] == 1)
    lengths = frame[ended]
    assert set(lengths) == set(range(5, 13))
    seat = np.concatenate([notes[1] for _, notes, *_ in out])
    assert np.array_equal(seat[1:][~reset[1:]], seat[:-1][~reset[1:]])  # a match keeps its seats


def test_rewards_are_the_learners_whichever_its_seat():
    """It alone presses both buttons."""
    for trajectory, notes, *_ in played(2, always(50.0, 50.0), NEVER, np.array([1, 0, 0], np.float32)):
        assert set(np.unique(notes[1])) == {0, 1} and np.all(np.asarray(trajectory.reward) == 2)
        assert np.all(np.asarray(trajectory.action)) and np.asarray(trajectory.log_prob).max() < 1e-6


def test_nothing_depends_on_the_other_rows():
    """The same matches whatever another group's snapshot is."""
    (one, *_), (other, *_) = (
        played(1, always(0.0, 0.3), stacked(*[always(0.1, 0.2)] * 3, always(last, last)))[0]
        for last in (-50.0, 50.0)
    )
    rows = slice(0, 3 * BATCH // GROUPS)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if a.ndim > 2:
            assert np.array_equal(a[:, rows], b[:, rows])
    assert not np.array_equal(one.reward, other.reward)


def kinds_drawn(shares, rollouts=40) -> np.ndarray:
    """How many matches began with each kind."""
    seen = np.zeros(3, int)
    matches = arena().start(jax.random.key(5), None, shares)
    seen += np.bincount(matches.kind, minlength=3)
    for number in range(rollouts):
        before = matches.episode
        matches, _, _ = arena().play(
            jax.random.fold_in(jax.random.key(6), number), always(0.0, 0.0), NEVER, matches, None, shares
        )
        began = np.asarray(matches.episode) > np.asarray(before)  # of more than one, the last
        seen += np.bincount(np.asarray(matches.kind)[began], minlength=3)
    return seen


def test_opponents_are_drawn_as_often_as_asked():
    """And a sampler that is off by five points does not pass."""
    seen, expected = kinds_drawn(SHARES, 100), np.array([0.8, 0.15, 0.05])
    assert seen.sum() > 2000
    assert chisquare(seen, expected * seen.sum()).pvalue > 1e-4
    off = kinds_drawn(np.array([0.75, 0.2, 0.05], np.float32), 100)
    assert chisquare(off, expected * off.sum()).pvalue < 1e-4


def test_the_latest_or_any_snapshot_is_met_as_often_as_asked():
    """Half the latest, else any of those held, which are the last five of seven."""
    stack = none_yet(always(0.0, 0.0), 5)
    for number in range(7):
        stack = add(stack, always(float(number), 0.0))

    def numbers(latest):
        def one(key):
            params, number = drawn(key, stack, 8, latest)
            return params["params"]["Dense_1"]["bias"][:, 0], number

        marks, number = jax.vmap(one)(jax.random.split(jax.random.key(7), 500))
        assert np.array_equal(marks, number)
        return np.bincount(np.ravel(number), minlength=7)

    expected = np.array([0, 0, 0.1, 0.1, 0.1, 0.1, 0.6])
    seen, off = numbers(0.5), numbers(0.45)
    assert not seen[:2].any()
    assert chisquare(seen[2:], expected[2:] * seen.sum()).pvalue > 1e-4
    assert chisquare(off[2:], expected[2:] * off.sum()).pvalue < 1e-4


def test_before_the_first_snapshot_the_scripts_share_alone():
    stack = none_yet(always(0.0, 0.0), 3)
    np.testing.assert_allclose(shares_of(jnp.asarray(SHARES), stack), [0, 0.55, 0.45], rtol=1e-6)
    np.testing.assert_allclose(shares_of(jnp.array([0.8, 0.2, 0.0]), stack), [0, 1, 0], rtol=1e-6)
    assert drawn(jax.random.key(0), stack, 4, 0.5)[1].tolist() == [-1] * 4
    np.testing.assert_allclose(shares_of(jnp.asarray(SHARES), add(stack, always(0.0, 0.0))), SHARES)


def test_a_policy_with_a_memory_is_learnt_from_what_it_played():
    """Ratios of the first minibatch are 1 within 1e-4, rollout after rollout, over ends of matches."""
    params = jax.tree.map(lambda leaf: leaf + 0.05, MEMORY.init(jax.random.key(1)))
    snapshots = stacked(*[params] * GROUPS)
    learner = ppo(
        MEMORY, optax.adam(1e-2), actions=GAME.actions, capacity=LENGTH * BATCH, minibatch=64, epochs=2
    )
    state = learner.init(jax.random.key(2))._replace(params=params)
    matches = arena(MEMORY).start(jax.random.key(3), None, SHARES)
    for number in range(4):
        key = jax.random.fold_in(jax.random.key(4), number)
        behaviour = learner.behaviour(state)
        matches, trajectory, _ = arena(MEMORY).play(key, behaviour, snapshots, matches, None, SHARES)
        state, metrics = learner.update(key, state, trajectory)
        assert metrics["ratio_deviation"] < 1e-4
        assert metrics["samples"] == LENGTH * BATCH and metrics["dropped"] == 0
        assert metrics["clip_fraction"] > 0  # it moved
    assert int(state.steps) == 4 * 2 * LENGTH * BATCH // 64


def test_learning_finds_the_better_buttons():
    learner = ppo(
        MEMORY, optax.adam(1e-2), actions=GAME.actions, capacity=LENGTH * BATCH, minibatch=64, gamma=0.5
    )
    state, matches = learner.init(jax.random.key(2)), arena(MEMORY).start(jax.random.key(3), None, SHARES)
    rewards = []
    for number in range(30):
        key, params = jax.random.fold_in(jax.random.key(4), number), learner.behaviour(state)
        matches, trajectory, _ = arena(MEMORY).play(
            key, params, stacked(*[params] * GROUPS), matches, None, SHARES
        )
        state, _ = learner.update(key, state, trajectory)
        rewards.append(float(np.mean(trajectory.action)))
    assert rewards[0] < 0.6 and rewards[-1] > 0.9


def test_sizes_that_cannot_be():
    with pytest.raises(JaxnashError, match="33 matches at once do not make 4 equal groups"):
        self_play(GAME, MLP, (), length=8, batch=33, groups=4)
    with pytest.raises(JaxnashError, match="the policy's segments have 8 frames, the rollout 9"):
        self_play(GAME, MEMORY, (), length=9, batch=32, groups=4)
