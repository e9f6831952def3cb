"""Heads-up hold'em as it is played at a table, in plain Python: the slow twin of `jaxnash.games.holdem`.

Chips are moved as people move them. A player may push in more than the other can match; at the end of the
hand what was not matched goes back. `jaxnash.games.holdem` never lets such chips in.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations

STRAIGHTS = [{(low + i) % 13 for i in range(5)} for low in range(-1, 9)]  # A2345 first; an ace is rank 12


def five_card_value(cards):
    """A tuple that compares as the hands do. Cards are 4 * rank + suit."""
    ranks = sorted((card // 4 for card in cards), reverse=True)
    flush = len({card % 4 for card in cards}) == 1
    straight = STRAIGHTS.index(set(ranks)) if set(ranks) in STRAIGHTS else None
    groups = sorted(Counter(ranks).items(), key=lambda group: (group[1], group[0]), reverse=True)
    shape, order = tuple(count for _, count in groups), tuple(rank for rank, _ in groups)
    if straight is not None:
        return (8 if flush else 4, straight)
    if flush:
        return (5, order)
    kinds = {(4, 1): 7, (3, 2): 6, (3, 1, 1): 3, (2, 2, 1): 2, (2, 1, 1, 1): 1, (1, 1, 1, 1, 1): 0}
    return (kinds[shape], order)


def best_value(cards):
    return max(map(five_card_value, combinations(cards, 5)))


class Hand:
    """One hand. `cards` are seat 0's two, seat 1's two and the board's five; sizes are per street."""

    def __init__(
        self, kind, cards, *, stacks=(20000, 20000), blinds=(50, 100), button=0, sizes=None, caps=None
    ):
        self.kind, self.button, self.big, self.stacks = kind, button, blinds[1], tuple(stacks)
        self.holes, self.board = (cards[:2], cards[2:4]), cards[4:]
        self.streets = 2 if kind == "flop" else 4
        self.sizes = sizes
        self.caps = caps or ([4] * 4 if kind == "no-limit" else [3, 4, 4, 4])
        self.behind = list(stacks)
        self.pushed = [0, 0]  # by each player, the whole hand
        self.folder = None
        self.street, self.history = 0, []
        for seat, blind in ((button, blinds[0]), (1 - button, blinds[1])):
            self._push(seat, min(blind, self.behind[seat]))
        self.new_street(first=button)
        # the dealer has nothing to answer if both cannot bet on, or the blind covers all that there is
        if self.behind[button] == 0 or (self.behind[1 - button] == 0 and self._owed(button) <= 0):
            self.mover = None

    def _push(self, seat, chips):
        self.behind[seat] -= chips
        self.pushed[seat] += chips

    def _owed(self, seat):
        return self.pushed[1 - seat] - self.pushed[seat]

    def new_street(self, first):
        self.mover = first
        self.to_speak = {0, 1}  # who has not acted since the last bet or raise
        self.count = 0
        self.step = self.big  # the least raise
        self.history.append([])

    def pot(self):
        """Chips that both have matched or could still match."""
        reach = min(self.stacks)
        return sum(min(pushed, reach) for pushed in self.pushed)

    def targets(self):
        """What the mover would have pushed in all after each bet or raise, by action."""
        own, other = self.mover, 1 - self.mover
        if self.count >= self.caps[self.street] or self.behind[other] == 0:
            return {}
        most = self.stacks[own]
        if most <= self.pushed[other]:
            return {}
        if self.kind != "no-limit":
            bet = self.big * (2 if self.street >= 2 else 1)
            return {2: min(self.pushed[other] + bet, most)}
        found, reached = {}, set()
        after_call = 2 * self.pushed[other]
        everything = 2 + max(map(len, self.sizes))
        for i, size in enumerate(self.sizes[self.street]):
            exact = Fraction(size).limit_denominator(1000) * after_call
            add = int(exact + Fraction(1, 2))
            to = min(self.pushed[other] + add, most)
            at_risk = min(to, self.stacks[other])
            if (add >= self.step or at_risk == min(self.stacks)) and at_risk not in reached:
                found[2 + i] = to
                reached.add(at_risk)
        if min(self.stacks) not in reached:
            found[everything] = most
        return found

    def legal(self):
        return {1, *self.targets(), *({0} if self._owed(self.mover) > 0 else ())}

    def act(self, action):
        mover, other = self.mover, 1 - self.mover
        self.history[-1].append(action)
        self.to_speak.discard(mover)
        if action == 0:
            self.folder, self.mover = mover, None
            return
        if action == 1:
            self._push(mover, min(max(self._owed(mover), 0), self.behind[mover]))
        else:
            to = self.targets()[action]
            self.step = max(self.step, to - self.pushed[other])
            self._push(mover, to - self.pushed[mover])
            self.count += 1
            self.to_speak = {other}
        # who is all-in has nothing to say, and nobody bets against a player who is all-in
        if self._owed(other) <= 0 and 0 in self.behind:
            self.to_speak = set()
        if self.to_speak:
            self.mover = other
        elif 0 in self.behind or self.street == self.streets - 1:
            self.mover = None
        else:
            self.street += 1
            self.new_street(first=1 - self.button)

    def payoffs(self):
        assert self.mover is None
        pushed = list(self.pushed)
        extra = pushed[0] - pushed[1]
        back = [max(extra, 0), max(-extra, 0)]  # unmatched
        pushed = [chips - less for chips, less in zip(pushed, back)]
        pot = sum(pushed)
        if self.folder is not None:
            shares = [0, 0]
            shares[1 - self.folder] = pot
        else:
            shown = self.board[:3] if self.streets == 2 else self.board
            values = [best_value([*hole, *shown]) for hole in self.holes]
            if values[0] == values[1]:
                shares = [pot // 2, pot // 2]
                shares[1 - self.button] += pot % 2
            else:
                shares = [pot, 0] if values[0] > values[1] else [0, pot]
        left = [self.behind[seat] + back[seat] + shares[seat] for seat in (0, 1)]
        return [left[seat] - self.stacks[seat] for seat in (0, 1)]
