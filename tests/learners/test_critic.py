"""A critic against the exact values of Kuhn's histories, and the ring it learns from."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.learners.critic import (
    CriticFit,
    Ring,
    _cosine,
    _runs,
    critic_learner,
    critic_network,
    extend,
    ring,
    ring_bytes,
    transition_of,
)
from jaxnash.learners.deep_cfr import ordered
from jaxnash.learners.head import BLOCK
from jaxnash.rollouts.walk import Steps, walker, walks
from tests.rollouts.test_traverse import case
from tests.rollouts.test_walk import truth

KUHN = case("kuhn")


@cache
def steps_of(count: int, epsilon: float = 1.0, seed: int = 0) -> Steps:
    """Paths of both traversers, who draw evenly."""
    walk = walker(KUHN.game, KUHN.strategy, lanes=1024, length=3, epsilon=epsilon)
    chunks = []
    for player in (0, 1):
        sides = KUHN.params if player == 0 else KUHN.params[::-1]
        chunks += walks(walk, jax.random.key(seed), sides, (), player, np.arange(count) + count * player)
    return ordered(chunks, least=1)[0]


def filled_ring(steps: Steps, capacity: int) -> Ring:
    count = int(np.max(np.flatnonzero(steps.last))) + 1
    return extend(ring(transition_of(KUHN.game), capacity), steps, count=count)


def test_values_are_those_of_the_strategies_of_now():
    """At every history and action that was seen the error is below 0.05 chips (payoffs are -2 to 2, and
    Kuhn has no chance after the deal). The second fit, of other players, begins from the first
    one's critic: nothing lags behind, though there are few steps.
    """
    learner = critic_learner(
        critic_network(KUHN.game, (32, 32)), KUHN.strategy, CriticFit(scale=2.0, sweeps=3, rows=10**6)
    )
    steps, observed = steps_of(3_000), truth().observed
    memory, state = filled_ring(steps, 20_000), learner.init(jax.random.key(1))
    count = int(memory.filled)
    history = [int((observed == obs).all((1, 2)).argmax()) for obs in steps.obs[:count]]
    before, _ = learner.update(jax.random.key(2), state, memory, KUHN.params[::-1])
    after, loss = learner.update(jax.random.key(3), before, memory, KUHN.params)
    assert np.isfinite(loss)
    seen = np.zeros(truth().q.shape, bool)
    seen[history, steps.action[:count]] = True
    assert seen.sum() >= 30
    for params, right in ((before.params, False), (after.params, True)):
        error = np.abs(learner.q(params, jnp.asarray(observed)) - truth().q)[seen]
        assert (np.max(error) < 0.05) == right


def error_where_seen(q: jax.Array, memory: Ring) -> np.ndarray:
    """Of each filled row's history and action."""
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[: int(memory.filled)], memory.rows)
    history = [int((truth().observed == obs).all((1, 2)).argmax()) for obs in rows.obs]
    return np.abs(q - truth().q)[history, rows.action]


def test_random_features_suffice_without_training():
    """As above, with cosines that are drawn and not trained, others with each update."""
    network = critic_network(KUHN.game, (16, 64), cosines=True)
    learner = critic_learner(network, KUHN.strategy, CriticFit(steps=0, scale=2.0, sweeps=3, rows=10**6))
    memory, state = filled_ring(steps_of(3_000), 20_000), learner.init(jax.random.key(1))
    before, _ = learner.update(jax.random.key(2), state, memory, KUHN.params[::-1])
    after, _ = learner.update(jax.random.key(3), before, memory, KUHN.params)
    for params, right in ((before.params, False), (after.params, True)):
        error = error_where_seen(learner.q(params, jnp.asarray(truth().observed)), memory)
        assert (np.max(error) < 0.05) == right
    layers = [jax.tree.leaves({**one.params["params"], "head": ()}) for one in (before, after)]
    assert not any(np.array_equal(*pair) for pair in zip(*layers, strict=True) if np.any(pair[0]))


def test_the_cosine():
    x = np.linspace(-200, 200, 100_001, dtype=np.float32)
    np.testing.assert_allclose(
        jax.jit(_cosine)(x), np.cos(np.float64(x)), rtol=0, atol=2e-5
    )  # 200 of float32


def test_a_ring_that_went_round_is_read_in_order():
    """The latest row lies in the middle, the oldest path has lost its beginning and what follows the last
    slot is in the first: the same values."""
    fit = CriticFit(scale=2.0, sweeps=3, rows=10**6)
    learner = critic_learner(critic_network(KUHN.game, (32, 32)), KUHN.strategy, fit)
    first, second = steps_of(2_000, seed=1), steps_of(2_000, seed=2)
    memory = filled_ring(first, 12_001)
    memory = extend(memory, second, count=int(np.max(np.flatnonzero(second.last))) + 1)
    assert 0 < int(memory.place) < 12_001 == int(memory.filled) < len(first.last) + int(memory.place)
    state, _ = learner.update(jax.random.key(3), learner.init(jax.random.key(1)), memory, KUHN.params)
    assert np.max(error_where_seen(learner.q(state.params, jnp.asarray(truth().observed)), memory)) < 0.05


@pytest.mark.parametrize(("filled", "number"), [(5, 1), (9_000, 4), (50_000, 4)])
def test_runs_are_spread_over_the_ring(filled, number):
    """All rows where there are not more than are asked for; else as many, in stretches of their own."""
    places = np.asarray(_runs(jax.random.key(0), jnp.int32(filled), number))
    np.testing.assert_array_equal(np.diff(places, axis=1), 1)
    met = np.unique(places[places < filled])
    assert len(met) == min(filled, number * BLOCK)
    if filled > number * BLOCK:
        np.testing.assert_array_equal(places[:, 0] // (filled // number), np.arange(number))
        np.testing.assert_array_equal(places[:, -1] // (filled // number), np.arange(number))


def test_many_updates_stay_near_the_truth():
    """Features that repeat themselves leave directions undetermined: rounding must not grow there."""
    learner = critic_learner(
        critic_network(KUHN.game, (64, 64)),
        KUHN.strategy,
        CriticFit(scale=2.0, sweeps=8, steps=2, rows=2_000),
    )
    memory, state = filled_ring(steps_of(1_000), 6_000), learner.init(jax.random.key(1))
    for number in range(150):
        state, loss = learner.update(jax.random.key(number), state, memory, KUHN.params)
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(state.params))
    assert largest < 30 and float(loss) < 4


def test_an_empty_or_full_ring_keeps_the_latest_whole_paths():
    steps = steps_of(40)
    ends = np.flatnonzero(steps.last) + 1
    memory, start = ring(transition_of(KUHN.game), 50), 0
    kept: list[int] = []
    for end in ends[7::8]:
        part = jax.tree.map(lambda leaf: leaf[start:end], steps)  # noqa: B023
        memory, start = extend(memory, part, count=end - start), end
        kept = list(range(max(0, end - 50), end))
    slots = np.arange(kept[0], kept[-1] + 1) % 50
    np.testing.assert_array_equal(np.asarray(memory.rows.action)[slots], steps.action[kept])
    np.testing.assert_array_equal(np.asarray(memory.rows.payoff)[slots], steps.payoff[kept])
    assert int(memory.filled) == 50 and int(memory.place) == (kept[-1] + 1) % 50


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="ring of 5"):
        extend(ring(transition_of(KUHN.game), 5), steps_of(40), count=6)
    row = transition_of(KUHN.game)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(ring(row, 7).rows))
    assert ring_bytes(row, 7) == held
