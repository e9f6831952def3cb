"""The last layer by least squares, against NumPy's on the same rows, and what a fit with it comes to."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.learners.deep_cfr import Fit, Row, fitter, regret_loss
from jaxnash.learners.head import BLOCK, factor, mean_of, moved, solved, squares
from jaxnash.learners.reservoir import Reservoir, insert, reservoir
from jaxnash.policies.advantage import network, network_spec

NET = network(network_spec(sampled(kuhn()), hidden=(16, 8), head="regret-matching"))
WIDTH, ACTIONS = 8, 2


def remembered(count: int, *, capacity: int | None = None, seed: int = 0) -> Reservoir:
    """Rows of random numbers; some actions are illegal, and their targets are rubbish."""
    rng = np.random.default_rng(seed)
    size = jax.eval_shape(NET.init, jax.random.key(0))["params"]["Dense_0"]["kernel"].shape[0]
    obs = rng.normal(size=(count, size)).astype(np.float32)
    legal = rng.random((count, ACTIONS)) < 0.7
    target = np.where(legal, rng.normal(size=(count, ACTIONS)) + obs[:, :2], 1e4).astype(np.float32)
    rows = Row(obs, legal, target, rng.integers(1, 9, count).astype(np.float32))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows)
    return insert(jax.random.key(1), reservoir(shapes, capacity or count), rows, np.int32(count))


def params_of(seed: int = 0):
    """A network whose last layer is not 0."""
    rng, params = np.random.default_rng(seed), NET.init(jax.random.key(seed))
    return moved(params, jnp.float32(rng.normal(size=(ACTIONS, WIDTH + 1))))


def solve(memory: Reservoir, params, *, rows: int = 10**9, gram_rows: int = 10**9, ridge: float = 0.0):
    weigh = lambda some: (some.weight, some.target)  # noqa: E731
    options = {"rows": rows, "gram_rows": gram_rows, "ridge": ridge}
    run = partial(solved, jax.random.key(2), NET, weigh=weigh, **options)
    return jax.jit(run)(params, memory)


def by_numpy(memory: Reservoir, params) -> np.ndarray:
    """f64[A, H + 1], each action's weighed least squares over the rows where it is legal."""
    rows = jax.tree.map(lambda leaf: np.asarray(leaf[: int(memory.seen)], np.float64), memory.rows)
    phi = np.asarray(NET.features(params, jnp.float32(rows.obs)), np.float64)
    phi = np.concatenate([phi, np.ones((len(phi), 1))], axis=1)
    found = []
    for action in range(ACTIONS):
        legal = rows.legal[:, action] > 0
        root = np.sqrt(rows.weight[legal])
        found.append(
            np.linalg.lstsq(root[:, None] * phi[legal], root * rows.target[legal, action], rcond=None)[0]
        )
    return np.stack(found)


def head_of(params) -> np.ndarray:
    head = params["params"]["head"]
    return np.concatenate([head["kernel"], head["bias"][None]]).T


@pytest.mark.parametrize("count", [300, BLOCK, 2 * BLOCK + 5])
def test_the_head_is_numpys_least_squares(count):
    """To 1e-3: single precision, and matrices with condition numbers up to a thousand."""
    memory, params = remembered(count, capacity=3 * BLOCK), params_of()
    after = solve(memory, params)
    np.testing.assert_allclose(head_of(after), by_numpy(memory, params), rtol=1e-3, atol=1e-3)
    below, same = ({k: v for k, v in p["params"].items() if k != "head"} for p in (after, params))
    jax.tree.map(np.testing.assert_array_equal, below, same)


def test_a_rough_matrix_is_enough():
    """With a tenth of the rows in the matrix a head that was far off comes much nearer, and nearer still when
    that is done again: the right-hand side is of all rows."""
    memory = remembered(20_000)
    params, far = params_of(), []
    exact, phi = by_numpy(memory, params), NET.features(params, memory.rows.obs)
    for _ in range(3):
        wrong = head_of(params) - exact
        far.append(float(np.sqrt(np.mean((phi @ wrong[:, :-1].T + wrong[:, -1]) ** 2))))
        params = solve(memory, params, gram_rows=2_000)
    assert far[1] < 0.5 * far[0] and far[2] < 0.5 * far[1]


def test_the_ridge_holds_back_what_the_memory_does_not_determine():
    """Three rows for nine numbers: a finite head near the old one, which fits them."""
    memory, params = remembered(3, seed=4), params_of()
    after = solve(memory, params, ridge=1e-4)
    rows = jax.tree.map(lambda leaf: leaf[:3], memory.rows)
    missed = np.where(rows.legal, NET.apply(after, rows.obs) - rows.target, 0)
    assert np.max(np.abs(missed)) < 0.1
    assert np.linalg.norm(head_of(after) - head_of(params)) < 10


def test_params_stay_where_nothing_can_be_solved():
    memory, params = remembered(50), params_of()
    endless = memory._replace(rows=memory.rows._replace(weight=memory.rows.weight * jnp.inf))
    jax.tree.map(np.testing.assert_array_equal, solve(endless, params), params)
    nobody = memory._replace(rows=memory.rows._replace(legal=jnp.zeros_like(memory.rows.legal)))
    jax.tree.map(np.testing.assert_array_equal, solve(nobody, params, ridge=1e-5), params)


@pytest.mark.parametrize(("filled", "most"), [(10, 100), (10_000, 10_000), (10_000, 3_000), (9_999, 1)])
def test_means_are_over_rows_spread_evenly(filled, most):
    """Each counted row is in a stretch of its own, and no more than `most` and one count."""
    marks = jnp.zeros(filled, jnp.int32)
    add = lambda place, counted: marks.at[place].add(counted)  # noqa: E731
    count = lambda place, counted: (add(place, counted), jnp.sum(counted, dtype=jnp.int32))  # noqa: E731
    hits, one = jax.jit(lambda key: mean_of(key, jnp.int32(filled), most, count))(jax.random.key(0))
    assert float(one) == 1
    stride = -(-filled // most)
    taken = np.flatnonzero(np.asarray(hits))
    assert len(taken) == -(-filled // stride) <= most + 1
    np.testing.assert_array_equal(taken // stride, np.arange(len(taken)))


@pytest.mark.parametrize("count", [7, BLOCK, 3 * BLOCK + 1])
def test_squares_are_sums_of_the_rows_that_did_an_action(count):
    """Some rows did none, and one action nobody did."""
    rng = np.random.default_rng(count)
    features = rng.normal(size=(count, 5)).astype(np.float32)
    did = rng.integers(0, 4, count)[:, None] == np.array([0, 9, 2, 3])
    expected = np.einsum("bh,ba,bk->ahk", *(np.float64(leaf) for leaf in (features, did, features)))
    found = np.tril(jax.jit(squares)(features, did))
    np.testing.assert_allclose(found, np.tril(expected), rtol=0, atol=1e-5 * count)
    assert not found[1].any()


@pytest.mark.parametrize("size", [257, 600, 1025])
def test_the_lower_triangles_of_squares_are_enough_to_solve(size):
    """More columns than a panel has: what is above the diagonal is missing, and not read."""
    rng = np.random.default_rng(size)
    features, right = rng.normal(size=(3 * size, size)), rng.normal(size=(1, size))
    did = np.ones((3 * size, 1), bool)
    found = jax.jit(lambda features, did, right: factor(squares(features, did), 1e-3)(right))(
        features.astype(np.float32), did, right.astype(np.float32)
    )
    gram = features.T @ features
    expected = np.linalg.solve(gram + 1e-3 * np.trace(gram) / size * np.eye(size), right[0])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_fit_with_a_solved_head_has_less_error():
    memory = remembered(5_000)
    params, steps = NET.init(jax.random.key(0)), np.int32(50)

    def error(fit: Fit) -> float:
        fitted = fitter(NET, fit, regret_loss(1.0))(jax.random.key(0), params, memory, steps)[0]
        each = jax.vmap(regret_loss(1.0))(NET.apply(fitted, memory.rows.obs), memory.rows)
        return float(jnp.mean(each * memory.rows.weight))

    alone = Fit(batch=64, scale=1.0)
    assert error(alone._replace(head_rows=10**6, gram_rows=10**6)) < error(alone)
