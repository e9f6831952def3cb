"""Outcome sampling against a plain recursion on the same random numbers, and exact counterfactual regrets."""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import CHANCE, TERMINAL
from jaxnash.learners.critic import critic_network
from jaxnash.learners.deep_cfr import ordered
from jaxnash.rollouts.walk import (
    Steps,
    critic_regrets,
    other_samples,
    own_samples,
    sampled_regrets,
    walker,
    walks,
)
from tests.cfr.test_mccfr import expected_gains
from tests.reference.traverse_twin import drawn
from tests.rollouts.test_traverse import case, infoset_of, places

LENGTH = {"kuhn": 3, "leduc": 8, "flop": 12, "no-limit": 16}
LANES = 16
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"epsilon": 0.5, "critic": False},
    "dream": {"epsilon": 0.5},
    "escher": {"epsilon": 1.0, "regrets": critic_regrets},
    "wide": {"epsilon": 0.5, "critic_from": 20},
}
slow = partial(pytest.param, marks=pytest.mark.slow)


@cache
def critic(name: str) -> tuple[Any, Any]:
    """A critic who knows nothing: q(params, observations) in chips of order one, and random params."""
    net = critic_network(case(name).game, (16, 16))
    leaves, shape = jax.tree.flatten(net.init(jax.random.key(3)))
    rng = np.random.default_rng(3)
    moved = [np.float32(leaf + rng.normal(scale=0.3, size=leaf.shape)) for leaf in leaves]
    return net.apply, jax.tree.unflatten(shape, moved)


@cache
def walking(name: str, *, lanes: int = LANES, length: int | None = None, kind: str = "dream"):
    one, options = case(name), dict(KINDS[kind])
    q = critic(name)[0] if options.pop("critic", True) else None
    return walker(one.game, one.strategy, q, lanes=lanes, length=length or LENGTH[name], **options)


def walked(name: str, ids, player: int = 0, **options) -> Steps:
    one = case(name)
    sides = one.params if player == 0 else one.params[::-1]
    walk = walking(name, **options)
    chunks = walks(walk, one.key, sides, critic(name)[1], player, np.asarray(ids), setups=one.setups)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)


# -------------------------------------------------------------------------------- against a plain recursion


class Decision(NamedTuple):
    obs: Any  # [2, ...]
    legal: list[bool]
    mover: int
    action: int
    strategy: list[float]
    target: list[float]
    weight: float
    payoff: float
    last: bool


def recursion(name: str, kind: str, player: int, trajectory: int) -> list[Decision]:
    """The path of a trajectory, by the words of `rollouts.walk`'s docstring."""
    one, epsilon = case(name), KINDS[kind]["epsilon"]
    curious = trajectory >= KINDS[kind].get("critic_from", trajectory + 1)
    init, step, look, strategy, q = programs(name)
    sides = one.params if player == 0 else one.params[::-1]
    key, sign = jax.random.fold_in(one.key, trajectory), 1 - 2 * player
    found: list[Decision] = []

    def worth(state, node: int, even: float, reach: float) -> float:
        here = jax.device_get(look(state))
        if here.terminated:
            return float(here.reward[player])
        mover = int(np.flatnonzero(here.active)[0])
        legal, own = [bool(x) for x in here.legal[mover]], mover == player
        choices = [a for a, may in enumerate(legal) if may]
        obs = jax.tree.map(lambda leaf: leaf[mover][None], here.obs)
        played = [float(p) for p in strategy(sides[0 if own else 1], obs, here.legal[mover][None])[0]]
        sampling = list(played)
        if own:
            sampling = [
                (1 - epsilon) * p + (epsilon / len(choices) if may else 0) for p, may in zip(played, legal)
            ]
        elif curious:
            sampling = [p / 2 + (0.5 / len(choices) if may else 0) for p, may in zip(played, legal)]
        now = jax.random.fold_in(key, node)
        action = drawn(sampling, float(jax.random.uniform(now)))
        after = step(jax.random.fold_in(now, 1), state, np.array([action, action], np.int32))

        place = len(found)
        found.append(Decision(here.obs, legal, mover, action, played, [], even / reach, 0.0, False))
        chosen = sampling[action] if own else 1.0
        below = worth(after, node + 1, even / len(choices) if own else even, reach * chosen)

        seen = [0.0] * len(legal)
        if kind != "plain":
            both = jax.tree.map(lambda leaf: leaf[None], here.obs)
            seen = [sign * float(x) if may else 0.0 for x, may in zip(q(critic(name)[1], both)[0], legal)]
        each = list(seen)
        each[action] += (below - seen[action]) / sampling[action]
        estimate = sum(p * u for p, u in zip(played, each))
        told = each if kind != "escher" else seen
        middle = sum(p * u for p, u in zip(played, told))
        target = [u - middle if own and may else 0.0 for u, may in zip(told, legal)]
        last = bool(jax.device_get(look(after)).terminated)
        found[place] = found[place]._replace(target=target, last=last, payoff=sign * below if last else 0.0)
        return estimate

    worth(init(jax.random.fold_in(key, 0x7FFFFFFF), one.setups), 0, 1.0, 1.0)
    return found


@cache
def programs(name: str):
    one = case(name)
    return (*(jax.jit(f) for f in (one.game.init, one.game.step, one.game.observe)), *two(name))


def two(name: str):
    return jax.jit(case(name).strategy), jax.jit(critic(name)[0])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("kuhn", kind) for kind in KINDS]
    + [slow(name, kind) for name in ("leduc", "flop", "no-limit") for kind in KINDS],
)
def test_steps_equal_a_plain_recursion(name, kind):
    """To 1e-5 of the largest number of a row: the network sees one row here and 16 there."""
    ids = np.arange(40)
    for player in (0, 1):
        steps, row = walked(name, ids, player, kind=kind), 0
        for trajectory in ids:
            for node, expected in enumerate(recursion(name, kind, player, int(trajectory))):
                assert (steps.trajectory[row], steps.node[row]) == (trajectory, node)
                jax.tree.map(
                    lambda leaf, same: np.testing.assert_array_equal(leaf[row], same),  # noqa: B023
                    steps.obs,
                    expected.obs,
                )
                for field in ("legal", "mover", "action", "last"):
                    np.testing.assert_array_equal(getattr(steps, field)[row], getattr(expected, field))
                for field in ("strategy", "target", "weight", "payoff"):
                    value = np.asarray(getattr(expected, field))
                    limit = 1e-5 * max(1.0, float(np.max(np.abs(value))))
                    np.testing.assert_allclose(getattr(steps, field)[row], value, rtol=0, atol=limit)
                row += 1
        assert row == len(steps.node)
        assert np.any(np.abs(steps.target) > 0.1)


# ------------------------------------------------------------------------------------------- Kuhn, exactly


class Truth(NamedTuple):
    """Of the two random strategies."""

    seat: np.ndarray  # i[I]
    even: np.ndarray  # f[I]: own reach of even draws
    met: np.ndarray  # f[I]: reach of chance and the opponent
    regrets: np.ndarray  # f[I, A]
    strategies: np.ndarray  # f[I, A], times the player's own reach and that of chance
    observed: np.ndarray  # f32[H, 2, D]: both players' observations at each history
    q: np.ndarray  # f[H, A], of player 0
    others: np.ndarray  # f[H]: reach of chance and whoever does not move


@cache
def truth() -> Truth:
    tree, game, one = places().tree, case("kuhn").game, case("kuhn")
    seat = np.array([int(obs[-1] > 0) for obs in places().obs])
    tables = [np.asarray(one.strategy(side, places().obs, np.ones((12, 2), bool))) for side in one.params]
    policy = np.where(seat[:, None] == 1, tables[1], tables[0]).astype(np.float64)
    gains = expected_gains(tree, policy)
    count = len(tree.parent)
    value = np.where(tree.player == TERMINAL, tree.returns[:, 0], 0.0)
    q, reach = np.zeros((count, 2)), np.ones((count, 2))  # reach: without that player's own
    odds = np.array(tree.chance)
    for history in range(1, count):
        parent, action = tree.parent[history], tree.action[history]
        mover = tree.player[parent]
        if mover != CHANCE:
            odds[history] = policy[tree.infoset[parent], action]
        for player in (0, 1):
            reach[history, player] = reach[parent, player] * (1 if mover == player else odds[history])
    for history in reversed(range(1, count)):
        parent = tree.parent[history]
        value[parent] += odds[history] * value[history]
        if tree.player[parent] != CHANCE:
            q[parent, tree.action[history]] = value[history]
    deciding = np.flatnonzero(tree.player >= 0)
    others = np.zeros(count)
    others[deciding] = reach[deciding, tree.player[deciding]]
    met = np.bincount(tree.infoset[deciding], others[deciding], minlength=12)
    even = np.array([0.5 ** len(steps) for steps in places().before])
    states = states_of(tree)
    observed = np.asarray(jax.vmap(game.observe)(states).obs)
    return Truth(seat, even, met, gains[0], gains[1], observed, q, others)


def states_of(tree) -> np.ndarray:
    """i32[H, 5]: a state's entries are the actions so far."""
    states = np.full((len(tree.parent), 5), -1, np.int32)
    for history in range(1, len(tree.parent)):
        states[history] = states[tree.parent[history]]
        states[history, np.sum(states[history] >= 0)] = tree.action[history]
    return states


def perfect(params, obs):
    """The critic who looks q up by what both players see."""
    observed, q = params
    same = jnp.all(obs[:, None] == observed, axis=(-1, -2))
    return q[jnp.argmax(same, axis=-1)]


@cache
def perfect_walker(kind: str):
    one = case("kuhn")
    return walker(one.game, one.strategy, perfect, lanes=4096, length=3, **KINDS[kind])


def known(kind: str, count: int, player: int) -> Steps:
    """Kuhn's steps with the perfect critic."""
    one, table = case("kuhn"), (truth().observed, np.float32(truth().q))
    sides = one.params if player == 0 else one.params[::-1]
    chunks = walks(perfect_walker(kind), jax.random.key(5), sides, table, player, np.arange(count))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *chunks)


def mean_and_error(count: int, row: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of what a trajectory adds to each of 12 rows, f[M, ...] -> f[12, ...] and its standard error."""
    sums, squares = (np.zeros((12, *numbers.shape[1:])) for _ in range(2))
    np.add.at(sums, row, numbers)
    np.add.at(squares, row, numbers**2)  # an infoset is met at most once a trajectory
    return sums / count, np.sqrt((squares / count - (sums / count) ** 2) / count)


@pytest.mark.parametrize("kind", ["plain", "dream"])
def test_regrets_are_unbiased_whatever_the_critic_says(kind):
    """Weighed sums over samples are the exact counterfactual regrets (the opponent's: strategies times own
    reach) times the even reach, and sums of weights the reach: within 5 standard errors, 60 numbers each."""
    count, exact = 40_000, truth()
    assert np.max(np.abs(exact.regrets)) > 0.2
    largest = 0.0
    for player in (0, 1):
        steps = walked("kuhn", np.arange(count), player, kind=kind, lanes=4096)
        for samples, seat in (
            (own_samples(steps, player), player),
            (other_samples(steps, player), 1 - player),
        ):
            row = infoset_of(samples.obs)
            assert np.all(exact.seat[row] == seat)
            mean, error = mean_and_error(count, row, samples.weight[:, None].astype(float) * samples.target)
            if seat == player:
                expected = exact.regrets * exact.even[:, None]
                weights, rough = mean_and_error(count, row, samples.weight.astype(float))
                off = np.abs(weights - exact.met * exact.even) / (rough + 1e-6)
                assert np.max(off[exact.seat == seat]) < 5
            else:  # the traverser's even reach of the opponent's decision, which is one number in Kuhn
                before = np.array([2.0 ** -(len(steps) + (1 if seat else 0)) for steps in places().before])
                expected = exact.strategies * before[:, None]
            mine = exact.seat == seat
            assert np.max((np.abs(mean - expected) / (error + 1e-6))[mine]) < 5
            largest = max(largest, float(np.max(error[mine])))
    assert largest < 0.02  # or the test would see nothing


def test_a_perfect_critic_gives_exact_regrets():
    """ESCHER's sample at a history is the history's own regret, to 1e-5 chips; summed over histories by the
    reach of chance and the opponent they are the counterfactual regrets, and an infoset's histories are met
    in proportion to it."""
    exact = truth()
    for player in (0, 1):
        samples_of = known("escher", 20_000, player)
        own = np.flatnonzero(samples_of.mover == player)
        history = np.asarray(
            [(exact.observed == obs).all((1, 2)).argmax() for obs in samples_of.obs[own[:4000]]]
        )
        target = samples_of.target[own[:4000]]
        first = {int(h): target[i] for i, h in reversed([*enumerate(history)])}
        np.testing.assert_allclose(target, np.stack([first[int(h)] for h in history]), atol=1e-5)
        sums = np.zeros((12, 2))
        for h, regrets in first.items():
            sums[places().tree.infoset[h]] += exact.others[h] * regrets
        mine = exact.seat == player
        np.testing.assert_allclose(sums[mine], exact.regrets[mine], atol=1e-5)
        samples = own_samples(samples_of, player)
        np.testing.assert_array_equal(samples.weight, 1)
        mean, error = mean_and_error(20_000, infoset_of(samples.obs), samples.target.astype(float))
        assert np.max((np.abs(mean - exact.regrets * exact.even[:, None]) / (error + 1e-6))[mine]) < 5


def test_a_perfect_critic_lowers_the_variance():
    """Of the weighed regrets, which plain outcome sampling has the most of."""
    spread = {}
    for kind in ("plain", "dream", "escher"):
        steps = (
            known(kind, 20_000, 0)
            if kind != "plain"
            else walked("kuhn", np.arange(20_000), kind=kind, lanes=4096)
        )
        samples = own_samples(steps, 0)
        numbers = samples.weight[:, None].astype(float) * samples.target
        spread[kind] = np.sum(mean_and_error(20_000, infoset_of(samples.obs), numbers)[1] ** 2)
    assert max(spread["dream"], spread["escher"]) < 0.5 * spread["plain"]


# ---------------------------------------------------------------------------------------- however it is run


def test_a_path_does_not_depend_on_its_partners():
    ids = np.arange(50)
    whole = walked("kuhn", ids)
    shuffled = np.random.default_rng(0).permutation(ids)
    other = ordered([walked("kuhn", part) for part in np.split(shuffled, [3, 30])], least=1)[0]
    again = jax.tree.map(lambda leaf: leaf[: len(whole.node)], other)
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    wide = walked("kuhn", ids, lanes=4096)  # a product of other shape may sum in another order
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), wide, whole)


def test_nodes_are_decisions_and_one_end_each():
    steps = walked("kuhn", np.arange(50))
    assert steps.last.sum() == 50
    np.testing.assert_array_equal(steps.node[1:], np.where(steps.last[:-1], 0, steps.node[:-1] + 1))
    np.testing.assert_array_equal(np.unique(steps.trajectory), np.arange(50))


def test_what_cannot_be_is_refused():
    one = case("kuhn")
    with pytest.raises(ValueError, match="more than 2 decisions"):
        walked("kuhn", np.arange(50), length=2)
    for epsilon in (0.0, 1.5):
        with pytest.raises(ValueError, match="epsilon"):
            walker(one.game, one.strategy, lanes=1, length=3, epsilon=epsilon)
    with pytest.raises(ValueError, match="critic"):
        walker(one.game, one.strategy, lanes=1, length=3, epsilon=1.0, regrets=critic_regrets)
    assert sampled_regrets is not critic_regrets
