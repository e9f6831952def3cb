"""OpenSpiel's games as trees, against OpenSpiel's own numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from jaxnash.cfr.tree import check
from jaxnash.games.game import CHANCE, TERMINAL, TreeError
from jaxnash.games.openspiel import from_openspiel
from tests.reference import cfr_twin


def test_without_pyspiel_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    with pytest.raises(TreeError, match="pip install open_spiel"):
        from_openspiel("kuhn_poker")


@pytest.fixture(scope="module")
def pyspiel():
    return pytest.importorskip("pyspiel")


IMPERFECT = "num_cards=4,imp_info=True,points_order=descending"
SIZES = {  # histories, terminals, infosets of each player
    "kuhn_poker": (58, 30, 6, 6),
    "leduc_poker": (9457, 5520, 468, 468),
    f"goofspiel({IMPERFECT})": (1077, 576, 81, 81),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_known_ones(pyspiel, name):
    tree = from_openspiel(name)
    of = [sum(infoset.startswith(f"{player}:") for infoset in tree.infosets) for player in range(2)]
    assert (len(tree.parent), np.sum(tree.player == TERMINAL), *of) == SIZES[name]


@pytest.mark.slow
def test_liars_dice_has_its_known_size(pyspiel):
    tree = from_openspiel("liars_dice")
    assert (len(tree.parent), np.sum(tree.player == TERMINAL), len(tree.infosets)) == (294883, 147420, 24576)


SHAPES = [
    *SIZES,
    "liars_dice(dice_sides=4)",
    "liars_dice(dice_sides=2,numdice=2)",
    "goofspiel(num_cards=3)",  # open bids, random prizes
    "goofspiel(num_cards=3,imp_info=True,points_order=random,returns_type=point_difference)",
    "matrix_brps",
    "blotto(coins=4,fields=3)",
    "oshi_zumo(coins=3,size=1,horizon=3)",
    "normal_form_extensive_game(game=kuhn_poker())",
    "turn_based_simultaneous_game(game=matrix_brps())",
    "battleship(board_width=2,board_height=2,ship_sizes=[1],ship_values=[1],num_shots=2)",
    "battleship(board_width=3,board_height=1,ship_sizes=[1;2],ship_values=[1;3],num_shots=2)",
    "dark_hex(board_size=2)",
    "hex(board_size=2)",
    "havannah(board_size=2)",
    "mnk(m=3,n=2,k=3)",
    "nim(pile_sizes=1;2)",
    "dots_and_boxes(num_rows=1,num_cols=1)",
    "zerosum(game=first_sealed_auction(max_value=3))",
    "misere(game=kuhn_poker())",
    "start_at(history=0;1,game=kuhn_poker())",
    "restricted_nash_response(game=kuhn_poker(),p=0.5)",
    "universal_poker(numRanks=3,numSuits=1)",
]


@pytest.mark.parametrize("name", SHAPES)
def test_uniform_nash_conv_and_value_are_openspiels(pyspiel, name):
    tree = from_openspiel(name)
    check(tree)
    game = pyspiel.load_game(name)
    if game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
    even, ours = pyspiel.UniformRandomPolicy(game), cfr_twin.nodes(tree)
    uniform = cfr_twin.uniform_policy(ours)
    expected = pyspiel.nash_conv(game, even)
    assert cfr_twin.nash_conv(ours, uniform) == pytest.approx(expected, abs=1e-9, rel=1e-12)
    value = pyspiel.expected_returns(game.new_initial_state(), even, -1, False)[0]
    assert cfr_twin.expected_value(ours, uniform) == pytest.approx(value, abs=1e-9, rel=1e-12)


@pytest.mark.parametrize("name", ["kuhn_poker", "matrix_brps", f"goofspiel({IMPERFECT})"])
def test_every_history_is_openspiels(pyspiel, name):
    """Names, objects and infosets agree, walking pyspiel's states along the tree's own actions."""
    tree, game = from_openspiel(name), pyspiel.load_game(name)
    by_object = from_openspiel(game)
    for column, same in zip(tree, by_object):
        np.testing.assert_array_equal(column, same)
    if game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS:
        game = pyspiel.convert_to_turn_based(game)
    assert tree.num_actions == game.num_distinct_actions()
    states = [game.new_initial_state()]
    for h in range(1, len(tree.parent)):
        states.append(states[tree.parent[h]].child(int(tree.action[h])))
    for h, state in enumerate(states):
        actions = tree.action[1:][tree.parent[1:] == h].tolist()
        if state.is_terminal():
            assert tree.player[h] == TERMINAL and tree.returns[h].tolist() == state.returns() and not actions
        elif state.is_chance_node():
            below = np.flatnonzero(tree.parent == h)
            assert tree.player[h] == CHANCE
            assert list(zip(actions, tree.chance[below].tolist())) == state.chance_outcomes()
        else:
            name_of = f"{state.current_player()}:{state.information_state_string()}"
            assert tree.player[h] == state.current_player() and actions == state.legal_actions()
            assert tree.infosets[tree.infoset[h]] == name_of


def test_moves_at_once_are_hidden_where_there_are_no_information_states(pyspiel):
    """Two rounds of a game that is symmetric: what both best responses gain doubles, and no more."""
    once = cfr_twin.nodes(from_openspiel("matrix_brps"))
    tree = from_openspiel("repeated_game(stage_game=matrix_brps(),num_repetitions=2)")
    check(tree)
    twice = cfr_twin.nodes(tree)
    expected = 2 * cfr_twin.nash_conv(once, cfr_twin.uniform_policy(once))
    assert cfr_twin.nash_conv(twice, cfr_twin.uniform_policy(twice)) == pytest.approx(expected, abs=1e-9)
    assert len(tree.infosets) == 2 * (1 + 9)


def test_perfect_information_without_information_states_uses_the_history(pyspiel):
    tree = from_openspiel("pig(winscore=4,horizon=6)")
    check(tree)
    assert len(tree.infosets) == np.sum(tree.player >= 0)  # each history is its own


@pytest.mark.parametrize(
    "name, reason",
    [
        ("kuhn_poker(players=3)", "for 3 players, not two"),
        ("matching_pennies_3p", "for 3 players, not two"),
        ("deep_sea", "for 1 player, not two"),
        ("coop_to_1p(game=tiny_hanabi())", "for 1 player, not two"),
        ("mfg_garnet", "mean-field"),
        ("tiny_hanabi", "not zero-sum .identical"),
        ("coop_box_pushing", "not zero-sum .identical"),
        ("matrix_pd", "not zero-sum .general-sum"),
        ("first_sealed_auction", "not zero-sum .general-sum"),
        ("bargaining", "not zero-sum .general-sum"),
        ("dark_chess", "no information state strings"),
        ("no_such_game", "Unknown game 'no_such_game'"),
        ("kuhn_poker(foo=1)", "Unknown parameter 'foo'"),
        ("kuhn_poker(", "Missing closing bracket"),
        ("nfg_game", "parameter is missing"),
        ("chess", r"too large to write out: it has about .* GiB are allowed"),
        ("phantom_ttt", "too large"),
        (7, "got 7"),
    ],
)
def test_what_cannot_be_solved_is_refused_in_one_line(pyspiel, name, reason):
    with pytest.raises(TreeError, match=reason) as caught:
        from_openspiel(name, max_bytes=2**30)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)


def test_the_size_is_known_before_a_level_is_made(pyspiel):
    with pytest.raises(TreeError, match=r"at least [\d,]+ histories, which need .* 0\.00488 GiB are allowed"):
        from_openspiel("leduc_poker", max_bytes=5 * 2**20)
    assert len(from_openspiel("leduc_poker", max_bytes=20 * 2**20).parent) == 9457


@pytest.mark.parametrize("name", ["liars_dice_ir(dice_sides=3,recall_length=1)", "dark_hex_ir(board_size=2)"])
def test_imperfect_recall_is_found_by_the_check(pyspiel, name):
    with pytest.raises(TreeError, match="recall"):
        check(from_openspiel(name))


def lying(pyspiel, chance_mode, paid):
    """One choice of player 0, declared zero-sum; `paid` are the returns of "stay" and of "go"."""
    kind = pyspiel.GameType(
        short_name="python_lying",
        long_name="Lying",
        dynamics=pyspiel.GameType.Dynamics.SEQUENTIAL,
        chance_mode=chance_mode,
        information=pyspiel.GameType.Information.PERFECT_INFORMATION,
        utility=pyspiel.GameType.Utility.ZERO_SUM,
        reward_model=pyspiel.GameType.RewardModel.TERMINAL,
        max_num_players=2,
        min_num_players=2,
        provides_information_state_string=False,
        provides_information_state_tensor=False,
        provides_observation_string=False,
        provides_observation_tensor=False,
        parameter_specification={},
    )

    class Lying(pyspiel.Game):
        def __init__(self):
            super().__init__(kind, pyspiel.GameInfo(len(paid), 0, 2, -1.0, 1.0, 0.0, 1), {})

        def new_initial_state(self):
            return Choice(self)

    class Choice(pyspiel.State):
        def __init__(self, game):
            super().__init__(game)
            self.done = []

        def current_player(self):
            return pyspiel.PlayerId.TERMINAL if self.done else 0

        def _legal_actions(self, player):
            return list(range(len(paid)))

        def _apply_action(self, action):
            self.done = [action]

        def _action_to_string(self, player, action):
            return ("stay", "go")[action]

        def is_terminal(self):
            return bool(self.done)

        def returns(self):
            return list(paid[self.done[0]]) if self.done else [0.0, 0.0]

        def __str__(self):
            return str(self.done)

    return Lying()


@pytest.mark.parametrize("second", [-0.5, float("nan")])
def test_returns_that_are_not_zero_sum_are_found_whatever_is_declared(pyspiel, second):
    game = lying(pyspiel, pyspiel.GameType.ChanceMode.DETERMINISTIC, [(1.0, -1.0), (1.0, second)])
    with pytest.raises(TreeError, match=f"not zero-sum: go pays 1.0 and {second}"):
        from_openspiel(game)


def test_a_history_without_actions_is_named(pyspiel):
    game = lying(pyspiel, pyspiel.GameType.ChanceMode.DETERMINISTIC, [])
    with pytest.raises(TreeError, match="without a legal action: the root"):
        from_openspiel(game)


def test_sampled_chance_is_refused(pyspiel):
    game = lying(pyspiel, pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC, [(1.0, -1.0)])
    with pytest.raises(TreeError, match="sampled-stochastic"):
        from_openspiel(game)
