"""Sampled traversals against a plain recursion, exact regrets, and themselves however they are run."""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr.tree import histories
from jaxnash.games.game import CHANCE, Game, sampled
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.learners.deep_cfr import ordered
from jaxnash.policies.advantage import network, network_spec, regret_matching
from jaxnash.rollouts.sampling import Taken, traversing
from jaxnash.rollouts.traverse import Samples, _draw, traverser
from tests.cfr.test_mccfr import expected_gains, exploitability
from tests.reference.traverse_twin import Decision, twin


class Case(NamedTuple):
    """A game to walk, and a random network for each player."""

    game: Game
    setups: Any
    depth: int
    strategy: Any
    params: tuple[Any, Any]
    key: Any


GAMES = {  # the game, its setup, the most decisions of one player
    "kuhn": lambda: (sampled(kuhn()), None, 2),
    "leduc": lambda: (sampled(leduc()), None, 4),
    "flop": lambda: (holdem("flop", max_raises=1), holdem_setup("flop"), 4),
    "no-limit": lambda: (
        holdem(bet_sizes=(1.0,), max_raises=1),
        holdem_setup(stacks=(700, 900), button=1),
        8,
    ),
}


@cache
def case(name: str) -> Case:
    game, setups, depth = GAMES[name]()
    net = network(network_spec(game, hidden=(32, 32), head="regret-matching"))
    params = []
    for seed in range(2):
        leaves, shape = jax.tree.flatten(net.init(jax.random.key(seed)))
        rng = np.random.default_rng(seed)
        moved = [np.float32(leaf + rng.normal(scale=0.3, size=leaf.shape)) for leaf in leaves]
        params.append(jax.tree.unflatten(shape, moved))
    strategy = partial(played, net.apply)
    return Case(game, setups, depth, strategy, (params[0], params[1]), jax.random.key(11))


def played(apply, params, obs, legal):
    return regret_matching(apply(params, obs), legal)


@cache
def walker(name: str, **options):
    one = case(name)
    options = {"lanes": 16, "capacity": 16, "policies": True} | options
    return traverser(one.game, one.strategy, depth=one.depth, **options)


def taken(name: str, ids, player: int = 0, **options) -> Taken:
    one = case(name)
    sides = one.params if player == 0 else one.params[::-1]
    return traversing(walker(name, **options), one.setups)(one.key, player, sides, np.asarray(ids, np.int32))


def rows_of(what: Taken) -> dict[tuple[str, int, int], tuple[bytes, ...]]:
    """Each sample's bytes by (kind, trajectory, node)."""
    found = {}
    for kind, chunks in (("regrets", what.regrets), ("policies", what.policies)):
        for chunk in chunks:
            for i in range(len(chunk.node)):
                name = (kind, int(chunk.trajectory[i]), int(chunk.node[i]))
                assert name not in found, "a sample was doubled"
                row = (*jax.tree.leaves(chunk.obs), chunk.legal, chunk.target)
                found[name] = tuple(leaf[i].tobytes() for leaf in row)
    return found


def assert_same(decision: Decision, samples: Samples, row: int, trajectory: int) -> None:
    assert (samples.trajectory[row], samples.node[row]) == (trajectory, decision.node)
    for leaf, expected in zip(jax.tree.leaves(samples.obs), jax.tree.leaves(decision.obs), strict=True):
        np.testing.assert_array_equal(leaf[row], expected)
    np.testing.assert_array_equal(samples.legal[row], decision.legal)
    # relative, as regrets are in chips: the network sees one row here and 16 there
    np.testing.assert_allclose(
        samples.target[row], decision.target, rtol=1e-5, atol=1e-5 * scale_of(decision)
    )


def scale_of(decision: Decision) -> float:
    return max(1.0, float(np.max(np.abs(decision.target))))


slow = partial(pytest.param, marks=pytest.mark.slow)
IDS = np.arange(64)  # always as many, so that one program serves


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kuhn", {}),
        ("leduc", {"explore": 2, "resolves": 1}),
        ("flop", {"resolves": 1}),
        slow("kuhn", {"explore": 1}),
        slow("leduc", {}),
        slow("flop", {"explore": 1}),
        slow("no-limit", {}),
        slow("no-limit", {"explore": 2}),
        slow("no-limit", {"explore": 1, "resolves": 3}),
    ],
    ids=str,
)
def test_samples_equal_a_plain_recursion(name, options):
    """The buffer holds one round of samples, so it is emptied again and again in the middle of traversals."""
    one = case(name)
    plain = twin(one.game, one.strategy, options.get("explore"))
    for player in (0, 1):
        what = taken(name, IDS, player, **options)
        assert len(what.regrets) > 3
        sides = one.params if player == 0 else one.params[::-1]
        regrets, strategies = (ordered(chunks, least=1)[0] for chunks in (what.regrets, what.policies))
        counts, nodes = [0, 0], 0
        for trajectory in IDS:
            mine, theirs, visited = plain.walk(one.key, sides, player, trajectory, one.setups)
            nodes += visited
            for kind, (decisions, samples) in enumerate(((mine, regrets), (theirs, strategies))):
                for decision in decisions:
                    assert_same(decision, samples, counts[kind], trajectory)
                    counts[kind] += 1
        assert counts == [sum(len(c.node) for c in chunks) for chunks in (what.regrets, what.policies)]
        assert nodes == what.nodes
        assert np.any(np.abs(regrets.target) > 0.1)


@pytest.mark.parametrize("name", ["kuhn", slow("leduc"), slow("no-limit")])
def test_a_trajectory_does_not_depend_on_its_partners(name):
    whole = rows_of(taken(name, IDS))
    assert {trajectory for _, trajectory, _ in whole} == set(IDS)
    shuffled = np.random.default_rng(0).permutation(IDS)
    assert rows_of(taken(name, shuffled)) == whole
    for half in np.split(shuffled, 2):
        among = rows_of(taken(name, np.concatenate([np.arange(1000, 1032), half])))
        of_half = {place: row for place, row in whole.items() if place[1] in set(half)}
        assert {place: row for place, row in among.items() if place[1] < 1000} == of_half


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kuhn", "leduc", "flop"])
def test_split_among_calls(name):
    parts = [rows_of(taken(name, part)) for part in np.split(IDS, [1, 14, 40])]
    assert parts[0] | parts[1] | parts[2] | parts[3] == rows_of(taken(name, IDS))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kuhn", {"capacity": 4000, "resolves": 1}),
        slow("kuhn", {"capacity": 17, "resolves": 3}),
        slow("leduc", {"capacity": 17}),
        slow("leduc", {"capacity": 4000, "resolves": 1}),
        slow("flop", {"capacity": 50, "resolves": 3}),
    ],
    ids=str,
)
def test_buffers_and_rounds_do_not_show(name, options):
    """Nor whether the opponent's decisions are kept."""
    expected = taken(name, IDS)
    assert len(expected.regrets) > 3
    what = taken(name, IDS, **options)
    assert what.nodes == expected.nodes
    assert rows_of(what) == rows_of(expected)
    without = taken(name, IDS, policies=False, **options)
    assert sum(len(chunk.node) for chunk in without.policies) == 0
    regrets = {place: row for place, row in rows_of(expected).items() if place[0] == "regrets"}
    assert rows_of(without) == regrets


@pytest.mark.parametrize("lanes", [100, slow(33)])
def test_the_number_of_lanes_shows_in_rounding_only(lanes):
    """XLA may sum a product of other shape in another order (measured: batches of 16 and of 64 rows differ).
    A hundred lanes are more than there are trajectories."""
    expected, what = (
        ordered(taken("kuhn", IDS, lanes=n, capacity=n).regrets, least=1)[0] for n in (16, lanes)
    )
    for name in ("trajectory", "node", "legal", "obs"):
        np.testing.assert_array_equal(getattr(what, name), getattr(expected, name))
    np.testing.assert_allclose(what.target, expected.target, atol=1e-5)


def test_no_trajectories():
    assert taken("kuhn", []) == Taken([], [], [], 0, 0)


def test_other_keys_are_other_hands():
    one = case("kuhn")
    first, again, other = (
        rows_of(traversing(walker("kuhn"))(jax.random.key(seed), 0, one.params, np.int32(IDS)))
        for seed in (11, 11, 12)
    )
    assert first == again != other
    assert len({row[0] for place, row in first.items() if place[2] == 0}) > 1  # not one deal all the time


@pytest.mark.slow
def test_hands_that_are_over_at_the_deal():
    """A stack within the small blind: each trajectory is the one node of its end."""
    one = case("flop")
    take = traversing(walker("flop"), holdem_setup("flop", stacks=50))
    what = take(one.key, 0, one.params, np.arange(30, dtype=np.int32))
    assert (what.nodes, sum(len(chunk.node) for chunk in what.regrets)) == (30, 0)


def test_a_buffer_smaller_than_a_round_is_refused():
    with pytest.raises(ValueError, match="16 lanes"):
        walker("kuhn", capacity=15)


def test_actions_of_probability_zero_are_never_drawn():
    rng = np.random.default_rng(0)
    weights = (rng.random((5000, 20)) * (rng.random((5000, 20)) < 0.4)).astype(np.float32)
    weights[np.arange(5000), rng.integers(20, size=5000)] = 0.5
    edges = np.cumsum(weights, axis=1, dtype=np.float32) / weights.sum(axis=1, keepdims=True)
    draw, rows = jax.jit(_draw), np.arange(5000)
    for near in (0.0, 1.0, 9.0):
        for action in range(20):
            uniform = np.nextafter(edges[:, action], np.float32(near)) if near != 1 else edges[:, action]
            drawn = np.asarray(draw(weights, np.clip(uniform, 0, 1 - 2**-23).astype(np.float32)))
            assert np.all(weights[rows, drawn] > 0)
    counts = np.bincount(np.asarray(draw(np.float32([[0, 0.2, 0, 0.8, 0]] * 5000), rng.random(5000))))
    assert counts[1] + counts[3] == 5000
    assert abs(counts[1] - 1000) < 5 * np.sqrt(5000 * 0.2 * 0.8)


# ------------------------------------------------------------------------------------------- Kuhn, exactly


class Places(NamedTuple):
    """Kuhn's infosets and what their players see there."""

    tree: Any
    obs: np.ndarray  # [I, D]
    before: list[list[int]]  # the infosets at which the player has acted already
    sequences: list[list[tuple[int, int]]]  # and what was done there


@cache
def places() -> Places:
    """By a plain walk over all histories."""
    game, tree = kuhn(), histories(kuhn())
    states, past = [np.asarray(game.root)], [{0: [], 1: []}]
    for history in range(1, len(tree.parent)):
        parent, action = tree.parent[history], int(tree.action[history])
        states.append(np.asarray(game.next(states[parent], action)))
        done, mover = {seat: list(steps) for seat, steps in past[parent].items()}, tree.player[parent]
        if mover != CHANCE:
            done[mover].append((int(tree.infoset[parent]), action))
        past.append(done)
    obs, sequences = [None] * 12, [None] * 12
    for history in np.flatnonzero(tree.player >= 0):
        row, mover = tree.infoset[history], tree.player[history]
        obs[row] = np.asarray(game.observe(states[history]))[mover]
        sequences[row] = past[history][mover]
    before = [[infoset for infoset, _ in steps] for steps in sequences]
    return Places(tree, np.stack(obs), before, sequences)


def infoset_of(obs: np.ndarray) -> np.ndarray:
    """i[M] for the rows [M, D]."""
    same = (obs[:, None] == places().obs).all(-1)
    assert np.all(same.sum(1) == 1)
    return same.argmax(1)


@pytest.mark.parametrize("explore", [None, 1], ids=["external", "robust"])
def test_samples_are_unbiased(explore):
    """The mean of sampled regrets is the exact counterfactual regret, and that of the opponent's strategies
    the strategy times the opponent's reach: within 5 standard errors, of 48 numbers each."""
    count = 20_000
    one, tree = case("kuhn"), places().tree
    tables = [np.asarray(one.strategy(params, places().obs, np.ones((12, 2), bool))) for params in one.params]
    seat = np.array([places().obs[row, -1] > 0 for row in range(12)])  # the last of the seat's one-hot
    exact = expected_gains(tree, np.where(seat[:, None], tables[1], tables[0]).astype(np.float64))
    assert np.any(np.abs(exact[0]) > 0.05)
    for player in (0, 1):
        what = taken("kuhn", np.arange(count), player, explore=explore, lanes=512, capacity=4096)
        for kind, chunks in enumerate((what.regrets, what.policies)):
            samples, number = ordered(chunks, least=1)
            row = infoset_of(samples.obs[:number])
            assert np.all(seat[row] == (player if kind == 0 else 1 - player))
            target = samples.target[:number].astype(np.float64)
            if explore is not None:  # one action of two at each of the traverser's decisions before
                target *= 2.0 ** depth_before(what, samples, number, kind)[:, None]
            sums, squares = np.zeros((12, 2)), np.zeros((12, 2))
            np.add.at(sums, row, target)
            # an infoset is met at most once a trajectory, so its samples are independent
            assert len({*zip(samples.trajectory[:number], row)}) == number
            np.add.at(squares, row, target**2)
            error = np.sqrt((squares / count - (sums / count) ** 2) / count)
            mine = seat == (player if kind == 0 else 1 - player)
            assert np.max(np.abs(sums / count - exact[kind])[mine] / (error[mine] + 1e-6)) < 5


def depth_before(what: Taken, samples: Samples, number: int, kind: int) -> np.ndarray:
    """How many decisions of the traverser lie on the path to each of the samples."""
    if kind == 0:
        depths = np.array([len(steps) for steps in places().before])
        return depths[infoset_of(samples.obs[:number])]
    betting = samples.obs[:number, 3:9].reshape(-1, 3, 2).sum((1, 2))
    seat = samples.obs[:number, -1]
    return np.where(seat > 0, (betting + 1) // 2, betting // 2).astype(int)


def table_strategy(params, obs, legal):
    """The strategy of regrets f[I, A] looked up by what is seen."""
    known, regrets = params
    row = jnp.argmax(jnp.all(obs[:, None] == known, axis=-1), axis=-1)
    return regret_matching(regrets[row], legal)


def linear_cfr(seed: int, iterations: int, trajectories: int) -> float:
    """Tabular external-sampling linear CFR on Kuhn: the exploitability of the average."""
    walk = traverser(sampled(kuhn()), table_strategy, lanes=64, capacity=512, depth=2)
    where = places()
    seats = (where.obs[:, -1] > 0).astype(int)
    regrets, total = np.zeros((12, 2), np.float32), np.zeros((12, 2))
    key = jax.random.key(seed)
    ids = np.arange(trajectories, dtype=np.int32)
    for t in range(1, iterations + 1):
        for player in (0, 1):
            policy = np.asarray(regret_matching(regrets, np.ones((12, 2), bool)), np.float64)
            for row in np.flatnonzero(seats == player):
                reach = np.prod([policy[before, action] for before, action in where.sequences[row]])
                total[row] += t * reach * policy[row]
            side = (where.obs, regrets)
            what = traversing(walk)(jax.random.fold_in(key, 2 * t + player), player, (side, side), ids)
            for chunk in what.regrets:
                np.add.at(regrets, infoset_of(chunk.obs), t * chunk.target / trajectories)
    return exploitability(where.tree, total / total.sum(1, keepdims=True))


def test_tabular_linear_cfr_converges():
    assert linear_cfr(0, 100, 64) < BOUND


BOUND = 0.02
