"""Matches: what they say of Kuhn poker is what the tree says, and their intervals cover it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.cards import hand_ranks
from jaxnash.games.game import Categorical, Game, sampled
from jaxnash.games.holdem import HoldemSetup, holdem, holdem_setup
from jaxnash.games.kuhn import kuhn
from jaxnash.games.leduc import leduc
from jaxnash.rollouts.matches import (
    always_call,
    by_network,
    hands,
    milli_big_blinds,
    play,
    random_legal,
    score,
)
from jaxnash.types import External, JaxnashError, Neural, Policy, Scripted, TimeStep
from tests.games.holdem_play import deals
from tests.reference import kuhn_exact as exact

KUHN, PAIRS = sampled(kuhn()), 6000
COVERAGE = 400, 64  # matches, and pairs in each
BINOMIAL = 358, 396  # of 400 at 93.5 % and at 95.5 %: 3.4 and 4.2 standard deviations away


@pytest.fixture(scope="module")
def root():
    return exact.expand(kuhn())


@pytest.fixture(scope="module")
def played():
    return hands(KUHN, pairs=PAIRS, most_decisions=3, lanes=512)


def _no_carry(batch):
    return ()


def _apply(params, obs, legal, carry, reset):
    """A table of logits [12, 2] by seat, card and betting."""
    seat, card = jnp.argmax(obs[:, 9:], axis=1), jnp.argmax(obs[:, :3], axis=1)
    passed_then_bet = jnp.sum(obs[:, 3:9], axis=1) == 2
    later = jnp.where(seat == 1, obs[:, 4] > 0, passed_then_bet)
    logits = params[(seat * 3 + card) * 2 + later.astype(jnp.int32)]
    return jnp.where(legal, logits, -1e9), jnp.zeros(obs.shape[0]), carry


TABLE = Policy(lambda key: jnp.zeros((12, 2)), _no_carry, _apply)
INFOSETS = [f"{s}:{c}:{h}" for s in "01" for c in "JQK" for h in (("", "pb"), ("p", "b"))[int(s)]]


def member(bets):
    """Bets or calls with these probabilities f[12], and the strategy as the reference has it."""
    probabilities = np.stack([1 - np.asarray(bets), bets], axis=1)
    logits = jnp.log(jnp.maximum(jnp.asarray(probabilities, jnp.float32), 1e-30))
    return Neural("table", TABLE, logits), dict(zip(INFOSETS, map(tuple, probabilities), strict=True))


NASH = [1 / 3, 0, 0, 2 / 3, 1, 1, 1 / 3, 0, 0, 1 / 3, 1, 1]  # Kuhn's equilibrium with alpha = 1/3
CALLS = [0, 1] * 6
BLUFFS = [0.9, 0.2, 0.1, 0.7, 0.8, 1.0, 0.6, 0.1, 0.3, 0.5, 0.2, 0.9]


def test_matches_find_the_exact_payoffs(root, played):
    """Scripted members and networks, one member per seat."""
    (nash, sound), (bluffs, bluffing) = member(NASH), member(BLUFFS)
    uniform, calling = exact.uniform(root), member(CALLS)[1]
    payoffs = played(jax.random.key(0), ((random_legal(), always_call("kuhn")), (nash, bluffs)))
    seats = [exact.value(root, uniform, bluffing), -exact.value(root, sound, calling)]
    half = 3.29 * payoffs.std(axis=0) / np.sqrt(PAIRS)  # 99.9 %
    assert np.all(np.abs(payoffs.mean(axis=0) - seats) < half) and np.all(half < 0.07)
    found = score(payoffs, level=0.999)
    assert found.low <= np.mean(seats) <= found.high < 0
    other = score(played(jax.random.key(1), (nash, bluffs)), level=0.999)
    assert 0 < other.low <= exact.payoff(root, sound, bluffing) <= other.high


def test_a_member_wins_nothing_from_itself(played):
    one = member(BLUFFS)[0]
    payoffs = played(jax.random.key(3), (one, one))
    assert np.all(payoffs.sum(axis=1) == 0) and np.abs(payoffs).mean() > 0.5
    assert score(payoffs)[:3] == (0, 0, 0)


def test_who_sits_where(root, played):
    """A member per seat plays its seat; exchanging the members changes the sign alone."""
    (bluffs, bluffing), (nash, sound) = member(BLUFFS), member(NASH)
    first = {name: (bluffing if name[0] == "0" else sound)[name] for name in bluffing}
    payoffs = played(jax.random.key(4), ((bluffs, nash), nash))
    found = score(payoffs, level=0.999)
    assert found.low <= exact.payoff(root, first, sound) <= found.high
    assert np.all(payoffs[:, 1] + played(jax.random.key(4), (nash, (bluffs, nash)))[:, 0] == 0)
    with_itself = played(jax.random.key(4), (nash, nash))
    assert np.array_equal(payoffs[:, 1], with_itself[:, 1])  # seat 1 of it is the same member


def test_a_mixture_draws_a_network_for_each_hand(root, played):
    """It plays as its networks' average by own reach, and hands of one network are independent."""
    tables = [member(NASH), member(BLUFFS), member(CALLS)]
    stacked = Neural("mixture", TABLE, jnp.stack([one.params for one, _ in tables]))
    weights, calls = np.array([1.0, 2.0, 0.0]), np.array([0, 0, 1.0])
    payoffs = played(jax.random.key(5), (stacked, stacked), mixtures=(weights, calls))
    found = score(payoffs, level=0.999)
    average = exact.realised(root, [strategy for _, strategy in tables], [1 / 3, 2 / 3, 0])
    assert found.low <= exact.payoff(root, average, tables[2][1]) <= found.high
    assert not np.array_equal(payoffs[:, 0], -payoffs[:, 1])
    # weights by seat, all on one network: exactly that network
    drawn = np.array([[0, 5.0, 0], [3.0, 0, 0]])
    one_hot = played(jax.random.key(6), (stacked, stacked), mixtures=(drawn, calls))
    assert np.array_equal(one_hot, played(jax.random.key(6), ((tables[1][0], tables[0][0]), tables[2][0])))
    against_itself = played(jax.random.key(7), (stacked, stacked), mixtures=(weights, weights))
    assert np.all(against_itself.sum(axis=1) == 0) and np.abs(against_itself).mean() > 0.5


@pytest.mark.parametrize("bound", [None, 2.0])
def test_intervals_cover(root, played, bound):
    matches, pairs = COVERAGE
    (other, strategy), (nash, sound) = member(BLUFFS), member(NASH)
    truth = exact.payoff(root, strategy, sound)
    several = [played(jax.random.key(10 + i), (other, nash)) for i in range(5)]
    blocks = np.concatenate(several)[: matches * pairs].reshape(matches, pairs, 2)
    found = [score(block, bound=bound) for block in blocks]
    covered = sum(one.low <= truth <= one.high for one in found)
    if bound is None:
        assert BINOMIAL[0] <= covered <= BINOMIAL[1]
    else:  # never below its level, and here always: it knows no more than the bound
        assert covered == matches
    assert all(one.level == 0.95 and one.pairs == pairs for one in found)


def test_the_intervals_by_hand():
    payoffs = np.array([[1.0, 2.0], [-1, 0], [3, 3], [0, 0]])  # means 1.5, -0.5, 3, 0
    normal = score(payoffs)
    deviation = np.sqrt(np.sum((np.array([1.5, -0.5, 3, 0]) - 1) ** 2) / 3)
    assert normal.mean == 1 and normal.pairs == 4 and normal.kind == "match"
    assert normal.high - 1 == pytest.approx(1.959964 * deviation / 2) == pytest.approx(1 - normal.low)
    wide = score(payoffs, bound=3, level=0.9)
    tail = np.log(2 / 0.05)
    half = deviation * np.sqrt(2 * tail / 4) + 7 * 6 * tail / 9  # of a range of 6, each side at 5 %
    assert wide.high - 1 == pytest.approx(half) == pytest.approx(1 - wide.low)
    mbb = milli_big_blinds(normal, 100)
    assert mbb.mean == 10 and mbb.low == pytest.approx(10 * normal.low)
    with pytest.raises(JaxnashError, match="1 pairs"):
        score(payoffs[:1])
    with pytest.raises(JaxnashError, match="level 1"):
        score(payoffs, level=1)
    with pytest.raises(JaxnashError, match="a hand won 3 chips"):
        score(payoffs, bound=2)


def test_lanes_do_not_matter(played):
    seats = member(BLUFFS)[0], member(NASH)[0]
    few = hands(KUHN, pairs=80, most_decisions=3, lanes=7)(jax.random.key(8), seats)  # five chunks and more
    assert np.array_equal(few, played(jax.random.key(8), seats)[:80])


def test_tiles_are_rows(played):
    """`by_network` is `apply` row by row, also of networks with no row, one row and several tiles."""
    rng = np.random.default_rng(0)
    choice = jnp.asarray(rng.choice([0, 1, 2, 4, 6], p=[0.7, 0.2, 0.06, 0.03, 0.01], size=100), jnp.int32)
    params = {"w": jnp.asarray(rng.normal(size=(7, 3, 2))), "b": jnp.asarray(rng.normal(size=(7, 2)))}
    rows = jnp.asarray(rng.normal(size=(100, 3)))

    def apply(params, rows):
        return rows @ params["w"] + params["b"], rows[:, 0]

    for case in (choice, jnp.full(100, 6, jnp.int32), jnp.arange(100, dtype=jnp.int32) % 7):
        found, first = jax.jit(lambda c: by_network(apply, params, c, (rows,)))(case)
        wanted = np.einsum("bi,bij->bj", rows, np.asarray(params["w"])[case]) + np.asarray(params["b"])[case]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert np.array_equal(first, rows[:, 0])


AXES = HoldemSetup(None, None, None, None, 0)  # type: ignore[arg-type]


def test_holdem_in_pairs():
    """Two callers show down for a big blind, and given cards say who wins it."""
    cards = deals(np.random.default_rng(1), 64)
    match = hands(holdem("flop"), pairs=64, most_decisions=11, setup_axes=AXES)
    setup = holdem_setup("flop")._replace(cards=cards)
    payoffs = match(jax.random.key(0), (always_call(), always_call()), setup)
    assert np.array_equal(payoffs[:, 0], -payoffs[:, 1])
    ranks = [hand_ranks(np.concatenate([cards[:, 2 * i : 2 * i + 2], cards[:, 4:7]], axis=1)) for i in (0, 1)]
    assert np.array_equal(payoffs[:, 0], 100 * np.sign(ranks[0] - ranks[1])) and payoffs.any()


@pytest.mark.slow
def test_luck_is_shared_in_holdem():
    match = hands(holdem("no-limit"), pairs=2000, most_decisions=24)
    payoffs = match(jax.random.key(1), (random_legal(), always_call()), holdem_setup())
    assert np.corrcoef(payoffs.T)[0, 1] < -0.2  # the same cards on the other side
    assert np.all(match(jax.random.key(1), (random_legal(), random_legal()), holdem_setup()).sum(axis=1) == 0)


@pytest.mark.slow
def test_leduc_and_its_pairs():
    """A public card that comes after equally many actions is the same: callers' luck cancels there too."""
    match = hands(sampled(leduc()), pairs=2000, most_decisions=8)
    caller = match(jax.random.key(0), (always_call("leduc"), always_call("leduc")))
    assert np.all(caller.sum(axis=1) == 0) and np.abs(caller).mean() > 0.5
    # who raises and then calls ends the first round after two actions in seat 0 and three in seat 1
    raises = Scripted("raises", lambda step, key: jnp.where(step.legal[0], 1, jnp.where(step.legal[2], 2, 1)))
    payoffs = match(jax.random.key(1), (raises, always_call("leduc")))
    found = score(payoffs, level=0.999)
    assert found.low <= 0 <= found.high and found.high > 0  # stakes are equal, public cards are not


def test_what_is_refused(played):
    one = member(NASH)[0]
    refused = [
        ((External("somebody", "x"), one), (None, None), "somebody plays on a server"),
        ((one, (one, External("somebody", "x"))), (None, None), "somebody plays on a server"),
        ((random_legal(), one), ([0.5, 0.5], None), "random is scripted"),
        ((one, one), ([0.5, 0.5], None), "leaf of shape"),
        ((one, one), ([-1.0] + [1.0] * 11, None), "none negative"),
    ]
    for members, mixtures, message in refused:
        with pytest.raises(JaxnashError, match=message):
            played(jax.random.key(0), members, mixtures=mixtures)
    with pytest.raises(JaxnashError, match="'chess'"):
        always_call("chess")
    with pytest.raises(JaxnashError, match="between two players"):
        play(KUHN._replace(num_players=3), pairs=2, most_decisions=3)


def test_callers_call():
    """In Kuhn poker: check to no bet, call a bet."""
    call, key = always_call("kuhn").choose, jax.random.key(0)
    tree = kuhn()
    for actions, wanted in (((), 0), ((0,), 0), ((1,), 1), ((0, 1), 1)):
        state = np.array([0, 2, *actions, *[-1] * (3 - len(actions))], np.int32)
        mover = int(tree.player(state))
        view = TimeStep(tree.observe(state)[mover], np.ones(2, bool), True, 0.0, False, False)
        assert int(call(view, key)) == wanted


def test_simultaneous_moves_and_rewards_on_the_way():
    """Both act at once, and rewards of all steps count."""

    def observe(state):
        reward = jnp.where(state[0] > 0, state[1] - state[2], 0).astype(jnp.float32)
        flat = jnp.broadcast_to(state[None].astype(jnp.float32), (2, 3))
        every = jnp.ones((2, 2), bool)
        return TimeStep(flat, every, every[0], jnp.stack([reward, -reward]), state[0] >= 3, state[0] < 0)

    start = lambda key, setup: jnp.zeros(3, jnp.int32)  # noqa: E731
    go = lambda key, state, actions: jnp.stack([state[0] + 1, actions[0], actions[1]])  # noqa: E731
    game = Game(start, go, observe, 2, Categorical(2))
    one, none = (Scripted(name, lambda step, key, a=a: jnp.int32(a)) for name, a in (("one", 1), ("none", 0)))
    found = play(game, pairs=5, most_decisions=3, lanes=2)(jax.random.key(0), (one, none))
    assert found[:3] == (3, 3, 3)
    which = lambda step, key, state, *, seat: (seat + 0 * state[0]).astype(jnp.int32)  # noqa: E731
    seated = Scripted("seated", which, sees_state=True)
    found = play(game, pairs=5, most_decisions=3, lanes=2)(jax.random.key(0), (seated, none))
    assert found[:3] == (1.5, 1.5, 1.5), "it plays 1 in seat 1 alone"
    with pytest.raises(JaxnashError, match="more than 2 decisions"):
        play(game, pairs=5, most_decisions=2, lanes=2)(jax.random.key(0), (one, none))
