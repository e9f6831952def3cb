"""Specs rebuild policies."""

from __future__ import annotations

import json

import jax
import pytest

from jaxnash.games.gen1 import layout
from jaxnash.policies.networks import token_policy
from jaxnash.policies.spec import build, mlp_spec, token_spec
from jaxnash.types import JaxnashError, PolicySpec


def parameters(policy) -> int:
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [("tiny", 1e5, 2e5), ("small", 8e5, 1.2e6), ("base", 2e7, 3e7), ("large", 1.9e8, 2.1e8)],
)
def test_sizes(size, low, high):
    assert low <= parameters(build(token_spec(size))) <= high


def test_a_spec_survives_json_and_gives_the_same_policy():
    for spec in (token_spec("tiny"), mlp_spec(observation_size=11, actions=2, hidden=(8, 8))):
        again = PolicySpec(**json.loads(json.dumps(spec._asdict())))
        assert again == spec
        assert build(again) is build(spec)
    assert build(token_spec("tiny")) is token_policy(width=64, layers=2, heads=4)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (PolicySpec("tree", {}, "", "categorical:2"), "unknown policy 'tree'.*token, mlp"),
        (PolicySpec("token", {}, "0ld", "categorical:9"), f"'0ld'.*'{layout.LAYOUT_HASH}'"),
        (PolicySpec("token", {"depth": 3}, layout.LAYOUT_HASH, "categorical:9"), "depth"),
    ],
)
def test_what_cannot_be_built_says_why(spec, words):
    with pytest.raises(JaxnashError, match=words):
        build(spec)


def test_an_unknown_size_names_the_known_ones():
    with pytest.raises(JaxnashError, match=r"'huge'.*tiny, small, base, large"):
        token_spec("huge")
