"""A written-out game as flat arrays, and the slots in which external sampling meets its histories."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.tree import check
from jaxnash.cfr.tree import histories as write_out
from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeError, TreeGame
from jaxnash.types import Array

NEVER = np.iinfo(np.int32).max  # a rank that no child has


class Slots(NamedTuple):
    """Where external sampling puts what it meets, for each traverser. One traversal never meets two histories
    of one slot, so the shapes are static and nothing is compacted. Slots that may have children come in `N`
    tiles of `S`, parents first, each tile at one depth; after them `L` slots of terminals. The slot above the
    root is N * S.
    """

    tiles: Array  # i32[2]: tiles in use
    depth: Array  # i32[2, N]
    parent: Array  # i32[2, N, S]
    rank: Array  # i32[2, N, S]: which child of the parent; 0 below chance and the opponent; NEVER on padding
    children: Array  # i32[2, N, S, K]: slots by rank, N * S + L where there is none
    end_parent: Array  # i32[2, L]
    end_rank: Array  # i32[2, L]


class Histories(NamedTuple):
    """A `HistoryTree` as arrays for sampling. Row `H` is nobody's: nothing follows and nothing is paid.

    A child's rank is its place among its siblings counted from the last, because the last actions of
    different histories resemble each other more than the first ones do, and so share slots: Leduc needs 29
    instead of 52 for player 1.
    """

    player: Array  # i32[H + 1]
    infoset: Array  # i32[H + 1], I where nobody decides
    count: Array  # i32[H + 1]: children, which follow each other
    last: Array  # i32[H + 1]: the last of them
    keep: Array  # f[H + 1]: of a chance outcome drawn evenly, the probability to stay with it,
    alias: Array  # i32[H + 1]: and the outcome to take otherwise (Walker 1977)
    payoff: Array  # f[H + 1]: player 0's, 0 where the game goes on
    legal: Array  # bool[I, K], by rank
    actions: Array  # i32[I, K]: the game's action of each rank, A where there is none
    levels: Array  # i32[D]: 0, 1, ...: depths at which somebody or chance moves
    slots: Slots
    ids: Array  # i32[A]: the game's actions


def compile_histories(
    tree: HistoryTree | TreeGame, *, dtype: Any = np.float32, tile: int | None = None
) -> Histories:
    """Arrays for sampling, in `dtype` (float64 only inside `jax.enable_x64`).

    `tile` is the number `S` of slots that external sampling works on at once; by default the one that
    balances padding against the number of steps. Raises `TreeError` as `jaxnash.cfr.tree.check` does.
    """
    if isinstance(tree, TreeGame):
        tree = write_out(tree)
    check(tree)
    if not tree.infosets:
        raise TreeError("nobody decides anything in this game, so there is nothing to sample")
    parent, player, infoset = (np.asarray(x) for x in (tree.parent, tree.player, tree.infoset))
    size, rows = len(parent), len(tree.infosets)
    count = np.bincount(parent[1:], minlength=size)
    last = np.cumsum(count)  # the root is history 0, so children of the first h + 1 histories end here
    width = int(count[player >= 0].max())
    actions = np.full((rows, width), tree.num_actions)
    for rank in range(width):
        at = np.flatnonzero((player >= 0) & (count > rank))
        actions[infoset[at], rank] = tree.action[last[at] - rank]
    keep, alias = _alias_tables(np.asarray(tree.chance, np.float64), player, count, last)
    levels, slots = _slots(parent, player, count, last, tile)

    def padded(values: Array, end: float, kind: Any = np.int32) -> Array:
        return jnp.asarray(np.append(values, end).astype(kind))

    return Histories(
        player=padded(player, TERMINAL),
        infoset=padded(np.where(player >= 0, infoset, rows), rows),
        count=padded(count, 0),
        last=padded(last, 0),
        keep=padded(keep, 1, dtype),
        alias=padded(alias, size),
        payoff=padded(np.where(player == TERMINAL, np.asarray(tree.returns)[:, 0], 0), 0, dtype),
        legal=jnp.asarray(actions < tree.num_actions),
        actions=jnp.asarray(actions, jnp.int32),
        levels=jnp.arange(levels, dtype=jnp.int32),
        slots=jax.tree.map(lambda x: jnp.asarray(x, jnp.int32), slots),
        ids=jnp.arange(tree.num_actions, dtype=jnp.int32),
    )


def _alias_tables(chance: Array, player: Array, count: Array, last: Array) -> tuple[Array, Array]:
    keep, alias = np.ones(len(chance)), np.arange(len(chance))
    for history in np.flatnonzero(player == CHANCE):
        children = np.arange(last[history] - count[history] + 1, last[history] + 1)
        share = chance[children] * count[history] / chance[children].sum()
        if np.ptp(share) < 1e-12:
            continue
        poor, rich = list(np.flatnonzero(share < 1)), list(np.flatnonzero(share >= 1))
        while poor and rich:
            taker, giver = poor.pop(), rich.pop()
            keep[children[taker]], alias[children[taker]] = share[taker], children[giver]
            share[giver] -= 1 - share[taker]
            (poor if share[giver] < 1 else rich).append(giver)
    return keep, alias


def _slots(parent: Array, player: Array, count: Array, last: Array, tile: int | None) -> tuple[int, Slots]:
    """The number of depths at which there are moves, and the slots."""
    width = int(count[player >= 0].max())
    sides = [_slots_of(parent, player, count, last, traverser) for traverser in range(2)]
    widths = [np.bincount(depth[open_]) for _, _, depth, open_ in sides]
    both = np.concatenate(widths)
    best = min((2**k for k in range(13)), key=lambda size: int((-(-both // size) * (size + 4)).sum()))
    size = best if tile is None else tile  # a step costs about as much as four slots do
    tiles = [-(-wide // size) for wide in widths]
    n, ends = max(int(t.sum()) for t in tiles), max(int((~open_).sum()) for *_, open_ in sides)
    inner = n * size
    slots = Slots(
        tiles=np.array([t.sum() for t in tiles]),
        depth=np.zeros((2, n), int),
        parent=np.full((2, inner), inner),
        rank=np.full((2, inner), NEVER),
        children=np.full((2, inner, width), inner + ends),
        end_parent=np.zeros((2, ends), int),
        end_rank=np.full((2, ends), NEVER),
    )
    for side, ((above, rank, depth, open_), wide, used) in enumerate(zip(sides, widths, tiles, strict=True)):
        place = np.zeros(len(above), int)
        within = np.arange(open_.sum()) - (np.cumsum(wide) - wide)[depth[open_]]
        place[open_] = (np.cumsum(used) - used)[depth[open_]] * size + within
        place[~open_] = inner + np.arange((~open_).sum())
        up = np.append(inner, place[above[1:]])
        slots.depth[side, : used.sum()] = np.repeat(np.arange(len(used)), used)
        slots.parent[side, place[open_]], slots.rank[side, place[open_]] = up[open_], rank[open_]
        slots.end_parent[side, : (~open_).sum()], slots.end_rank[side, : (~open_).sum()] = (
            up[~open_],
            rank[~open_],
        )
        slots.children[side, up[1:], rank[1:]] = place[1:]
    shape = (2, n, size)
    parent, rank = slots.parent.reshape(shape), slots.rank.reshape(shape)
    children = slots.children.reshape(*shape, width)
    return max(map(len, widths)), slots._replace(parent=parent, rank=rank, children=children)


def _slots_of(parent: Array, player: Array, count: Array, last: Array, traverser: int) -> tuple[Array, ...]:
    """Slots breadth first, one for each way of choosing the traverser's actions by rank while chance and the
    opponent do as they please: each slot's parent, rank and depth, and whether anything may follow."""
    slot = np.zeros(len(parent), int)
    found = [(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), count[:1] > 0)]
    start, end, used, depth = 1, 1 + int(count[0]), 1, 1
    width = int(count.max())
    while start < end:
        here = np.arange(start, end)
        up = parent[here]
        rank = np.where(player[up] == traverser, last[up] - here, 0)
        pair, index = np.unique(slot[up] * width + rank, return_inverse=True)
        slot[here] = used + index
        open_ = np.bincount(index, weights=count[here]) > 0
        found.append((pair // width, pair % width, np.full(len(pair), depth), open_))
        start, end, used, depth = end, int(last[end - 1]) + 1, used + len(pair), depth + 1
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))
