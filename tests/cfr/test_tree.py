"""Writing games out, and refusing those that cannot be solved, by tiny games broken in one place each."""

from __future__ import annotations

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr.tree import check, histories, history_name
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeError, TreeGame
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.games.liars_dice import liars_dice


class Node(NamedTuple):
    player: int
    to: tuple[int, ...] = ()  # the node after each action, -1 where it is illegal
    key: str = ""
    chance: tuple[float, ...] = (0.0, 0.0)
    returns: tuple[float, float] = (0.0, 0.0)


END = [Node(TERMINAL, returns=(x, -x)) for x in (1.0, -1.0)]
COIN = [  # player 0 sees the coin and says something; player 1 hears nothing and guesses
    Node(CHANCE, (1, 2), chance=(0.25, 0.75)),
    Node(0, (3, 4), "heads"),
    Node(0, (5, 6), "tails"),
    *[Node(1, (7, 8), "guess")] * 2,
    *[Node(1, (8, 7), "guess")] * 2,
    *END,
]


def written(nodes: list[Node]) -> TreeGame:
    """The game of these nodes; a state is a node's number, i32[]."""
    to = np.array([(*node.to, -1, -1)[:2] for node in nodes], np.int32)
    movers = np.array([node.player for node in nodes], np.int32)
    chances, ends = [node.chance for node in nodes], [node.returns for node in nodes]
    return TreeGame(
        root=np.int32(0),
        player=lambda state: jnp.asarray(movers)[state],
        legal=lambda state: jnp.asarray(to)[state] >= 0,
        chance=lambda state: jnp.array(chances)[state],
        next=lambda state, action: jnp.asarray(to)[state, action],
        returns=lambda state: jnp.array(ends)[state],
        infoset=lambda state, player: nodes[int(state)].key,
        observe=lambda state: jnp.zeros((2, 1)),
        num_actions=2,
    )


def broken(**changes: Node) -> list[Node]:
    """The coin game with other nodes: `n3=...` is the third."""
    nodes = list(COIN)
    for number, node in changes.items():
        nodes[int(number[1:])] = node
    return nodes


def test_a_game_is_written_out_breadth_first():
    tree = histories(written(COIN))
    check(tree)
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert tree.action.tolist() == [-1] + [0, 1] * 7
    assert tree.player.tolist() == [CHANCE, 0, 0, 1, 1, 1, 1] + [TERMINAL] * 8
    assert tree.chance.tolist() == [1, 0.25, 0.75] + [1] * 12
    assert tree.infosets == ("heads", "tails", "guess")
    assert tree.infoset.tolist() == [-1, 0, 1, 2, 2, 2, 2] + [-1] * 8
    assert tree.returns[7:, 0].tolist() == [1, -1, 1, -1, -1, 1, -1, 1]
    assert [history_name(tree, h) for h in (0, 2, 5, 14)] == ["the root", "c1", "c1 0", "c1 1 1"]


def test_the_columns_have_their_types():
    tree = histories(leduc())
    types = {name: column.dtype for name, column in tree._asdict().items() if isinstance(column, np.ndarray)}
    assert types == dict(parent="i4", action="i4", player="i1", chance="f8", returns="f8", infoset="i4")
    assert tree.returns.shape == (9457, 2)
    assert not tree.returns[tree.player != TERMINAL].any()
    assert not jax.config.jax_enable_x64  # only within


def test_impossible_outcomes_are_left_out():
    tree = histories(written(broken(n0=Node(CHANCE, (1, 2), chance=(0, 1)))))
    check(tree)
    assert tree.infosets == ("tails", "guess")
    assert tree.action[1] == 1 and len(tree.parent) == 8


def test_a_state_may_be_any_tree_of_arrays():
    plain = written(COIN)
    nested = plain._replace(
        root={"node": plain.root, "moves": np.zeros(3, np.float32)},
        player=lambda state: plain.player(state["node"]),
        legal=lambda state: plain.legal(state["node"]),
        chance=lambda state: plain.chance(state["node"]),
        next=lambda state, a: {"node": plain.next(state["node"], a), "moves": state["moves"] + 1},
        returns=lambda state: plain.returns(state["node"]),
        infoset=lambda state, player: plain.infoset(state["node"], player),
    )
    for ours, theirs in zip(histories(nested), histories(plain)):
        assert np.array_equal(ours, theirs)


def test_a_game_is_traced_once_whatever_its_size():
    game, traced = leduc(), []

    def next(state, action):
        traced.append(1)
        return game.next(state, action)

    histories(game._replace(next=next))
    assert len(traced) == 1


LOSS = Node(TERMINAL, returns=(1.0, -0.5))
FORGETFUL = [Node(0, (7, 8), "again")] * 4
REFUSED = {
    "chance below one": (
        broken(n0=COIN[0]._replace(chance=(0.5, 0.4))),
        "history the root: chance sums to 0.9, not",
    ),
    "chance above one": (
        broken(n0=COIN[0]._replace(chance=(0.5, 0.5 + 2e-9))),
        "the root: chance sums to 1.000000002",
    ),
    "negative chance": (
        broken(n0=COIN[0]._replace(chance=(1.5, -0.5))),
        "history c1: chance leads here .* -0.5",
    ),
    "chance is NaN": (
        broken(n0=COIN[0]._replace(chance=(np.nan, 0.5))),
        "history c0: chance leads here .* nan",
    ),
    "no outcome": (broken(n0=COIN[0]._replace(chance=(0, 0))), "history the root: chance has no outcome"),
    "no action": (broken(n5=Node(1, (), "guess")), "history c1 0: player 1 has no legal action"),
    "NaN": (broken(n8=Node(TERMINAL, returns=(np.nan, 0))), "history c0 0 1: the returns are nan and 0"),
    "infinite": (broken(n7=Node(TERMINAL, returns=(np.inf, -np.inf))), "history c0 0 0: the returns are inf"),
    "general sum": (broken(n8=LOSS), "history c0 0 1: the returns 1 and -0.5 are not zero-sum"),
    "a third player": (broken(n4=Node(2, (7, 8), "guess")), "history c0 1: player 2 moves"),
    "both players": (
        broken(n5=Node(1, (7, 8), "heads")),
        "history c1 0: its infoset 'heads' is also that of history c0, of the other player",
    ),
    "fewer actions": (
        broken(n6=Node(1, (7,), "guess")),
        "history c1 1: its infoset 'guess' is also that of history c0 0, where other actions",
    ),
    "more actions": (
        broken(n3=Node(1, (7,), "guess")),
        "history c0 1: .* 'guess' .* c0 0, where other actions",
    ),
    "as many, but others": (
        broken(n3=Node(1, (7,), "guess"), n4=Node(1, (-1, 7), "guess")),
        "history c0 1: .* 'guess' .* c0 0, where other actions",
    ),
    "forgets what it did": (
        [*COIN[:3], *FORGETFUL, *END],
        "history c0 1: imperfect recall: its infoset 'again' is also that of history c0 0,",
    ),
    "forgets that it was there": (
        broken(n3=Node(0, (7, 8), "heads")),
        "history c0 0: imperfect recall: its infoset 'heads' is also that of history c0,",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_game_is_refused_by_the_name_of_the_history(name):
    nodes, message = REFUSED[name]
    tree = histories(written(nodes))
    with pytest.raises(TreeError, match=message):
        check(tree)


def test_what_the_other_player_forgets_is_no_harm():
    """Perfect recall is about a player's own past: player 1's node merges what player 0 did and chance."""
    check(histories(written(COIN)))
    check(histories(kuhn()))


def test_returns_are_judged_at_their_scale():
    for scale, refused in ((1e9, False), (1.0, True)):
        off = Node(TERMINAL, returns=(scale, -scale - 1e-6))
        tree = histories(written(broken(n7=off, n8=off)))
        if refused:
            with pytest.raises(TreeError, match="not zero-sum"):
                check(tree)
        else:
            check(tree)


MALFORMED = {
    "parents": (lambda t: t._replace(parent=t.parent[::-1].copy()), "breadth-first"),
    "own parent": (lambda t: t._replace(parent=np.where(t.parent < 0, -1, t.parent + 14)), "breadth-first"),
    "empty": (lambda t: HistoryTree(*[column[:0] for column in t[:6]], (), 2), "breadth-first"),
    "action": (lambda t: t._replace(num_actions=1), "history c0 1: action 1 is not one of the game's 1"),
    "key": (lambda t: t._replace(infosets=t.infosets[:2]), "history c0 0: its infoset has no key"),
    "no infoset": (
        lambda t: t._replace(infoset=np.full_like(t.infoset, -1)),
        "history c0: its infoset has no key",
    ),
    "goes on": (
        lambda t: t._replace(player=np.where(np.arange(15) == 3, TERMINAL, t.player)),
        "history c0 0: the game has ended, but goes on",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_tree_is_refused(name):
    spoil, message = MALFORMED[name]
    with pytest.raises(TreeError, match=message):
        check(spoil(histories(written(COIN))))


def test_three_players_are_refused():
    with pytest.raises(TreeError, match="two players, not of 3"):
        histories(kuhn()._replace(num_players=3))


def test_float32_is_refused():
    game = written(COIN)
    with pytest.raises(TreeError, match="returns in float32, not in float64"):
        histories(game._replace(returns=lambda state: game.returns(state).astype(jnp.float32)))


def predicted(game: TreeGame, max_bytes: int | None) -> tuple[str, float, float]:
    with pytest.raises(TreeError) as error:
        histories(game, max_bytes=max_bytes)
    found = re.search(r"has (at least|about) (\S+) histories, which need (\S+) GiB", str(error.value))
    assert found, str(error.value)
    return found[1], float(found[2]), float(found[3])


def test_a_tree_too_large_for_the_memory_is_refused_before_it_is_written():
    kind, count, gib = predicted(liars_dice(dice=2), None)
    assert kind == "about" and gib > 1000
    assert count == pytest.approx(441 * 2**25, rel=0.25)


def test_the_prediction_of_a_small_tree_is_exact():
    assert predicted(kuhn(), 1000)[:2] == ("about", 58)
    assert predicted(leduc(), 100_000)[:2] == ("about", 9457)


def test_what_the_prediction_misses_is_refused_level_by_level():
    """Keys are not predicted: here the histories fit, but not the twelve keys besides."""
    kind, count, _ = predicted(kuhn(), 7500)
    assert kind == "at least" and 30 < count <= 58


def test_a_game_without_an_end_is_refused():
    game = written([Node(0, (0, 0), "again")])
    kind, count, _ = predicted(game, None)
    assert kind == "about" and count > 1e17
