"""A slow plain-Python twin of the CFR family on a `HistoryTree`: loops over histories, floats, no vectors.

A policy maps an infoset's index to the probabilities of its legal actions, in ascending order of the actions.
Both players' utilities are read from player 0's returns. Perfect recall is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import mul
from typing import NamedTuple

from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree

Policy = dict[int, list[float]]


class Nodes(NamedTuple):
    """A tree as lists. The first five are by history, parents first."""

    player: list[int]
    infoset: list[int]
    children: list[list[int]]  # in ascending order of the actions
    chance: list[list[float]]  # of the children, at chance nodes
    payoff: list[float]  # player 0's at terminals, else 0
    inner: list[int]  # the histories that are no terminals
    onward: list[list[tuple[int, int]]]  # (k, child) of every history's children that are no terminals
    owner: list[int]  # of every infoset
    legal: list[list[int]]  # of every infoset, ascending
    num_actions: int


class Recipe(NamedTuple):
    """One action's arithmetic. `R` is its cumulative regret, `r` its last instantaneous one."""

    regret: Callable[[float, float, int], float]  # (R, r, t) -> R after iteration t
    play: Callable[[float, float, int], float]  # (R, r, t), after iteration t -> what t + 1 matches
    gamma: Callable[[int], float]  # the average so far is multiplied by ((t - 1) / t) ** gamma


class Iterate(NamedTuple):
    t: int
    played: Policy  # in iteration t, by each player when it was updated
    average: Policy  # after iteration t
    regrets: Policy  # cumulative, after iteration t


def nodes(tree: HistoryTree) -> Nodes:
    """The tree with its children listed."""
    parent, action, player = (column.tolist() for column in (tree.parent, tree.action, tree.player))
    infoset, probability = tree.infoset.tolist(), tree.chance.tolist()
    children: list[list[int]] = [[] for _ in parent]
    for h in range(1, len(parent)):
        children[parent[h]].append(h)
    owner, legal = [0] * len(tree.infosets), [[] for _ in tree.infosets]
    for h, below in enumerate(children):
        below.sort(key=lambda child: action[child])
        if player[h] >= 0:
            owner[infoset[h]] = player[h]
            legal[infoset[h]] = [action[child] for child in below]
    return Nodes(
        player,
        infoset,
        children,
        [[probability[c] for c in below] if player[h] == CHANCE else [] for h, below in enumerate(children)],
        [float(won) if who == TERMINAL else 0.0 for who, won in zip(player, tree.returns[:, 0])],
        [h for h, who in enumerate(player) if who != TERMINAL],
        [[(k, c) for k, c in enumerate(below) if player[c] != TERMINAL] for below in children],
        owner,
        legal,
        tree.num_actions,
    )


# Policies


def uniform_policy(game: Nodes) -> Policy:
    return {i: [1 / len(actions)] * len(actions) for i, actions in enumerate(game.legal)}


def as_rows(game: Nodes, policy: Policy) -> list[list[float]]:
    """One row per infoset and one column per action, 0 where an action is illegal."""
    rows = [[0.0] * game.num_actions for _ in game.legal]
    for i, actions in enumerate(game.legal):
        for action, p in zip(actions, policy[i]):
            rows[i][action] = p
    return rows


def from_rows(game: Nodes, rows: Sequence[Sequence[float]]) -> Policy:
    return {i: [float(rows[i][action]) for action in actions] for i, actions in enumerate(game.legal)}


# Values


def expected_value(game: Nodes, policy: Policy) -> float:
    """What player 0 wins when both play `policy`."""
    value = game.payoff[:]
    for h in reversed(game.inner):
        weights = game.chance[h] or policy[game.infoset[h]]
        value[h] = sum(p * value[child] for p, child in zip(weights, game.children[h]))
    return value[0]


def best_response(game: Nodes, policy: Policy, seat: int) -> tuple[float, Policy]:
    """The most that `seat` can win against the other's part of `policy`, and what does it: a policy of all of
    seat's infosets, pure, the first of equally good actions."""
    reach = [1.0] + [0.0] * (len(game.player) - 1)  # of chance and the other player
    members: dict[int, list[int]] = {i: [] for i, owner in enumerate(game.owner) if owner == seat}
    for h in game.inner:
        own = game.player[h] == seat
        if own:
            members[game.infoset[h]].append(h)
        weights = game.chance[h] or ([1.0] * len(game.children[h]) if own else policy[game.infoset[h]])
        for p, child in zip(weights, game.children[h]):
            reach[child] = reach[h] * p
    sign = 1 - 2 * seat
    known: dict[int, float] = {}
    chosen: dict[int, int] = {}

    def choice(i: int) -> int:  # perfect recall: asks only for infosets that are further down
        if i not in chosen:
            worth = [
                sum(reach[h] * value(game.children[h][k]) for h in members[i])
                for k in range(len(game.legal[i]))
            ]
            chosen[i] = worth.index(max(worth))
        return chosen[i]

    def value(h: int) -> float:
        if h not in known:
            below = game.children[h]
            if not below:
                known[h] = sign * game.payoff[h]
            elif game.player[h] == seat:
                known[h] = value(below[choice(game.infoset[h])])
            else:
                weights = game.chance[h] or policy[game.infoset[h]]
                known[h] = sum(p * value(child) for p, child in zip(weights, below))
        return known[h]

    best = value(0)
    return best, {i: [float(k == choice(i)) for k in range(len(game.legal[i]))] for i in members}


def nash_conv(game: Nodes, policy: Policy) -> float:
    """What the two best responses gain together; the values themselves cancel, the game being zero-sum."""
    return best_response(game, policy, 0)[0] + best_response(game, policy, 1)[0]


def exploitability(game: Nodes, policy: Policy) -> float:
    return nash_conv(game, policy) / 2


# Solving


def discounted(regret: float, s: int, exponent: float, offset: float = 1.0) -> float:
    """regret * s^exponent / (s^exponent + offset); 0 before the first iteration."""
    return regret * s**exponent / (s**exponent + offset) if s else 0.0


def recipe(name: str, horizon: int = 0) -> Recipe:
    """One of the family by name; `horizon` is how many iterations the HS recipes are scheduled for."""

    def add(R: float, r: float, t: int) -> float:
        return R + r

    def add_floor(R: float, r: float, t: int) -> float:
        return max(R + r, 0.0)

    def as_it_is(R: float, r: float, t: int) -> float:
        return R

    def linear(R: float, r: float, t: int) -> float:
        return R * (t - 1) / t + r

    def dcfr(R: float, r: float, t: int) -> float:
        return discounted(R, t - 1, 1.5 if R > 0 else 0.0) + r

    def dcfr_plus(R: float, r: float, t: int) -> float:
        return max(discounted(R, t - 1, 1.5, 1.5) + r, 0.0)

    def a_third(R: float, r: float, t: int) -> float:
        return max(R + r / 3, 0.0)

    def pdcfr_plus(R: float, r: float, t: int) -> float:
        return max(discounted(R, t - 1, 2.3) + r, 0.0)

    def pdcfr_plus_next(R: float, r: float, t: int) -> float:
        return max(discounted(R, t, 2.3) + r, 0.0)

    def hs_dcfr(R: float, r: float, t: int) -> float:
        return discounted(R, t - 1, 1 + 3 * t / horizon if R > 0 else -1 - 2 * t / horizon) + r

    def weight(gamma: float) -> Callable[[int], float]:
        return lambda t: gamma

    def scheduled(t: int) -> float:
        return 30 - 5 * t / horizon

    return {
        "cfr": Recipe(add, as_it_is, weight(0)),
        "cfr+": Recipe(add_floor, as_it_is, weight(1)),
        "linear-cfr": Recipe(linear, as_it_is, weight(1)),
        "dcfr": Recipe(dcfr, as_it_is, weight(2)),
        "dcfr+": Recipe(dcfr_plus, as_it_is, weight(4)),
        "pcfr+": Recipe(add_floor, add_floor, weight(2)),
        "sapcfr+": Recipe(add_floor, a_third, weight(2)),
        "pdcfr+": Recipe(pdcfr_plus, pdcfr_plus_next, weight(5)),
        "hs-dcfr": Recipe(hs_dcfr, as_it_is, scheduled),
        "hs-pcfr+": Recipe(add_floor, add_floor, scheduled),
    }[name]


def instantaneous(game: Nodes, policy: Policy, seat: int) -> tuple[Policy, dict[int, float]]:
    """Seat's counterfactual regret for each action of its infosets, and how likely its own actions lead to
    each of them."""
    player, infoset, children, onward = game.player, game.infoset, game.children, game.onward
    weights = [game.chance[h] or policy[infoset[h]] for h in game.inner]
    own = [1.0] * len(player)
    others = [1.0] * len(player)
    for h, row in zip(game.inner, weights):
        mine, theirs = own[h], others[h]
        if player[h] == seat:
            for k, child in onward[h]:
                own[child] = mine * row[k]
                others[child] = theirs
        else:
            for k, child in onward[h]:
                own[child] = mine
                others[child] = theirs * row[k]
    sign = 1 - 2 * seat
    reach: dict[int, float] = {}
    regret = {i: [0.0] * len(game.legal[i]) for i, owner in enumerate(game.owner) if owner == seat}
    value = game.payoff[:]
    for h, row in zip(reversed(game.inner), reversed(weights)):
        below = [value[child] for child in children[h]]
        value[h] = v = sum(map(mul, row, below))
        if player[h] == seat:
            i, weight = infoset[h], sign * others[h]
            reach[i] = own[h]  # the same at all of the infoset's histories
            regret[i] = [r + weight * (x - v) for r, x in zip(regret[i], below)]
    return regret, reach


def matched(row: list[float]) -> list[float]:
    """In proportion to what is positive, uniform where nothing is."""
    positive = [x if x > 0 else 0.0 for x in row]
    total = sum(positive)
    return [x / total for x in positive] if total > 0 else [1 / len(row)] * len(row)


def iterate(game: Nodes, rule: Recipe, iterations: int, alternating: bool = True) -> Iterator[Iterate]:
    """Iterations 1, 2, ... one at a time. Alternating: player 1 answers player 0's new policy."""
    policy = uniform_policy(game)
    regrets: Policy = {i: [0.0] * len(row) for i, row in policy.items()}
    sums: Policy = {i: [0.0] * len(row) for i, row in policy.items()}
    for t in range(1, iterations + 1):
        played, decay = dict(policy), ((t - 1) / t) ** rule.gamma(t)
        for seat in range(2):
            now, reach = instantaneous(game, policy if alternating else played, seat)
            for i, row in now.items():
                sums[i] = [decay * c + reach[i] * p for c, p in zip(sums[i], played[i])]
                regrets[i] = [rule.regret(R, r, t) for R, r in zip(regrets[i], row)]
                policy[i] = matched([rule.play(R, r, t) for R, r in zip(regrets[i], row)])
        average = {i: matched(row) for i, row in sums.items()}
        yield Iterate(t, played, average, dict(regrets))


def solve(
    game: Nodes, name: str, iterations: int, alternating: bool = True, horizon: int | None = None
) -> Iterate:
    """The last of the iterations of a recipe by name; its schedule's horizon is their number unless given."""
    return list(iterate(game, recipe(name, horizon or iterations), iterations, alternating))[-1]
