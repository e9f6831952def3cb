"""Behaviour cloning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnash.games.game import Categorical
from jaxnash.learners.offline import Samples, cloning, start
from jaxnash.policies.networks import mlp_policy

SIZE = 4
POLICY = mlp_policy(observation_size=SIZE, actions=SIZE, hidden=(32,))
ADAM = optax.adam(1e-2)


def recorded(rows: int, seed: int = 0) -> Samples:
    """A teacher that takes the legal action with the largest observation."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(rows, SIZE)).astype(np.float32)
    legal = rng.random((rows, SIZE)) < 0.6
    legal[np.arange(rows), rng.integers(0, SIZE, rows)] = True
    action = np.where(legal, obs, -np.inf).argmax(axis=1).astype(np.int32)
    return Samples(obs, legal, action, np.ones(rows, np.float32))


def learner(optimizer=ADAM, **settings):
    return cloning(POLICY, optimizer, actions=Categorical(SIZE), **({"minibatch": 64} | settings))


def test_it_learns_the_teachers_rule():
    ours = learner(epochs=5)
    state = ours.init(jax.random.key(0))
    for i in range(12):
        state, metrics = ours.update(jax.random.key(i), state, recorded(1024, i))
    fresh = recorded(4096, 99)
    head, _, _ = POLICY.apply(ours.policy(state), fresh.obs, fresh.legal, (), None)
    assert np.mean(np.argmax(head, axis=1) == fresh.action) > 0.97
    assert float(metrics["accuracy"]) > 0.97
    assert int(metrics["samples"]) == 1024


def test_the_loss_is_the_cross_entropy_and_its_step_the_gradient():
    data = recorded(100)._replace(weight=np.linspace(0.5, 2, 100).astype(np.float32))
    smooth = 0.1
    params = jax.tree.map(lambda leaf: 2 * leaf, POLICY.init(jax.random.key(1)))
    ours = learner(optax.sgd(0.1), minibatch=128, label_smoothing=smooth)
    after, metrics = ours.update(jax.random.key(0), start(params, optax.sgd(0.1)), data)

    def loss(params):
        head, _, _ = POLICY.apply(params, data.obs, data.legal, (), None)
        log_p = jax.nn.log_softmax(head)
        target = (1 - smooth) * np.eye(SIZE)[data.action] + smooth * data.legal / data.legal.sum(1)[:, None]
        cost = -jnp.sum(target * jnp.where(data.legal, log_p, 0), axis=1)
        return jnp.sum(data.weight * cost) / data.weight.sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    for new, old, change in zip(*map(jax.tree.leaves, (after.params, params, gradient)), strict=True):
        np.testing.assert_allclose(new, np.asarray(old) - 0.1 * np.asarray(change), atol=1e-6)


def test_padding_is_not_learned_from():
    data = recorded(200)
    data.weight[150:] = 0
    spoiled = data._replace(obs=data.obs.copy(), action=data.action.copy())
    spoiled.obs[150:] = 1e6
    spoiled.action[150:] = 3
    ours = learner()
    state = ours.init(jax.random.key(0))
    one, metrics = ours.update(jax.random.key(1), state, data)
    two, _ = ours.update(jax.random.key(1), state, spoiled)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert int(metrics["samples"]) == 150
    assert int(one.steps) == 3  # of 64, not the 4 of a full buffer


def test_weights_decide_between_teachers_who_disagree():
    rows = 64
    obs, legal = np.ones((rows, SIZE), np.float32), np.ones((rows, SIZE), bool)
    first = np.arange(rows) % 2 == 0
    data = Samples(
        obs, legal, np.where(first, 0, 1).astype(np.int32), np.where(first, 3, 1).astype(np.float32)
    )
    ours = learner(epochs=150)
    state, _ = ours.update(jax.random.key(0), ours.init(jax.random.key(0)), data)
    head, _, _ = POLICY.apply(state.params, obs[:1], legal[:1], (), None)
    np.testing.assert_allclose(jax.nn.softmax(head)[0], [0.75, 0.25, 0, 0], atol=0.02)


def test_losers_teach_the_value_and_not_the_action():
    data = recorded(512)
    target = np.tanh(data.obs.sum(axis=1)).astype(np.float32)
    lost = np.arange(512) % 2 == 1
    data = data._replace(
        weight=np.where(lost, 0, 1).astype(np.float32), target=target, value_weight=np.ones(512, np.float32)
    )
    other = data._replace(action=np.where(lost, data.legal.argmax(axis=1), data.action).astype(np.int32))
    ours = learner(epochs=30, value=0.5)
    state = ours.init(jax.random.key(0))
    one, metrics = ours.update(jax.random.key(1), state, data)
    two, _ = ours.update(jax.random.key(1), state, other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    _, value, _ = POLICY.apply(ours.policy(one), data.obs, data.legal, (), None)
    assert np.mean((value - target)[lost] ** 2) < 0.1 * target.var()
    assert int(metrics["samples"]) == 512 and float(metrics["value_loss"]) < 0.1
