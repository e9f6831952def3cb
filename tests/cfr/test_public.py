"""The public form against the sequence form of the same game, and hold'em against its history form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.cfr.tree import histories
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, PublicGame, TreeError

GAMES = {
    "kuhn": jn.games.kuhn,
    "leduc": jn.games.leduc,
    "liars_dice": lambda: jn.games.liars_dice(sides=3),
}


@pytest.mark.parametrize("name", GAMES)
def test_the_public_form_is_the_same_game(name):
    written = histories(GAMES[name]())
    tree, public = jn.cfr.compile_tree(written), jn.cfr.compile_tree(jn.cfr.public_form(written))
    assert public.infosets == tree.infosets and np.array_equal(public.legal, tree.legal)
    assert np.array_equal(public.player, tree.player)
    noise = np.random.default_rng(0).random(tree.legal.shape) * tree.legal
    policy = noise / noise.sum(1, keepdims=True)
    assert jn.cfr.nash_conv(public, policy) == pytest.approx(jn.cfr.nash_conv(tree, policy), abs=1e-12)
    assert jn.cfr.game_value(public, policy) == pytest.approx(jn.cfr.game_value(tree, policy), abs=1e-13)
    for player in (0, 1):
        ours, theirs = (jn.cfr.best_response(t, policy, player).value for t in (public, tree))
        assert ours == pytest.approx(theirs, abs=1e-12)
    ours, theirs = (jn.cfr.solve(t, jn.cfr.cfr_plus(), iterations=50) for t in (public, tree))
    if name != "liars_dice":  # there actions tie, and rounding decides between them
        assert ours.exploitability == pytest.approx(theirs.exploitability, abs=1e-8)
    assert ours.exploitability < 0.05 * jn.cfr.exploitability(tree, jn.cfr.uniform_policy(tree))
    assert jn.cfr.nash_conv(tree, ours.policy) == pytest.approx(2 * ours.exploitability, abs=1e-12)


def test_sizes_of_the_public_forms():
    leduc, dice = jn.cfr.public_form(jn.games.leduc()), jn.cfr.public_form(jn.games.liars_dice(sides=4))
    assert [len(h) for h in leduc.hands] == [6, 6] and len(leduc.parent) == 465
    assert [len(h) for h in dice.hands] == [4, 4] and len(dice.parent) == 2 ** (2 * 4 + 1) - 1


def test_a_game_without_public_form_says_why():
    with pytest.raises(TreeError, match="no public form: infoset"):
        jn.cfr.public_form(jn.games.goofspiel(3))  # bids are made unseen


def written_out(game: PublicGame) -> HistoryTree:
    """A river as plain histories: every deal of hands, then the public tree below each."""
    zeros = [np.zeros((int(np.sum(game.player == TERMINAL)), len(game.hands[s]))) for s in (0, 1)]
    terminal = np.cumsum(game.player == TERMINAL) - 1
    payoff = np.zeros((len(zeros[0]), len(game.hands[0]), len(game.hands[1])))
    for j in range(len(game.hands[1])):  # one opponent hand at a time
        reach = zeros[1].copy()
        reach[:, j] = 1
        with jax.enable_x64(True):
            payoff[:, :, j] = np.asarray(game.terminals.values(0, jnp.asarray(reach)))
    rows = [(-1, -1, CHANCE, 1.0, 0.0, -1)]
    deals = [(i, j) for i in range(len(game.hands[0])) for j in range(len(game.hands[1]))]
    names: dict[str, int] = {}
    level = []
    for number, deal in enumerate(deals):  # the deal's weight is in the payoffs: here every deal counts alike
        level.append((0, number, 0, deal))
    while level:
        below = []
        for parent, action, node, deal in level:
            index, mover = len(rows), int(game.player[node])
            chance = 1 / len(deals) if parent == 0 else 1.0
            value, key = 0.0, -1
            if mover == TERMINAL:
                value = payoff[terminal[node]][deal] * len(deals)
            else:
                name = f"{game.hands[mover][deal[mover]]} | {game.nodes[node]}"
                key = names.setdefault(f"{mover}: {name}", len(names))
            rows.append((parent, action, mover, chance, value, key))
            for child in np.flatnonzero(game.parent == node):
                below.append((index, int(game.action[child]), int(child), deal))
        level = below
    parent, action, player, chance, value, key = map(np.array, zip(*rows))
    return HistoryTree(
        parent.astype(np.int32),
        action.astype(np.int32),
        player.astype(np.int8),
        chance,
        np.stack([value, -value], 1),
        key.astype(np.int32),
        tuple(names),
        game.num_actions,
    )


def test_a_small_river_is_its_history_form():
    deck = ["As", "Ah", "Qs", "Jh", "8s", "4h", "Kd", "Tc", "7d", "5c", "2d"]
    rng = np.random.default_rng(3)
    hands = len(deck) * (len(deck) - 1) // 2
    ranges = rng.random(hands), rng.random(hands)
    game = jn.games.holdem_subgame(
        "KdTc7d5c2d", pot=10, stacks=20, bet_sizes=[1.0], ranges=ranges, deck=deck, max_raises=2
    )
    public, plain = jn.cfr.compile_tree(game), jn.cfr.compile_tree(written_out(game))
    assert len(game.hands[0]) == 15 and public.legal.shape == plain.legal.shape
    row = [plain.infosets.index(f"{p}: {name}") for p, name in zip(public.player, public.infosets)]
    noise = rng.random(public.legal.shape) * public.legal
    policy = noise / noise.sum(1, keepdims=True)
    same = np.empty_like(policy)
    same[row] = policy
    assert jn.cfr.nash_conv(public, policy) == pytest.approx(jn.cfr.nash_conv(plain, same), abs=1e-11)
    assert jn.cfr.game_value(public, policy) == pytest.approx(jn.cfr.game_value(plain, same), abs=1e-12)
    # CFR+ is not compared digit by digit: many actions here are worth the same (a check that wins the pot, a
    # bet that everybody folds to), and rounding decides between them
    value = jn.cfr.solve_lp(written_out(game)).value
    for tree in (public, plain):
        solved = jn.cfr.solve(tree, jn.cfr.cfr_plus(), iterations=1000)
        assert solved.exploitability < 0.01  # a thousandth of the pot
        assert solved.value == pytest.approx(value, abs=2 * solved.exploitability + 1e-9)


def test_a_full_river_is_solved_to_a_thousandth_of_the_pot():
    game = jn.games.holdem_subgame("Ks7d2c9h3s", pot=100, stacks=300, bet_sizes=[0.5, 1.0])
    tree = jn.cfr.compile_tree(game)
    result = jn.cfr.solve(tree, jn.cfr.cfr_plus(), iterations=400, evaluate_every=100, target=0.1)
    assert result.exploitability <= 0.1  # of a pot of 100
    print(f"{len(game.parent)} nodes, {result.iterations} iterations, {result.seconds:.2f} s")
