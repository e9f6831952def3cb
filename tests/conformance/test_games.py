"""What every `TreeGame` owes: the known size, sane chance and returns, perfect recall, fair observations."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr.tree import check, histories, history_name
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeGame, sampled
from jaxnash.games.goofspiel import goofspiel
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.games.liars_dice import liars_dice
from jaxnash.games.matrix import matrix
from tests.games.walk import uniform_value

EPISODES = 1024


class Case(NamedTuple):
    game: TreeGame
    histories: int
    terminals: int
    infosets: tuple[int, int]
    sequences: tuple[int, int]  # the empty one included
    openspiel: str  # the same tree there


PENNIES = [[1.0, -1.0, 0.25], [-1.0, 1.0, 0.5]]
GOOFSPIEL = "turn_based_simultaneous_game(game=goofspiel(num_cards={},imp_info=True,points_order=descending))"
CASES = {
    "matrix": Case(matrix(PENNIES), 9, 6, (1, 1), (3, 4), "matrix"),
    "kuhn": Case(kuhn(), 58, 30, (6, 6), (13, 13), "kuhn_poker"),
    "leduc": Case(leduc(), 9457, 5520, (468, 468), (1093, 1093), "leduc_poker"),
    "liars_dice_4": Case(
        liars_dice(sides=4), 8181, 4080, (512, 512), (1021, 1021), "liars_dice(dice_sides=4)"
    ),
    "liars_dice": Case(liars_dice(), 294883, 147420, (12288, 12288), (24571, 24571), "liars_dice"),
    "goofspiel_4": Case(goofspiel(4), 1077, 576, (81, 81), (175, 175), GOOFSPIEL.format(4)),
    "goofspiel_5": Case(goofspiel(5), 26931, 14400, (1062, 1062), (2284, 2284), GOOFSPIEL.format(5)),
}
every_game = pytest.mark.parametrize("name", CASES)
small_games = pytest.mark.parametrize("name", [name for name in CASES if CASES[name].histories < 10_000])


@cache
def written(name: str) -> HistoryTree:
    return histories(CASES[name].game)


class Episodes(NamedTuple):
    states: Any  # [T, N, ...], as they are before each step
    player: np.ndarray  # [T, N]
    obs: np.ndarray  # [T, N, P, D]
    legal: np.ndarray  # [T, N, P, A]
    active: np.ndarray  # [T, N, P]
    reward: np.ndarray  # [T, N, P]
    terminated: np.ndarray  # [T, N]
    returns: np.ndarray  # [N, P], the tree's own at the end


@cache
def played(name: str) -> Episodes:
    """Random episodes of `sampled(game)`, as many steps as the tree is deep."""
    tree_game = CASES[name].game
    game, steps = sampled(tree_game), len(history_name(written(name), len(written(name).parent) - 1).split())

    def episode(key: Any) -> tuple[Any, ...]:
        def one(state: Any, key: Any) -> tuple[Any, Any]:
            now = game.observe(state)
            choose, go = jax.random.split(key)
            action = jax.random.categorical(choose, jnp.where(now.legal, 0.0, -jnp.inf))
            after = jax.tree.map(
                lambda new, old: jnp.where(now.terminated, old, new), game.step(go, state, action), state
            )
            return after, (state, tree_game.player(state), *now[:5])

        first, key = jax.random.split(key)
        last, trace = jax.lax.scan(one, game.init(first, None), jax.random.split(key, steps + 1))
        return *trace, tree_game.returns(last)

    # keys that compile faster than the default's
    keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), EPISODES)
    out = jax.jit(jax.vmap(episode))(keys)
    *trace, returns = jax.device_get(out)
    return Episodes(*jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), trace), returns)


@every_game
def test_the_tree_has_the_known_size(name):
    case, tree = CASES[name], written(name)
    assert len(tree.parent) == case.histories
    assert np.sum(tree.player == TERMINAL) == case.terminals
    for player in (0, 1):
        deciding = tree.player == player
        assert len(np.unique(tree.infoset[deciding])) == case.infosets[player]
        taken = tree.player[tree.parent] == player
        pairs = np.unique(np.stack([tree.infoset[tree.parent[taken]], tree.action[taken]]), axis=1)
        assert 1 + pairs.shape[1] == case.sequences[player]
    assert len(set(tree.infosets)) == len(tree.infosets) == sum(case.infosets)


@every_game
def test_the_tree_can_be_solved(name):
    check(written(name))


@every_game
def test_chance_and_decisions_lead_on_and_only_they(name):
    tree = written(name)
    children = np.bincount(tree.parent[1:], minlength=len(tree.parent))
    assert np.array_equal(children > 0, tree.player != TERMINAL)
    drawn = np.zeros(len(tree.parent))
    np.add.at(drawn, tree.parent[1:], np.where(tree.player[tree.parent[1:]] == CHANCE, tree.chance[1:], 0))
    np.testing.assert_allclose(drawn[tree.player == CHANCE], 1, atol=1e-12)
    assert np.all(tree.returns[tree.player == TERMINAL].sum(axis=1) == 0)
    assert np.all((tree.infoset >= 0) == (tree.player >= 0))


@small_games
def test_sampled_episodes_end_with_the_trees_returns(name):
    episodes = played(name)
    assert np.all(episodes.terminated[-1]) and not np.any(episodes.active[-1])
    assert np.array_equal(episodes.reward[-1], episodes.returns.astype(np.float32))
    assert not np.any(episodes.reward[~episodes.terminated])
    assert np.all(episodes.legal.any(axis=-1)), "an empty row of legal"
    moving = ~episodes.terminated
    assert np.all(episodes.active[moving].sum(axis=-1) == 1)
    assert np.all(np.argmax(episodes.active[moving], axis=-1) == episodes.player[moving])
    earned = episodes.returns[:, 0]
    error = np.std(earned) / np.sqrt(EPISODES)
    assert abs(np.mean(earned) - uniform_value(written(name))) < 5 * error + 1e-12


@small_games
def test_observations_and_infosets_say_the_same(name):
    """An observation of the mover tells everything that the key tells, and nothing else."""
    episodes = played(name)
    views: dict[str, bytes] = {}
    keys: dict[bytes, str] = {}
    structure = jax.tree.structure(episodes.states)
    for t, n in np.argwhere(~episodes.terminated):
        mover = int(episodes.player[t, n])
        state = jax.tree.unflatten(structure, [leaf[t, n] for leaf in jax.tree.leaves(episodes.states)])
        key, view = CASES[name].game.infoset(state, mover), episodes.obs[t, n, mover].tobytes()
        assert views.setdefault(key, view) == view
        assert keys.setdefault(view, key) == key
    assert episodes.obs.dtype in (np.float32, np.int8)
    assert len(views) >= min(30, sum(CASES[name].infosets))
    assert set(views) <= set(written(name).infosets)


@small_games
def test_it_runs_without_jit_on_numpy_states(name):
    game, tree = CASES[name].game, written(name)
    state, player = game.root, int(game.player(game.root))
    assert player == tree.player[0]
    choices = np.asarray(game.chance(state) if player == CHANCE else game.legal(state))
    first = tree.action[1 : 1 + np.sum(tree.parent[1:] == 0)]
    assert np.flatnonzero(choices).tolist() == first.tolist()
    after = game.next(state, int(first[0]))
    assert int(game.player(after)) == tree.player[1]
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after)):
        assert old.shape == new.shape and old.dtype == new.dtype


@small_games
def test_it_is_openspiels_game(name):
    """History by history: the same movers, actions, chance, returns and infosets."""
    pyspiel = pytest.importorskip("pyspiel")
    tree = written(name)
    if name == "matrix":
        negative = (-np.array(PENNIES)).tolist()
        theirs = pyspiel.convert_to_turn_based(
            pyspiel.create_matrix_game("", "", ["a", "b"], list("abc"), PENNIES, negative)
        )
    else:
        theirs = pyspiel.load_game(CASES[name].openspiel)
    states = [theirs.new_initial_state()]
    ours_to_theirs, theirs_to_ours = {}, {}
    children = [[] for _ in tree.parent]
    for history, parent in enumerate(tree.parent[1:], 1):
        children[parent].append(history)
        states.append(states[parent].child(int(tree.action[history])))
    for history, state in enumerate(states):
        actions = [int(tree.action[child]) for child in children[history]]
        if state.is_terminal():
            assert tree.player[history] == TERMINAL
            assert tree.returns[history].tolist() == state.returns()
        elif state.is_chance_node():
            assert tree.player[history] == CHANCE
            expected = [pair for pair in state.chance_outcomes() if pair[1] > 0]
            assert actions == [outcome for outcome, _ in expected]
            np.testing.assert_allclose(tree.chance[children[history]], [p for _, p in expected], atol=1e-15)
        else:
            player = state.current_player()
            assert tree.player[history] == player and actions == state.legal_actions()
            key = (player, state.information_state_string(player))
            own = int(tree.infoset[history])
            assert ours_to_theirs.setdefault(own, key) == key
            assert theirs_to_ours.setdefault(key, own) == own
