"""Trained best responses, where the exact one is known: Kuhn poker, in chips."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import sampled
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.games.kuhn import kuhn
from jaxnash.learners.response import Settings, response_policy, trained_response
from jaxnash.rollouts.matches import always_call, random_legal
from jaxnash.types import Neural
from tests.reference import kuhn_exact as exact

GAME = sampled(kuhn())
UNIFORM = 11 / 24  # what best responses to it win, as OpenSpiel has it
CLOSE = 0.01  # the stated distance; an action that is wrong there costs 1/24 or more, so it leaves none
SMALL = Settings(
    updates=30,
    batch=256,
    length=8,
    learning_rate=0.01,
    minibatch=256,
    validate_every=10,
    validation_pairs=1000,
    test_pairs=4000,
)


@pytest.fixture(scope="module")
def root():
    return exact.expand(kuhn())


def strategy(root, member):
    """The member's as the reference has it."""
    nodes = exact.decisions(root)
    obs, every = np.array([node.observation for node in nodes.values()]), np.ones((len(nodes), 2), bool)
    head = np.asarray(member.policy.apply(member.params, obs, every, (), every[:, 0])[0], np.float64)
    likely = head >= head.max(axis=1, keepdims=True)
    rows = likely if member.greedy else np.exp(head - head.max(axis=1, keepdims=True))
    return dict(zip(nodes, map(tuple, rows / rows.sum(axis=1, keepdims=True))))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_it_comes_close_to_the_exact_best_response(root, seed):
    rows = []
    response, found = trained_response(
        jax.random.key(seed),
        GAME,
        random_legal(),
        most_decisions=3,
        settings=SMALL,
        level=0.999,
        on_update=rows.append,
    )
    true = exact.payoff(root, strategy(root, response), exact.uniform(root))
    assert UNIFORM - CLOSE <= true <= UNIFORM + 1e-9
    assert found.low <= true <= found.high
    assert found.kind == "lower bound (trained)" and found.pairs == 4000 and response.greedy
    assert [row["update"] for row in rows if "validation" in row] == [10, 20, 30]
    assert len(rows) == 30 and all(row["dropped"] == 0 for row in rows)
    assert rows[0]["ratio_deviation"] < 1e-4 and rows[0]["samples"] > 1000


def test_the_selected_is_tested_on_other_hands(root):
    """What is returned is the best on validation, which is no part of the test."""
    rows, settings = [], SMALL._replace(updates=6, validate_every=1, validation_pairs=50, test_pairs=50)
    response, found = trained_response(
        jax.random.key(2),
        GAME,
        random_legal(),
        most_decisions=3,
        settings=settings,
        on_update=rows.append,
        greedy=False,
    )
    best = max(row["validation"] for row in rows)
    assert found.mean != best and found.pairs == 50 and not response.greedy
    # the best of six on fifty pairs looks better than it is; the test is of fresh hands
    true = exact.payoff(root, strategy(root, response), exact.uniform(root))
    assert best > true


@pytest.mark.slow
def test_against_a_mixture_and_by_seat(root):
    """An opponent that draws one of its networks is their average by own reach, and has its own response."""
    nodes = exact.decisions(root)
    policy = response_policy(GAME)
    networks = [policy.init(jax.random.key(seed)) for seed in (5, 6, 7)]
    networks = [jax.tree.map(lambda leaf: 4 * leaf, params) for params in networks]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
    parts = [strategy(root, Neural("part", policy, params)) for params in networks]
    average = exact.realised(root, parts, [0.5, 0.5, 0.0])
    first = {name: (average if name[0] == "0" else parts[2])[name] for name in nodes}
    wanted = exact.exploitability(root, first)
    weights = np.array([[1.0, 1.0, 0], [0, 0, 2.0]])
    response, found = trained_response(
        jax.random.key(3),
        GAME,
        Neural("mixture", policy, stacked),
        most_decisions=3,
        mixture=weights,
        settings=SMALL._replace(updates=60, test_pairs=20_000),
        level=0.999,
    )
    true = exact.payoff(root, strategy(root, response), first)
    assert wanted - 0.02 <= true <= wanted + 1e-9 and found.low <= true <= found.high


@pytest.mark.slow
def test_in_flop_holdem_it_beats_who_always_calls():
    """Below the exact value of 38.83 chips (`tests/rollouts/test_lbr.py`), and more than half of it."""
    settings = Settings(updates=60, batch=512, length=12, validate_every=20, test_pairs=20_000)
    game, setup = holdem("flop"), holdem_setup("flop")
    _, found = trained_response(
        jax.random.key(0),
        game,
        always_call(),
        most_decisions=11,
        setups=setup,
        unit=100,
        settings=settings,
        level=0.99,
    )
    assert found.mean > 0.5 * 38.83 and 0 < found.low < 38.83
