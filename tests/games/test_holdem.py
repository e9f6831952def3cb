"""Hold'em subgames: the betting tree by hand, the payoffs by enumerating deals."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest

from jaxnash.games.cards import card_name, hand_name, hand_ranks, hands, parse_cards
from jaxnash.games.game import CHANCE, TERMINAL, PublicGame, TreeError
from jaxnash.games.holdem_subgame import holdem_subgame
from jaxnash.games.holdem_values import _at_once, _one_by_one

RIVER, TURN = "Ks7d2c9h3s", "Ks7d2c9h"
SMALL = [card for card in range(52) if card // 4 >= 7 and card % 4 < 2]  # 9 to A in clubs and diamonds
POT, STACK = 10.0, 35.0


def children(game: PublicGame, name: str) -> dict[int, str]:
    """What can follow a node: its own part of the name, by action."""
    node = game.nodes.index(name)
    return {
        int(game.action[child]): game.nodes[child].removeprefix(name).strip(" |")
        for child in np.flatnonzero(game.parent == node)
    }


def player(game: PublicGame, name: str) -> int:
    return int(game.player[game.nodes.index(name)])


def ends(game: PublicGame) -> list[str]:
    return [game.nodes[node] for node in np.flatnonzero(game.player == TERMINAL)]


def values(game: PublicGame, seat: int, reach: np.ndarray) -> np.ndarray:
    call = jax.jit(lambda terminals, reach: terminals.values(seat, reach))
    return np.asarray(call(game.terminals, reach))


def outcome(name: str, pot: float, stack: float) -> tuple[list[float], int | None, str | None]:
    """Chips put in, who folded and the last card, all read off a terminal node's name."""
    put, folded, card, mover = [0.0, 0.0], None, None, 0
    for word in name.split():
        if word == "|":
            mover = 0
            continue
        if word[0] in "23456789TJQKA":
            card = word
            continue
        if word == "f":
            folded = mover
        elif word == "c":
            put[mover] = put[1 - mover]
        elif word == "a":
            put[mover] = stack
        elif word != "x":
            put[mover] = put[1 - mover] + float(word[1:]) / 100 * (pot + 2 * put[1 - mover])
        mover = 1 - mover
    return put, folded, card


def by_enumeration(game: PublicGame, board: str, ranges, deck) -> np.ndarray:
    """Player 0's payoff for each terminal node and deal, f[Z, H0, H1], weighted."""
    index = {hand_name(pair): i for i, pair in enumerate(hands(deck))}
    own, other = ([parse_cards(name) for name in side] for side in game.hands)
    weight = np.outer(*([given[index[name]] for name in side] for given, side in zip(ranges, game.hands)))
    weight *= [[not set(a) & set(b) for b in other] for a in own]
    weight /= weight.sum()
    payoffs = []
    for name in ends(game):
        put, folded, card = outcome(name, POT, STACK)
        full = parse_cards(board + (card or ""))
        first, second = (np.array([rank(full, hand) for hand in side]) for side in (own, other))
        possible = (first > 0)[:, None] & (second > 0) if card else True
        if folded is None:
            assert put[0] == put[1] and len(full) == 5
            share = (POT + sum(put)) * (1 + np.sign(first[:, None] - second)) / 2
        else:
            share = (POT + sum(put)) * folded
        chance = 1 / (len(deck) - 8) if card else 1.0
        payoffs.append(weight * chance * possible * (share - put[0] - POT / 2))
    return np.array(payoffs)


@cache
def rank(board: tuple[int, ...], hand: tuple[int, ...]) -> int:
    """A hand's strength, 0 where it holds a board card; of fewer cards than a river's, 1."""
    if set(board) & set(hand):
        return 0
    return int(hand_ranks(np.array(board + hand))) if len(board) == 5 else 1


@pytest.fixture(scope="module", params=["river", "turn"])
def small(request):
    """A small deck's subgame, random ranges with holes, and its payoffs by enumeration."""
    board = "AcAdKcQdJc" if request.param == "river" else "AcKdJc9d"
    rng = np.random.default_rng(5)
    ranges = [rng.random(66) * (rng.random(66) < 0.8) for _ in range(2)]
    sizes = [0.5, 1.5] if request.param == "river" else [[1.0], [0.75]]
    game = holdem_subgame(board, POT, STACK, sizes, ranges, deck=SMALL, max_raises=2)
    return game, by_enumeration(game, board, ranges, SMALL)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_equal_enumeration(small, dtype):
    game, payoffs = small
    rng = np.random.default_rng(1)
    reach = [rng.random((len(payoffs), len(side))).astype(dtype) for side in game.hands]
    with jax.enable_x64(dtype == np.float64):
        got = [values(game, seat, reach[1 - seat]) for seat in (0, 1)]
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    np.testing.assert_allclose(got[0], np.einsum("zij,zj->zi", payoffs, reach[1]), rtol=0, atol=tolerance)
    np.testing.assert_allclose(got[1], -np.einsum("zij,zi->zj", payoffs, reach[0]), rtol=0, atol=tolerance)
    assert got[0].dtype == got[1].dtype == dtype
    assert np.sum(reach[0] * got[0]) == pytest.approx(-np.sum(reach[1] * got[1]), abs=100 * tolerance)


def test_both_ways_of_running_sums_agree():
    rng = np.random.default_rng(2)
    lanes, slots = rng.integers(0, 9, (40, 3)).astype(np.float32), rng.integers(0, 40, (7, 5, 4))
    expected = np.concatenate([np.zeros((1, 5, 3)), np.cumsum(lanes[slots].sum(axis=2), axis=0)])
    np.testing.assert_array_equal(jax.jit(_one_by_one)(lanes, slots), expected)
    np.testing.assert_array_equal(jax.jit(_at_once)(lanes, slots), expected)


@pytest.mark.parametrize("hand", ["AsAh", "KdKc", "7s6s", "3h3d", "QdJd"])
def test_river_equities_of_the_full_deck(hand):
    game = holdem_subgame(RIVER, 2.0, 0.0, [])
    assert ends(game) == ["x x"] and len(game.hands[0]) == 1081
    with jax.enable_x64(True):
        got = values(game, 0, np.ones((1, 1081)))[0, game.hands[0].index(hand)]
    board, own = parse_cards(RIVER), parse_cards(hand)
    others = hands([card for card in range(52) if card not in (*board, *own)])
    assert len(others) == 990
    theirs = hand_ranks(np.concatenate([others, np.tile(board, (990, 1))], axis=1))
    mine = hand_ranks(np.array([*board, *own]))
    assert got * 1081 * 990 == pytest.approx(np.sum(mine > theirs) - np.sum(mine < theirs), abs=1e-6)


@pytest.mark.parametrize("hand", ["AsAh", "QdJd"])
def test_turn_equities_of_the_full_deck(hand):
    game = holdem_subgame(TURN, 2.0, 0.0, [])
    assert len(ends(game)) == 48 and children(game, "x x") == {c: card_name(c) for c in _left(TURN)}
    with jax.enable_x64(True):
        got = values(game, 0, np.ones((48, 1128)))[:, game.hands[0].index(hand)].sum()
    own = parse_cards(hand)
    balance = 0
    for card in _left(TURN + hand):
        board = (*parse_cards(TURN), card)
        others = hands([c for c in range(52) if c not in (*board, *own)])
        theirs = hand_ranks(np.concatenate([others, np.tile(board, (990, 1))], axis=1))
        mine = hand_ranks(np.array([*board, *own]))
        balance += np.sum(mine > theirs) - np.sum(mine < theirs)
    assert got * 1128 * 1035 * 44 == pytest.approx(balance, abs=1e-5)


def _left(cards: str) -> list[int]:
    return [card for card in range(52) if card not in parse_cards(cards)]


def test_a_board_that_plays_is_split():
    game = holdem_subgame("AsKsQsJsTs", 10, 20, [0.5])
    with jax.enable_x64(True):
        got = np.asarray(game.terminals.values(1, np.ones((len(ends(game)), 1081))))  # outside jit
    folds = np.array([name.endswith("f") for name in ends(game)])
    assert np.abs(got[~folds]).max() < 1e-12 and np.abs(got[folds]).min() > 1e-4


def test_a_hand_that_nothing_can_meet_is_worth_nothing():
    weights = np.zeros((2, 1326))
    index = {hand_name(pair): i for i, pair in enumerate(hands())}
    weights[0, [index["AsAh"], index["QdQc"], index["Ks4c"]]] = 1  # the last holds a board card
    weights[1, [index["AsKd"], index["AhKd"]]] = 1
    game = holdem_subgame(RIVER, 10, 20, [0.5], weights)
    assert game.hands == (("QdQc", "AsAh"), ("AhKd", "AsKd"))
    with jax.enable_x64(True):
        got = values(game, 0, np.random.default_rng(0).random((len(ends(game)), 2)))
    assert (got[:, 1] == 0).all() and (got[:, 0] != 0).all()


def test_river_betting_by_hand():
    game = holdem_subgame(RIVER, 100, 450, [0.5, 1.0], max_raises=3)
    assert game.num_actions == 5
    assert (player(game, ""), player(game, "x"), player(game, "x b50")) == (0, 1, 0)
    assert children(game, "") == {1: "x", 2: "b50", 3: "b100", 4: "a"}
    assert children(game, "x") == {1: "x", 2: "b50", 3: "b100", 4: "a"}
    assert children(game, "b50") == {0: "f", 1: "c", 2: "r50", 3: "r100", 4: "a"}
    # to 150 of 450, then pot 400: half a pot more is 350, of which 300 of 400 behind are too many
    assert children(game, "b50 r50") == {0: "f", 1: "c", 4: "a"}
    assert children(game, "b50 a") == {0: "f", 1: "c"}
    assert children(game, "x x") == {} and player(game, "x x") == TERMINAL
    assert children(game, "b50 r50 a") == {0: "f", 1: "c"}


def test_stakes_by_hand():
    game = holdem_subgame(RIVER, 100, 1000, [0.5, 1.0])
    folds = dict(zip([name for name in ends(game) if name.endswith("f")], game.terminals.folds.T.tolist()))
    showdowns = dict(zip([name for name in ends(game) if not name.endswith("f")], game.terminals.showdowns))
    assert folds["b50 f"] == [50, -50]
    assert folds["b50 r50 f"] == [-100, 100]  # 50 of the pot and 50 put in
    assert folds["x b100 r50 f"] == [150, -150]
    assert showdowns["x x"] == 50 and showdowns["b50 c"] == 100
    assert showdowns["b50 r50 c"] == 200  # 50 + 50 + half of 200
    assert showdowns["x b100 r50 c"] == 300  # 50 + 100 + half of 300
    assert showdowns["a c"] == 1050


def test_a_raise_is_at_least_the_last():
    game = holdem_subgame(RIVER, 100, 1e6, [0.25, 2.0])
    assert "r25" in children(game, "b25").values()  # 37.5 more than 25
    assert "r25" not in children(game, "b200").values()  # 125 more than 200 is too little
    assert "r200" in children(game, "b200").values()
    least = holdem_subgame(RIVER, 100, 1e6, [0.25, 2.0], min_bet=30)
    assert children(least, "") == {1: "x", 3: "b200", 4: "a"}


def test_an_all_in_below_the_minimum_does_not_reopen():
    game = holdem_subgame(RIVER, 100, 250, [1.0], all_in_from=1.0, max_raises=10)
    assert children(game, "b100 a") == {0: "f", 1: "c"}
    short = holdem_subgame(RIVER, 100, 150, [1.0], all_in_from=1.0, max_raises=10)
    assert children(short, "b100") == {0: "f", 1: "c", 3: "a"}  # 50 more than 100, and still allowed
    assert children(short, "b100 a") == {0: "f", 1: "c"}


def test_the_cap_on_raises_and_large_bets():
    game = holdem_subgame(RIVER, 100, 1e6, [0.5], max_raises=2)
    assert children(game, "b50 r50") == {0: "f", 1: "c"}
    assert children(holdem_subgame(RIVER, 100, 100, [0.5], max_raises=0), "") == {1: "x"}
    assert children(holdem_subgame(RIVER, 100, 100, [0.5, 0.7]), "") == {
        1: "x",
        2: "b50",
        4: "a",
    }  # 70 >= 2/3
    everything = holdem_subgame(RIVER, 100, 100, [0.5, 0.7], all_in_from=0.75)
    assert children(everything, "") == {1: "x", 2: "b50", 3: "b70", 4: "a"}


def test_play_is_for_the_smaller_stack():
    game = holdem_subgame(RIVER, 100, [500, 120], [0.5])
    even = holdem_subgame(RIVER, 100, 120, [0.5])
    assert game.nodes == even.nodes
    assert game.terminals.showdowns.max() == 50 + 120


def test_the_turn_is_followed_by_a_card_and_a_river():
    game = holdem_subgame(TURN, 100, 500, [[0.5], [0.3, 1.0]], max_raises=1)
    assert game.num_actions == 5
    assert children(game, "") == {1: "x", 2: "b50", 4: "a"}
    assert player(game, "x b50 c") == CHANCE
    cards = children(game, "x b50 c")
    assert cards == {card: card_name(card) for card in _left(TURN)}
    assert player(game, "x b50 c | Qh") == 0
    assert children(game, "x b50 c | Qh") == {1: "x", 2: "b30", 3: "b100", 4: "a"}
    assert player(game, "a c | Qh") == TERMINAL  # nothing is left to bet
    assert children(game, "x b50 c | Qh | b30") == {0: "f", 1: "c"}
    river = dict(
        zip([name for name in ends(game) if "| 2d" in name and name[-1] != "f"], game.terminals.showdowns)
    )
    assert river["x b50 c | 2d | b30 c"] == 50 + 50 + 0.3 * 200
    assert river["a c | 2d"] == 550


@pytest.mark.parametrize("board", [RIVER, TURN])
def test_the_tree_is_in_order(board):
    game = holdem_subgame(board, 100, 300, [0.5], max_raises=2)
    nodes = np.arange(len(game.parent))
    assert game.parent[0] == game.action[0] == -1 and game.nodes[0] == ""
    assert (game.parent[1:] >= 0).all() and (game.parent[1:] < nodes[1:]).all()
    assert len(set(game.nodes)) == len(game.nodes) == len(game.action) == len(game.player)
    assert len(set(zip(game.parent.tolist(), game.action.tolist()))) == len(nodes)
    inner = np.isin(nodes, game.parent)
    np.testing.assert_array_equal(inner, game.player != TERMINAL)
    above = game.player[game.parent[1:]]
    assert game.action[1:][above >= 0].max() == game.num_actions - 1


def uniform(**changes) -> PublicGame:
    given = {"board": RIVER, "pot": 100, "stacks": 100, "bet_sizes": [0.5], "ranges": None} | changes
    return holdem_subgame(**given)


NAN_RANGE = np.where(np.arange(1326) == 1325, np.nan, 1.0)
ONLY_ACES = (np.arange(1326) == 1325).astype(float)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"board": "Ks7d2c9hKs"}, "Ks comes twice"),
        ({"board": "Ks7d2c"}, "a board of 3 cards"),
        ({"board": "Ks7d2c9h3x"}, "'3x' is no card"),
        ({"board": RIVER, "deck": SMALL}, "the board's Ks is not in the deck"),
        ({"board": "AcAdKcKdQc", "deck": "AcAdKcKdQcQdJc"}, "a deck of 7 cards"),
        ({"pot": -1}, "pot -1"),
        ({"pot": float("nan")}, "pot nan"),
        ({"stacks": [100, -5]}, "stack -5"),
        ({"stacks": [1, 2, 3]}, "one number or one per player"),
        ({"bet_sizes": [0.5, 0]}, "bet size 0"),
        ({"bet_sizes": [-0.5]}, "bet size -0.5"),
        ({"bet_sizes": [[0.5], [1.0]]}, "bet_sizes for 2 streets: this subgame has 1"),
        ({"max_raises": -1}, "max_raises -1"),
        ({"min_bet": -1}, "min_bet -1"),
        ({"all_in_from": 0}, "all_in_from 0"),
        ({"ranges": (None, np.ones(1325))}, r"player 1's range has shape \(1325,\)"),
        ({"ranges": (NAN_RANGE, None)}, "player 0's range gives AsAh the weight nan"),
        ({"ranges": (-ONLY_ACES, None)}, "player 0's range gives AsAh the weight -1"),
        ({"ranges": (None, np.zeros(1326))}, "player 1's range is empty"),
        ({"ranges": (ONLY_ACES, ONLY_ACES)}, "no possible deal"),
        ({"ranges": ("top 10%", None)}, "player 0's range 'top 10%'"),
        ({"ranges": [None]}, "ranges of 1 players"),
        ({"max_bytes": 10**6}, r"public nodes of 1,081 hands need about 0\.\d+ GiB"),
    ],
)
def test_what_is_refused(changes, reason):
    with pytest.raises(TreeError, match=reason):
        uniform(**changes)


def test_betting_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("jaxnash.games.holdem_betting.MOST_LINES", 1000)
    with pytest.raises(TreeError, match="more than 1,000 lines"):
        uniform(stacks=1e9, bet_sizes=[0.1, 0.2, 0.3, 0.4], max_raises=100)
