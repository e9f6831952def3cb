"""A `TreeGame` written out history by history, and what a tree must satisfy to be solved exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeError, TreeGame
from jaxnash.memory import available_memory
from jaxnash.types import Array

MOST = np.iinfo(np.int32).max  # histories, which int32 numbers
CHUNK = 4096  # histories expanded at once, always this many, so that XLA compiles once
ROW_BYTES = (
    100  # of a history: its 37 bytes of columns, twice while they are joined, and the edge that leads to it
)
KEY_BYTES = 250  # of an infoset's key and its place in the dictionary
TOLERANCE = 1e-9
ADVICE = "(use .astype(float), and copies of NumPy constants: JAX remembers their first type)"
STAY = -1  # not an action: the state itself


class _Visited(NamedTuple):
    """Up to `CHUNK` histories and the edges that leave them, sorted by row, then by action."""

    states: list[np.ndarray]  # leaves [n, ...]
    player: np.ndarray  # [n]
    returns: np.ndarray  # f64[n, 2]
    open: np.ndarray  # bool[n, max(A, C)]: actions and outcomes that lead on
    chance: np.ndarray  # f64[n, C]


def histories(game: TreeGame, *, max_bytes: int | None = None) -> HistoryTree:
    """Write a game out breadth first; a history's children follow each other in the order of their actions.

    Chance outcomes of probability zero are left out. Chance and returns are computed in float64. What the
    game says is not judged here (that is `check`), but its size is: before a level is allocated its bytes are
    known from the last one, and a sample of each level predicts the whole tree before anything is (after
    Knuth 1975, "Estimating the Efficiency of Backtrack Programs").

    Raises `TreeError` where the tree would need more than `max_bytes` (default: half of the memory that is
    available), naming the histories and GiB predicted, and where the game is not for two players.
    """
    if game.num_players != 2:
        raise TreeError(f"the exact core solves games of two players, not of {game.num_players}")
    limit = available_memory() // 2 if max_bytes is None else max_bytes
    with jax.enable_x64(True):
        visit = jax.jit(jax.vmap(partial(_visit, game)))
        _predict(game, visit, limit)
        return _write_out(game, visit, limit)


def _visit(game: TreeGame, state: Any, action: Array) -> tuple[Any, Array, Array, Array, Array]:
    moved = game.next(state, jnp.maximum(action, 0))
    state = jax.tree.map(lambda old, new: jnp.where(action == STAY, old, new), state, moved)
    return state, game.player(state), game.legal(state), game.chance(state), game.returns(state)


def _chunks(
    visit: Callable, root: Any, states: list[np.ndarray], rows: np.ndarray, actions: np.ndarray
) -> Iterator[_Visited]:
    """Take `actions` from the rows of `states`, one chunk at a time."""
    structure = jax.tree.structure(root)
    for start in range(0, len(rows), CHUNK):
        size = min(CHUNK, len(rows) - start)
        row, action = np.zeros(CHUNK, np.int64), np.full(CHUNK, STAY, np.int32)
        row[:size], action[:size] = rows[start : start + size], actions[start : start + size]
        out = visit(jax.tree.unflatten(structure, [leaf[row] for leaf in states]), action)
        after, player, legal, chance, returns = jax.device_get(out)
        for what, values in (("chance", chance), ("returns", returns)):
            if values.dtype.itemsize < 8 and np.issubdtype(values.dtype, np.inexact):
                raise TreeError(f"the game computes its {what} in {values.dtype}, not in float64 {ADVICE}")
        leaves = [leaf[:size] for leaf in jax.tree.leaves(after)]
        player, legal, chance, returns = player[:size], legal[:size], chance[:size], returns[:size]
        leads_on = np.zeros((size, max(legal.shape[1], chance.shape[1])), bool)
        leads_on[:, : legal.shape[1]] = legal & _decides(player)[:, None]
        leads_on[:, : chance.shape[1]] |= (chance != 0) & (player == CHANCE)[:, None]
        yield _Visited(leaves, player, returns, leads_on, chance)


def _decides(player: np.ndarray) -> np.ndarray:
    return (player == 0) | (player == 1)


def _leaves(root: Any) -> list[np.ndarray]:
    return [np.asarray(leaf)[None] for leaf in jax.tree.leaves(root)]


def _too_large(count: float, needed: float, limit: int, about: str) -> TreeError:
    return TreeError(
        f"the tree has {about} {count:.4g} histories, which need {needed / 2**30:.3g} GiB; "
        f"{limit / 2**30:.3g} GiB are allowed (max_bytes; by default half of the memory available)"
    )


def _predict(game: TreeGame, visit: Callable, limit: int) -> None:
    """Raise where a sample of `CHUNK` histories a level shows that the tree cannot fit.

    The next level's sample is drawn from the children of this one's, and its width is this one's times their
    mean number: without bias, as in Knuth (1975), but not misled by trees whose random descents are short.
    Only an estimate three standard errors above the limit counts; what it misses is caught level by level.
    """
    rng = np.random.default_rng(0)
    states, rows, actions = _leaves(game.root), np.zeros(1, np.int64), np.full(1, STAY, np.int32)
    state_bytes = sum(leaf.nbytes for leaf in states)
    width = total = widest = 1.0
    variance, sampled = 0.0, False  # of the logarithm of the width
    while len(rows) and total < 1e18:  # a game without an end is stopped here
        (here,) = _chunks(visit, game.root, states, rows, actions)
        branching = here.open.sum(axis=1)
        if sampled and branching.any():
            variance += branching.var() / branching.mean() ** 2 / len(branching)
        width *= branching.mean()
        total, widest = total + width, max(widest, width)
        rows, actions = np.nonzero(here.open)
        if len(rows) > CHUNK:
            kept = rng.choice(len(rows), CHUNK, replace=False)
            rows, actions, sampled = rows[kept], actions[kept], True
        states = here.states
    needed = total * ROW_BYTES + 2 * widest * state_bytes
    surely = np.exp(-3 * np.sqrt(variance))
    if surely * needed > limit or surely * total > MOST:
        raise _too_large(total, needed, limit, "about")


def _write_out(game: TreeGame, visit: Callable, limit: int) -> HistoryTree:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in HistoryTree._fields[:6]}
    keys: dict[str, int] = {}
    structure, states = jax.tree.structure(game.root), _leaves(game.root)
    rows, actions, chance = np.zeros(1, np.int64), np.full(1, STAY, np.int32), np.ones(1)
    parents, before = np.full(1, -1, np.int64), 0  # `before`: histories written so far
    state_bytes = sum(leaf.nbytes for leaf in states)
    while len(rows):
        count = before + len(rows)
        needed = count * ROW_BYTES + 2 * len(rows) * state_bytes + len(keys) * KEY_BYTES
        if needed > limit or count > MOST:
            raise _too_large(count, needed, limit, "at least")
        columns["parent"].append(parents.astype(np.int32))
        columns["action"].append(actions.astype(np.int32))
        columns["chance"].append(chance)
        level: list[list[np.ndarray]] = []
        edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        done, ahead = 0, 0
        for here in _chunks(visit, game.root, states, rows, actions):
            columns["player"].append(here.player.astype(np.int8))
            columns["returns"].append(np.where((here.player == TERMINAL)[:, None], here.returns, 0.0))
            columns["infoset"].append(_number(game, structure, here, keys))
            level.append(here.states)
            ahead += int(here.open.sum())
            if (count + ahead) * ROW_BYTES <= limit:  # else only count them, for the message
                row, action = np.nonzero(here.open)
                outcome = np.minimum(action, here.chance.shape[1] - 1)
                drawn = np.where(here.player[row] == CHANCE, here.chance[row, outcome], 1.0)
                edges.append((done + row, action, drawn))
            done += len(here.player)
        if (count + ahead) * ROW_BYTES > limit:
            raise _too_large(count + ahead, (count + ahead) * ROW_BYTES, limit, "at least")
        states = [np.concatenate(leaves) for leaves in zip(*level)]
        rows, actions, chance = (np.concatenate(parts) for parts in zip(*edges))
        parents, before = before + rows, count
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return HistoryTree(**joined, infosets=tuple(keys), num_actions=game.num_actions)


def _number(game: TreeGame, structure: Any, here: _Visited, keys: dict[str, int]) -> np.ndarray:
    """i32[n]: the infosets' numbers, in the order in which they are first met; -1 where nobody decides."""
    numbers = np.full(len(here.player), -1, np.int32)
    deciding = np.flatnonzero(_decides(here.player))
    movers = here.player[deciding].tolist()
    whole = (jax.tree.unflatten(structure, row) for row in zip(*[leaf[deciding] for leaf in here.states]))
    found = [keys.setdefault(game.infoset(state, mover), len(keys)) for state, mover in zip(whole, movers)]
    numbers[deciding] = found
    return numbers


def history_name(tree: HistoryTree, history: int) -> str:
    """The actions from the root to a history, chance outcomes with a c before them: "c2 c0 1"; "the root"."""
    steps = []
    while history > 0:
        by_chance = tree.player[tree.parent[history]] == CHANCE
        steps.append(f"{'c' if by_chance else ''}{tree.action[history]}")
        history = int(tree.parent[history])
    return " ".join(reversed(steps)) or "the root"


def check(tree: HistoryTree) -> None:
    """Raise `TreeError` where a tree is not a two-player zero-sum game of perfect recall, naming the history.

    Refused: chance that is negative, NaN or does not sum to one (1e-9); a decision without actions; returns
    that are not finite or not zero-sum (1e-9, relative above 1); movers other than 0 and 1; an infoset of
    both players or with two sets of actions; an infoset whose histories differ in their player's own past
    (imperfect recall).
    """
    _check_shape(tree)
    _check_chance(tree)
    _check_returns(tree)
    _check_infosets(tree)


def _first(tree: HistoryTree, bad: np.ndarray, reason: Callable[[int], str]) -> None:
    """Raise about the first history that `bad` (bool[H] or histories) names."""
    found = np.flatnonzero(bad) if bad.dtype == bool else bad
    if len(found):
        history = int(found[0])
        raise TreeError(f"history {history_name(tree, history)}: {reason(history)}")


def _check_shape(tree: HistoryTree) -> None:
    parent, player, action = tree.parent, tree.player, tree.action
    if (
        not len(parent)
        or parent[0] != -1
        or np.any(np.diff(parent) < 0)
        or np.any(parent >= np.arange(len(parent)))
    ):
        raise TreeError("a tree's histories must be in breadth-first order, the root first with parent -1")
    _first(tree, (player < TERMINAL) | (player > 1), lambda h: f"player {player[h]} moves, not 0 or 1")
    childless = np.bincount(parent[1:], minlength=len(parent)) == 0
    _first(tree, childless & (player >= 0), lambda h: f"player {player[h]} has no legal action")
    _first(tree, childless & (player == CHANCE), lambda h: "chance has no outcome, it does not sum to one")
    _first(tree, ~childless & (player == TERMINAL), lambda h: "the game has ended, but goes on")
    moved = np.zeros(len(parent), bool)
    moved[1:] = player[parent[1:]] >= 0
    outside = moved & ((action < 0) | (action >= tree.num_actions))
    _first(tree, outside, lambda h: f"action {action[h]} is not one of the game's {tree.num_actions}")


def _check_chance(tree: HistoryTree) -> None:
    drawn = np.flatnonzero(tree.player[tree.parent[1:]] == CHANCE) + 1
    p = tree.chance[drawn]
    _first(tree, drawn[~(p >= 0)], lambda h: f"chance leads here with probability {tree.chance[h]}")
    total = np.bincount(tree.parent[drawn], p, minlength=len(tree.parent))
    off = (tree.player == CHANCE) & ~(np.abs(total - 1) <= TOLERANCE)
    _first(tree, off, lambda h: f"chance sums to {total[h]:.12g}, not to one")


def _check_returns(tree: HistoryTree) -> None:
    ends, returns = tree.player == TERMINAL, tree.returns
    bad = ends & ~np.all(np.isfinite(returns), axis=1)
    _first(tree, bad, lambda h: f"the returns are {returns[h, 0]} and {returns[h, 1]}, not finite")
    scale = np.maximum(1, np.max(np.abs(returns), axis=1))
    bad = ends & (np.abs(np.sum(returns, axis=1)) > TOLERANCE * scale)
    _first(tree, bad, lambda h: f"the returns {returns[h, 0]:.12g} and {returns[h, 1]:.12g} are not zero-sum")


def _check_infosets(tree: HistoryTree) -> None:
    deciding = np.flatnonzero(tree.player >= 0)
    own, mover = tree.infoset[deciding], tree.player[deciding]
    _first(tree, deciding[(own < 0) | (own >= len(tree.infosets))], lambda h: "its infoset has no key")
    model = np.zeros(
        len(tree.infosets), np.int64
    )  # the first history of each infoset, which the others must match
    model[own[::-1]] = deciding[::-1]

    def shared(h: int) -> str:
        other = history_name(tree, int(model[tree.infoset[h]]))
        return f"its infoset {tree.infosets[tree.infoset[h]]!r} is also that of history {other}"

    _first(tree, deciding[mover != tree.player[model[own]]], lambda h: f"{shared(h)}, of the other player")

    edges = np.flatnonzero(tree.player[tree.parent[1:]] >= 0) + 1
    above, action = tree.parent[edges], tree.action[edges]
    offered = np.zeros((len(tree.infosets), tree.num_actions), bool)  # by the model
    first = above == model[tree.infoset[above]]
    offered[tree.infoset[above[first]], action[first]] = True
    number = np.bincount(above, minlength=len(tree.parent))
    strange = np.bincount(above, ~offered[tree.infoset[above], action], minlength=len(tree.parent)) > 0
    others = (number[deciding] != number[model[own]]) | strange[deciding]
    _first(tree, deciding[others], lambda h: f"{shared(h)}, where other actions are legal")

    past = own_past(tree)
    differ = past[deciding, mover] != past[model[own], mover]
    reason = "which the player reached by other infosets or actions of their own"
    _first(tree, deciding[differ], lambda h: f"imperfect recall: {shared(h)}, {reason}")


def depths(tree: HistoryTree) -> list[np.ndarray]:
    """The histories of each depth, the root's included, as ranges i64[n]."""
    levels, start, stop = [np.zeros(1, np.int64)], 1, 1
    while start < len(tree.parent):  # parents never decrease: a level ends where they leave the last one
        stop = int(np.searchsorted(tree.parent, start))
        levels.append(np.arange(start, stop))
        start = stop
    return levels


def own_past(tree: HistoryTree) -> np.ndarray:
    """i64[H, 2]: each player's last infoset and action, as infoset * A + action; -1 before the first."""
    past = np.full((len(tree.parent), 2), -1, np.int64)
    for rows in depths(tree)[1:]:
        above = tree.parent[rows]
        past[rows] = past[above]
        mover = tree.player[above]
        rows, above, mover = rows[mover >= 0], above[mover >= 0], mover[mover >= 0]
        past[rows, mover] = tree.infoset[above].astype(np.int64) * tree.num_actions + tree.action[rows]
    return past


def chance_reach(tree: HistoryTree) -> np.ndarray:
    """f64[H]: the product of the chance probabilities on the way to a history."""
    result = np.array(tree.chance, np.float64)
    for rows in depths(tree)[1:]:
        result[rows] *= result[tree.parent[rows]]
    return result


def first_histories(tree: HistoryTree) -> np.ndarray:
    """i64[I]: one history, the first, of each infoset."""
    decisions = np.flatnonzero(tree.infoset >= 0)
    first = np.zeros(len(tree.infosets), np.int64)
    first[tree.infoset[decisions[::-1]]] = decisions[::-1]
    return first
