"""Public form: a game of public actions and private hands as a public tree with the hands as lanes.

Johanson et al., "Accelerating best response calculation in large extensive games" (2011).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.tree import chance_reach, check, depths, first_histories, histories, history_name
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, PublicGame, TreeError, TreeGame
from jaxnash.types import Array


class DealPayoffs(NamedTuple):
    """Payoffs between hands at each of `Z` terminal nodes, chance included, for either player."""

    matrices: tuple[Array, Array]  # f[Z, H0, H1] of player 0's payoffs, f[Z, H1, H0] of player 1's

    def values(self, player: int, reach: Array) -> Array:
        """From the opponent's reach f[Z, H_opponent] to the player's payoffs f[Z, H_player]."""
        return jnp.einsum("zij,zj->zi", self.matrices[player], reach)


def public_form(game: TreeGame | HistoryTree) -> PublicGame:
    """The public form of a game whose private chance moves come first and whose later moves all are public.

    The hands are found, not declared: two deals are one hand of a player who cannot tell them apart. Policies
    keep the infosets' order of the sequence form. Raises `TreeError`, naming an infoset, for a game in which
    a player's knowledge is more than the public moves and a hand.
    """
    tree = histories(game) if isinstance(game, TreeGame) else game
    check(tree)
    deal, node, first = _public_nodes(tree)
    nodes = int(node.max()) + 1
    some = np.zeros(nodes, np.int64)  # of each public node, one of its histories
    after = np.flatnonzero(node >= 0)
    some[node[after[::-1]]] = after[::-1]
    differs = after[tree.player[after] != tree.player[some[node[after]]]]
    if differs.size:
        raise TreeError(f"no public form: who moves at {history_name(tree, differs[0])} depends on the deal")

    decisions = np.flatnonzero(tree.infoset >= 0)
    where = np.full(len(tree.infosets), -1, np.int64)  # the public node of each infoset
    where[tree.infoset[decisions]] = node[decisions]
    _refuse(
        tree,
        decisions,
        where[tree.infoset[decisions]] != node[decisions],
        "histories of different public moves",
    )

    order = np.argsort(tree.player[first_histories(tree)], kind="stable")
    row = np.empty(len(order), np.int64)
    row[order] = np.arange(len(order))
    tables, hands, hand_of = [], [], []
    for seat in (0, 1):
        own = decisions[tree.player[decisions] == seat]
        hand = _hands(deal[own], tree.infoset[own], int(deal.max()) + 1)
        at = np.unique(node[own])
        table = np.full((nodes, int(hand.max()) + 1), -1, np.int64)
        table[node[own], hand[deal[own]]] = row[tree.infoset[own]]
        _refuse(
            tree,
            own,
            table[node[own], hand[deal[own]]] != row[tree.infoset[own]],
            "a part of what a hand knows",
        )
        names = [""] * table.shape[1]
        for h in own[::-1]:
            names[hand[deal[h]]] = tree.infosets[tree.infoset[h]]
        tables.append(table[at].astype(np.int32))
        hands.append(tuple(names))
        hand_of.append(hand)

    ends = np.flatnonzero(tree.player == TERMINAL)
    rank = np.cumsum(tree.player[some] == TERMINAL) - 1
    payoffs = np.zeros((int(rank[-1]) + 1, len(hands[0]), len(hands[1])))
    cell = rank[node[ends]], hand_of[0][deal[ends]], hand_of[1][deal[ends]]
    np.add.at(payoffs, cell, chance_reach(tree)[ends] * tree.returns[ends, 0])
    return PublicGame(
        parent=np.where(some == first, -1, node[tree.parent[some]]).astype(np.int32),
        action=np.where(some == first, -1, tree.action[some]).astype(np.int32),
        player=tree.player[some],
        nodes=tuple(str(n) for n in range(nodes)),
        hands=(hands[0], hands[1]),
        terminals=DealPayoffs((payoffs, np.ascontiguousarray(-payoffs.transpose(0, 2, 1)))),
        num_actions=tree.num_actions,
        infoset=(tables[0], tables[1]),
        infosets=tuple(tree.infosets[i] for i in order),
    )


def _public_nodes(tree: HistoryTree) -> tuple[np.ndarray, np.ndarray, int]:
    """Each history's deal and public node, -1 before the deal is done, and the first history after a deal."""
    deal, node = np.full(len(tree.parent), -1, np.int64), np.full(len(tree.parent), -1, np.int64)
    levels = depths(tree)
    dealt = next(d for d, rows in enumerate(levels) if np.any(tree.player[rows] != CHANCE))
    start = levels[dealt]
    deal[start], node[start], count = np.arange(len(start)), 0, 1
    moves = int(tree.action.max()) + 1  # chance may have more than the players
    for rows in levels[dealt + 1 :]:
        above = tree.parent[rows]
        deal[rows] = deal[above]
        _, inverse = np.unique(node[above] * moves + tree.action[rows], return_inverse=True)
        node[rows] = count + inverse.ravel()
        count = int(node[rows].max()) + 1
    return deal, node, int(start[0])


def _hands(deal: np.ndarray, infoset: np.ndarray, deals: int) -> np.ndarray:
    """i64[deals]: deals that share an infoset, directly or by a chain, are one hand. A player without
    decisions has one hand."""
    label = np.arange(deals) if len(deal) else np.zeros(deals, np.int64)
    while True:
        lowest = np.full(int(infoset.max(initial=0)) + 1, deals)
        np.minimum.at(lowest, infoset, label[deal])
        spread = label.copy()
        np.minimum.at(spread, deal, lowest[infoset])
        if np.array_equal(spread, label):
            return np.unique(label, return_inverse=True)[1].ravel()
        label = spread


def _refuse(tree: HistoryTree, rows: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        h = rows[np.argmax(wrong)]
        name = tree.infosets[tree.infoset[h]]
        raise TreeError(f"no public form: infoset {name!r}, at {history_name(tree, h)}, holds {what}")
