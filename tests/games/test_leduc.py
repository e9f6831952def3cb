"""Leduc hold'em's rules, position by position."""

from __future__ import annotations

import re

import numpy as np
import pytest

from jaxnash.cfr import compile_tree, exploitability, game_value
from jaxnash.cfr.tree import histories
from jaxnash.games.game import CHANCE
from jaxnash.games.leduc import CALL, CARDS, FOLD, RAISE, leduc

from .walk import legal, paid, play, uniform_nash_conv, uniform_value

JS, JH, QS, QH, KS, KH = range(6)
DEAL = (JS, KS)


@pytest.fixture(scope="module")
def game():
    return leduc()


def test_three_cards_are_dealt_without_replacement(game):
    assert legal(game) == (CHANCE, [0, 1, 2, 3, 4, 5])
    assert legal(game, QH) == (CHANCE, [JS, JH, QS, KS, KH])
    assert legal(game, QH, JS, CALL, CALL) == (CHANCE, [JH, QS, KS, KH])
    assert np.asarray(game.chance(play(game, QH, JS, CALL, CALL)))[JH] == pytest.approx(1 / 4)


@pytest.mark.parametrize("before", [(), (CALL, CALL, QS)], ids=["first round", "second round"])
def test_a_round_of_betting(game, before):
    def after(*actions):
        return legal(game, *DEAL, *before, *actions)

    assert after() == (0, [CALL, RAISE])  # nothing to fold to
    assert after(CALL) == (1, [CALL, RAISE])
    assert after(RAISE) == (1, [FOLD, CALL, RAISE])
    assert after(CALL, RAISE) == (0, [FOLD, CALL, RAISE])
    assert after(RAISE, RAISE) == (0, [FOLD, CALL])  # two raises are the most
    assert after(CALL, RAISE, RAISE) == (1, [FOLD, CALL])


def test_folding_costs_what_was_put_in(game):
    assert paid(game, *DEAL, RAISE, FOLD) == 1
    assert paid(game, *DEAL, CALL, RAISE, FOLD) == -1
    assert paid(game, *DEAL, RAISE, RAISE, FOLD) == -3
    assert paid(game, *DEAL, CALL, RAISE, RAISE, FOLD) == 3
    assert paid(game, *DEAL, RAISE, CALL, QS, RAISE, FOLD) == 3
    assert paid(game, *DEAL, CALL, CALL, QS, CALL, RAISE, RAISE, FOLD) == 5
    assert paid(game, *DEAL, RAISE, RAISE, CALL, QS, RAISE, RAISE, FOLD) == -9


def test_the_showdown(game):
    checked = (CALL, CALL)
    assert paid(game, JS, KS, *checked, QS, *checked) == -1
    assert paid(game, JS, KS, *checked, JH, *checked) == 1  # a pair beats the king
    assert paid(game, JS, KS, *checked, KH, *checked) == -1
    assert paid(game, QS, QH, *checked, KH, *checked) == 0
    assert paid(game, QS, JS, RAISE, CALL, KH, *checked) == 3
    most = (CALL, RAISE, RAISE, CALL)
    assert paid(game, QS, JS, *most, KH, *most) == 13
    assert paid(game, QS, JS, RAISE, RAISE, CALL, JH, RAISE, CALL) == -9


def test_keys_name_what_the_player_knows(game):
    state = play(game, JS, KH, CALL, RAISE, CALL, QS, RAISE)
    assert game.infoset(state, 0) == "0:Js:Qs:crc/r"
    assert game.infoset(state, 1) == "1:Kh:Qs:crc/r"
    assert game.infoset(play(game, JS, KH), 0) == "0:Js::"
    assert [card[0] for card in CARDS] == list("JJQQKK")


def test_even_play_is_worth_what_openspiel_says(game):
    tree = histories(game)
    assert uniform_value(tree) == pytest.approx(-0.078125, abs=1e-12)
    assert uniform_nash_conv(tree) == pytest.approx(4.7472222222222, abs=1e-12)


def test_without_suits_it_is_the_same_game(game):
    """A policy blind to suits has the same value and exploitability where they are told apart."""
    merged, full = compile_tree(leduc(suits=False)), compile_tree(game)
    assert (len(merged.infosets), len(full.infosets)) == (288, 936)
    rng = np.random.default_rng(0)
    policy = rng.random(merged.legal.shape) * merged.legal
    policy /= policy.sum(axis=1, keepdims=True)
    without = [re.sub("(?<=[JQK])[sh]", "", name) for name in full.infosets]
    lifted = policy[[merged.infosets.index(name) for name in without]]
    assert exploitability(full, lifted) == pytest.approx(exploitability(merged, policy), abs=1e-12)
    assert game_value(full, lifted) == pytest.approx(game_value(merged, policy), abs=1e-12)


def test_observations_without_suits(game):
    blind = leduc(suits=False)
    some, other = play(game, QH, JS, CALL, CALL, KS), play(game, QS, JH, CALL, CALL, KH)
    seen = np.asarray(blind.observe(some))
    assert seen.shape == (2, 32) and np.array_equal(seen, np.asarray(blind.observe(other)))
    assert np.flatnonzero(seen[0]).tolist()[:2] == [1, 3 + 2]  # a queen, and a king on the table
    assert not np.array_equal(np.asarray(game.observe(some)), np.asarray(game.observe(other)))
