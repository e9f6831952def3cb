"""Kuhn poker against what is known of it (Kuhn 1950), by plain recursion."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxnash.games.game import CHANCE, TERMINAL
from jaxnash.games.kuhn import kuhn


def nodes(game, state=None, own=((), ())):
    """Every (state, own) in the tree, `own` being each player's past (infoset, action) pairs."""
    state = game.root if state is None else state
    yield state, own
    player = int(game.player(state))
    if player == TERMINAL:
        return
    if player == CHANCE:
        choices = np.flatnonzero(np.asarray(game.chance(state)))
    else:
        choices = np.flatnonzero(np.asarray(game.legal(state)))
    for action in choices:
        after = own
        if player >= 0:
            past = (*own[player], (game.infoset(state, player), int(action)))
            after = tuple(past if seat == player else own[seat] for seat in range(2))
        yield from nodes(game, np.asarray(game.next(state, action)), after)


@pytest.fixture(scope="module")
def tree():
    game = kuhn()
    return game, [(state, own, int(game.player(state))) for state, own in nodes(game)]


def equilibrium(key: str, alpha: float) -> float:
    """Probability of betting or calling in Kuhn's equilibrium with parameter alpha in [0, 1/3]."""
    player, card, betting = key.split(":")
    if player == "0":
        table = {"": {"J": alpha, "Q": 0, "K": 3 * alpha}, "pb": {"J": 0, "Q": alpha + 1 / 3, "K": 1}}
    else:
        table = {"p": {"J": 1 / 3, "Q": 0, "K": 1}, "b": {"J": 0, "Q": 1 / 3, "K": 1}}
    return table[betting][card]


@pytest.mark.parametrize("alpha", [0, 1 / 6, 1 / 3])
def test_the_value_is_minus_one_eighteenth(alpha):
    game = kuhn()

    def value(state) -> float:
        player = int(game.player(state))
        if player == TERMINAL:
            return float(game.returns(state)[0])
        if player == CHANCE:
            p = np.asarray(game.chance(state), np.float64)
        else:
            bet = equilibrium(game.infoset(state, player), alpha)
            p = np.array([1 - bet, bet])
        return sum(p[a] * value(np.asarray(game.next(state, a))) for a in np.flatnonzero(p))

    assert value(game.root) == pytest.approx(-1 / 18, abs=1e-7)


def test_the_tree_has_the_known_size(tree):
    game, found = tree
    assert sum(player == TERMINAL for *_, player in found) == 6 * 5
    assert len({game.infoset(state, player) for state, _, player in found if player >= 0}) == 12


def test_infosets_have_perfect_recall(tree):
    game, found = tree
    pasts: dict[str, tuple] = {}
    for state, own, player in found:
        if player >= 0:
            assert pasts.setdefault(game.infoset(state, player), own[player]) == own[player]


def test_observations_separate_infosets_and_hide_the_other_card(tree):
    game, found = tree
    keys, views = {}, {}
    for state, _, player in found:
        if player >= 0:
            key, view = game.infoset(state, player), np.asarray(game.observe(state))[player].tobytes()
            assert keys.setdefault(view, key) == key
            assert views.setdefault(key, view) == view


def test_chance_and_returns_are_sane(tree):
    game, found = tree
    for state, _, player in found:
        if player == CHANCE:
            assert float(np.sum(game.chance(state))) == pytest.approx(1)
        if player == TERMINAL:
            returns = np.asarray(game.returns(state))
            assert returns.sum() == 0
            assert abs(returns[0]) in (1, 2)


def test_it_compiles_to_the_same(tree):
    game, found = tree
    states = np.stack([state for state, *_ in found])
    assert jax.jit(jax.vmap(game.player))(states).tolist() == [player for *_, player in found]
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(game.observe))(states), np.stack([game.observe(state) for state in states])
    )
