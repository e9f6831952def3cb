"""PPO: what it learns from, how far the loss is the published one, and that it learns."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnash.games.game import CHANCE, TERMINAL, Categorical, sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.learners.ppo import ppo, start
from jaxnash.learners.returns import gae
from jaxnash.policies.networks import mlp_policy
from jaxnash.rollouts.scan import scan_rollout
from jaxnash.types import Neural, Scripted

POLICY = mlp_policy(observation_size=11, actions=2, hidden=(16,))
EVENLY = Scripted("random", lambda step, key: jax.random.bernoulli(key).astype(jnp.int32))
LENGTH, BATCH = 8, 64
MINIBATCH = 64
RATE = 0.1


def learner(**changes):
    settings = dict(actions=Categorical(2), capacity=LENGTH * BATCH, minibatch=MINIBATCH, epochs=2)
    return ppo(POLICY, optax.sgd(RATE), **(settings | changes))


@pytest.fixture(scope="module")
def data():
    params = jax.tree.map(lambda leaf: 2 * leaf, POLICY.init(jax.random.key(0)))
    rollout = scan_rollout(sampled(kuhn()), length=LENGTH, batch=BATCH)
    return params, rollout(jax.random.key(1), (Neural("me", POLICY, params), EVENLY))


@pytest.fixture(scope="module")
def updated(data):
    params, trajectory = data
    ours = learner()
    state = start(params, optax.sgd(RATE))
    return ours, state, *ours.update(jax.random.key(0), state, trajectory)


def mine(trajectory) -> np.ndarray:
    return np.asarray(trajectory.active & trajectory.valid & (trajectory.member == 0))


def assert_same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_metrics_of_an_update_on_fresh_data(data, updated):
    _, trajectory = data
    metrics = {name: float(x) for name, x in updated[3].items()}
    assert all(np.isfinite(x) for x in metrics.values())
    assert metrics["ratio_deviation"] < 1e-4
    assert metrics["samples"] == mine(trajectory).sum()
    assert metrics["dropped"] == 0
    assert 0 < metrics["entropy"] <= np.log(2)
    assert metrics["explained_variance"] < 1


def test_it_is_deterministic_and_pure(data, updated):
    ours, state, after, metrics = updated
    again, more = ours.update(jax.random.key(0), state, data[1])
    assert_same((after, metrics), (again, more))
    other, _ = ours.update(jax.random.key(1), state, data[1])
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(other.params)))
    assert_same(state, start(data[0], optax.sgd(RATE)))


def test_the_work_follows_the_samples(data, updated):
    """A buffer that is far from full takes no more gradient steps than its samples need."""
    _, state, after, metrics = updated
    samples = int(metrics["samples"])
    assert samples < LENGTH * BATCH  # of the capacity of all seats' steps
    assert int(after.steps - state.steps) == 2 * -(-samples // MINIBATCH)


def test_a_capacity_too_small_is_reported(data):
    params, trajectory = data
    found = mine(trajectory).sum()
    state = start(params, optax.sgd(RATE))
    after, metrics = learner(capacity=100).update(jax.random.key(0), state, trajectory)
    assert (int(metrics["samples"]), int(metrics["dropped"])) == (100, found - 100)
    assert int(after.steps) == 2 * 2


def test_one_step_is_the_gradient_of_the_published_loss(data):
    """Stale data, so that ratios are clipped; a minibatch with room to spare, so that rows are empty."""
    params, trajectory = data
    shift = 0.3 * np.random.default_rng(5).normal(size=trajectory.log_prob.shape)
    trajectory = trajectory._replace(log_prob=trajectory.log_prob + shift.astype(np.float32))
    settings = dict(clip=0.2, entropy=0.03, value=0.7, gamma=0.9, gae_lambda=0.8)
    ours = learner(minibatch=1024, epochs=1, **settings)
    after, metrics = ours.update(jax.random.key(0), start(params, optax.sgd(RATE)), trajectory)

    keep = mine(trajectory)
    advantages = jax.jit(partial(gae, gamma=0.9, gae_lambda=0.8))
    advantage, target = (np.asarray(x)[keep] for x in advantages(trajectory))
    advantage = (advantage - advantage.mean()) / advantage.std()
    obs, legal, action, old = (
        np.asarray(x)[keep]
        for x in (trajectory.obs, trajectory.legal, trajectory.action, trajectory.log_prob)
    )

    def loss(params):
        head, value, _ = POLICY.apply(params, obs, legal, (), None)
        log_p = jax.nn.log_softmax(head)
        ratio = jnp.exp(log_p[np.arange(len(action)), action] - old)
        gain = jnp.where(
            advantage > 0,
            jnp.minimum(ratio, 1.2) * advantage,
            jnp.maximum(ratio, 0.8) * advantage,
        )
        entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
        return jnp.mean(-gain + 0.7 * 0.5 * (value - target) ** 2 - 0.03 * entropy)

    gradient = jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(params))
    expected = jax.tree.map(lambda p, g: np.asarray(p) - RATE * g, params, gradient)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert 0.2 < float(metrics["clip_fraction"]) < 0.8
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.global_norm(gradient)), rel=1e-4)


def test_it_reads_only_its_own_decisions(data, updated):
    _, trajectory = data
    ours, state, after, metrics = updated
    others = ~mine(trajectory)

    def spoil(leaf, value):
        return jnp.where(others.reshape(others.shape + (1,) * (leaf.ndim - 3)), value, leaf)

    spoiled = trajectory._replace(
        obs=spoil(trajectory.obs, 1e6),
        action=spoil(trajectory.action, 1),
        log_prob=spoil(trajectory.log_prob, -9),
    )
    assert_same(ours.update(jax.random.key(0), state, spoiled), (after, metrics))
    nobody = trajectory._replace(member=trajectory.member + 5)
    unmoved, nothing = ours.update(jax.random.key(0), state, nobody)
    assert_same(unmoved, state)
    assert int(nothing["samples"]) == 0 and all(np.isfinite(float(x)) for x in nothing.values())


def best_response_value(seat: int) -> float:
    """Against an opponent that bets or calls with probability 1/2, by trying every pure strategy."""
    game = kuhn()

    def values(state, reach: float, chosen: dict[str, int]):
        player = int(game.player(state))
        if player == TERMINAL:
            return reach * float(game.returns(state)[seat])
        follow = [np.asarray(game.next(state, a)) for a in range(3 if player == CHANCE else 2)]
        if player == CHANCE:
            p = np.asarray(game.chance(state))
            return sum(values(s, reach * p[a], chosen) for a, s in enumerate(follow) if p[a] > 0)
        if player == seat:
            return values(follow[chosen[game.infoset(state, seat)]], reach, chosen)
        return sum(values(s, reach / 2, chosen) for s in follow)

    keys = [f"{seat}:{card}:{betting}" for card in "JQK" for betting in (("", "pb"), ("p", "b"))[seat]]
    # what is best with one card does not depend on what is done with another: try all four ways per card
    chosen = dict.fromkeys(keys, 0)
    best = -np.inf
    for card in "JQK":
        two = [key for key in keys if f":{card}:" in key]
        tried = {
            pair: values(game.root, 1.0, chosen | dict(zip(two, pair)))
            for pair in [(0, 0), (0, 1), (1, 0), (1, 1)]
        }
        pair = max(tried, key=tried.get)
        chosen |= dict(zip(two, pair))
        best = tried[pair]
    return best


@pytest.fixture(scope="module")
def student():
    """A learner and a rollout that both seats share, so that they compile once."""
    policy = mlp_policy(observation_size=11, actions=2, hidden=(32,))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))
    ours = ppo(policy, optimizer, actions=Categorical(2), capacity=4096, entropy=0.0)
    return policy, ours, scan_rollout(sampled(kuhn()), length=16, batch=256)


@pytest.mark.parametrize("seat", [0, 1])
def test_it_learns_a_best_response_in_kuhn(seat, student):
    policy, ours, rollout = student
    state = ours.init(jax.random.key(0))
    ids = (0, 1) if seat == 0 else (1, 0)

    def play(key):
        me = Neural("me", policy, ours.behaviour(state))
        return rollout(key, (me, EVENLY) if seat == 0 else (EVENLY, me), ids=ids)

    for i in range(40):
        state, _ = ours.update(jax.random.key(100 + i), state, play(jax.random.key(i)))
    tests = [play(jax.random.key(1000 + i)) for i in range(8)]
    won = sum(float(jnp.sum(t.reward[..., seat])) for t in tests) / sum(
        int(t.terminated[..., 0].sum()) for t in tests
    )
    # about 12,000 games of a standard deviation below 1.6
    assert won == pytest.approx(best_response_value(seat), abs=0.06)
