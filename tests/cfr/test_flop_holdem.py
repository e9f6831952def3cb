"""Flop hold'em's exact exploitability: counts, a plain-Python twin on small decks, OpenSpiel, and play."""

from __future__ import annotations

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.cfr import flop_values
from jaxnash.cfr.flop_betting import after_flop, before_flop, decisions, ends, lines, rows_after, rows_before
from jaxnash.cfr.flop_cards import flop_deals
from jaxnash.cfr.flop_holdem import exploitability
from jaxnash.games import holdem
from jaxnash.games.holdem import HoldemSetup, Observation, holdem_setup
from jaxnash.types import JaxnashError
from tests.cfr.flop_play import play, record_choices
from tests.reference.flop_twin import average, earnings, histories, observation, situation

ONE_SUIT = range(0, 28, 4)
TWO_RANKS = range(8)
NINE = [4 * rank + suit for rank in (3, 8, 12) for suit in (0, 2, 3)]
UNIFORM = -15.753600823045267  # player 0's: showdowns are even by symmetry, so the betting alone decides
NOTHING = np.zeros((1, 1), np.float32)


def uniform(params, obs, legal):
    return legal / jnp.sum(legal, axis=1, keepdims=True)


def wild(params, obs, legal):
    """Different at every infoset, often with zeros; uniform where all would be zero."""
    shape = len(legal), -1
    inputs = jnp.concatenate([leaf.reshape(shape).astype(params.dtype) for leaf in obs], axis=1)
    probs = jnp.where(legal, jnp.maximum(jnp.sin(inputs @ params), 0), 0)
    probs = jnp.where(jnp.sum(probs, axis=1, keepdims=True) > 1e-3, probs, legal)
    return probs / jnp.sum(probs, axis=1, keepdims=True)


def wild_params(seed: int, networks: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(networks, 24, 3)).astype(dtype) for _ in (0, 1))


def twin_policies(apply, params, deck) -> list:
    """One policy of the twin for each network index: what `apply` says of all the twin's own observations."""
    rows = []
    for player, before, after in histories():
        for flop in [None] if after is None else combinations(deck, 3):
            for hole in combinations([card for card in deck if card not in (flop or ())], 2):
                rows.append((player, hole, flop, before, after))
    policies = []
    for t in range(len(params[0])):
        table = {}
        for player in (0, 1):
            own = [row for row in rows if row[0] == player]
            seen = [np.array(leaf) for leaf in zip(*(observation(*row) for row in own), strict=True)]
            types = (np.int8, np.int8, np.float32, np.int8)
            obs = Observation(*(leaf.astype(kind) for leaf, kind in zip(seen, types, strict=True)))
            legal = np.array([[action in situation(*row[3:])[2] for action in range(3)] for row in own])
            probs = np.asarray(jax.jit(apply)(params[player][t], obs, legal), float).tolist()
            table |= dict(zip(own, probs, strict=True))
        policies.append(lambda *row, table=table: table[row])
    return policies


def test_the_whole_deck_has_1286792_hands_beside_1755_flops():
    deals = flop_deals()
    sizes = np.diff(deals.first)
    assert len(deals.flops) == 1755 and deals.flop_count.sum() == 22_100
    assert len(deals.cards) == 1_286_792 == deals.first[-1] and len(deals.before) == 169
    # rainbow, two suits (a pair's too), a pair in three suits, three of a kind, one suit
    assert dict(zip(*np.unique(sizes, return_counts=True), strict=True)) == {
        1176: 286,
        721: 858 + 156,
        744: 156,
        378: 13,
        344: 286,
    }
    assert np.array_equal(np.add.reduceat(deals.count, deals.first[:-1]), np.full(1755, 1176))
    assert len(np.unique(deals.cards.astype(np.int64) @ 64 ** np.arange(7))) == len(deals.cards)


def test_hands_of_a_class_look_alike():
    deals, rng = flop_deals(), np.random.default_rng(0)
    for f in rng.integers(len(deals.flops), size=200):
        for r in rng.permutation(np.flatnonzero(deals.index[f] >= 0))[:20]:
            row = deals.first[f] + deals.index[f, r]
            hole, flop = deals.pairs[r].tolist(), deals.flops[f].tolist()
            assert observation(0, hole, flop, "11", "")[0] == deals.cards[row].tolist()
            assert deals.private[row] == deals.before_class[r]
            assert observation(0, hole, None, "", None)[0] == deals.before[deals.before_class[r]].tolist()
        taken = np.isin(deals.pairs, deals.flops[f]).any(axis=1)
        assert np.array_equal(deals.index[f] < 0, taken)


def test_the_betting_tree():
    assert len(decisions(before_flop())) == 8 and len(decisions(after_flop())) == 10
    assert sorted(line.paid for line in lines()) == [
        (paid, paid) for paid in (100, 200, 200, 300, 300, 400, 400)
    ]
    assert sum(end.loser < 0 for end in ends(after_flop())) == 9 and len(ends(after_flop())) == 17
    every = {(player, before, after) for player, before, after in histories()}
    assert len(every) == 78 and sum(after is not None for _, _, after in every) == 70


def look(rows, cards):
    """Observations and legal actions at all decisions, hand by hand."""
    first = lambda *row: jax.tree.map(lambda leaf: leaf[0], row)  # noqa: E731
    found = jax.jit(lambda cards: rows.each(first, cards))(cards)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


@pytest.mark.parametrize("player", (0, 1))
def test_rows_are_the_twin_s(player):
    hole, flop = (2, 51), (0, 13, 30)
    for rows, cards, board in (
        (rows_before(player), observation(player, hole, None, "", None)[0], None),
        (rows_after(player), observation(player, hole, flop, "", None)[0], flop),
    ):
        obs, legal = look(rows, np.array([cards, cards], np.int8))
        seen = set()
        for i in range(len(legal)):
            before, after = ("".join(str(a - 1) for a in street if a) for street in obs.bets[i].tolist())
            history = before, after if board else None
            cards, bets, chips, dealer = observation(player, hole, board, *history)
            assert obs.cards[i].tolist() == cards and obs.bets[i].tolist() == bets
            assert obs.chips[i].tolist() == chips and obs.dealer[i] == dealer
            _, mover, actions, _ = situation(*history)
            assert mover == player and np.flatnonzero(legal[i]).tolist() == actions
            seen.add(history)
        assert len(seen) == len(rows.legal) == (35 if board else 4)
        assert obs.cards.dtype == obs.bets.dtype == obs.dealer.dtype == np.int8


def test_rows_are_the_game_s():
    """What `holdem("flop")` shows along every history, on random deals."""
    game, rng, count = holdem("flop"), np.random.default_rng(1), 64
    deals = flop_deals()
    flops = rng.integers(len(deals.flops), size=count)
    holes, rows = [], []
    for f in flops:
        left = rng.permutation(np.setdiff1d(np.arange(52), deals.flops[f]))
        holes.append(left)
        rows.append(
            [deals.first[f] + deals.index[f, pair_number(deals, left[2 * p : 2 * p + 2])] for p in (0, 1)]
        )
    rows = np.array(rows)
    cards = np.concatenate([np.stack(holes)[:, :4], deals.flops[flops], np.stack(holes)[:, 4:6]], axis=1)
    setup = holdem_setup("flop")._replace(cards=cards.astype(np.int32))
    axes = HoldemSetup(None, None, None, None, 0)
    key = jax.random.key(0)
    start = jax.jit(jax.vmap(lambda setup: game.init(key, setup), in_axes=(axes,)))(setup)
    step = jax.jit(jax.vmap(lambda state, action: game.step(key, state, action), in_axes=(0, None)))
    observe = jax.jit(jax.vmap(game.observe))
    tables = {
        (player, street): look(table, seen)
        for player in (0, 1)
        for street, table, seen in (
            (0, rows_before(player), deals.before[deals.private[rows[:, player]]]),
            (1, rows_after(player), deals.cards[rows[:, player]]),
        )
    }

    def check(state, before, after):
        _, mover, actions, _ = situation(before, after)
        if mover is None:
            return 0 if after is not None or "0" in before else check(state, before, "")
        seen = observe(state)
        obs, legal = tables[mover, int(after is not None)]
        bets = np.asarray(seen.obs.bets[0, mover])
        own = obs.bets.reshape(count, -1, 2, 6)
        node = np.flatnonzero((own[0] == bets).all(axis=(1, 2)))
        assert len(node) == 1
        for leaf, table in zip(seen.obs, obs, strict=True):
            assert leaf.dtype == table.dtype
            assert np.array_equal(leaf[:, mover], table.reshape(count, -1, *table.shape[1:])[:, node[0]])
        assert np.array_equal(seen.legal[:, mover], legal.reshape(count, -1, 3)[:, node[0]])
        found = 1
        for action in actions:
            below = step(state, np.full(2, action, np.int32))
            text = str(action)
            found += (
                check(below, before + text, None) if after is None else check(below, before, after + text)
            )
        return found

    assert check(start, "", None) == 78


def pair_number(deals, pair) -> int:
    return int(np.flatnonzero((deals.pairs == np.sort(pair)).all(axis=1))[0])


@pytest.mark.parametrize("deck, networks, dtype", [
    (TWO_RANKS, 3, np.float64), (ONE_SUIT, 3, np.float32),
])  # fmt: skip
def test_exploitability_is_the_twin_s(deck, networks, dtype):
    check_with_twin(list(deck), networks, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("deck, networks, dtype", [
    (NINE, 2, np.float64), (NINE, 3, np.float32), (ONE_SUIT, 1, np.float64), (range(12), 1, np.float64),
])  # fmt: skip
def test_exploitability_is_the_twin_s_on_larger_decks(deck, networks, dtype):
    check_with_twin(list(deck), networks, dtype)


def check_with_twin(deck, networks, dtype):
    params = wild_params(networks, networks, dtype)
    weights = np.arange(1.0, networks + 1)  # linear, as in Single Deep CFR
    found = exploitability(wild, params, weights, deck=deck, dtype=dtype)
    with jax.enable_x64(dtype == np.float64):
        policy = average(twin_policies(wild, params, deck), weights.tolist())
    best = [earnings(deck, player, policy, True) for player in (0, 1)]
    values = [earnings(deck, player, policy, False) for player in (0, 1)]
    # sums of some ten thousand products: rounding alone differs
    tolerance = 1e-9 if dtype == np.float64 else 1e-5 * max(map(abs, best))
    assert values[0] == pytest.approx(-values[1], abs=1e-9)
    assert found.value == pytest.approx(values[0], abs=tolerance)
    assert found.best_responses == pytest.approx(best, abs=tolerance)
    gains = best[0] - values[0], best[1] - values[1]
    assert found.exploitability == pytest.approx(sum(gains) / 2, abs=tolerance)
    assert min(gains) > 1 and found.mbb == pytest.approx(10 * found.exploitability)


def test_spans_blocks_and_batches_change_nothing(monkeypatch):
    params = wild_params(0, 3, np.float64)
    whole = exploitability(wild, params, (1, 2, 3), deck=TWO_RANKS, dtype=np.float64)
    monkeypatch.setattr(flop_values, "FEW", 0)
    monkeypatch.setattr(flop_values, "PLANNED", 12)
    monkeypatch.setattr(flop_values, "BLOCK", 2)
    shares = []
    parts = exploitability(
        wild, params, (1, 2, 3), deck=TWO_RANKS, dtype=np.float64, batch=3 * 35 + 1, progress=shares.append
    )
    # XLA may add in another order for another shape
    assert parts[:3] == pytest.approx(whole[:3], abs=1e-9) and parts.rows == whole.rows
    assert len(shares) > 3 and shares == sorted(shares) and shares[-1] == 1


def test_a_mixture_of_one_network_with_itself_is_the_network():
    params = wild_params(0, 1, np.float32)
    one = exploitability(wild, params, deck=ONE_SUIT)
    many = tuple(np.repeat(side, 3, axis=0) for side in params)
    mixed = exploitability(wild, many, [[0.0, 2.0, 5.0], [1.0, 1.0, 0.0]], deck=ONE_SUIT)
    assert mixed[:3] == pytest.approx(one[:3], rel=1e-5) and mixed.rows == 3 * one.rows


def test_folding_loses_what_is_there():
    """The dealer, who speaks first, folds its small blind; who responds wins the other's blind."""

    def fold(params, obs, legal):
        return jax.nn.one_hot(jnp.argmax(legal, axis=1), 3)

    found = exploitability(fold, (NOTHING, NOTHING), deck=ONE_SUIT)
    assert found.value == pytest.approx(-50, rel=1e-6)
    assert found.best_responses == pytest.approx((100, 50), rel=1e-6)
    assert found.exploitability == pytest.approx(75, rel=1e-6) and found.mbb == pytest.approx(750, rel=1e-6)


@pytest.mark.slow
def test_openspiel_agrees_on_the_uniform_policy():
    pyspiel = pytest.importorskip("pyspiel")
    game = pyspiel.load_game(
        "universal_poker(betting=limit,numPlayers=2,numRounds=2,blind=50 100,firstPlayer=1 2,numSuits=1,"
        "numRanks=7,numHoleCards=2,numBoardCards=0 3,stack=20000 20000,raiseSize=100 100,maxRaises=3 4)"
    )
    policy = pyspiel.UniformRandomPolicy(game)
    theirs = pyspiel.exploitability(game, policy)
    ours = exploitability(uniform, (NOTHING, NOTHING), deck=ONE_SUIT, dtype=np.float64)
    assert ours.value == pytest.approx(UNIFORM, abs=1e-9)
    assert ours.exploitability == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("change, message", [
    ({"weights": (1, 2)}, "leading axis counts the networks"),
    ({"weights": (0,)}, "none negative"),
    ({"weights": (np.nan,)}, "none negative"),
    ({"weights": ()}, "shape"),
    ({"batch": 34}, "batch 34"),
    ({"deck": range(6)}, "seven"),
    ({"deck": range(9)}, "same ranks"),
    ({"params": (NOTHING,)}, "1 players"),
    ({"apply": lambda params, obs, legal: legal / 3}, "distributions"),
    ({"apply": lambda params, obs, legal: jnp.full(legal.shape, 1 / 3)}, "distributions"),
    ({"apply": lambda params, obs, legal: jnp.full(legal.shape, jnp.nan)}, "distributions"),
    ({"apply": lambda params, obs, legal: jnp.ones(len(legal))}, "shape"),
])  # fmt: skip
def test_what_is_refused(change, message):
    given = {"apply": uniform, "params": (NOTHING, NOTHING), "deck": ONE_SUIT} | change
    with pytest.raises(JaxnashError, match=message):
        exploitability(**given)


@pytest.mark.slow
def test_the_uniform_policy_of_the_whole_game():
    """1522 mbb/g, alike in single and double precision."""
    single = exploitability(uniform, (NOTHING, NOTHING))
    double = exploitability(uniform, (NOTHING, NOTHING), dtype=np.float64)
    assert double.value == pytest.approx(UNIFORM, abs=1e-9)
    assert single[:3] == pytest.approx(double[:3], rel=1e-5)
    assert double.mbb == pytest.approx(1522.26537686, abs=1e-6)
    assert single.rows == 70 * 1_286_792 + 8 * 169


@pytest.mark.slow
def test_playing_earns_what_was_computed(monkeypatch):
    """A mixture of two networks against itself and against both best responses, in `holdem("flop")`."""
    params, weights = wild_params(7, 2, np.float32), np.array([0.3, 0.7])
    found, choices = record_choices(monkeypatch, wild, params, weights)
    first, second = found.best_responses
    for responder, expected in ((None, found.value), (0, first), (1, second)):
        rewards = play(wild, params, weights, choices, responder, 400_000, seed=3)[:, responder or 0]
        error = rewards.std() / len(rewards) ** 0.5
        print(f"responder {responder}: {rewards.mean():.2f} ± {error:.2f} played, {expected:.2f} computed")
        # 4.5 standard errors: once in 150,000 without a mistake
        assert abs(rewards.mean() - expected) < 4.5 * error
    assert min(first - found.value, second + found.value) > 50 * error  # so what is gained is measured well
