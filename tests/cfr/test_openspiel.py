"""The solver on OpenSpiel's games, against OpenSpiel; `uv run --group peers pytest` runs it."""

from __future__ import annotations

import numpy as np
import pytest

import jaxnash as jn
from tests.games.test_openspiel import SHAPES

pyspiel = pytest.importorskip("pyspiel")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_of_tree_is_solved(name):
    """Exploitability of the uniform policy as OpenSpiel has it; CFR+ brings it down."""
    from open_spiel.python.algorithms import exploitability
    from open_spiel.python.policy import UniformRandomPolicy

    tree = jn.cfr.compile_tree(jn.games.from_openspiel(name))
    game = pyspiel.load_game(name)
    if game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
    uniform = jn.cfr.exploitability(tree, jn.cfr.uniform_policy(tree))
    expected = exploitability.nash_conv(game, UniformRandomPolicy(game), use_cpp_br=False) / 2
    result = jn.cfr.solve(tree, jn.cfr.cfr_plus(), iterations=1000)
    print(
        f"{name}: uniform {uniform:.10g}, OpenSpiel {expected:.10g}, after CFR+ {result.exploitability:.2g}"
    )
    assert uniform == pytest.approx(expected, abs=1e-9)
    assert result.exploitability <= max(uniform / 100, 1e-9)


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
@pytest.mark.parametrize("rule", ["cfr", "cfr+"])
def test_policies_are_openspiels_action_by_action(name, rule):
    game, iterations = pyspiel.load_game(name), 30
    solver = {"cfr": pyspiel.CFRSolver, "cfr+": pyspiel.CFRPlusSolver}[rule](game)
    for _ in range(iterations):
        solver.evaluate_and_update_policy()
    theirs = solver.average_policy()
    tree = jn.cfr.compile_tree(jn.games.from_openspiel(name))
    ours = jn.cfr.solve(tree, jn.cfr.RECIPES[rule](), iterations=iterations).policy
    seen = set()

    def compare(state) -> None:
        if state.is_terminal():
            return
        if not state.is_chance_node():
            player = state.current_player()
            row = tree.infosets.index(f"{player}:{state.information_state_string(player)}")
            if row not in seen:
                seen.add(row)
                for action, probability in theirs.action_probabilities(state).items():
                    assert ours[row, action] == pytest.approx(probability, abs=1e-8), tree.infosets[row]
        for action in state.legal_actions():
            compare(state.child(action))

    compare(game.new_initial_state())
    assert len(seen) == len(tree.infosets) and np.allclose(ours.sum(1), 1)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("kuhn_poker(players=3)", "3 players"),
        ("tiny_hanabi", "zero-sum"),
        ("matrix_pd", "zero-sum"),
        ("cliff_walking", "player"),
        ("phantom_ttt(obstype=reveal-nothing)", "histories|recall"),
    ],
)
def test_what_cannot_be_solved_says_why(name, reason):
    with pytest.raises(ValueError, match=reason):
        jn.cfr.compile_tree(jn.games.from_openspiel(name))
