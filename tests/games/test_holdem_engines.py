"""Random hands of heads-up hold'em, action by action, against the plain-Python twin and OpenSpiel."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.games.holdem_play import KINDS, SIZES, play, random_setups
from tests.reference.holdem_twin import Hand

each_kind = pytest.mark.parametrize("kind", KINDS)


def against_twin(kind, n, seed):
    rng = np.random.default_rng(seed)
    setup = random_setups(rng, n)
    hands = play(kind, setup, seed=seed)
    assert hands.ended[-1].all()
    assert not np.any(hands.reward[~hands.ended])
    waiting = hands.legal[~hands.active]
    assert waiting[:, 0].all() and not waiting[:, 1:].any()
    decisions = 0
    chips = np.rint(hands.obs.chips * setup.blinds[None, :, 1, None, None]).astype(int)
    for i in range(n):
        stacks, blinds = setup.stacks[i].tolist(), setup.blinds[i].tolist()
        hand = Hand(
            kind,
            setup.cards[i].tolist(),
            stacks=stacks,
            blinds=blinds,
            button=int(setup.button[i]),
            sizes=SIZES,
        )
        for t in range(len(hands.ended)):
            assert hands.ended[t, i] == (hand.mover is None)
            if hand.mover is None:
                break
            seat = hand.mover
            assert hands.active[t, i].tolist() == [seat == 0, seat == 1]
            assert set(np.flatnonzero(hands.legal[t, i, seat]).tolist()) == hand.legal()
            assert hands.street[t, i] == hand.street
            paid = [min(pushed, min(stacks)) for pushed in hand.pushed]
            for own in (0, 1):
                owed = max(paid[1 - own] - paid[own], 0)
                left = [stacks[own] - paid[own], stacks[1 - own] - paid[1 - own]]
                assert chips[t, i, own].tolist() == [hand.pot(), owed, *left]
            decisions += 1
            hand.act(int(hands.action[t, i]))
        assert hands.reward[t, i].tolist() == hand.payoffs()
        assert sum(hand.payoffs()) == 0
        for row, actions in zip(hands.obs.bets[t, i, 0].tolist(), hand.history):
            assert row[: len(actions)] == [action + 1 for action in actions] and not any(row[len(actions) :])
    return decisions


@each_kind
def test_hands_are_the_twins(kind):
    assert against_twin(kind, 1000, seed=5) > 3000


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_kind
def test_100_000_hands_are_the_twins(kind):
    for seed in range(10):
        against_twin(kind, 10_000, seed=100 + seed)


def universal_poker(pyspiel, kind, stacks, blinds):
    """The same game in OpenSpiel; player 0 is the big blind and player 1 the dealer."""
    streets = 2 if kind == "flop" else 4
    given = dict(
        betting="nolimit" if kind == "no-limit" else "limit",
        numPlayers=2,
        numRounds=streets,
        blind=f"{blinds[1]} {blinds[0]}",
        firstPlayer=["2", "1", "1", "1"],
        numSuits=4,
        numRanks=13,
        numHoleCards=2,
        numBoardCards=["0", "3", "1", "1"],
        stack=f"{stacks[0]} {stacks[1]}",
    )
    if kind == "no-limit":
        given["bettingAbstraction"] = "fullgame"
    else:
        given["raiseSize"] = [str(blinds[1] * bets) for bets in (1, 1, 2, 2)]
        given["maxRaises"] = ["3", "4", "4", "4"]
    text = {
        name: " ".join(value[:streets]) if isinstance(value, list) else value for name, value in given.items()
    }
    return pyspiel.load_game(
        f"universal_poker({','.join(f'{name}={value}' for name, value in text.items())})"
    )


def against_openspiel(kind, n, seed):
    pyspiel = pytest.importorskip("pyspiel")
    rng = np.random.default_rng(seed)
    setup = random_setups(rng, n, least=100)  # it refuses stacks below the blinds
    if kind != "no-limit":  # there a player without the chips to call may raise
        setup = setup._replace(stacks=np.maximum(setup.stacks, 2400))
    hands = play(kind, setup, seed=seed)
    chips = np.rint(hands.obs.chips * setup.blinds[None, :, 1, None, None]).astype(int).tolist()
    legal, action, ended = hands.legal.tolist(), hands.action.tolist(), hands.ended.tolist()
    street, last_raise = hands.street.tolist(), hands.last_raise.tolist()
    raises = 0
    for i in range(n):
        dealer, stacks, reach = int(setup.button[i]), setup.stacks[i].tolist(), int(setup.stacks[i].min())
        seats = (1 - dealer, dealer)  # of players 0 and 1
        state = universal_poker(pyspiel, kind, [stacks[seat] for seat in seats], setup.blinds[i].tolist())
        state = state.new_initial_state()
        cards = setup.cards[i].tolist()
        coming = [card for seat in seats for card in cards[2 * seat : 2 * seat + 2]] + cards[4:]
        count = 0  # bets and raises of the street
        for t in range(len(ended)):
            while state.is_chance_node():
                state.apply_action(coming.pop(0))
            if ended[t][i] and state.legal_actions() == [1]:  # it asks the big blind after an all-in limp
                state.apply_action(1)
                while state.is_chance_node():
                    state.apply_action(coming.pop(0))
            assert ended[t][i] == state.is_terminal()
            if ended[t][i]:
                break
            seat = seats[state.current_player()]
            own, there = legal[t][i][seat], state.legal_actions()
            assert hands.active[t, i, seat]
            assert own[:2] == [there[0] == 0, 1 in there]
            if t and street[t][i] != street[t - 1][i]:
                count = 0
            larger = [raised for raised in there if raised > 1]
            assert any(own[2:]) == (bool(larger) and not (kind == "no-limit" and count == 4))
            pot, *_, other_left = chips[t][i][seat]
            spent = [int(x) for x in re.findall(r"P[01]: (\d+) ", str(state).split("Spent:")[1])]
            assert pot == sum(min(chips_in, reach) for chips_in in spent)
            chosen = action[t][i]
            if chosen > 1:
                count += 1
                raises += 1
                after = chips[t + 1][i][seat]
                to = stacks[seat] - after[2]  # what the seat has put in by then
                if kind == "no-limit":
                    paid = stacks[1 - seat] - other_left
                    assert larger[0] == min(paid + last_raise[t][i], stacks[seat])
                    assert to in larger or to == reach
                    chosen = to if to in larger else larger[-1]
            state.apply_action(chosen)
        returns = state.returns()
        assert hands.reward[t, i].tolist() == [returns[seats.index(0)], returns[seats.index(1)]]
    return raises


@each_kind
def test_hands_are_openspiels(kind):
    assert against_openspiel(kind, 200, seed=6) > 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_kind
def test_100_000_hands_are_openspiels(kind):
    for seed in range(10):
        against_openspiel(kind, 10_000, seed=200 + seed)
