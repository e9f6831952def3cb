"""GAE against a slow plain-Python twin and closed forms."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxnash.learners.returns import gae
from jaxnash.types import Trajectory


def rows(**leaves) -> Trajectory:
    """A trajectory of f32/bool leaves [T, B, P] (bootstrap [B, P]); what is not given is plain."""
    shape = np.shape(leaves["reward"])
    plain = {
        "active": np.ones(shape, bool),
        "valid": np.ones(shape, bool),
        "value": np.zeros(shape, np.float32),
        "terminated": np.zeros(shape, bool),
        "truncated": np.zeros(shape, bool),
        "bootstrap_value": np.zeros(shape[1:], np.float32),
    }
    given = {
        name: np.asarray(leaf, plain.get(name, np.zeros(0, np.float32)).dtype)
        for name, leaf in leaves.items()
    }
    unused = dict.fromkeys(Trajectory._fields, ())
    return Trajectory(**(unused | plain | given))


def twin(trajectory: Trajectory, gamma: float, gae_lambda: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut each seat's row into episodes, each into decisions, and use the definition."""
    length, batch, seats = trajectory.reward.shape
    advantage, target = np.zeros((2, length, batch, seats))
    for b in range(batch):
        for p in range(seats):
            episodes, here = [], []
            for t in range(length):
                if not trajectory.valid[t, b, p]:
                    continue
                here.append(t)
                if trajectory.terminated[t, b, p] or trajectory.truncated[t, b, p]:
                    episodes.append((here, "terminated" if trajectory.terminated[t, b, p] else "truncated"))
                    here = []
            episodes.append((here, "unfinished"))
            for steps, how in episodes:
                decisions = [t for t in steps if trajectory.active[t, b, p]]
                if not decisions:
                    continue
                values = [float(trajectory.value[t, b, p]) for t in decisions]
                after = {"terminated": 0.0, "truncated": values[-1]}
                values.append(after.get(how, float(trajectory.bootstrap_value[b, p])))
                ends = [*decisions[1:], steps[-1] + 1]
                paid = [
                    sum(float(trajectory.reward[t, b, p]) for t in steps if begin <= t < end)
                    for begin, end in zip(decisions, ends)
                ]
                deltas = [paid[k] + gamma * values[k + 1] - values[k] for k in range(len(decisions))]
                for k, t in enumerate(decisions):
                    later = enumerate(deltas[k:])
                    advantage[t, b, p] = sum((gamma * gae_lambda) ** n * delta for n, delta in later)
                    target[t, b, p] = advantage[t, b, p] + values[k]
    return advantage, target


compiled = jax.jit(gae, static_argnames=("gamma", "gae_lambda"))


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_twins(seed):
    rng = np.random.default_rng(seed)
    shape = (17, 3, 2)
    over = rng.random(shape[:2]) < 0.2
    cut = (rng.random(shape[:2]) < 0.3) & over
    padded = np.cumsum(rng.random(shape[:2]) < 0.04, axis=0) > 0  # from some step on, in some rows
    trajectory = rows(
        reward=rng.normal(size=shape),
        value=rng.normal(size=shape),
        active=rng.random(shape) < 0.6,
        terminated=np.repeat((over & ~cut)[..., None], 2, axis=2),
        truncated=np.repeat(cut[..., None], 2, axis=2),
        valid=np.repeat(~padded[..., None], 2, axis=2),
        bootstrap_value=rng.normal(size=shape[1:]),
    )
    for ours, theirs in zip(
        compiled(trajectory, gamma=0.9, gae_lambda=0.8), twin(trajectory, 0.9, 0.8), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def one_row(values) -> np.ndarray:
    return np.asarray(values)[:, None, None]


def test_lambda_one_gives_discounted_returns():
    trajectory = rows(reward=one_row([1.0, 2, 4]), value=one_row([7.0, 5, 3]), terminated=one_row([0, 0, 1]))
    _, target = gae(trajectory, gamma=0.5, gae_lambda=1)
    np.testing.assert_allclose(target[:, 0, 0], [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4])


def test_lambda_zero_gives_one_step_errors():
    trajectory = rows(reward=one_row([1.0, 2, 4]), value=one_row([7.0, 5, 3]), bootstrap_value=[[10.0]])
    advantage, _ = gae(trajectory, gamma=0.5, gae_lambda=0)
    np.testing.assert_allclose(advantage[:, 0, 0], [1 + 2.5 - 7, 2 + 1.5 - 5, 4 + 5 - 3])


def test_a_waiting_seat_earns_what_is_paid_while_it_waits():
    trajectory = rows(
        reward=one_row([1.0, 2, 4, 8]), active=one_row([1, 0, 0, 1]), terminated=one_row([0, 0, 0, 1])
    )
    advantage, target = gae(trajectory, gamma=0.5, gae_lambda=1)
    np.testing.assert_allclose(target[:, 0, 0], [1 + 2 + 4 + 0.5 * 8, 0, 0, 8])
    np.testing.assert_allclose(advantage, target)


def test_nothing_leaks_between_episodes():
    """What comes before a seat's first decision of an episode is not credited to the episode before."""
    trajectory = rows(
        reward=one_row([1.0, 100, 4]),
        active=one_row([1, 0, 1]),
        terminated=one_row([1, 0, 1]),
        value=one_row([0, 9, 5]),
    )
    _, target = gae(trajectory, gamma=1, gae_lambda=1)
    np.testing.assert_allclose(target[:, 0, 0], [1, 0, 4])
