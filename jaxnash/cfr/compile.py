"""From a game to arrays, on the host: `compile_tree`."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxnash.cfr.sequence import Arrays, Bucket, PublicPayoffs, Rows, SparsePayoffs, Tree, Treeplex
from jaxnash.cfr.tree import chance_reach, check, first_histories, histories, own_past
from jaxnash.games.game import HistoryTree, PublicGame, TreeGame

# What one more bucket costs, in elements of padding: a bucket is some ten kernels of about 0.3 us, an element
# some ten operations; and every bucket is compiled.
BUCKET_COST = 1500
ROW_GROUP_COST = 300
SPARE = -2  # an action of a column that only pads
BEYOND = 2**31 - 1  # a position outside any table, read as 0


class Layout(NamedTuple):
    """One player's treeplex before it becomes arrays."""

    sequence: np.ndarray  # i64[I * A]: the number of each (infoset, action), -1 where illegal
    buckets: list[
        list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ]  # (infosets [N], parent [N], action [W, N] or -1)
    size: int  # sequences, the empty one included


def compile_tree(
    game: TreeGame | HistoryTree | PublicGame, *, dtype: Any = np.float64, multiple: int = 1
) -> Tree:
    """A two-player zero-sum game of perfect recall as arrays in sequence form, or, for a `PublicGame`, in
    public form with the hands as lanes. The axes that `shard` splits are padded to a multiple of `multiple`.

    Raises `TreeError`, naming the history, for chance that does not sum to one, an empty action set, payoffs
    that are not finite or not zero-sum, imperfect recall, or a tree too large for the memory.
    """
    if isinstance(game, PublicGame):
        return _public(game, dtype, multiple)
    written = histories(game) if isinstance(game, TreeGame) else game
    check(written)
    return _sequence_form(written, dtype, multiple)


def shard(tree: Tree, mesh: Mesh) -> Tree:
    """The tree split over the one axis of a device mesh: infosets, sequences and payoff rows; `solve` and the
    rest then run on all devices as one program. What does not divide evenly is copied to each: compile with
    `multiple=` the number of devices, and little is."""

    # XLA is to find out what follows from the split, whatever kind of mesh was given
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))

    def place(leaf: jax.Array, axis: int) -> jax.Array:
        even = leaf.ndim > axis and leaf.shape[axis] % mesh.size == 0
        spec = [None] * axis + list(mesh.axis_names) if even else []
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*spec)))

    def bucket(b: Bucket) -> Bucket:
        legal = None if b.legal is None else place(b.legal, 1)
        return Bucket(place(b.parent, 0), legal, place(b.position, 1))

    def rows(r: Rows) -> Rows:
        groups = tuple((place(index, 1), place(factor, 1)) for index, factor in r.groups)
        return Rows(groups, tuple(place(position, 0) for position in r.position))

    payoffs = tree.arrays.payoffs
    both = rows(payoffs.rows[0]), rows(payoffs.rows[1])
    if isinstance(payoffs, PublicPayoffs):
        first = partial(place, axis=0)
        payoffs = PublicPayoffs(
            jax.tree.map(first, payoffs.sequence), both, jax.tree.map(first, payoffs.terminals)
        )
    else:
        payoffs = SparsePayoffs(both)
    with jax.enable_x64(tree.dtype == np.float64):
        sides = tuple(
            Treeplex(place(s.root, 0), tuple(tuple(map(bucket, level)) for level in s.levels))
            for s in tree.arrays.sides
        )
    return tree._replace(arrays=Arrays((sides[0], sides[1]), payoffs, place(tree.arrays.unit, 0)))


def _sequence_form(tree: HistoryTree, dtype: Any, multiple: int) -> Tree:
    past, reached, first = own_past(tree), chance_reach(tree), first_histories(tree)
    actions, count = tree.num_actions, len(tree.infosets)
    player = tree.player[first]
    legal = np.zeros((count, actions), bool)
    children = np.flatnonzero(tree.parent >= 0)
    children = children[tree.infoset[tree.parent[children]] >= 0]
    legal[tree.infoset[tree.parent[children]], tree.action[children]] = True

    order = np.argsort(player, kind="stable")  # player 0's rows first
    row = np.empty(count, np.int64)
    row[order] = np.arange(count)
    layouts = []
    for seat in (0, 1):
        own = np.flatnonzero(player == seat)
        layouts.append(layout(own, past[first[own], seat], legal, multiple=multiple))

    ends = np.flatnonzero(tree.player < -1)
    ends_at = [np.where(past[ends, s] < 0, 0, layouts[s].sequence[past[ends, s]]) for s in (0, 1)]
    width = layouts[1].size
    cells, inverse = np.unique(ends_at[0] * width + ends_at[1], return_inverse=True)
    payoff = np.bincount(inverse.ravel(), weights=reached[ends] * tree.returns[ends, 0], minlength=len(cells))
    cells, payoff, unit = cells[payoff != 0], *_whole(payoff[payoff != 0])
    pairs = cells // width, cells % width

    with jax.enable_x64(dtype == np.float64):
        sides = tuple(
            _treeplex(part, lambda at: row[at] * actions, (), count * actions, dtype) for part in layouts
        )
        rows = [
            _rows(pairs[s], layouts[s], dtype, multiple, pairs[1 - s], payoff if s == 0 else -payoff)
            for s in (0, 1)
        ]
        arrays = Arrays((sides[0], sides[1]), SparsePayoffs((rows[0], rows[1])), _put(unit, dtype))
    names = tuple(tree.infosets[i] for i in order)
    return Tree(arrays, names, player[order].astype(np.int8), legal[order], dtype)


def _public(game: PublicGame, dtype: Any, multiple: int) -> Tree:
    nodes, actions = len(game.parent), game.num_actions
    legal = np.zeros((nodes, actions), bool)
    below = np.flatnonzero(game.parent >= 0)
    below = below[game.player[game.parent[below]] >= 0]
    legal[game.parent[below], game.action[below]] = True
    last = np.full((2, nodes), -1, np.int64)
    for node in range(1, nodes):
        above = game.parent[node]
        last[:, node] = last[:, above]
        if game.player[above] >= 0:
            last[game.player[above], node] = above * actions + game.action[node]

    own = [np.flatnonzero(game.player == seat) for seat in (0, 1)]
    table, names = game.infoset, game.infosets
    if table is None:
        split = own[0].size * len(game.hands[0])
        total = split + own[1].size * len(game.hands[1])
        table = (
            np.arange(split).reshape(own[0].size, -1),
            np.arange(split, total).reshape(own[1].size, -1),
        )
        names = tuple(f"{hand} | {game.nodes[n]}" for s in (0, 1) for n in own[s] for hand in game.hands[s])
    player, masks = np.empty(len(names), np.int8), np.empty((len(names), actions), bool)
    for seat in (0, 1):
        there = table[seat] >= 0
        player[table[seat][there]] = seat
        masks[table[seat][there]] = np.broadcast_to(legal[own[seat]][:, None], (*there.shape, actions))[there]

    ends = np.flatnonzero(game.player < -1)
    sides, parts, ends_at = [], [], []
    with jax.enable_x64(dtype == np.float64):
        for seat in (0, 1):
            part = layout(
                own[seat], last[seat, own[seat]], legal, lanes=len(game.hands[seat]), multiple=multiple
            )
            rank = np.zeros(nodes, np.int64)
            rank[own[seat]] = np.arange(own[seat].size)
            rows = np.where(table[seat] >= 0, table[seat].astype(np.int64) * actions, len(names) * actions)

            def place(at: np.ndarray, rows: np.ndarray = rows, rank: np.ndarray = rank) -> np.ndarray:
                return rows[rank[at]]

            parts.append(part)
            sides.append(_treeplex(part, place, (len(game.hands[seat]),), len(names) * actions, dtype))
            ends_at.append(np.where(last[seat, ends] < 0, 0, part.sequence[last[seat, ends]]))
        where = _put(ends_at[0], np.int32), _put(ends_at[1], np.int32)
        terminals = jax.tree.map(lambda leaf: _put(leaf, _kind(leaf, dtype)), game.terminals)
        rows = [_rows(ends_at[s], parts[s], dtype, multiple) for s in (0, 1)]
        arrays = Arrays(
            (sides[0], sides[1]), PublicPayoffs(where, (rows[0], rows[1]), terminals), _put(1.0, dtype)
        )
    return Tree(arrays, names, player, masks, dtype)


def layout(
    own: np.ndarray, parent: np.ndarray, legal: np.ndarray, *, lanes: int = 1, multiple: int = 1
) -> Layout:
    """Numbers one player's sequences.

    `own` i64[n] are the player's infosets, parents before children, `parent` i64[n] the key (infoset * A +
    action) of the sequence that leads to each, -1 for the empty one, `legal` bool[I, A].
    """
    actions, width = legal.shape[1], legal.sum(1)
    sequence = np.full(legal.size, -1, np.int64)
    real = np.full(len(legal), -1, np.int64)  # the key of the last sequence with a choice
    depth = np.zeros(len(legal), np.int64)  # choices before the infoset
    for infoset, key in zip(own, parent):
        above = -1 if key < 0 else key // actions
        if above >= 0 and width[above] == 1:
            key = real[above]
            above = -1 if key < 0 else key // actions
        real[infoset] = key
        depth[infoset] = 0 if above < 0 else depth[above] + 1
    choices = own[width[own] > 1]
    size, buckets, below = 1, [], 0
    for level in range(int(depth[choices].max(initial=-1)) + 1):
        here = choices[depth[choices] == level]
        start, groups = size, []
        for members in grouped(width[here], BUCKET_COST / lanes):
            at = here[members]
            leads = np.where(real[at] < 0, 0, sequence[real[at]]) - below
            by_parent = np.argsort(leads, kind="stable")
            at, leads = at[by_parent], leads[by_parent]
            table = _legal_actions(legal[at])
            spare = -len(at) % multiple  # columns that lead nowhere: no payoff and no place in a policy
            at, leads = np.pad(at, (0, spare), mode="edge"), np.pad(leads, (0, spare), mode="edge")
            table = np.pad(table, ((0, 0), (0, spare)), constant_values=SPARE)
            number = size + np.arange(table.size).reshape(table.shape)
            taken = table >= 0
            sequence[(at * actions + table)[taken]] = number[taken]
            size += table.size
            groups.append((at, leads, table))
        buckets.append(groups)
        below = start
    for infoset in own[width[own] == 1]:
        key = real[infoset]
        sequence[infoset * actions + np.argmax(legal[infoset])] = 0 if key < 0 else sequence[key]
    return Layout(sequence, buckets, size)


def grouped(width: np.ndarray, cost: float) -> list[np.ndarray]:
    """Splits rows by width so that the padding to a group's largest, plus `cost` a group, is least."""
    widths, counts = np.unique(width, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    best, cut = np.zeros(len(widths) + 1), np.zeros(len(widths) + 1, int)
    for stop in range(1, len(widths) + 1):
        costs = best[:stop] + cost + widths[stop - 1] * (below[stop] - below[:stop])
        cut[stop] = int(np.argmin(costs))
        best[stop] = costs[cut[stop]]
    groups, stop = [], len(widths)
    while stop:
        groups.append(np.flatnonzero((width >= widths[cut[stop]]) & (width <= widths[stop - 1])))
        stop = cut[stop]
    return groups[::-1]


def _whole(payoff: np.ndarray) -> tuple[np.ndarray, float]:
    """Payoffs as whole numbers of a unit, where they are (equal chances, whole chips), and the unit.

    Regret minimisation does not care for the unit; in whole numbers a tie between two actions stays one,
    where thirds would break it by rounding.
    """
    unit = float(np.abs(payoff).min(initial=np.inf))
    whole = np.round(payoff / unit) if len(payoff) else payoff
    fits = (
        len(payoff) and np.abs(whole).max() < 2**31 and np.allclose(whole * unit, payoff, rtol=1e-12, atol=0)
    )
    return (whole, unit) if fits else (payoff, 1.0)


def _put(values: Any, dtype: Any) -> jax.Array:
    """An array on the device, converted before it goes: there XLA would compile a conversion a shape."""
    return jax.device_put(np.asarray(values, dtype))


def _kind(leaf: Any, dtype: Any) -> Any:
    kind = np.asarray(leaf).dtype
    return dtype if np.issubdtype(kind, np.floating) else kind


def _legal_actions(legal: np.ndarray) -> np.ndarray:
    """The legal actions of each row of bool[N, A] as i64[W, N], -1 at padding."""
    slots = int(legal.sum(1).max())
    order = np.argsort(~legal, axis=1, kind="stable")[:, :slots]
    return np.where(np.take_along_axis(legal, order, axis=1), order, -1).T


def _treeplex(part: Layout, place: Any, lanes: tuple[int, ...], padding: int, dtype: Any) -> Treeplex:
    levels = []
    for groups in part.buckets:
        level = []
        for at, leads, table in groups:
            taken, spread = table >= 0, (...,) + (None,) * len(lanes)
            position = np.where(taken[spread], np.minimum(place(at) + table[spread], padding), padding)
            legal = None if (taken | (table == SPARE)).all() else _put(taken | (table == SPARE), bool)
            level.append(Bucket(_put(leads, np.int32), legal, _put(position, np.int32)))
        levels.append(tuple(level))
    return Treeplex(_put(np.ones(lanes), dtype), tuple(levels))


def _rows(
    owner: np.ndarray,
    part: Layout,
    dtype: Any,
    multiple: int,
    index: np.ndarray | None = None,
    factor: np.ndarray | None = None,
) -> Rows:
    """Groups the terms of each sequence. Term i belongs to sequence owner[i]; it is factor[i] times entry
    index[i] of a vector, or, without an index, entry i itself."""
    order = np.argsort(owner, kind="stable")
    owners, starts, lengths = np.unique(owner[order], return_index=True, return_counts=True)
    position, groups, placed = np.full(part.size, BEYOND), [], 0
    if index is None:
        index, placed = np.arange(len(owner)), len(owner)
        single = lengths == 1
        position[owners[single]] = order[starts[single]]
        owners, starts, lengths = owners[~single], starts[~single], lengths[~single]
    for members in grouped(lengths, ROW_GROUP_COST) if len(owners) else []:
        slot = np.arange(lengths[members].max())[:, None]
        inside = slot < lengths[members]
        entry = order[np.where(inside, starts[members] + slot, 0)]
        weight = np.where(inside, 1.0 if factor is None else factor[entry], 0.0)
        spare = ((0, 0), (0, -len(members) % multiple))
        chosen = np.pad(np.where(inside, index[entry], 0), spare)
        groups.append((_put(chosen, np.int32), _put(np.pad(weight, spare), dtype)))
        position[owners[members]] = placed + np.arange(len(members))
        placed += chosen.shape[1]
    ends = np.cumsum([1] + [sum(t.size for _, _, t in level) for level in part.buckets])
    return Rows(tuple(groups), tuple(_put(p, np.int32) for p in np.split(position, ends[:-1])))
