"""Local best response: each decision against a twin that enumerates, and the whole against exact values."""

from __future__ import annotations

from fractions import Fraction
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr.flop_holdem import exploitability
from jaxnash.games.cards import DECK, hand_ranks, hands, parse_cards
from jaxnash.games.evaluator import tables
from jaxnash.games.game import sampled
from jaxnash.games.holdem import HoldemSetup, holdem, holdem_setup
from jaxnash.games.kuhn import kuhn
from jaxnash.policies.masking import mask
from jaxnash.rollouts.lbr import Deck, local_best_response, parts, winning
from jaxnash.rollouts.matches import milli_big_blinds
from jaxnash.types import JaxnashError
from tests.reference.holdem_twin import Hand

HOLES = hands(DECK)
SIZES = (0.5, 1.0, 2.0)
# mbb/g of `cfr.flop_holdem.exploitability`: who always calls, and who plays every legal action alike
CALLER, UNIFORM = 388.3055, 1522.2651


def strategy(params, obs, legal):
    """A softmax of numbers that depend on all that is seen; smooth, so that rounding does not matter."""
    lead = obs.dealer.shape
    cards = jnp.concatenate([(obs.cards >> 2) / 6 - 1, (obs.cards & 3) / 2], axis=-1)
    bets = obs.bets.reshape(*lead, -1) / 3
    seen = [cards, bets, jnp.log1p(obs.chips) / 4, obs.dealer[..., None]]
    x = jnp.concatenate([part.astype(jnp.float32) for part in seen], axis=-1)
    return jax.nn.softmax(mask(jnp.tanh(x @ params["in"]) @ params["out"] + params["bias"], legal), axis=-1)


def network(kind, seed, scale=1.5):
    rng, actions = np.random.default_rng(seed), the_game(kind).actions.n
    size = 14 + (2 if kind == "flop" else 4) * 6 + 5
    shapes = {"in": (size, 16), "out": (16, actions), "bias": (actions,)}
    return {name: scale * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def plain(kind, bias):
    """Plays by the bias alone."""
    return jax.tree.map(lambda leaf: 0 * leaf, network(kind, 0)) | {"bias": np.asarray(bias, np.float32)}


def stacked(*networks):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *networks)


@cache
def the_game(kind):
    return holdem(kind, bet_sizes=SIZES)


# Both what is tested and what the tests step through: one program a game for all networks of equal number.
LANES, PAIRS, BOARDS = 64, 256, 32


def respond_to(kind, params, weights, seed, **options):
    options = {"pairs": PAIRS, "lanes": LANES, "boards": BOARDS} | options
    responding = local_best_response(the_game(kind), strategy, **options)
    return responding(jax.random.key(seed), (params, params), weights, holdem_setup(kind))


# One decision.


def actions_of(kind, states):
    """The actions so far in each of `L` hands, from the words in which the game keeps them."""
    bits = the_game(kind).actions.n.bit_length()
    found = []
    for words in np.stack([np.asarray(word) for word in states.bets], axis=1):
        parts = [
            (int(word) >> shift) % (1 << bits) for word in words for shift in range(0, 31 - bits + 1, bits)
        ]
        found.append(tuple(code - 1 for code in parts if code))
    return found


def stepwise(kind, params, weights, seat, seed):
    """Plays `PAIRS` hands round by round: the deals; for each hand the responder's decisions as (history,
    action, values); what the hands earned, as expectations and as they fell."""
    game, count = the_game(kind), np.int32(PAIRS)
    part = parts(game, strategy, BOARDS, 0)
    deck, setup = Deck(tables(), HOLES), holdem_setup(kind)
    given = np.int32(seat), params, np.asarray(weights, np.float32)
    deals = part.deal(deck, jax.random.key(seed), np.arange(PAIRS), given[0], given[2], setup)
    observe = jax.jit(jax.vmap(game.observe))
    walk = part.start(deals, count, given[2], LANES)
    decisions, earned = [[] for _ in range(PAIRS)], np.zeros(PAIRS)
    while np.any(np.asarray(walk.hand) >= 0):
        after, moves = part.turn(deck, deals, walk, count, *given)
        before, then = actions_of(kind, moves.answered), actions_of(kind, moves.responded)
        over = np.asarray(moves.responded.ended)
        rewards = np.asarray(observe(moves.responded).reward)[:, seat]
        for lane, number in enumerate(np.asarray(walk.hand)):
            if number >= 0 and len(then[lane]) > len(before[lane]):
                decisions[number].append((before[lane], then[lane][-1], np.asarray(moves.values[lane])))
            if number >= 0 and over[lane]:
                earned[number] = rewards[lane]
        walk = after
    assert float(walk.worst) < 1e-5
    return deals, decisions, np.asarray(walk.result), earned


@cache
def opponents_view(kind):
    """(setup of cards [1326, 9], history [T], seat) to the opponent's observations [T, 1326] and legal."""
    game, key = the_game(kind), jax.random.key(0)

    @jax.jit
    def replay(setup, history, seat):
        axes = HoldemSetup(None, None, None, None, 0)  # type: ignore[arg-type]
        state = jax.vmap(lambda one: game.init(key, one), (axes,))(setup)

        def step(state, action):
            now = jax.vmap(game.observe)(state)
            view = jax.tree.map(lambda leaf: jnp.take(leaf, 1 - seat, axis=1), (now.obs, now.legal))
            after = jax.vmap(lambda one: game.step(key, one, jnp.stack([action, action])))(state)
            return after, view

        return jax.lax.scan(step, state, history)[1]

    return replay


every = jax.jit(jax.vmap(jax.vmap(strategy, (None, 0, 0)), (0, None, None)))


def probabilities(kind, params, seat, own, board, history):
    """What the opponent would do with each network and hand before each action of the history and after the
    last, f64[turns, T, 1326, A]; meaningless where it is not to act."""
    most = {"flop": 12, "limit": 24, "no-limit": 25}[kind]
    cards = np.zeros((len(HOLES), 9), np.int32)
    cards[:, 2 * seat : 2 * seat + 2], cards[:, 2 * (1 - seat) : 2 * (1 - seat) + 2] = own, HOLES
    cards[:, 4:] = board
    setup = holdem_setup(kind)._replace(cards=cards)
    padded = np.array([*history, *[1] * (most - len(history))], np.int32)
    obs, legal = opponents_view(kind)(setup, padded, np.int32(seat))
    return np.moveaxis(np.asarray(every(params, obs, legal), np.float64), 1, 0)


def twin_values(kind, params, weights, seat, own, board, history, chance):
    """What the responder thinks of its actions after `history`, in the words of algorithm 1 of the paper."""
    sizes = [[Fraction(size) for size in SIZES]] * 4
    hand = Hand(kind, [0] * 9, sizes=sizes)
    probs = probabilities(kind, params, seat, own, board, history)
    reach = np.array(weights, float)[:, None] * np.ones(len(HOLES))
    for turn, action in enumerate(history):
        if hand.mover != seat:
            for t, h in np.ndindex(*reach.shape):
                reach[t, h] *= probs[turn, t, h, action]
        hand.act(action)
    assert hand.mover == seat
    known = {*own, *board[: len_shown(hand.street)]}
    for h, (first, second) in enumerate(HOLES):
        if first in known or second in known:
            reach[:, h] = 0
    reach /= reach.sum()

    def odds(reach):
        return float(np.sum(reach * chance[hand.street]) / np.sum(reach))

    pot, asked = sum(hand.pushed), hand.pushed[1 - seat] - hand.pushed[seat]
    wp = odds(reach)
    utility = {1: wp * pot - (1 - wp) * asked}
    if asked > 0:
        utility[0] = 0.0
    for action, to in hand.targets().items():
        after = probabilities(kind, params, seat, own, board, (*history, action))[len(history) + 1]
        folds = float(np.sum(reach * after[:, :, 0]))
        stays = reach * (1 - after[:, :, 0])
        wp, size = odds(stays), to - hand.pushed[1 - seat]
        called = wp * (pot + size) - (1 - wp) * (asked + size)
        utility[action] = folds * pot + (1 - folds) * called
    found = np.full(the_game(kind).actions.n, -np.inf)
    for action, value in utility.items():
        found[action] = value - hand.pushed[seat]
    return found


def len_shown(street):
    return 0 if street == 0 else street + 2


def enumerated(own, board, shown, final):
    """The chance to beat each hand with the cards to come enumerated; NaN for hands that share a card."""
    found = np.full(len(HOLES), np.nan)
    known = {*own, *board[:shown]}
    for h, hole in enumerate(HOLES):
        if known & set(hole.tolist()):
            continue
        left = [card for card in DECK if card not in known and card not in hole]
        late = [()] if final == shown else [(card,) for card in left]
        full = np.array([[*board[:shown], *cards] for cards in late])
        mine = hand_ranks(np.concatenate([np.tile(own, (len(full), 1)), full], axis=1))
        theirs = hand_ranks(np.concatenate([np.tile(hole, (len(full), 1)), full], axis=1))
        found[h] = np.mean((mine > theirs) + 0.5 * (mine == theirs))
    return found


def check_decisions(kind, seat, *, check, seed):
    params, weights = stacked(network(kind, 1), network(kind, 2)), [0.3, 0.7]
    deals, decisions, *_ = stepwise(kind, params, weights, seat, seed)
    longest = np.argsort([-len(made) for made in decisions])[:check]
    for number in longest:
        own, board = np.asarray(deals.own[number]), np.asarray(deals.board[number])
        chance = np.asarray(deals.chance[number], np.float64)
        last = len(chance) - 1
        for street in [last] if last == 1 else [last - 1, last]:
            exact = enumerated(own, board, len_shown(street), 3 if last == 1 else 5)
            compare = ~np.isnan(exact)
            np.testing.assert_allclose(chance[street][compare], exact[compare], atol=1e-5)
        for history, action, values in decisions[number]:
            wanted = twin_values(kind, params, weights, seat, own, board, history, chance)
            np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=2e-2)  # chips, f32 sums of hundreds
            assert action == np.argmax(values)
    assert all(len(decisions[number]) >= 3 for number in longest)


def test_decisions_are_the_twins():
    check_decisions("flop", 0, check=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flop", "limit", "no-limit"])
@pytest.mark.parametrize("seat", [0, 1])
def test_more_decisions_are_the_twins(kind, seat):
    check_decisions(kind, seat, check=6, seed=1)


# The whole.


def test_against_who_always_calls():
    """Nothing beats a caller more than raising with what is ahead, so here it is an exact best response, but
    for chances of winning before the flop that are estimated."""
    calls = plain("flop", [0, 30, 0])
    found = milli_big_blinds(respond_to("flop", stacked(calls, calls), (1, 1), 0, level=0.999))
    assert found.kind == "lower bound (LBR)" and found.pairs == PAIRS
    assert 0 < found.low < CALLER < found.high


@pytest.mark.slow
def test_the_closed_cases_closely():
    """Within the interval at 99.9 % on many hands, from one side where it is no exact best response."""
    calls, even = plain("flop", [0, 30, 0]), plain("flop", [0, 0, 0])
    many = {"pairs": 20_000, "boards": 256, "level": 0.999}
    caller = milli_big_blinds(respond_to("flop", stacked(calls), (1,), 1, **many))
    assert caller.low < CALLER < caller.high and caller.high - caller.low < 80
    uniform = milli_big_blinds(respond_to("flop", stacked(even), (1,), 1, **many))
    assert uniform.mean > 0.9 * UNIFORM and uniform.low < UNIFORM


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_a_lower_bound(seed):
    """At 99.9 %, on networks of several kinds, against their exact exploitability."""
    params = stacked(*[network("flop", 10 * seed + i, scale=0.5 * seed) for i in (0, 1)])
    weights = [1, 3]
    exact = exploitability(strategy, (params, params), weights)  # type: ignore[arg-type]
    found = respond_to("flop", params, weights, seed, pairs=4000, level=0.998)
    print(f"exact {exact.mbb:.0f}, found {milli_big_blinds(found)}")
    assert 0 < found.low < exact.exploitability


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flop", "no-limit"])
def test_expectations_are_of_what_happens(kind):
    """Earnings as expectations over hands and boards against earnings as the cards fell: the same mean."""
    params, weights = stacked(network(kind, 3), network(kind, 4)), [0.6, 0.4]
    differences, spread = [], []
    for seed in range(12):
        _, _, expected, fell = stepwise(kind, params, weights, seed % 2, seed)
        differences.append(fell - expected)
        spread.append((np.std(expected), np.std(fell)))
    differences = np.concatenate(differences)
    assert np.abs(np.mean(differences)) < 3.3 * np.std(differences) / np.sqrt(len(differences))
    assert np.std(differences) > 0 and np.mean([a < b for a, b in spread]) > 0.7


@pytest.mark.slow
def test_lanes_do_not_matter():
    params = stacked(network("flop", 1), network("flop", 2))
    one, other = (respond_to("flop", params, (1, 1), 3, pairs=64, lanes=lanes) for lanes in (64, 9))
    assert one.mean == pytest.approx(other.mean, abs=1e-2)


@pytest.mark.slow
def test_bets_from_a_street():
    """From no street on it only calls: against a caller that wins nothing but luck; late bets win some."""
    calls = stacked(plain("flop", [0, 30, 0]))
    never, late, always = (
        respond_to("flop", calls, (1,), 0, pairs=2000, bets_from=street, level=0.999) for street in (2, 1, 0)
    )
    assert never.low < 0 < never.high and late.low > 0 and late.mean < always.mean


@pytest.mark.slow
def test_chances_of_winning():
    """Aces against kings, 2c 7d against all hands: by enumeration of the boards, at sampling's tolerance."""
    deck, boards, own = Deck(tables(), HOLES), 4000, np.array(parse_cards("AsAh"), np.int32)
    board = np.array(parse_cards("7d8s2c3h9h"), np.int32)
    chance = partial(winning, deck, own, board, final=5, boards=boards)
    kings = int(np.argmax(np.all(np.sort(parse_cards("KdKc")) == HOLES, axis=1)))
    before, flop = (np.asarray(chance(jax.random.key(i), shown=s)) for i, s in ((0, 0), (1, 3)))
    assert before[kings] == pytest.approx(0.8171, abs=4 * 0.39 / np.sqrt(0.8 * boards))
    left = [card for card in DECK if card not in {*own, *board[:3], *HOLES[kings]}]
    full = np.array([[*board[:3], a, b] for i, a in enumerate(left) for b in left[:i]])
    mine, theirs = (
        hand_ranks(np.concatenate([np.tile(h, (len(full), 1)), full], 1)) for h in (own, HOLES[kings])
    )
    exact = np.mean((mine > theirs) + 0.5 * (mine == theirs))
    assert flop[kings] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / (0.9 * boards)))


def test_what_is_refused():
    one = plain("flop", [0, 0, 0])
    for params, weights, message in (
        ((stacked(one),), (1,), "params of 1 players"),
        ((stacked(one), stacked(one)), (1, 1), "leaf of shape"),
        ((stacked(one), stacked(one)), (-1,), "none negative"),
        ((stacked(one), stacked(one)), [[[1]]], "weights of shape"),
    ):
        with pytest.raises(JaxnashError, match=message):
            local_best_response(the_game("flop"), strategy, pairs=8)(jax.random.key(0), params, weights)
    with pytest.raises(JaxnashError, match="deals its own"):
        setup = holdem_setup("flop")._replace(cards=np.arange(9, dtype=np.int32))
        both = (stacked(one), stacked(one))
        local_best_response(the_game("flop"), strategy, pairs=8)(jax.random.key(0), both, setup=setup)
    with pytest.raises(JaxnashError, match="for hold'em"):
        local_best_response(sampled(kuhn()), strategy, pairs=8)


@pytest.mark.slow
def test_a_strategy_must_be_one():
    both = (stacked(plain("flop", [0, 0, 0])),) * 2

    def halves(params, obs, legal):
        return strategy(params, obs, legal) / 2

    def illegal(params, obs, legal):
        return jnp.broadcast_to(jnp.array([0.2, 0.3, 0.5]), legal.shape)

    def fewer(params, obs, legal):
        return strategy(params, obs, legal)[:, :2]

    for wrong, message in ((halves, "are off by 0.5"), (illegal, "are off"), (fewer, "shape")):
        with pytest.raises(JaxnashError, match=message):
            local_best_response(the_game("flop"), wrong, pairs=8, lanes=8)(jax.random.key(0), both)
