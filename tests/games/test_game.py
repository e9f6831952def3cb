"""Action types, the inactive rule, and games sampled from trees."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import MASKED, TERMINAL, Buttons, Categorical, sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.policies.masking import mask


def test_categorical_closed_forms():
    actions, head = Categorical(4), jnp.log(jnp.array([0.5, 0.25, 0.25, 1.0])) + jnp.array([3, 3, 3, MASKED])
    assert float(actions.log_prob(head, jnp.array(1))) == pytest.approx(np.log(0.25), abs=1e-6)
    assert float(actions.entropy(head)) == pytest.approx(1.5 * np.log(2), abs=1e-6)
    assert int(actions.mode(head)) == 0
    drawn = np.bincount(jax.vmap(actions.sample, (0, None))(jax.random.split(jax.random.key(0), 4000), head))
    assert len(drawn) == 3
    np.testing.assert_allclose(drawn / 4000, [0.5, 0.25, 0.25], atol=0.04)


def test_buttons_closed_forms():
    actions, head = Buttons(2), jnp.log(jnp.array([3.0, 1.0]))  # pressed with 3/4 and 1/2
    assert float(actions.log_prob(head, jnp.array([True, False]))) == pytest.approx(np.log(3 / 8), abs=1e-6)
    by_hand = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) + np.log(2)
    assert float(actions.entropy(head)) == pytest.approx(by_hand, abs=1e-6)
    assert actions.mode(head).tolist() == [True, False]


def test_an_inactive_seat_has_nothing_to_learn():
    actions, legal = Categorical(9), jnp.arange(9) == 0

    def both(logits):
        head = mask(logits, legal)
        return jnp.stack([actions.log_prob(head, jnp.array(0)), actions.entropy(head)])

    logits = 30 * jax.random.normal(jax.random.key(0), (9,))
    assert both(logits).tolist() == [0, 0]
    assert not np.any(jax.jacobian(both)(logits))
    assert int(actions.sample(jax.random.key(1), mask(logits, legal))) == 0


def test_a_sampled_tree_deals_evenly_and_pays_its_returns():
    tree = kuhn()
    game = sampled(tree)
    keys = jax.random.split(jax.random.key(0), 3000)
    states = jax.vmap(game.init, (0, None))(keys, None)
    deals, counts = np.unique(np.asarray(states)[:, :2], axis=0, return_counts=True)
    assert len(deals) == 6
    assert np.sum((counts - 500) ** 2 / 500) < 30  # chi-square, 5 degrees of freedom: p of about 1e-5

    step, observe = jax.jit(jax.vmap(game.step)), jax.jit(jax.vmap(game.observe))
    seen = observe(states)
    np.testing.assert_array_equal(seen.active, np.tile([True, False], (3000, 1)))
    for actions in ([0, 1], [1, 1], [1, 0]):  # check, bet (the other's entry is not read), call
        assert not np.any(seen.terminated) and not np.any(seen.reward)
        np.testing.assert_array_equal(seen.legal[~np.asarray(seen.active)], [[True, False]] * 3000)
        states = step(keys, states, jnp.tile(jnp.array(actions), (3000, 1)))
        seen = observe(states)
    assert np.all(seen.terminated) and not np.any(seen.truncated) and not np.any(seen.active)
    assert np.all(jax.vmap(tree.player)(states) == TERMINAL)
    won = np.where(states[:, 0] > states[:, 1], 2, -2)
    np.testing.assert_array_equal(seen.reward, np.stack([won, -won], axis=1))
