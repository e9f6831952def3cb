"""Networks at every infoset of small games, against a recursion over the game in plain Python."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr import exploitability, uniform_policy
from jaxnash.games.game import CHANCE, TERMINAL, TreeGame, sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.learners.exact import average_policy, infosets, own_reach, policy_of
from jaxnash.policies.advantage import network, network_spec, with_head
from jaxnash.runs.deep_cfr import advantage_strategy

GAMES = {"kuhn": (kuhn, 12), "leduc": (lambda: leduc(suits=False), 288)}  # and their infosets


class Place(NamedTuple):
    """An infoset as the recursion meets it."""

    player: int
    obs: tuple[float, ...]
    legal: tuple[bool, ...]
    own: tuple[tuple[str, int], ...]  # the player's own infosets and actions before


def places(game: TreeGame) -> dict[str, Place]:
    """All infosets by a walk over all histories; whatever history leads there, an infoset is the same."""
    look = jax.jit(lambda s: (game.player(s), game.legal(s), game.chance(s), game.observe(s)))
    follow = jax.jit(game.next)
    found: dict[str, Place] = {}

    def walk(state: Any, own: tuple) -> None:
        player, legal, chance, obs = jax.device_get(look(state))
        if player == TERMINAL:
            return
        if player == CHANCE:
            for outcome in np.flatnonzero(chance > 0):
                walk(follow(state, outcome), own)
            return
        name = game.infoset(np.asarray(state), int(player))
        here = Place(int(player), tuple(obs[player].tolist()), tuple(legal.tolist()), own[player])
        assert found.setdefault(name, here) == here
        for action in np.flatnonzero(legal):
            after = list(own)
            after[player] = (*own[player], (name, int(action)))
            walk(follow(state, action), tuple(after))

    walk(jnp.asarray(game.root), ((), ()))
    return found


@cache
def case(name: str):
    """The game, its table, the recursion's infosets, and a network."""
    game = GAMES[name][0]()
    net = network(network_spec(sampled(game), hidden=(16,), head="regret-matching"))
    return game, infosets(game), places(game), net


def networks(net: Any, count: int, seed: int):
    """Stacked params [count, ...] of networks with random last layers: far from even, with zeros."""
    rng, each = np.random.default_rng(seed), []
    for number in range(count):
        params = net.init(jax.random.key(seed + number))
        draw = lambda leaf: jnp.float32(rng.normal(size=leaf.shape))  # noqa: E731
        each.append(with_head(params, lambda kernel, bias: (draw(kernel) / 2, 1 + draw(bias))))  # noqa: B023
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def played(name: str, net: Any, params: Any) -> dict[str, list[float]]:
    """What a network plays at each infoset, from the recursion's observations."""
    known = case(name)[2]
    obs = jnp.array([place.obs for place in known.values()], jnp.float32)
    legal = jnp.array([place.legal for place in known.values()])
    rows = np.asarray(advantage_strategy(net)(params, obs, legal), np.float64)
    return dict(zip(known, rows.tolist(), strict=True))


def reach_of(place: Place, policy: dict[str, list[float]]) -> float:
    reach = 1.0
    for name, action in place.own:
        reach *= policy[name][action]
    return reach


def at(params: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[number], params)


@pytest.mark.parametrize("name", GAMES)
def test_the_table_is_the_games(name: str):
    _, table, known, _ = case(name)
    names = table.tree.infosets
    assert set(names) == set(known) and len(names) == len(known) == GAMES[name][1]
    for i, infoset in enumerate(names):
        place = known[infoset]
        assert table.player[i] == place.player and table.legal[i].tolist() == list(place.legal)
        np.testing.assert_array_equal(table.obs[i], np.array(place.obs, np.float32))
        if place.own:
            assert (names[table.parent[i]], table.action[i]) == place.own[-1]
        else:
            assert table.parent[i] == -1
    levels = [sorted(names[i] for i in rows) for rows in table.levels]
    longest = max(len(place.own) for place in known.values())
    assert levels == [
        sorted(infoset for infoset in known if len(known[infoset].own) == depth)
        for depth in range(longest + 1)
    ]


@pytest.mark.parametrize("name", GAMES)
def test_policies_and_reach_are_the_recursions(name: str):
    """Reach is the product over the player's own earlier actions; to 1e-6, in single precision."""
    _, table, known, net = case(name)
    histories = networks(net, 1, 10), networks(net, 1, 20)
    policy = policy_of(table, advantage_strategy(net), (at(histories[0], 0), at(histories[1], 0)))
    sides = [played(name, net, at(history, 0)) for history in histories]
    expected = np.array([sides[known[infoset].player][infoset] for infoset in table.tree.infosets])
    np.testing.assert_allclose(policy, expected, atol=1e-6)
    np.testing.assert_allclose(policy.sum(1), 1, rtol=1e-12)
    assert policy.dtype == np.float64 and np.abs(policy - 0.5).max() > 0.3
    reach = own_reach(table, jnp.float32(policy))
    slow = [reach_of(known[i], sides[known[i].player]) for i in table.tree.infosets]
    np.testing.assert_allclose(reach, slow, atol=1e-6)
    assert len(set(np.round(slow, 6))) > 2


@pytest.mark.parametrize("name", GAMES)
def test_the_average_is_weighed_by_own_reach(name: str):
    """Three networks a player with weights 1, 2 and 5, to 1e-5 (f32 sums), and not their plain mean."""
    _, table, known, net = case(name)
    histories, weights = (networks(net, 3, 30), networks(net, 3, 40)), np.array([1.0, 2.0, 5.0])
    found = average_policy(table, advantage_strategy(net), histories, weights)
    sides = [[played(name, net, at(history, t)) for t in range(3)] for history in histories]
    plain = []
    for i, infoset in enumerate(table.tree.infosets):
        place = known[infoset]
        mine = sides[place.player]
        each = [weights[t] * reach_of(place, mine[t]) for t in range(3)]
        rows = np.array([mine[t][infoset] for t in range(3)])
        even = np.array(place.legal) / sum(place.legal)
        expected = np.average(rows, axis=0, weights=each) if sum(each) > 0 else even
        np.testing.assert_allclose(found[i], expected, atol=1e-5, err_msg=infoset)
        plain.append(np.average(rows, axis=0, weights=weights))
    assert np.abs(found - plain).max() > 0.1
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    one = average_policy(table, advantage_strategy(net), histories, np.array([0.0, 1.0, 0.0]))
    alone = policy_of(table, advantage_strategy(net), (at(histories[0], 1), at(histories[1], 1)))
    reached = np.array([reach_of(known[i], sides[known[i].player][1]) > 0 for i in table.tree.infosets])
    np.testing.assert_allclose(one[reached], alone[reached], atol=1e-6)


def test_what_nothing_reaches_is_even():
    """Both players always bet: player 0 checks nowhere, so meets no bet after that; all else is reached."""
    _, table, known, net = case("kuhn")
    params = with_head(
        net.init(jax.random.key(0)), lambda kernel, bias: (kernel, bias + jnp.array([-1.0, 1.0]))
    )
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), params)
    policy = average_policy(table, advantage_strategy(net), (stacked, stacked), np.array([1.0, 2.0]))
    found = dict(zip(table.tree.infosets, policy.tolist(), strict=True))
    for infoset, place in known.items():
        assert found[infoset] == ([0.5, 0.5] if place.own else [0.0, 1.0]), infoset
    assert sum(bool(place.own) for place in known.values()) == 3


def test_an_even_policy_of_leduc_is_as_exploitable_as_known():
    """2373.6 milli-antes (OpenSpiel's uniform policy of leduc_poker has NashConv 4.7472), to 0.1."""
    _, table, _, net = case("leduc")
    fresh = net.init(jax.random.key(0))
    policy = policy_of(table, advantage_strategy(net), (fresh, fresh))
    np.testing.assert_allclose(policy, uniform_policy(table.tree), rtol=1e-6)
    assert 1000 * exploitability(table.tree, policy) == pytest.approx(2373.6, abs=0.1)
