"""The solver against OpenSpiel's digits, the slow twin, itself in pieces, and the linear programme."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.cfr.solve import start
from jaxnash.cfr.tree import histories
from tests.reference import cfr_twin

KUHN = histories(jn.games.kuhn())
DIGITS = {  # NashConv of the average by iteration (OpenSpiel, C++)
    ("kuhn", "cfr", 1e-10): {10: 0.1373975876343, 100: 0.0164519546318, 1000: 0.00187523329399},
    ("kuhn", "cfr+", 1e-10): {10: 0.0653741813367, 100: 0.00238880820222, 1000: 0.000174730645},
    ("leduc", "cfr", 1e-9): {1: 4.7472222222222, 10: 1.7771579663375, 100: 0.191432706009},
    ("leduc", "cfr+", 1e-9): {1: 4.7472222222222, 10: 1.2208778031808, 100: 0.02683198994},
}
TABLE = {  # exploitability after 1,000 iterations: kuhn, leduc, liar's dice (4 sides), goofspiel (4 cards)
    "cfr": (9.4e-4, 1.2e-2, 1.7e-3, 5.4e-3),
    "cfr+": (8.7e-5, 2.5e-4, 4.5e-5, 2.7e-4),
    "dcfr": (1.5e-4, 1.8e-4, 2.6e-5, 4.1e-4),
    "dcfr+": (1.2e-4, 1.7e-4, 1.3e-5, 7.7e-5),
    "pcfr+": (2.4e-8, 7.1e-4, 1.5e-6, 1.0e-7),
    "sapcfr+": (1.1e-8, 1.9e-4, 4.6e-7, 1.3e-7),
    "pdcfr+": (1.1e-13, 9.0e-4, 2.1e-10, 4.8e-12),
    "hs-pcfr+": (6e-17, 9.6e-4, 3e-17, 9e-16),
}


def recipe(name: str, horizon: int) -> jn.cfr.CFR:
    make = jn.cfr.RECIPES[name]
    return make(horizon) if name.startswith("hs-") else make()


@pytest.fixture(scope="module")
def trees():
    return {"kuhn": jn.cfr.compile_tree(KUHN), "leduc": jn.cfr.compile_tree(jn.games.leduc())}


@pytest.mark.parametrize("game, rule, tolerance", DIGITS)
def test_nash_conv_has_openspiels_digits(trees, game, rule, tolerance):
    tree, state = trees[game], None
    for iterations, expected in DIGITS[game, rule, tolerance].items():
        result = jn.cfr.solve(tree, recipe(rule, 0), iterations=iterations, state=state)
        state = result.state
        assert 2 * result.exploitability == pytest.approx(expected, abs=tolerance)
        assert jn.cfr.nash_conv(tree, result.policy) == pytest.approx(expected, abs=tolerance)


def against_the_twin(tree, written, rule: str, alternating: bool, iterations: int) -> None:
    """Exploitability and value to 1e-9. Policies only where the twin's is reached enough for it to be more
    than rounding: a row's error is the plan's (1e-12 or so) over the plan's size."""
    game = cfr_twin.nodes(written)
    expected = cfr_twin.solve(game, rule, iterations, alternating=alternating).average
    ours = recipe(rule, iterations)._replace(alternating=alternating)
    result = jn.cfr.solve(tree, ours, iterations=iterations)
    assert result.exploitability == pytest.approx(cfr_twin.exploitability(game, expected), abs=1e-9)
    assert result.value == pytest.approx(cfr_twin.expected_value(game, expected), abs=1e-9)
    row = [tree.infosets.index(name) for name in written.infosets]
    off = [np.abs(result.policy[row[i]][tree.legal[row[i]]] - expected[i]).max() for i in expected]
    assert np.mean(np.array(off) < 1e-8) > 0.99


@pytest.mark.parametrize("alternating", [True, False])
@pytest.mark.parametrize("rule", jn.cfr.RECIPES)
def test_every_recipe_is_the_twins_on_kuhn(trees, rule, alternating):
    against_the_twin(trees["kuhn"], KUHN, rule, alternating, 50)


@pytest.mark.parametrize("rule", ["cfr+", "dcfr", "hs-pcfr+"])
def test_recipes_are_the_twins_on_leduc(trees, rule):
    against_the_twin(trees["leduc"], histories(jn.games.leduc()), rule, True, 20)


@pytest.mark.slow
@pytest.mark.parametrize("alternating", [True, False])
@pytest.mark.parametrize("rule", jn.cfr.RECIPES)
def test_every_recipe_is_the_twins_on_leduc(trees, rule, alternating):
    against_the_twin(trees["leduc"], histories(jn.games.leduc()), rule, alternating, 50)


def at_most_three_times(tree, rule: str, published: float) -> None:
    found = jn.cfr.solve(tree, recipe(rule, 1000), iterations=1000).exploitability
    print(f"{rule}: {found:.2g}, published {published:.2g}")
    assert found <= max(3 * published, 1e-11)


@pytest.mark.parametrize("rule", TABLE)
def test_a_thousand_iterations_on_kuhn(trees, rule):
    at_most_three_times(trees["kuhn"], rule, TABLE[rule][0])


@pytest.mark.slow
@pytest.mark.parametrize("rule", TABLE)
@pytest.mark.parametrize("game", [1, 2, 3], ids=["leduc", "liars_dice", "goofspiel"])
def test_a_thousand_iterations(rule, game):
    make = (None, jn.games.leduc, lambda: jn.games.liars_dice(sides=4), lambda: jn.games.goofspiel(4))[game]
    at_most_three_times(jn.cfr.compile_tree(make()), rule, TABLE[rule][game])


@pytest.mark.slow
def test_liars_dice_has_openspiels_digits():
    tree, state = jn.cfr.compile_tree(jn.games.liars_dice()), None
    for iterations, expected in {1: 1.56148864638448, 10: 0.2832028525, 100: 0.00981656149}.items():
        result = jn.cfr.solve(tree, jn.cfr.cfr_plus(), iterations=iterations, state=state)
        state = result.state
        print(iterations, 2 * result.exploitability)
        assert 2 * result.exploitability == pytest.approx(expected, rel=5e-7)


def test_leduc_after_a_thousand_iterations(trees):
    """Within five percent: rounding is chaotic there (the reference says so of OpenSpiel itself)."""
    result = jn.cfr.solve(trees["leduc"], jn.cfr.cfr_plus(), iterations=1000)
    assert 2 * result.exploitability == pytest.approx(0.00051430, rel=0.06)
    assert result.value == pytest.approx(-0.085606424078, abs=2 * result.exploitability)


def test_the_value_is_the_linear_programmes(trees):
    result = jn.cfr.solve(trees["kuhn"], jn.cfr.pdcfr_plus(), iterations=1000)
    assert result.value == pytest.approx(jn.cfr.solve_lp(KUHN).value, abs=1e-9)
    assert result.value == pytest.approx(-1 / 18, abs=1e-9)


def test_a_solve_in_pieces_is_the_solve(trees):
    tree, rule = trees["kuhn"], jn.cfr.pdcfr_plus()
    whole = jn.cfr.solve(tree, rule, iterations=30)
    seen = []
    parts = jn.cfr.solve(tree, rule, iterations=30, evaluate_every=7, on_progress=seen.append)
    assert [p.iteration for p in seen] == [7, 14, 21, 28, 30] == list(parts.curve[:, 0])
    resumed = jn.cfr.solve(tree, rule, iterations=30, state=seen[1].state)
    for other in (parts, resumed):
        assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (whole.state, other.state))))
        assert np.array_equal(whole.policy, other.policy)


@pytest.mark.parametrize("make", [jn.games.leduc, lambda: jn.cfr.public_form(jn.games.leduc())])
@pytest.mark.parametrize("rule", ["cfr+", "pdcfr+"])
def test_the_host_starts_as_init_does(make, rule):
    tree = jn.cfr.compile_tree(make())
    with jax.enable_x64(True):
        expected = jax.jit(jn.cfr.init, static_argnums=1)(tree.arrays, recipe(rule, 0))
        found = start(tree.arrays, recipe(rule, 0))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert a.dtype == b.dtype and np.array_equal(a, b)


def test_a_solve_stops_at_its_target(trees):
    result = jn.cfr.solve(trees["kuhn"], jn.cfr.cfr_plus(), iterations=10_000, evaluate_every=50, target=1e-3)
    assert result.exploitability <= 1e-3 < result.curve[-2, 2] and result.iterations < 1000


def test_the_last_iterate_can_be_asked_for(trees):
    """On a game with a pure equilibrium regret matching+ settles on it."""
    tree = jn.cfr.compile_tree(jn.games.matrix([[3.0, 1.0], [0.0, 0.5]]))
    rule = jn.cfr.cfr_plus()._replace(averaging=jn.cfr.last_iterate())
    result = jn.cfr.solve(tree, rule, iterations=100)
    assert np.array_equal(result.policy, [[1, 0], [0, 1]]) and result.value == 1


def test_vmap_over_parameters_and_payoffs(trees):
    tree = trees["kuhn"]
    alphas = [0.5, 1.5, 3.0]
    with jax.enable_x64(True):

        def solved(arrays, alpha):
            rule = jn.cfr.dcfr(alpha)
            state = jn.cfr.iterate(arrays, rule, jn.cfr.init(arrays, rule), 40)
            return jn.cfr.measure(arrays, state)[0]

        many = jax.jit(jax.vmap(solved, in_axes=(None, 0)))(tree.arrays, jnp.array(alphas))
        single = [jn.cfr.solve(tree, jn.cfr.dcfr(a), iterations=40).exploitability for a in alphas]
        assert np.allclose(many, single, rtol=1e-10, atol=0) and len(set(single)) == 3

        def stakes(bet):  # showdowns after a bet are for `bet` units instead of two
            def scaled(rows):
                groups = tuple((i, jnp.where(abs(f) == 2, f / 2 * bet, f)) for i, f in rows.groups)
                return rows._replace(groups=groups)

            first, second = map(scaled, tree.arrays.payoffs.rows)
            arrays = tree.arrays._replace(payoffs=tree.arrays.payoffs._replace(rows=(first, second)))
            state = jn.cfr.iterate(arrays, jn.cfr.cfr_plus(), jn.cfr.init(arrays, jn.cfr.cfr_plus()), 2000)
            return jn.cfr.measure(arrays, state)

        gaps, values = map(np.asarray, jax.jit(jax.vmap(stakes))(jnp.array([2.0, 4.0])))
    assert values[0] == pytest.approx(-1 / 18, abs=1e-4) and gaps.max() < 1e-3
    assert abs(values[1] - values[0]) > 1e-3


def test_vmap_over_states(trees):
    """Many starts at once: here, from regrets of different seeds."""
    tree, rule = trees["kuhn"], jn.cfr.cfr_plus()
    with jax.enable_x64(True):
        start = jn.cfr.init(tree.arrays, rule)

        def solved(key):
            noise = lambda leaf: leaf + jax.random.uniform(key, leaf.shape, leaf.dtype)  # noqa: E731
            sides = tuple(s._replace(minimizer=jax.tree.map(noise, s.minimizer)) for s in start.sides)
            return jn.cfr.measure(
                tree.arrays, jn.cfr.iterate(tree.arrays, rule, start._replace(sides=sides), 1000)
            )[0]

        gaps = np.asarray(jax.jit(jax.vmap(solved))(jax.random.split(jax.random.key(0), 4)))
    assert gaps.max() < 1e-3 and len(set(map(float, gaps))) == 4


def test_float32_loses_little():
    tree = jn.cfr.compile_tree(jn.games.leduc(), dtype=np.float32)
    result = jn.cfr.solve(tree, jn.cfr.cfr_plus(), iterations=100)
    assert result.policy.dtype == np.float32
    assert 2 * result.exploitability == pytest.approx(0.02683198994, rel=0.05)  # measured: 1.7 % more


def test_an_unreached_infoset_is_uniform(trees):
    """The last iterate of regret matching+ is zero on much of the tree."""
    tree = trees["leduc"]
    rule = jn.cfr.cfr_plus()._replace(averaging=jn.cfr.last_iterate())
    state = jn.cfr.solve(tree, rule, iterations=200).state
    policy = jn.cfr.average_policy(tree, state)
    assert np.allclose(policy.sum(1), 1) and not policy[~tree.legal].any()
    bucket, last = tree.arrays.sides[0].levels[-1][0], len(state.sides[0].average)
    block = np.asarray(state.sides[0].average)[last - bucket.position.size :].reshape(bucket.position.shape)
    unreached = bucket.position[0, block.sum(0) == 0] // tree.legal.shape[1]
    assert unreached.size and np.allclose(policy[unreached], jn.cfr.uniform_policy(tree)[unreached])


def test_bad_sizes_are_refused(trees):
    with pytest.raises(jn.JaxnashError, match="at least one iteration"):
        jn.cfr.solve(trees["kuhn"], jn.cfr.cfr(), iterations=0)
