"""Regret matching in closed form, and the networks that it is matched to."""

from __future__ import annotations

import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import sampled
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.games.kuhn import kuhn
from jaxnash.policies.advantage import (
    counterfactual_policy,
    network,
    network_spec,
    regret_matching,
    softmax,
    with_head,
)
from jaxnash.policies.spec import build
from jaxnash.types import JaxnashError, PolicySpec

KUHN = sampled(kuhn())
FLOP = holdem("flop", max_raises=1)
CASES = {
    "mlp": (KUHN, "mlp", (8, 6)),
    "residual": (KUHN, "residual", (11, 11, 11)),
    "mlp-flop": (FLOP, "mlp", (8, 6)),
    "cards-flop": (FLOP, "cards", (12,)),
}


def spec_of(name: str, head: str = "regret-matching") -> PolicySpec:
    game, body, hidden = CASES[name]
    return network_spec(game, body=body, hidden=hidden, head=head)


@cache
def looked(poker: bool):
    """Observations and legal actions of both players at eight roots and after a call."""
    game, setup = (FLOP, holdem_setup("flop")) if poker else (KUHN, None)

    @jax.jit
    def look(key):
        state = game.init(key, setup)
        steps = game.observe(state), game.observe(game.step(key, state, jnp.array([1, 1])))
        return [jax.tree.map(lambda *leaves: jnp.stack(leaves), *part) for part in zip(*steps)][:2]

    both = jax.vmap(look)(jax.random.split(jax.random.key(0), 8))
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(32, *leaf.shape[3:]), tuple(both))


def seen(name: str):
    return looked(CASES[name][0] is FLOP)


def moved(name: str, seed: int = 1):
    """Params of a network with another last layer than 0."""
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.float32(rng.normal(size=leaf.shape))  # noqa: E731
    params = network(spec_of(name)).init(jax.random.key(seed))
    return with_head(params, lambda kernel, bias: (draw(kernel), draw(bias)))


@pytest.mark.parametrize(
    ("advantages", "legal", "expected"),
    [
        ([3, 1, 0], [1, 1, 1], [0.75, 0.25, 0]),
        ([3, -1, 1], [1, 1, 1], [0.75, 0, 0.25]),
        ([3, 100, 1], [1, 0, 1], [0.75, 0, 0.25]),  # illegal ones are not read
        ([-3, -1, -2], [1, 1, 1], [0, 1, 0]),  # nothing positive: the best alone
        ([-3, -1, -2], [1, 0, 1], [0, 0, 1]),
        ([-3, 5, -2], [1, 0, 1], [0, 0, 1]),
        ([-1, -1, -2], [1, 1, 1], [0.5, 0.5, 0]),  # ties share
        ([-1, -1, -1], [1, 0, 1], [0.5, 0, 0.5]),
        ([0, 0, 0], [1, 1, 1], [1 / 3, 1 / 3, 1 / 3]),
        ([0, -1, 0], [0, 1, 1], [0, 0, 1]),
        ([-1e9, 0, 0], [1, 0, 0], [1, 0, 0]),  # the only one there is
        ([1e-30, 0, 3e-30], [1, 1, 1], [0.25, 0, 0.75]),
    ],
)
def test_regret_matching_in_closed_form(advantages, legal, expected):
    found = regret_matching(jnp.array(advantages, jnp.float32), jnp.array(legal, bool))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not np.any(np.asarray(found)[~np.array(legal, bool)])


def test_regret_matching_maps_over_leading_axes():
    rng = np.random.default_rng(0)
    advantages, legal = rng.normal(size=(5, 7, 4)).astype(np.float32), rng.random((5, 7, 4)) < 0.6
    legal[..., 0] |= ~legal.any(-1)
    found = np.asarray(regret_matching(advantages, legal))
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)
    assert np.all(found >= 0) and not np.any(found[~legal])
    for i, j in np.ndindex(5, 7):
        np.testing.assert_allclose(found[i, j], regret_matching(advantages[i, j], legal[i, j]), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_fresh_network_plays_evenly(name: str):
    net, (obs, legal) = network(spec_of(name)), seen(name)
    params = net.init(jax.random.key(3))
    output = net.apply(params, obs)
    assert output.shape == legal.shape and not np.any(output)
    even = np.asarray(legal / legal.sum(-1, keepdims=True))
    assert {2, len(legal[0])} >= set(np.asarray(legal).sum(-1)) - {1}
    for strategy in (regret_matching, softmax):
        np.testing.assert_allclose(strategy(output, legal), even, rtol=1e-6)
    other = net.init(jax.random.key(4))  # the layers below are not 0, nor the same
    assert np.any(net.features(params, obs) != net.features(other, obs))


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_features_times_the_head(name: str):
    """To 1e-4 of the largest: sums of a dozen numbers in another order in single precision."""
    net, params, (obs, _) = network(spec_of(name)), moved(name), seen(name)
    head = params["params"]["head"]
    phi, output = np.asarray(net.features(params, obs), np.float64), net.apply(params, obs)
    assert phi.shape == (len(output), len(head["kernel"]))
    expected = phi @ np.asarray(head["kernel"], np.float64) + head["bias"]
    assert np.ptp(expected, axis=0).min() > 0.1  # different observations, different outputs
    np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max())


def test_with_head_changes_the_head_alone():
    net = network(spec_of("mlp"))
    params = net.init(jax.random.key(0))
    after = with_head(params, lambda kernel, bias: (kernel + 1, bias - 2))
    np.testing.assert_array_equal(after["params"]["head"]["kernel"], np.ones((6, 2)))
    np.testing.assert_array_equal(after["params"]["head"]["bias"], [-2, -2])
    assert not np.any(params["params"]["head"]["bias"])  # the given ones stay
    rest = [{k: v for k, v in p["params"].items() if k != "head"} for p in (params, after)]
    jax.tree.map(np.testing.assert_array_equal, *rest)


def test_a_residual_layer_adds_to_what_it_reads():
    """By hand: equal widths add up (the first reads the 11 numbers of Kuhn), other widths do not."""
    params, (obs, _) = moved("residual"), seen("residual")
    x = np.asarray(obs, np.float64)
    for number in range(3):
        layer = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"][f"Dense_{number}"])
        x = x + np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    np.testing.assert_allclose(network(spec_of("residual")).features(params, obs), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("transformer", "no network is called 'transformer': there are mlp, cards, residual"),
        ("cards", "the network 'cards' reads hold'em: take mlp or residual for this game"),
    ],
)
def test_a_network_that_cannot_be_says_why(body: str, words: str):
    with pytest.raises(JaxnashError, match=words):
        network_spec(KUHN, body=body, head="softmax")


def test_widths_have_defaults():
    kwargs = [network_spec(FLOP, body=body, head="softmax").kwargs for body in ("mlp", "cards", "residual")]
    assert [one["hidden"] for one in kwargs] == [[64] * 3, [64], [512] * 6]
    assert {one["actions"] for one in kwargs} == {3}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("head", ["regret-matching", "softmax"])
def test_a_spec_survives_json_and_gives_the_same_policy(name: str, head: str):
    spec = spec_of(name, head)
    again = PolicySpec(**json.loads(json.dumps(spec._asdict())))
    assert again == spec and network(again) is network(spec)
    policy = build(again)
    assert policy is build(spec) and policy is counterfactual_policy(**spec.kwargs)
    other = "softmax" if head == "regret-matching" else "regret-matching"
    assert build(spec_of(name, other)) is not policy


@pytest.mark.parametrize("name", ["mlp", "cards-flop"])
@pytest.mark.parametrize(("head", "strategy"), [("regret-matching", regret_matching), ("softmax", softmax)])
def test_a_policy_plays_the_strategy_of_its_head(name: str, head: str, strategy):
    spec, params, (obs, legal) = spec_of(name, head), moved(name), seen(name)
    policy = build(spec)
    carry = policy.initial_carry(len(legal))
    logits, value, after = policy.apply(params, obs, legal, carry, jnp.zeros(len(legal), bool))
    played = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(played, strategy(network(spec).apply(params, obs), legal), atol=1e-6)
    assert played[~np.asarray(legal)].max(initial=0) < 1e-20
    assert value.shape == (len(legal),) and not np.any(value) and after == carry
    shapes = jax.tree.map(lambda leaf: leaf.shape, params)
    assert jax.tree.map(lambda leaf: leaf.shape, policy.init(jax.random.key(0))) == shapes
