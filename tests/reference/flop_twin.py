"""Flop hold'em with any deck by enumeration, in plain Python: the slow twin of `jaxnash.cfr.flop_holdem`.

Player 0 deals. A policy maps (player, hole, flop, before, after) to the probabilities of fold, call and
raise: `hole` is a sorted pair of cards; `flop` a sorted triple and `after` the actions on it, both None
before it; `before` the actions before the flop. Actions are a string of digits: 0 fold, 1 check or call,
2 bet or raise. Every hand and flop is its own here: nothing is known of suits.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

from tests.reference.holdem_twin import five_card_value

MOST = (3, 4)  # bets and raises of a street
showdown_value = cache(five_card_value)


@cache
def situation(before, after=None):
    """What both have paid; the legal actions of whom, None where a street is over; who folded."""
    paid, raises, mover, folded = [50, 100], 0, 0, None
    for street, actions in enumerate((before, after)):
        if actions is None:
            break
        mover, raises = street, 0
        for spoken, action in enumerate(actions):
            other = 1 - mover
            if action == "0":
                folded, mover = mover, None
            elif action == "1":
                paid[mover] = paid[other]
                mover = other if spoken == 0 else None  # whoever speaks first cannot end a street by a call
            else:
                paid[mover] = paid[other] + 100
                raises += 1
                mover = other
    legal = []
    if mover is not None:
        raising = raises < MOST[after is not None]
        legal = [0] * (paid[mover] < paid[1 - mover]) + [1] + [2] * raising
    return tuple(paid), mover, legal, folded


def histories(before="", after=None):
    """All decisions from here on, as (player, before, after), those before the flop first."""
    found, later = [], []
    stack = [(before, after)]
    while stack:
        before, after = stack.pop()
        _, mover, legal, folded = situation(before, after)
        if mover is not None:
            (found if after is None else later).append((mover, before, after))
            for action in legal:
                stack.append((before + str(action), None) if after is None else (before, after + str(action)))
        elif after is None and folded is None:
            stack.append((before, ""))
    return found + later


@cache
def seen(hole, flop):
    """The cards with their suits renamed: suits sorted by their ranks in the hand, then on the flop."""

    def held(suit, cards):
        return sum(1 << (card // 4) for card in cards if card % 4 == suit)

    suits = sorted(range(4), key=lambda suit: (held(suit, hole), held(suit, flop)), reverse=True)
    cards = []
    for street in (hole, flop):
        cards += sorted((card - card % 4 + suits.index(card % 4) for card in street), reverse=True)
    return cards + [-1] * (7 - len(cards))


def observation(player, hole, flop, before, after):
    """`jaxnash.games.holdem.Observation`'s leaves as lists: cards, bets, chips, dealer."""
    bets = [[int(action) + 1 for action in actions or ""] for actions in (before, after)]
    own, other = (situation(before, after)[0][seat] for seat in (player, 1 - player))
    chips = [own + other, other - own, 20_000 - own, 20_000 - other]
    return (
        seen(tuple(hole), tuple(flop or ())),
        [actions + [0] * (6 - len(actions)) for actions in bets],
        [amount / 100 for amount in chips],
        int(player == 0),
    )


def average(policies, weights):
    """The policy of a mixture: at each infoset the average by weight times the player's own reach."""

    @cache
    def reaches(player, hole, flop, before, after):
        """Each policy's own reach of a history."""
        if after:
            earlier, action = (before, after[:-1]), after[-1]
        elif before:
            earlier, action, flop = (before[:-1], None), before[-1], None
        else:
            return weights
        above = reaches(player, hole, flop, *earlier)
        if situation(*earlier)[1] != player:
            return above
        return [
            reach * policy(player, hole, flop, *earlier)[int(action)]
            for reach, policy in zip(above, policies, strict=True)
        ]

    @cache
    def mixed(player, hole, flop, before, after):
        reach = reaches(player, hole, flop, before, after)
        probs = [policy(player, hole, flop, before, after) for policy in policies]
        if sum(reach) == 0:
            return probs[0]
        return [sum(r * p[a] for r, p in zip(reach, probs, strict=True)) / sum(reach) for a in range(3)]

    return mixed


def earnings(deck, player, policy, respond):
    """What `player` earns against `policy`: by a best response, or playing `policy` too."""

    def worth(hole, flop, before, after, others):
        """Summed over the others' hands, pairs of hand and reach, and over flops."""
        paid, mover, legal, folded = situation(before, after)
        if folded is not None:
            stake = paid[folded] * (-1 if folded == player else 1)
            boards = 1 if flop else comb(len(deck) - 4, 3)
            return stake * boards * sum(reach for _, reach in others)
        if mover is None and after is None:
            total = 0.0
            for board in combinations([card for card in deck if card not in hole], 3):
                left = [(other, reach) for other, reach in others if not set(other) & set(board)]
                total += worth(hole, board, before, "", left)
            return total
        if mover is None:
            own = showdown_value(hole + flop)
            total = 0.0
            for other, reach in others:
                theirs = showdown_value(other + flop)
                total += paid[0] * reach * ((own > theirs) - (own < theirs))
            return total

        def below(action, others):
            if after is None:
                return worth(hole, None, before + str(action), None, others)
            return worth(hole, flop, before, after + str(action), others)

        if mover != player:
            total = 0.0
            probs = [policy(mover, other, flop, before, after) for other, _ in others]
            for action in legal:
                reached = [
                    (other, reach * p[action]) for (other, reach), p in zip(others, probs, strict=True)
                ]
                total += below(action, reached)
            return total
        values = [below(action, others) for action in legal]
        if respond:
            return max(values)
        own = policy(player, hole, flop, before, after)
        return sum(own[action] * value for action, value in zip(legal, values, strict=True))

    total = 0.0
    for hole in combinations(deck, 2):
        others = [(other, 1.0) for other in combinations(deck, 2) if not set(hole) & set(other)]
        total += worth(hole, None, "", None, others)
    return total / (comb(len(deck), 2) * comb(len(deck) - 2, 2) * comb(len(deck) - 4, 3))
