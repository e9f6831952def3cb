"""The slow twin against OpenSpiel's digits, closed forms, and a third implementation for Kuhn poker."""

from __future__ import annotations

import random

import pytest

from jaxnash.cfr.tree import histories
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.games.matrix import matrix
from jaxnash.games.openspiel import from_openspiel
from tests.reference import cfr_twin, kuhn_exact

BIASED = [[0, -25, 50], [25, 0, -5], [-50, 5, 0]]  # antisymmetric


@pytest.fixture(scope="module")
def games():
    return {"kuhn": cfr_twin.nodes(histories(kuhn())), "leduc": cfr_twin.nodes(histories(leduc()))}


DIGITS = {  # NashConv of the average by iteration: OpenSpiel's C++ solvers
    ("kuhn", "cfr"): {1: 0.9166666666667, 10: 0.1373975876343, 100: 0.0164519546318, 1000: 0.00187523329399},
    ("kuhn", "cfr+"): {
        1: 0.9166666666667,
        10: 0.0653741813367,
        100: 0.00238880820222,
        1000: 0.000174730645042,
    },
    ("leduc", "cfr"): {1: 4.7472222222222, 10: 1.7771579663375},
    ("leduc", "cfr+"): {1: 4.7472222222222, 10: 1.2208778031808, 100: 0.02683198994},
}


@pytest.mark.parametrize("name, rule", DIGITS)
def test_nash_conv_has_openspiels_digits(games, name, rule):
    game, expected = games[name], DIGITS[name, rule]
    precision = 1e-10 if name == "kuhn" else 1e-9
    for step in cfr_twin.iterate(game, cfr_twin.recipe(rule), max(expected)):
        if step.t in expected:
            assert cfr_twin.nash_conv(game, step.average) == pytest.approx(expected[step.t], abs=precision)


TABLE = {  # exploitability: kuhn after 1000 iterations, leduc after 100 of 1000
    "cfr": (9.4e-4, 0.096),
    "cfr+": (8.7e-5, 0.0134),
    "dcfr": (1.5e-4, 0.0078),
    "dcfr+": (1.2e-4, 0.0065),
    "pcfr+": (2.4e-8, 0.020),
    "sapcfr+": (1.1e-8, 0.013),
    "pdcfr+": (1.1e-13, 0.018),
    "hs-pcfr+": (6e-17, 0.031),
}


@pytest.mark.parametrize("rule", TABLE)
def test_the_variants_reach_the_published_rules_figures(games, rule):
    found = cfr_twin.exploitability(games["kuhn"], cfr_twin.solve(games["kuhn"], rule, 1000).average)
    expected = TABLE[rule][0]
    assert found == pytest.approx(expected, rel=0.06) if expected > 1e-9 else abs(found) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("rule", TABLE)
def test_the_variants_reach_the_figures_on_leduc(games, rule):
    found = cfr_twin.solve(games["leduc"], rule, 100, horizon=1000)
    assert cfr_twin.exploitability(games["leduc"], found.average) == pytest.approx(TABLE[rule][1], rel=0.04)


SOLVERS = {  # as OpenSpiel has them in C++
    "cfr": lambda pyspiel, game: pyspiel.CFRSolver(game),
    "cfr+": lambda pyspiel, game: pyspiel.CFRPlusSolver(game),
}


@pytest.mark.parametrize("rule", SOLVERS)
@pytest.mark.parametrize("name, iterations", [("kuhn_poker", 30), ("leduc_poker", 20)])
def test_policies_are_openspiels_action_by_action(rule, name, iterations):
    pyspiel = pytest.importorskip("pyspiel")
    tree = from_openspiel(name)
    game, solver = cfr_twin.nodes(tree), SOLVERS[rule](pyspiel, pyspiel.load_game(name))
    for _ in range(iterations):
        solver.evaluate_and_update_policy()
    ours = cfr_twin.solve(game, rule, iterations).average
    theirs = solver.average_policy()
    for i, infoset in enumerate(tree.infosets):
        expected = dict(theirs.get_state_policy(infoset.split(":", 1)[1]))
        for action, p in zip(game.legal[i], ours[i]):
            assert p == pytest.approx(expected[action], abs=1e-9)


@pytest.mark.parametrize("rule, solver", [("dcfr", "DCFRSolver"), ("linear-cfr", "LCFRSolver")])
def test_discounting_is_openspiels(rule, solver):
    pyspiel = pytest.importorskip("pyspiel")
    discounted_cfr = pytest.importorskip("open_spiel.python.algorithms.discounted_cfr")
    tree = from_openspiel("kuhn_poker")
    game = cfr_twin.nodes(tree)
    theirs = getattr(discounted_cfr, solver)(pyspiel.load_game("kuhn_poker"))
    for step in cfr_twin.iterate(game, cfr_twin.recipe(rule), 30):
        theirs.evaluate_and_update_policy()
        average = theirs.average_policy()
        for i, infoset in enumerate(tree.infosets):
            expected = average.policy_for_key(infoset.split(":", 1)[1])
            assert step.average[i] == pytest.approx([expected[a] for a in game.legal[i]], abs=1e-9)


def test_simultaneous_updates_are_openspiels():
    pyspiel = pytest.importorskip("pyspiel")
    cfr = pytest.importorskip("open_spiel.python.algorithms.cfr")
    tree = from_openspiel("kuhn_poker")
    game = cfr_twin.nodes(tree)
    theirs = cfr._CFRSolver(pyspiel.load_game("kuhn_poker"), False, False, False)
    for step in cfr_twin.iterate(game, cfr_twin.recipe("cfr"), 30, alternating=False):
        theirs.evaluate_and_update_policy()
        average = theirs.average_policy()
        for i, infoset in enumerate(tree.infosets):
            expected = average.policy_for_key(infoset.split(":", 1)[1])
            assert step.average[i] == pytest.approx([expected[a] for a in game.legal[i]], abs=1e-9)


NAMES = ["cfr", "cfr+", "linear-cfr", "dcfr", "dcfr+", "pcfr+", "sapcfr+", "pdcfr+", "hs-dcfr", "hs-pcfr+"]


@pytest.mark.parametrize("rule", NAMES)
def test_both_seats_of_a_symmetric_game_do_the_same_unless_they_alternate(rule):
    game = cfr_twin.nodes(histories(matrix(BIASED)))
    together = cfr_twin.solve(game, rule, 20, alternating=False)
    in_turn = cfr_twin.solve(game, rule, 20)
    for policy in (together.played, together.average, together.regrets):
        assert policy[0] == pytest.approx(policy[1], abs=1e-9)
    assert in_turn.average[0] != pytest.approx(in_turn.average[1], abs=1e-4)


def test_one_step_by_hand():
    """Against an even opponent each row earns its mean, and the even policy the mean of all."""
    game = cfr_twin.nodes(histories(matrix(BIASED)))
    first, second, third = cfr_twin.iterate(game, cfr_twin.recipe("pcfr+"), 3)
    means = [25 / 3, 20 / 3, -15]
    assert first.regrets[0] == pytest.approx([*means[:2], 0])
    assert second.played[0] == pytest.approx([5 / 9, 4 / 9, 0])  # of 2 * (25/3, 20/3, 0)
    weights = [1, 4]
    mixed = [sum(w * p for w, p in zip(weights, pair)) / 5 for pair in zip(first.played[0], second.played[0])]
    assert second.average[0] == pytest.approx(mixed)
    weights = [1, 4, 9]
    rows = zip(first.played[0], second.played[0], third.played[0])
    assert third.average[0] == pytest.approx([sum(w * p for w, p in zip(weights, row)) / 14 for row in rows])


def test_discounts_by_hand():
    rule = cfr_twin.recipe("dcfr")
    assert rule.regret(4.0, 1.0, 1) == 1.0  # nothing was learnt before the first iteration
    assert rule.regret(4.0, 1.0, 5) == pytest.approx(4 * 8 / 9 + 1)
    assert rule.regret(-4.0, 1.0, 5) == pytest.approx(-1)
    assert cfr_twin.recipe("linear-cfr").regret(-4.0, 1.0, 5) == pytest.approx(-4 * 4 / 5 + 1)
    assert cfr_twin.recipe("dcfr+").regret(4.0, -9.0, 5) == 0
    assert cfr_twin.recipe("dcfr+").regret(4.0, 1.0, 5) == pytest.approx(4 * 8 / 9.5 + 1)
    assert cfr_twin.recipe("pdcfr+").play(4.0, 1.0, 5) == pytest.approx(4 * 5**2.3 / (5**2.3 + 1) + 1)
    assert cfr_twin.recipe("sapcfr+").play(4.0, -3.0, 5) == pytest.approx(3)
    scheduled = cfr_twin.recipe("hs-dcfr", 10)
    assert scheduled.gamma(10) == 25
    assert scheduled.regret(3.0, 0.0, 10) == pytest.approx(3 * 9**4 / (9**4 + 1))
    assert scheduled.regret(-3.0, 0.0, 10) == pytest.approx(-3 * 9**-3 / (9**-3 + 1))


def test_values_and_best_responses_are_those_of_the_kuhn_twin():
    tree = histories(kuhn())
    ours, root, rng = cfr_twin.nodes(tree), kuhn_exact.expand(kuhn()), random.Random(0)
    for _ in range(20):
        bets = [rng.choice([0.0, 1.0, rng.random()]) for _ in tree.infosets]
        policy = {i: [1 - p, p] for i, p in enumerate(bets)}
        strategy = {name: (1 - p, p) for name, p in zip(tree.infosets, bets)}
        assert cfr_twin.expected_value(ours, policy) == pytest.approx(
            kuhn_exact.value(root, strategy, strategy)
        )
        for seat in range(2):
            best, response = cfr_twin.best_response(ours, policy, seat)
            assert best == pytest.approx(kuhn_exact.best_response(root, seat, strategy)[0])
            value = cfr_twin.expected_value(ours, {**policy, **response})
            assert (value, -value)[seat] == pytest.approx(best)
        expected = kuhn_exact.exploitability(root, strategy)
        assert cfr_twin.exploitability(ours, policy) == pytest.approx(expected)


def test_rows_hold_each_action_in_its_own_column(games):
    game, rng = games["leduc"], random.Random(0)
    policy = {i: [rng.random() for _ in actions] for i, actions in enumerate(game.legal)}
    rows = cfr_twin.as_rows(game, policy)
    assert cfr_twin.from_rows(game, rows) == policy
    assert all(sum(row) == pytest.approx(sum(policy[i])) for i, row in enumerate(rows))
    assert {len(row) for row in rows} == {3}
    folding = next(i for i, actions in enumerate(game.legal) if actions == [1, 2])
    assert rows[folding] == [0.0, *policy[folding]]
