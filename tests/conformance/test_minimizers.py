"""What every regret minimiser and recipe promises."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.cfr import discount, floor_at_zero, predictive, regret_matching

MINIMIZERS = {
    "regret matching": regret_matching(),
    "regret matching+": regret_matching(after=floor_at_zero),
    "discounted": regret_matching(before=discount(1.5, 0.0)),
    "predictive": predictive(regret_matching(after=floor_at_zero)),
    "predictive, a third": predictive(regret_matching(after=floor_at_zero), step=1 / 3),
    "predictive, discounted": predictive(regret_matching(before=discount(2.3), after=floor_at_zero)),
}


@pytest.mark.parametrize("name", MINIMIZERS)
def test_a_strategy_is_a_distribution_over_legal_actions(name):
    minimizer, rng = MINIMIZERS[name], np.random.default_rng(1)
    legal = np.array([True, False, True, True])
    with jax.enable_x64(True):
        state = minimizer.init(legal)
        assert np.allclose(minimizer.strategy(state, legal, np.float64(1)), legal / 3)
        for t in range(1, 30):
            strategy = np.asarray(minimizer.strategy(state, legal, np.float64(t)))
            assert strategy.sum() == pytest.approx(1) and (strategy >= 0).all() and strategy[1] == 0
            rewards = rng.normal(size=4)
            state = minimizer.update(state, np.where(legal, rewards - strategy @ rewards, 0), np.float64(t))


@pytest.mark.parametrize("name", MINIMIZERS)
def test_regret_grows_slower_than_time(name):
    """Against rewards that chase it (matching pennies' worst case): average regret falls like 1 / sqrt(t)."""
    minimizer, total, earned = MINIMIZERS[name], np.zeros(3), 0.0
    legal = np.ones(3, bool)
    with jax.enable_x64(True):
        update, strategy = jax.jit(minimizer.update), jax.jit(minimizer.strategy)
        state = minimizer.init(legal)
        for t in range(1, 2001):
            play = np.asarray(strategy(state, legal, np.float64(t)))
            rewards = -(play == play.max()).astype(float)
            total, earned = total + rewards, earned + play @ rewards
            state = update(state, rewards - play @ rewards, np.float64(t))
    assert (total.max() - earned) / 2000 < 0.05


@pytest.mark.parametrize("name", MINIMIZERS)
def test_columns_are_rows_side_by_side(name):
    minimizer, rng = MINIMIZERS[name], np.random.default_rng(2)
    legal = rng.random((3, 5, 2)) < 0.8
    legal[0] = True
    with jax.enable_x64(True):
        together = minimizer.init(legal)
        apart = {at: minimizer.init(legal[:, *at]) for at in np.ndindex(5, 2)}
        for t in (1.0, 2.0, 3.0):
            regrets = np.where(legal, rng.normal(size=legal.shape), 0)
            together = minimizer.update(together, regrets, np.float64(t))
            joint = np.asarray(minimizer.strategy(together, legal, np.float64(t + 1)))
            for at in apart:
                apart[at] = minimizer.update(apart[at], regrets[:, *at], np.float64(t))
                alone = minimizer.strategy(apart[at], legal[:, *at], np.float64(t + 1))
                assert np.allclose(joint[:, *at], alone, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", jn.cfr.RECIPES)
def test_a_recipe_is_one_object_and_solves_a_matrix(name):
    make = jn.cfr.RECIPES[name]
    arguments = (500,) if name.startswith("hs-") else ()
    assert make(*arguments) == make(*arguments) and hash(make(*arguments)) == hash(make(*arguments))
    tree = jn.cfr.compile_tree(jn.games.matrix([[2.0, -1.0, 0.5], [-1.0, 1.0, 0.25]]))
    result = jn.cfr.solve(tree, make(*arguments), iterations=500)
    assert result.exploitability < 0.01
    # [0.4, 0.6] makes the columns that are played alike: 0.2 each
    assert result.value == pytest.approx(0.2, abs=0.02)
    assert np.allclose(result.policy[0, :2], [0.4, 0.6], atol=0.05)
