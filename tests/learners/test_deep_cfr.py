"""What is remembered of traversals and how networks are fitted to it, against NumPy and closed forms."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.learners.deep_cfr import (
    Fit,
    Row,
    fitter,
    kept,
    learner,
    memory_bytes,
    ordered,
    policy_loss,
    regret_loss,
    remember,
    row_of,
    side_of,
    strategies,
)
from jaxnash.learners.reservoir import Reservoir, insert, reservoir
from jaxnash.policies.advantage import network, network_spec, softmax
from jaxnash.rollouts.traverse import Samples
from jaxnash.runs.deep_cfr import State, counts_of, steps_of
from jaxnash.runs.deep_cfr_knobs import Knobs
from jaxnash.types import Array

GAME = sampled(kuhn())
NET = network(network_spec(GAME, hidden=(8,), head="regret-matching"))
ROW = row_of(GAME)


def samples_of(count: int, seed: int = 0) -> Samples:
    """Random samples in the order (trajectory, node), four nodes each; illegal targets are rubbish."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(count, *ROW.obs.shape)).astype(np.float32)
    legal = rng.random((count, 2)) < 0.7
    legal[:, 0] |= ~legal.any(1)
    target = np.where(legal, rng.normal(size=(count, 2)), np.nan).astype(np.float32)
    number, weight = np.arange(count, dtype=np.int32), rng.integers(1, 9, count).astype(np.float32)
    return Samples(obs, legal, target, number // 4, number % 4, weight)


def at(samples: Samples, rows) -> Samples:
    return jax.tree.map(lambda leaf: leaf[rows], samples)


def same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("cuts", [[], [1], [7, 7, 30], [10, 20, 30, 36]])
def test_samples_come_in_one_order_however_they_are_cut(cuts: list[int]):
    samples = samples_of(37)
    mixed = np.random.default_rng(len(cuts)).permutation(37)
    whole, count = ordered([at(samples, rows) for rows in np.split(mixed, cuts)], least=8)
    assert count == 37 and len(whole.node) == 64  # 7, 7: a chunk with nothing in it
    same(at(whole, slice(37)), samples)


@pytest.mark.parametrize(("count", "size"), [(0, 16), (1, 16), (16, 16), (17, 32), (32, 32), (33, 64)])
def test_rows_are_filled_up_to_powers_of_two(count: int, size: int):
    whole, number = ordered([samples_of(count)], least=16)
    assert number == count
    assert {leaf.shape[0] for leaf in jax.tree.leaves(whole)} == {size}
    shapes = jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), whole)
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype), samples_of(3))


def test_a_row_weighs_its_iteration_times_its_samples_weight():
    """Iteration 5, then 9: of each only the counted rows, and nothing at illegal actions."""
    memory, one, two = reservoir(ROW, 64), samples_of(16, 1), samples_of(8, 2)
    memory = remember(jax.random.key(0), memory, one, count=11, iteration=5)
    memory = remember(jax.random.key(1), memory, two, count=8, iteration=9)
    assert int(memory.seen) == 19
    rows = jax.tree.map(lambda leaf: np.asarray(leaf[:19]), memory.rows)
    both = jax.tree.map(lambda a, b: np.concatenate([a[:11], b]), one, two)
    np.testing.assert_array_equal(rows.obs, both.obs)
    np.testing.assert_array_equal(rows.legal, both.legal)
    np.testing.assert_array_equal(rows.target, np.where(both.legal, both.target, 0))
    np.testing.assert_array_equal(rows.weight, both.weight * np.repeat([5, 9], [11, 8]))


def test_regret_loss_is_the_squared_error_of_legal_actions():
    """In closed form: (0.5 - 20/10)^2 + (3 - (-10)/10)^2 = 2.25 + 16."""
    row = Row(jnp.zeros(1), jnp.array([True, False, True]), jnp.array([20.0, 0, -10.0]), jnp.float32(7))
    loss = regret_loss(10.0)
    value, slope = jax.value_and_grad(loss)(jnp.array([0.5, 1e3, 3.0]), row)
    assert float(value) == pytest.approx(18.25)
    np.testing.assert_allclose(slope, [-3, 0, 8], rtol=1e-6)
    assert float(loss(jnp.array([2.0, -5.0, -1.0]), row)) == 0


def test_policy_loss_is_the_divergence_from_what_was_played():
    """KL(played || softmax(output)) over legal actions, to single precision."""
    legal = np.array([True, False, True, True])
    played, output = np.array([0.75, 0.0, 0.25, 0.0]), np.array([0.3, 50.0, -1.2, 0.8])
    row = Row(jnp.zeros(1), legal, jnp.float32(played), jnp.float32(1))
    q = np.where(legal, np.exp(output), 0)
    q /= q.sum()
    expected = 0.75 * np.log(0.75 / q[0]) + 0.25 * np.log(0.25 / q[2])
    assert float(policy_loss(jnp.float32(output), row)) == pytest.approx(expected, rel=1e-5)
    even = row._replace(target=jnp.float32([1 / 3, 0, 1 / 3, 1 / 3]))
    value, slope = jax.value_and_grad(policy_loss)(jnp.array([2.0, -9.0, 2.0, 2.0]), even)
    assert float(value) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(slope, np.zeros(4), atol=1e-6)


@cache
def at_one_place() -> tuple[Row, Reservoir]:
    """200 rows of one observation, in a memory with room left; weights 1 to 30."""
    rng = np.random.default_rng(3)
    obs = np.broadcast_to(rng.normal(size=ROW.obs.shape).astype(np.float32), (200, *ROW.obs.shape))
    legal = np.stack([np.ones(200, bool), rng.random(200) < 0.5], axis=1)
    weight = rng.integers(1, 31, 200).astype(np.float32)
    # heavy rows have large targets, so that forgetting the weights is far off
    target = np.where(legal, rng.normal(size=(200, 2)) + weight[:, None] / 10, 0).astype(np.float32)
    rows = Row(obs, legal, target, weight)
    return rows, insert(jax.random.key(0), reservoir(ROW, 300), rows, np.int32(200))


def weighted_mean(rows: Row) -> np.ndarray:
    each = rows.weight[:, None] * rows.legal
    return (each * rows.target).sum(0) / each.sum(0)


SCALE = 4.0
FIT = Fit(batch=256, scale=SCALE, learning_rate=2e-2, clip=10.0)


@cache
def anew() -> Any:
    return fitter(NET, FIT, regret_loss(SCALE))


@cache
def fitted() -> tuple[Any, Array]:
    return anew()(jax.random.key(5), NET.init(jax.random.key(6)), at_one_place()[1], np.int32(400))


def output_of(params) -> np.ndarray:
    return SCALE * np.asarray(NET.apply(params, at_one_place()[0].obs[:1])[0])


def test_a_fit_comes_to_the_weighted_mean():
    """Within 0.05 of it, with the plain mean 0.4 away; the loss is the weighted variance to a tenth."""
    rows, _ = at_one_place()
    expected = weighted_mean(rows)
    plain = (rows.legal * rows.target).sum(0) / rows.legal.sum(0)
    assert np.all(np.abs(plain - expected) > 0.4)
    params, loss = fitted()
    np.testing.assert_allclose(output_of(params), expected, atol=0.05)
    spread = (rows.legal * (rows.target - expected) ** 2).sum(1)
    variance = float(np.average(spread, weights=rows.weight))
    assert float(loss) * SCALE**2 == pytest.approx(variance, rel=0.1)


def test_a_policy_fit_comes_to_the_weighted_mean_strategy():
    """Within 0.02: a network of the average policy (deep-cfr)."""
    rng = np.random.default_rng(8)
    weight = rng.integers(1, 31, 200).astype(np.float32)
    first = (weight > 15).astype(np.float32)
    obs = np.broadcast_to(rng.normal(size=ROW.obs.shape).astype(np.float32), (200, *ROW.obs.shape))
    rows = Row(obs, np.ones((200, 2), bool), np.stack([first, 1 - first], axis=1), weight)
    memory = insert(jax.random.key(0), reservoir(ROW, 200), rows, np.int32(200))
    fit = Fit(batch=256, scale=1.0, learning_rate=2e-2)
    params, _ = learner(NET, fit, fit).policy(
        jax.random.key(1), NET.init(jax.random.key(2)), memory, np.int32(300)
    )
    found = softmax(NET.apply(params, rows.obs[:1]), rows.legal[:1])[0]
    expected = np.average(first, weights=weight)
    assert abs(expected - first.mean()) > 0.2
    assert float(found[0]) == pytest.approx(expected, abs=0.02)


def test_the_number_of_steps_is_data():
    _, memory = at_one_place()
    fitted()
    params, before = NET.init(jax.random.key(0)), anew()._cache_size()
    ends = [anew()(jax.random.key(1), params, memory, np.int32(steps))[0] for steps in (1, 2, 30)]
    assert anew()._cache_size() == before == 1
    heads = {np.asarray(end["params"]["head"]["kernel"]).tobytes() for end in ends}
    assert len(heads) == 3
    same(ends[1], anew()(jax.random.key(1), params, memory, np.int32(2))[0])


def test_a_fit_begins_anew_or_goes_on():
    """With no steps, params are the given ones or fresh ones; with few, near the given ones."""
    rows, memory = at_one_place()
    key, good = jax.random.key(5), fitted()[0]
    again = fitter(NET, FIT._replace(learning_rate=1e-3, restart=False), regret_loss(SCALE))
    same(again(key, good, memory, np.int32(0))[0], good)
    assert not np.any(output_of(anew()(key, good, memory, np.int32(0))[0]))
    error = lambda params: np.abs(output_of(params) - weighted_mean(rows)).max()  # noqa: E731
    assert error(again(key, good, memory, np.int32(5))[0]) < 0.2
    assert error(anew()(key, good, memory, np.int32(5))[0]) > 0.5


@pytest.mark.parametrize(("iterations", "policies"), [(7, 0), (0, 40), (7, 40)])
def test_memory_bytes_is_what_is_held(iterations: int, policies: int):
    sizes = {"capacity": 50, "iterations": iterations, "policy_capacity": policies}
    sides = [side_of(jax.random.key(p), NET, ROW, **sizes) for p in (0, 1)]
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(sides))
    counters = sum(4 for side in sides for one in (side.memory, side.policies) if one)  # `seen`
    assert memory_bytes(NET, ROW, **sizes) == held - counters
    assert (sides[0].history == ()) == (iterations == 0)
    assert (sides[0].policies == ()) == (policies == 0)


def test_the_history_holds_each_iterations_networks():
    side = side_of(jax.random.key(0), NET, ROW, capacity=1, iterations=3)
    one, two = NET.init(jax.random.key(1)), NET.init(jax.random.key(2))
    two["params"]["head"]["bias"] += jnp.array([1.0, -1.0])
    history = kept(kept(side.history, one, np.int32(1)), two, np.int32(3))
    for number, expected in enumerate([one, jax.tree.map(jnp.zeros_like, one), two]):
        same(jax.tree.map(lambda leaf: leaf[number], history), expected)  # noqa: B023
    obs, legal = samples_of(5).obs, np.ones((5, 2), bool)
    play = lambda params, obs, legal: softmax(obs[:, :2] + params["params"]["head"]["bias"], legal)  # noqa: E731
    for held, params in zip(strategies(play, history, obs, legal), [one, one, two], strict=True):
        np.testing.assert_allclose(held, play(params, obs, legal), rtol=1e-6)


def test_steps_grow_with_the_iterations():
    knobs = Knobs(iterations=40, steps=1000, least_steps=100)
    assert [steps_of(knobs, t) for t in (1, 4, 5, 20, 40)] == [100, 100, 125, 500, 1000]


def test_counts_go_beyond_32_bits():
    counts = np.array([0, 7, 2**32, 3 * 2**40 + 5])
    words = np.stack([counts % 2**32, counts // 2**32], axis=1).astype(np.uint32)
    nobody = side_of(jax.random.key(0), NET, ROW, capacity=1, iterations=0)
    state = State((nobody, nobody), np.int32(0), words)
    np.testing.assert_array_equal(counts_of(state), counts)
