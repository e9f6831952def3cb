"""Heads-up hold'em: hands written out, betting trees, observations and bad input."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.cards import parse_cards
from jaxnash.games.holdem import canonical_cards, holdem, holdem_setup
from jaxnash.games.holdem_cards import draw, unpack
from jaxnash.rollouts.scan import scan_rollout
from jaxnash.types import JaxnashError, Scripted
from tests.games.holdem_play import KINDS, deals, play, random_setups, walk
from tests.reference.holdem_twin import Hand

each_kind = pytest.mark.parametrize("kind", KINDS)
FOLD, CALL = 0, 1
KEY = np.zeros(2, np.uint32)  # not read: the cards are given


# --- by hand


class Table:
    """A hand that is played action by action, without jit, as no two games here are the same."""

    def __init__(self, kind="no-limit", cards="AsAh KsKh 2c7d9hJc3s", *, sizes=(), **setup):
        self.game = holdem(kind, bet_sizes=sizes)
        given = holdem_setup(kind, **setup)._replace(cards=np.array(parse_cards(cards), np.int32))
        self.state = self.game.init(KEY, given)
        self.now = self.game.observe(self.state)

    def act(self, *actions):
        for action in actions:
            assert action in self.legal, (action, self.legal)
            self.go(action)
        return self

    def go(self, action):
        self.state = self.game.step(KEY, self.state, jnp.array([action, action]))
        self.now = self.game.observe(self.state)

    @property
    def mover(self):
        active = np.asarray(self.now.active)
        return None if self.now.terminated else int(np.argmax(active))

    @property
    def legal(self):
        return set() if self.mover is None else set(np.flatnonzero(self.now.legal[self.mover]).tolist())

    @property
    def chips(self):
        """Pot, to call, own stack and the opponent's, of the mover (or of seat 0), in chips."""
        chips = np.asarray(self.now.obs.chips)[self.mover or 0] * int(self.state.big)
        return np.rint(chips).astype(int).tolist()

    @property
    def reward(self):
        assert self.now.terminated and not self.now.active.any()
        return self.now.reward.tolist()


@pytest.mark.parametrize("button", [0, 1])
def test_blinds_and_order_of_play(button):
    table = Table(button=button)
    other = 1 - button
    assert np.asarray(table.now.obs.dealer).tolist() == [1 - button, button]
    assert (table.mover, table.chips) == (button, [150, 50, 19950, 19900])  # the dealer has the small blind
    assert table.legal == {FOLD, CALL, 2}
    table.act(CALL)
    assert (table.mover, table.chips) == (other, [200, 0, 19900, 19900])  # the big blind may still raise
    assert table.legal == {CALL, 2}
    table.act(CALL)
    for known in (5, 6, 7):
        assert np.asarray(table.now.obs.cards >= 0).sum(axis=1).tolist() == [known, known]
        assert table.mover == other  # first on flop, turn and river
        table.act(CALL)
        assert table.mover == button
        table.act(CALL)
    assert table.reward == [100, -100]


def test_a_fold_pays_what_was_matched():
    assert Table().act(FOLD).reward == [-50, 50]
    assert Table(button=1).act(FOLD).reward == [50, -50]
    # raise to 300; the 200 that were not called go back
    assert Table(sizes=(1.0,)).act(2, FOLD).reward == [100, -100]
    assert Table(sizes=(1.0,)).act(2, CALL, 2, FOLD).reward == [-300, 300]  # the bet of 600 comes back


def test_a_raise_adds_at_least_the_last_one():
    table = Table(sizes=(0.1, 0.25, 0.5, 1.0))
    ALL_IN = 6
    # a call makes a pot of 200: 20 and 50 are below the big blind, 100 is enough
    assert table.legal == {FOLD, CALL, 4, 5, ALL_IN}
    table.act(4)
    assert table.chips == [300, 100, 19900, 19800]  # raised to 200
    # a call makes 400: 40 is too little, 100 is just the last raise
    assert table.legal == {FOLD, CALL, 3, 4, 5, ALL_IN}
    table.act(4)
    assert table.chips == [600, 200, 19800, 19600]  # raised to 400, by 200
    # a call makes 800: 80 is too little, 200 enough
    assert table.legal == {FOLD, CALL, 3, 4, 5, ALL_IN}
    table.act(5)  # by 800, to 1200
    # a call makes 2400: 240 and 600 are below 800
    assert table.legal == {FOLD, CALL, 4, 5, ALL_IN}
    table.act(CALL)
    # the flop begins anew with the big blind; a tenth of 2400 is above it
    assert table.chips == [2400, 0, 18800, 18800]
    assert table.legal == {CALL, 2, 3, 4, 5, ALL_IN}
    table.act(2)
    assert table.chips == [2640, 240, 18800, 18560]


def test_a_short_all_in_does_not_reopen():
    table = Table(sizes=(0.5,), stacks=(20_000, 280)).act(2)
    assert table.chips == [300, 100, 180, 19800]  # 200 against 280
    # half of the pot of 400 would be more than the 80 left: all-in, once
    assert table.legal == {FOLD, CALL, 2}
    table.act(2)
    assert (table.mover, table.chips) == (0, [480, 80, 19800, 0])
    assert table.legal == {FOLD, CALL}
    table.act(CALL)
    assert table.reward == [280, -280]
    assert int(table.state.street) == 0  # run out: no more decisions
    # below the least raise and no size of the list: as the last action only
    short = Table(sizes=(0.1,), stacks=(20_000, 250)).act(3)
    assert (short.chips, short.legal) == ([350, 150, 150, 19750], {FOLD, CALL})


def test_an_all_in_is_for_the_smaller_stack():
    table = Table(sizes=(1.0,), stacks=(700, 20_000), button=1).act(3)
    assert (table.mover, table.chips) == (0, [800, 600, 600, 19300])
    assert table.legal == {FOLD, CALL}
    assert table.act(CALL).reward == [700, -700]
    lost = Table(cards="KsKh AsAh 2c7d9hJc3s", sizes=(1.0,), stacks=(700, 20_000), button=1)
    assert lost.act(3, CALL).reward == [-700, 700]


def test_actions_of_one_amount_are_one_action():
    table = Table(sizes=(1.0, 2.0, 5.0), stacks=500)
    # 300, 500 (all-in) and twice more all-in
    assert table.legal == {FOLD, CALL, 2, 3}
    assert Table(sizes=(0.5, 0.501), blinds=(1, 2)).legal == {FOLD, CALL, 2, 4}  # 2 and 2.004 are 2
    assert Table(sizes=(0.625, 0.75), blinds=(1, 2)).legal == {FOLD, CALL, 2, 4}  # 2.5 is 3 and 3
    assert Table(sizes=(0.62, 0.75), blinds=(1, 2)).legal == {FOLD, CALL, 2, 3, 4}  # 2.48 is 2


@pytest.mark.parametrize(
    "stacks, legal, reward",
    [
        ((20_000, 30), set(), [30, -30]),  # all-in in the big blind, already matched
        ((20_000, 50), set(), [50, -50]),
        ((20, 20_000), set(), [20, -20]),
        ((20_000, 80), {FOLD, CALL}, [80, -80]),
        ((80, 20_000), {FOLD, CALL}, [80, -80]),
        ((100, 100), {FOLD, CALL}, [100, -100]),
        ((101, 500), {FOLD, CALL, 2}, [101, -101]),
    ],
)
def test_blinds_that_put_a_player_all_in(stacks, legal, reward):
    table = Table(stacks=stacks)
    assert table.legal == legal
    for action in (2, CALL) if 2 in legal else (CALL,) if legal else ():
        table.act(action)
    assert table.reward == reward


def test_a_split_pot_leaves_no_odd_chip():
    board = "AsKdQhJcTs"
    assert Table(cards="2c3c 2d3d " + board).act(*[CALL] * 8).reward == [0, 0]
    assert Table(cards="2c3c 2d3d " + board, blinds=(5, 9), stacks=(333, 77)).act(2, CALL).reward == [0, 0]
    assert Table(cards="2c3c 2d3d " + board, blinds=(5, 9), stacks=7).act(CALL).reward == [0, 0]


def test_limit_bets_and_caps():
    table = Table("limit")
    for pot in (300, 500, 700):  # to 200, 300 and 400: the blind was the first of four bets
        assert table.legal == {FOLD, CALL, 2}
        assert table.act(2).chips[0] == pot
    assert table.legal == {FOLD, CALL}
    for bet in (100, 200, 200):
        pot = table.act(CALL).chips[0]
        for raises in range(4):
            assert 2 in table.legal
            assert table.act(2).chips[:2] == [pot + bet * (2 * raises + 1), bet]
        assert table.legal == {FOLD, CALL}
    # 400 before the flop, 400 on it, 800 on turn and river each
    assert table.act(CALL).reward == [2400, -2400]


def test_flop_ends_with_five_cards():
    # tens up on the flop against aces, who would win by the river
    table = Table("flop", "AsAh Tc9d Td9h2c AcAd")
    table.act(2, CALL, 2, 2, 2, 2)
    assert table.legal == {FOLD, CALL}
    assert table.act(CALL).reward == [-600, 600]
    assert Table("limit", "AsAh Tc9d Td9h2c AcAd").act(*[CALL] * 8).reward == [100, -100]


@each_kind
def test_stepping_an_ended_hand_changes_nothing(kind):
    table = Table(kind, sizes=(1.0,)).act(2, FOLD)
    before = jax.device_get((table.state, table.now))
    for action in range(3):
        table.go(action)
        after = jax.device_get((table.state, table.now))
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after)))


# --- the betting trees


def fixed(kind, **given):
    cards = np.array(parse_cards("AsAh KsKh 2c7d9hJc3s"), np.int32)
    return holdem_setup(kind, **given)._replace(cards=cards)


@pytest.mark.parametrize("kind, decisions", [("flop", [8, 70]), ("limit", [8, 70, 630, 5670])])
def test_betting_trees_of_limit_games_have_the_known_size(kind, decisions):
    """8 pre-flop decisions (first, after a limp, three raises after each) and 7 lines to the flop; 10
    decisions on each later street (two with no bet, four bets after each) and 9 lines out of it."""
    tree = walk(holdem(kind), fixed(kind))
    assert np.bincount(tree.street).tolist() == decisions
    # a decision that faces a bet can end by a fold: all but the two of each later street, and the limped pot
    folds = 7 + sum(lines * 8 // 10 for lines in decisions[1:])
    assert len(tree.rewards) == folds + decisions[-1] // 10 * 9
    assert np.all(tree.rewards.sum(axis=1) == 0)
    assert np.abs(tree.rewards).max() == {"flop": 800, "limit": 2400}[kind]


def twin_decisions(make, path=()):
    """Decisions by street, the tree walked by playing every path from the start."""
    hand = make()
    for action in path:
        hand.act(action)
    if hand.mover is None:
        return []
    return [(hand.street, path)] + [
        node for action in sorted(hand.legal()) for node in twin_decisions(make, (*path, action))
    ]


def test_the_betting_tree_of_no_limit_is_the_twins():
    given = dict(stacks=(900, 1100), blinds=(50, 100), button=1)
    sizes, caps = ((0.5, 1.0), (0.5,), (1.0,), ()), [2, 2, 1, 1]
    tree = walk(holdem("no-limit", bet_sizes=sizes, max_raises=caps), fixed("no-limit", **given))
    nodes = twin_decisions(lambda: Hand("no-limit", list(range(9)), **given, sizes=sizes, caps=caps))
    assert len(nodes) > 300
    assert sorted(zip(tree.street.tolist(), tree.path)) == sorted(nodes)


# --- observations


@cache
def simplest(cards, known):
    """The least of the 24 relabellings: equal for hands that are equal up to suits."""
    groups = [range(2), range(2, 5), range(5, 6), range(6, 7)]
    return min(
        tuple(
            tuple(sorted(4 * (c // 4) + suits[c % 4] for c in (cards[i] for i in group if i < known)))
            for group in groups
        )
        for suits in permutations(range(4))
    )


def test_canonical_cards_are_equal_just_for_hands_equal_up_to_suits():
    rng = np.random.default_rng(0)
    cards = deals(rng, 300)[:, :7]
    cards[:150] = cards[:150] // 16 * 4 % 52 + cards[:150] % 4  # few ranks, so that suits tie
    cards = np.array([row for row in cards if len(set(row.tolist())) == 7])
    assert len(cards) > 170
    canonical = np.asarray(jax.jit(canonical_cards)(cards))
    suits = np.array(list(permutations(range(4))))[rng.integers(24, size=len(cards))]
    relabelled = cards // 4 * 4 + np.take_along_axis(suits, cards % 4, axis=1)
    np.testing.assert_array_equal(canonical, jax.jit(canonical_cards)(relabelled))
    for row, own in zip(canonical.tolist(), cards.tolist()):
        assert simplest(tuple(row), 7) == simplest(tuple(own), 7)
        assert row[:2] == sorted(row[:2], reverse=True) and row[2:5] == sorted(row[2:5], reverse=True)
    for known in (2, 5, 6):  # later cards do not change the earlier ones
        hidden = np.where(np.arange(7) < known, cards, -1)
        np.testing.assert_array_equal(canonical_cards(hidden), np.where(np.arange(7) < known, canonical, -1))


def test_canonical_cards_by_hand():
    # clubs and diamonds tie until the turn, which is a diamond
    cards = np.array(parse_cards("AcAd KcKd2h 3d 4c"))
    assert canonical_cards(cards).tolist() == list(parse_cards("AdAc KdKc2h 3c 4d"))


@each_kind
def test_observations_have_perfect_recall(kind):
    """What a player sees stands for their cards up to suits and for all actions so far, and nothing else."""
    rng = np.random.default_rng(1)
    setup = random_setups(rng, 600)
    # many hands of few deals, one stack: so that infosets are met more than once
    few = setup.cards[:6]
    setup = setup._replace(
        cards=few[rng.integers(6, size=600)],
        stacks=np.full((600, 2), 2000, np.int32),
        blinds=np.tile(np.array([50, 100], np.int32), (600, 1)),
    )
    hands = play(kind, setup, seed=2)
    views, keys = {}, {}
    for t, n in np.argwhere(~hands.ended):
        seat = int(np.argmax(hands.active[t, n]))
        street = int(hands.street[t, n])
        cards = setup.cards[n].tolist()
        own = cards[2 * seat : 2 * seat + 2] + cards[4:]
        path = tuple(zip(hands.street[:t, n].tolist(), hands.action[:t, n].tolist()))
        key = (bool(setup.button[n] == seat), simplest(tuple(own), (2, 5, 6, 7)[street]), path)
        view = b"".join(leaf[t, n, seat].tobytes() for leaf in jax.tree.leaves(hands.obs))
        assert views.setdefault(key, view) == view
        assert keys.setdefault(view, key) == key
    assert 200 < len(views) < np.sum(~hands.ended)


@each_kind
def test_observations_do_not_show_hidden_cards(kind):
    rng = np.random.default_rng(3)
    setup = random_setups(rng, 400)
    first = play(kind, setup, seed=4)
    for seat in (0, 1):
        for street, board in enumerate((0, 3, 4, 5)):
            seen = [2 * seat, 2 * seat + 1, *range(4, 4 + board)]
            hidden = [i for i in range(9) if i not in seen]
            other = setup.cards.copy()
            for row in other:
                left = np.setdiff1d(np.arange(52), row[seen])
                row[hidden] = rng.permutation(left)[: len(hidden)]
            again = play(kind, setup._replace(cards=other), seed=4)
            np.testing.assert_array_equal(first.action, again.action)
            same = first.street <= street
            for a, b in zip(jax.tree.leaves(first.obs), jax.tree.leaves(again.obs)):
                np.testing.assert_array_equal(a[same][:, seat], b[same][:, seat])
            np.testing.assert_array_equal(first.legal, again.legal)


def test_drawn_cards_are_different_and_even():
    n = 26_000
    keys = jax.random.split(jax.random.key(0, impl="unsafe_rbg"), n)
    cards = np.stack(jax.jit(jax.vmap(lambda key: draw(key, 9)))(keys), axis=1)
    assert all(len(set(row)) == 9 for row in cards.tolist())
    counts = np.stack([np.bincount(column, minlength=52) for column in cards.T])
    chi = np.sum((counts - n / 52) ** 2 / (n / 52), axis=1)  # 51 degrees of freedom: mean 51, deviation 10
    assert chi.max() < 51 + 5 * 10
    later = np.mean(cards[:, 0] < cards[:, 8])
    assert abs(later - 0.5) < 5 * 0.5 / np.sqrt(n)


def test_init_without_a_setup_deals_a_default_hand():
    game = holdem("limit")
    state = jax.jit(game.init)(jax.random.key(3), None)
    same = jax.jit(game.init)(jax.random.key(3), holdem_setup("limit"))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(same)))
    cards = [*unpack(state.holes, 4).tolist(), *unpack(state.board, 5).tolist()]
    assert len(set(cards)) == 9 and set(cards) <= set(range(52))
    hand = Hand("limit", cards)
    for action in [CALL] * 8:
        hand.act(action)
        state = game.step(jax.random.key(0), state, jnp.array([action] * 2))
    assert game.observe(state).reward.tolist() == hand.payoffs()


@pytest.mark.slow
def test_it_plays_in_the_scan():
    def choose(step, key):
        return jax.random.categorical(key, jnp.where(step.legal, 0.0, -jnp.inf))

    run = scan_rollout(holdem("flop"), length=40, batch=32)
    seats = (Scripted("one", choose), Scripted("other", choose))
    played = run(jax.random.key(0, impl="unsafe_rbg"), seats)
    ended = np.asarray(played.terminated)[..., 0]
    assert np.all(ended.sum(axis=0) >= 3)  # no hand is longer than 11 actions
    reward = np.asarray(played.reward)
    assert np.all(reward.sum(axis=-1) == 0) and np.all((reward != 0).any(axis=-1) <= ended)
    assert np.all(np.asarray(played.active).sum(axis=-1) == 1)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: holdem("omaha"), "kind 'omaha'"),
        (lambda: holdem_setup("omaha"), "kind 'omaha'"),
        (lambda: holdem(bet_sizes=(0.5, 0.0)), "bet size 0.0"),
        (lambda: holdem(bet_sizes=(0.5, float("nan"))), "bet size nan"),
        (lambda: holdem(bet_sizes=(0.5, 101)), "bet size 101"),
        (lambda: holdem(bet_sizes=np.linspace(0.1, 5, 200)), "200 bet sizes"),
        (lambda: holdem(bet_sizes=((0.5,), (1.0,))), "bet_sizes of 2 streets"),
        (lambda: holdem(max_raises=-1), "max_raises -1"),
        (lambda: holdem("flop", max_raises=(3, 4, 4)), "one for each of 2 streets"),
        (lambda: holdem_setup(stacks=0), "stacks 0"),
        (lambda: holdem_setup(stacks=10**8), "to 10,000,000"),
        (lambda: holdem_setup(stacks=(100, 100, 100)), "stacks"),
        (lambda: holdem_setup(stacks=float("nan")), "stacks nan"),
        (lambda: holdem_setup(stacks=100.5), "stacks 100.5"),
        (lambda: holdem_setup(blinds=(100, 50)), "blinds"),
        (lambda: holdem_setup(blinds=(0.5, 1)), "blinds"),
        (lambda: holdem_setup(blinds=(1, 2, 3)), "blinds"),
        (lambda: holdem_setup(button=2), "button 2"),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises(JaxnashError, match=words):
        make()


def test_large_stacks_and_sizes_do_not_overflow():
    table = Table(sizes=(0.999, 100.0), stacks=10_000_000, blinds=(1, 4_000_000))
    # nearly the pot of 8 million after a call, then all-in by a size
    assert table.legal == {FOLD, CALL, 2}
    assert table.act(CALL, 2).chips[:2] == [8_000_000 + 6_000_000, 6_000_000]
    table = Table(sizes=(0.999, 100.0), stacks=10_000_000, blinds=(1, 40_000)).act(3)
    assert table.chips[:2] == [40_000 * 2 + 8_000_000, 8_000_000]
