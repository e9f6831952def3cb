"""What an average policy earns, against exact values of Kuhn."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxnash.games.kuhn import kuhn
from jaxnash.learners.exact import infosets
from jaxnash.rollouts.sampling import here
from jaxnash.runs.deep_cfr import build, exact_policy, iterate, parts_of, start
from jaxnash.runs.deep_cfr_knobs import Knobs
from jaxnash.runs.deep_cfr_rivals import agent, earned, local, match, rivals
from jaxnash.types import JaxnashError
from tests.reference import kuhn_exact as twin

PAIRS = 4_000  # in all tests, so that matches are compiled once
KNOBS = Knobs(
    game="kuhn",
    iterations=8,
    trajectories=60,
    lanes=32,
    batch_size=32,
    steps=20,
    least_steps=20,
    memory=2_000,
    scale=2.0,
    hidden=(16,),
)


@pytest.fixture(scope="module")
def run():
    parts = parts_of(KNOBS)
    state, sampler = start(KNOBS, parts), here(lambda: build(parts.plan))
    for _ in range(6):
        state = iterate(KNOBS, parts, sampler, state)[0]
    return parts, state


def test_what_is_earned_is_the_exact_value(run):
    """Against random and against its own past, from 4,000 pairs: within 5 standard errors of what
    the plain-Python twin says of both average policies, seats taken in turn."""
    parts, state = run
    table = infosets(kuhn())
    policy, _ = exact_policy(KNOBS, parts, table, state)
    past, _ = exact_policy(KNOBS, parts, table, state._replace(iteration=3))
    even = table.legal / table.legal.sum(axis=1, keepdims=True)
    one, root = agent(KNOBS, parts, state), twin.expand(kuhn())
    for name, rival in rivals(KNOBS, parts, state, past=3).items():
        if name == "always-call":
            continue
        theirs = even if name == "random" else past
        sides = [dict(zip(table.tree.infosets, map(tuple, one), strict=True)) for one in (policy, theirs)]
        found = match(parts, jax.random.key(1), one, rival, pairs=PAIRS)
        error = (found.high - found.low) / 2 / 1.96
        assert abs(found.mean - twin.payoff(root, *sides)) < 5 * error < 0.15, name


def test_rows_have_intervals_and_no_past_at_first(run):
    parts, state = run
    row = earned(KNOBS, parts, state, pairs=PAIRS)
    assert list(row) == ["random", "always-call", "iteration 3"]
    assert all(one["low"] < one["mean"] < one["high"] and one["pairs"] == PAIRS for one in row.values())
    assert row == earned(KNOBS, parts, state, pairs=PAIRS)
    first = earned(KNOBS, parts, state._replace(iteration=np.int32(1)), pairs=PAIRS)
    assert list(first) == ["random", "always-call"]


def test_what_cannot_be_asked(run):
    parts, state = run
    for iteration in (0, 7):
        with pytest.raises(JaxnashError, match="the run has done 6 iterations"):
            agent(KNOBS, parts, state, iteration)
    with pytest.raises(JaxnashError, match="reads hold'em, not kuhn"):
        local(KNOBS, parts, jax.random.key(0), agent(KNOBS, parts, state), pairs=2)
