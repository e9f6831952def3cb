"""A slow plain-Python twin for small two-player zero-sum trees: exact values, best responses, exploitability.

A strategy maps infosets to action probabilities and covers both seats (infosets name their seat), so that a
strategy is a member of a population that is symmetrised over seats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, TreeGame

Strategy = dict[str, tuple[float, ...]]


class Node(NamedTuple):
    player: int
    infoset: str  # "" at chance and terminal nodes
    observation: tuple[float, ...]  # of the player to move
    chance: tuple[float, ...]
    children: tuple[Node, ...]
    payoff: float  # of player 0, at terminal nodes


def expand(game: TreeGame) -> Node:
    """The whole tree as Python objects."""
    player, legal, chance, step, returns, observe = map(
        jax.jit, (game.player, game.legal, game.chance, game.next, game.returns, game.observe)
    )

    def node(state) -> Node:
        mover = int(player(state))
        if mover == TERMINAL:
            return Node(TERMINAL, "", (), (), (), float(returns(state)[0]))
        if mover == CHANCE:
            probabilities = [float(p) for p in np.asarray(chance(state), np.float64)]
            kept = [action for action, p in enumerate(probabilities) if p > 0]
            total = sum(probabilities)  # float32 thirds are not thirds
            exact = tuple(float(np.float64(1) / round(total / probabilities[k])) for k in kept)
            return Node(CHANCE, "", (), exact, tuple(node(step(state, k)) for k in kept), 0.0)
        assert bool(legal(state).all())  # all this needs; illegal actions would need a mask
        seen = tuple(float(x) for x in observe(state)[mover])
        children = tuple(node(step(state, action)) for action in range(game.num_actions))
        return Node(mover, game.infoset(np.asarray(state), mover), seen, (), children, 0.0)

    return node(jax.tree.map(np.asarray, game.root))


def decisions(root: Node) -> dict[str, Node]:
    """One node of every infoset."""
    found: dict[str, Node] = {}

    def walk(node: Node) -> None:
        if node.player >= 0:
            found.setdefault(node.infoset, node)
        for child in node.children:
            walk(child)

    walk(root)
    return found


def uniform(root: Node) -> Strategy:
    return {name: (1 / len(node.children),) * len(node.children) for name, node in decisions(root).items()}


def value(root: Node, first: Strategy, second: Strategy) -> float:
    """What player 0 wins, in chips."""
    if root.player == TERMINAL:
        return root.payoff
    weights = root.chance if root.player == CHANCE else (first, second)[root.player][root.infoset]
    return sum(p * value(child, first, second) for p, child in zip(weights, root.children) if p)


def payoff(root: Node, own: Strategy, other: Strategy) -> float:
    """What `own` wins from `other`, half the time in each seat: antisymmetric."""
    return (value(root, own, other) - value(root, other, own)) / 2


def best_response(root: Node, seat: int, opponent: Strategy) -> tuple[float, Strategy]:
    """The most that `seat` can win against `opponent`, and a pure strategy of that seat which wins it."""
    groups: dict[str, list[tuple[float, Node]]] = defaultdict(list)

    def collect(node: Node, reach: float) -> None:  # reach: of chance and the opponent
        if node.player == seat:
            groups[node.infoset].append((reach, node))
        own = node.player == seat
        weights = node.chance if node.player == CHANCE else opponent.get(node.infoset, ())
        for k, child in enumerate(node.children):
            collect(child, reach if own else reach * weights[k])

    collect(root, 1.0)
    chosen: dict[str, int] = {}

    def choice(infoset: str) -> int:
        if infoset not in chosen:  # perfect recall: only deeper infosets are asked for on the way
            members = groups[infoset]
            values = [
                sum(reach * below(node.children[action]) for reach, node in members)
                for action in range(len(members[0][1].children))
            ]
            chosen[infoset] = int(np.argmax(values))
        return chosen[infoset]

    def below(node: Node) -> float:
        if node.player == TERMINAL:
            return node.payoff if seat == 0 else -node.payoff
        if node.player == seat:
            return below(node.children[choice(node.infoset)])
        weights = node.chance if node.player == CHANCE else opponent[node.infoset]
        return sum(p * below(child) for p, child in zip(weights, node.children) if p)

    best = below(root)
    pure = {
        name: tuple(float(k == choice(name)) for k in range(len(members[0][1].children)))
        for name, members in groups.items()
    }
    return best, pure


def realised(root: Node, strategies: Sequence[Strategy], mixture: Sequence[float]) -> Strategy:
    """The behaviour strategy that plays like the mixture (Kuhn's theorem): each member weighted by how
    likely it is to have come here by its own actions."""
    totals = {name: np.zeros(len(node.children)) for name, node in decisions(root).items()}

    def walk(
        node: Node, strategy: Strategy, reach: tuple[float, float], seen: set[str], weight: float
    ) -> None:
        if (
            node.player >= 0 and node.infoset not in seen
        ):  # an infoset's own reach is the same at all its nodes
            seen.add(node.infoset)
            totals[node.infoset] += weight * reach[node.player] * np.asarray(strategy[node.infoset])
        for k, child in enumerate(node.children):
            after = list(reach)
            if node.player >= 0:
                after[node.player] *= strategy[node.infoset][k]
            walk(child, strategy, (after[0], after[1]), seen, weight)

    for strategy, weight in zip(strategies, mixture, strict=True):
        walk(root, strategy, (1.0, 1.0), set(), float(weight))
    return {
        name: tuple(
            float(p)
            for p in (total / total.sum() if total.sum() > 0 else np.full(len(total), 1 / len(total)))
        )
        for name, total in totals.items()
    }


def exploitability(root: Node, strategy: Strategy) -> float:
    """NashConv / 2 in chips, of the profile in which both seats play `strategy`."""
    return (best_response(root, 0, strategy)[0] + best_response(root, 1, strategy)[0]) / 2
