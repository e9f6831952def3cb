"""External and robust sampling of a `Game` as lock-step depth-first walks, for regrets to learn from.

Lanctot et al., "Monte Carlo Sampling for Regret Minimization in Extensive Games" (2009), section 4 (external
sampling); Li et al., "Double Neural Counterfactual Regret Minimization" (2020), section 4 (robust sampling).

Each of `L` lanes walks one traversal depth first and takes up the next as soon as it is done, so the networks
always see as many rows, memory does not depend on how wide the game is, and no row's result depends on which
lane it stood in. Every draw is keyed by (trajectory, node), a node being a decision or an end that was
visited, numbered within its traversal: with another number of lanes samples differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import Game
from jaxnash.types import Array, Key, Params, PyTree

Strategy = Callable[[Params, PyTree, Array], Array]  # (params, obs[B, ...], legal bool[B, A]) -> f32[B, A]


class Samples(NamedTuple):
    """`M` visited decisions in the order (trajectory, node)."""

    obs: PyTree  # [M, ...], what the mover knew
    legal: Array  # bool[M, A]
    target: Array  # f32[M, A]: sampled regrets of the traverser's, or the strategy played at the opponent's
    trajectory: Array  # i32[M], its place among the trajectories that `traverse` was given
    node: Array  # i32[M]
    weight: PyTree = ()  # f32[M], what each counts; () where all count alike, as they do here


class Frame(NamedTuple):
    """A decision of the traverser whose actions are being tried; axes [S, L]."""

    state: PyTree
    strategy: Array  # f32[S, L, A]
    value: Array  # f32[S, L, A], of the actions tried so far
    todo: Array  # bool[S, L, A], still to try
    action: Array  # i32[S, L], being tried
    slot: Array  # i32[S, L], where its sample goes


class Buffer(NamedTuple):
    """Samples: rows `first` to `filled`. Those before `first` still wait for their targets."""

    rows: Samples
    first: Array  # i32[]
    filled: Array  # i32[]


class Walk(NamedTuple):
    """All lanes in the middle of their traversals."""

    state: PyTree  # [L, ...]
    trajectory: Array  # i32[L], -1 where there is none left
    node: Array  # i32[L], nodes met of the present trajectory
    depth: Array  # i32[L], frames in use
    frames: Frame
    regrets: Buffer  # of [capacity + S * L] rows, so that those which wait leave room for as many others
    policies: Buffer  # of [capacity] rows, 0 where the opponent's strategy is not wanted
    upcoming: Array  # i32[], the next trajectory to begin
    nodes: Array  # i32[], visited since the buffers were emptied
    rounds: Array  # i32[], network calls since then


class Traverser(NamedTuple):
    """`start` and `advance`, both jitted; see `traverse`."""

    start: Callable[..., Walk]
    advance: Callable[..., Walk]
    game: Game


def traverser(
    game: Game,
    strategy: Strategy,
    *,
    lanes: int,
    capacity: int,
    depth: int,
    explore: int | None = None,
    policies: bool = False,
    resolves: int = 2,
) -> Traverser:
    """A traverser of `game` (sequential, two players), compiled once for both players.

    Args:
        strategy: the network's policy, called with the mover's observations of all lanes.
        lanes: traversals at once (`L`).
        capacity: finished samples a buffer holds before it must be emptied, at least `lanes`.
        depth: the most decisions that one player can meet on a path (`S`).
        explore: how many legal actions are tried at a decision of the traverser, drawn evenly; None: all of
            them (external sampling). Untried actions count as worth 0 and tried ones are scaled up to match,
            so that values and regrets stay unbiased.
        policies: also keep the opponent's decisions with the strategy played, for an average policy network.
    """
    if capacity < lanes:
        raise ValueError(f"capacity {capacity} does not hold a round of {lanes} lanes")
    actions, size = game.actions.n, capacity + depth * lanes
    seats = min(lanes, 8 * -(-5 * lanes // 64))  # of each network's rows: five eighths of all lanes

    def empty(rows: int, obs: PyTree) -> Buffer:
        make = lambda leaf: jnp.zeros((rows, *leaf.shape[2:]), leaf.dtype)  # noqa: E731
        number = jnp.zeros(rows, jnp.int32)
        each = jnp.zeros((rows, actions), jnp.float32)
        none = jnp.zeros((), jnp.int32)
        return Buffer(Samples(jax.tree.map(make, obs), each > 0, each, number, number), none, none)

    @jax.jit
    def start(roots: PyTree) -> Walk:
        state = jax.tree.map(lambda leaf: jnp.zeros((lanes, *leaf.shape[1:]), leaf.dtype), roots)
        obs = jax.eval_shape(jax.vmap(game.observe), state).obs
        number = jnp.zeros(lanes, jnp.int32)
        each = jnp.zeros((depth, lanes, actions), jnp.float32)
        deep = jnp.zeros((depth, lanes), jnp.int32)
        frames = Frame(
            jax.tree.map(lambda leaf: jnp.zeros((depth, *leaf.shape), leaf.dtype), state),
            each,
            each,
            each > 0,
            deep,
            deep,
        )
        count = jax.tree.leaves(roots)[0].shape[0]
        first = jnp.minimum(jnp.arange(lanes), count - 1)
        return Walk(
            state=jax.tree.map(lambda leaf: leaf[first], roots),
            trajectory=jnp.where(jnp.arange(lanes) < count, jnp.arange(lanes), -1),
            node=number,
            depth=number,
            frames=frames,
            regrets=empty(size, obs),
            policies=empty(capacity if policies else 0, obs),
            upcoming=jnp.int32(min(lanes, count)),
            nodes=jnp.int32(0),
            rounds=jnp.int32(0),
        )

    @partial(jax.jit, donate_argnums=0)
    def advance(walk: Walk, keys: Key, roots: PyTree, params: tuple[Params, Params], player: Array) -> Walk:
        count = keys.shape[0]
        regrets, others = (buffer._replace(filled=buffer.first) for buffer in (walk.regrets, walk.policies))
        walk = walk._replace(regrets=regrets, policies=others, nodes=jnp.int32(0), rounds=jnp.int32(0))

        def going(walk: Walk) -> Array:
            room = (walk.regrets.filled + lanes <= size) & (walk.policies.filled + lanes <= capacity)
            return room & jnp.any(walk.trajectory >= 0)

        return parted(
            jax.lax.while_loop(
                going, partial(visit, keys=keys, roots=roots, params=params, player=player, count=count), walk
            )
        )

    def parted(walk: Walk) -> Walk:
        """The rows of decisions that are still on a path come before the finished ones."""
        rows, filled, slot = walk.regrets.rows, walk.regrets.filled, walk.frames.slot
        on_path = jnp.arange(depth)[:, None] < walk.depth
        waiting = jnp.zeros(size, bool).at[jnp.where(on_path, slot, size)].set(True, mode="drop")
        first = jnp.sum(waiting, dtype=jnp.int32)
        place = jnp.where(waiting, _rank(waiting), first + _rank(~waiting))
        return walk._replace(
            frames=walk.frames._replace(slot=jnp.where(on_path, place.at[slot].get(mode="clip"), size)),
            regrets=Buffer(jax.tree.map(lambda leaf: leaf.at[place].set(leaf), rows), first, filled),
        )

    def visit(
        walk: Walk, *, keys: Key, roots: PyTree, params: tuple[Params, Params], player: Array, count: int
    ) -> Walk:
        """Each lane at a decision takes an action; then those at an end go back up, `resolves` times."""
        walk = decide(walk, keys, params, player)
        for _ in range(resolves):
            walk = resolve(walk, keys, roots, player, count)
        return walk._replace(rounds=walk.rounds + 1)

    def decide(walk: Walk, keys: Key, params: tuple[Params, Params], player: Array) -> Walk:
        step = jax.vmap(game.observe)(walk.state)
        deciding = (walk.trajectory >= 0) & ~step.terminated
        own = deciding & step.active[:, player]
        other = deciding & ~step.active[:, player]
        obs, legal = of_mover(step.active[:, 1], (step.obs, step.legal))
        played, answered = _by_sides(strategy, params, obs, legal, (own, other), seats)
        deciding, own, other = deciding & answered, own & answered, other & answered

        here = _keys(keys, walk)
        drawn = _draw(played, jax.vmap(jax.random.uniform)(here))
        tried = legal if explore is None else _subset(here, legal, explore)
        first = jnp.argmax(tried, axis=-1).astype(jnp.int32)

        regrets, slot = append(walk.regrets, own, obs, legal, jnp.zeros_like(played), walk)
        others = append(walk.policies, other, obs, legal, played, walk)[0] if policies else walk.policies
        todo = tried & (jnp.arange(actions) != first[:, None])
        pushed = Frame(walk.state, played, jnp.zeros_like(played), todo, first, slot)
        at = own & (jnp.arange(depth)[:, None] == walk.depth)
        frames = jax.tree.map(lambda new, old: _where(at, new[None], old), pushed, walk.frames)
        action = jnp.where(own, first, drawn)
        return walk._replace(
            state=taken(here, walk.state, action, deciding),
            node=walk.node + deciding,
            depth=walk.depth + own,
            frames=frames,
            regrets=regrets,
            policies=others,
            nodes=walk.nodes + jnp.sum(deciding, dtype=jnp.int32),
        )

    def resolve(walk: Walk, keys: Key, roots: PyTree, player: Array, count: int) -> Walk:
        """Up from an end, through the decisions with nothing left to try, and down the next action."""
        step = jax.vmap(game.observe)(walk.state)
        ended = (walk.trajectory >= 0) & step.terminated
        returning, value, level = ended, step.reward[:, player], walk.depth
        frames, rows = walk.frames, walk.regrets.rows
        todo, values, trying = frames.todo, frames.value, frames.action
        action, resumed, target = jnp.zeros_like(level), walk.state, rows.target
        for d in reversed(range(depth)):
            top = returning & (level == d + 1)
            is_tried = jnp.arange(actions) == trying[d][:, None]
            below = jnp.where(top[:, None] & is_tried, value[:, None], values[d])
            left = jnp.any(todo[d], axis=-1)
            following = jnp.argmax(todo[d], axis=-1).astype(jnp.int32)
            goes_on, done = top & left, top & ~left
            estimate, gain = _finish(frames.strategy[d], below, explore, rows.legal, frames.slot[d])
            values = values.at[d].set(below)
            todo = todo.at[d].set(todo[d] & ~(goes_on[:, None] & (jnp.arange(actions) == following[:, None])))
            trying = trying.at[d].set(jnp.where(goes_on, following, trying[d]))
            action = jnp.where(goes_on, following, action)
            held = jax.tree.map(lambda leaf: leaf[d], frames.state)  # noqa: B023
            resumed = jax.tree.map(partial(_where, goes_on), held, resumed)
            target = target.at[jnp.where(done, frames.slot[d], size)].set(gain, mode="drop")
            value = jnp.where(done, estimate, value)
            level = jnp.where(done, d, level)
            returning = returning & ~goes_on
        finished = returning & (level == 0)
        order = walk.upcoming + _rank(finished)
        fresh = jax.tree.map(lambda leaf: leaf[jnp.minimum(order, count - 1)], roots)
        after = taken(_keys(keys, walk), resumed, action, ended)
        return walk._replace(
            state=jax.tree.map(partial(_where, finished), fresh, after),
            trajectory=jnp.where(finished, jnp.where(order < count, order, -1), walk.trajectory),
            node=jnp.where(finished, 0, walk.node + ended),
            depth=level,
            frames=frames._replace(value=values, todo=todo, action=trying),
            regrets=walk.regrets._replace(rows=rows._replace(target=target)),
            upcoming=walk.upcoming + jnp.sum(finished, dtype=jnp.int32),
            nodes=walk.nodes + jnp.sum(ended, dtype=jnp.int32),
        )

    def taken(here: Key, state: PyTree, action: Array, which: Array) -> PyTree:
        """The states after the action of the lanes that take one."""
        both = jnp.broadcast_to(action[:, None], (lanes, 2))
        after = jax.vmap(game.step)(jax.vmap(lambda one: jax.random.fold_in(one, 1))(here), state, both)
        return jax.tree.map(partial(_where, which), after, state)

    def append(
        buffer: Buffer, which: Array, obs: PyTree, legal: Array, target: Array, walk: Walk
    ) -> tuple[Buffer, Array]:
        slot = jnp.where(which, buffer.filled + _rank(which), size)
        new = Samples(obs, legal, target, walk.trajectory, walk.node)
        rows = jax.tree.map(lambda held, row: held.at[slot].set(row, mode="drop"), buffer.rows, new)
        return Buffer(rows, buffer.first, buffer.filled + jnp.sum(which, dtype=jnp.int32)), slot

    return Traverser(start, advance, game)


def of_mover(second: Array, sides: PyTree) -> PyTree:
    """What the mover has of leaves [B, 2, ...]: player 1's where `second` bool[B], else player 0's."""

    def one(leaf: Array) -> Array:
        return jnp.where(second.reshape(-1, *[1] * (leaf.ndim - 2)), leaf[:, 1], leaf[:, 0])

    return jax.tree.map(one, sides)


def _by_sides(
    strategy: Strategy,
    params: tuple[Params, Params],
    obs: PyTree,
    legal: Array,
    sides: tuple[Array, Array],
    size: int,
) -> tuple[Array, Array]:
    """What each side's network plays f32[L, A] at its own rows bool[L], and which rows are answered, bool[L]:
    `size` of each side; the others wait for the next round. Both networks on all rows were twice the work."""
    played, answered = jnp.zeros(legal.shape, jnp.float32), jnp.zeros(legal.shape[0], bool)
    for side, rows in zip(params, sides, strict=True):
        rank = _rank(rows)
        chosen = rows & (rank < size)
        place = jnp.where(chosen, rank, size)
        lane = jnp.zeros(size, jnp.int32).at[place].set(jnp.arange(len(rows)), mode="drop")
        found = strategy(side, jax.tree.map(lambda leaf: leaf[lane], obs), legal[lane])  # noqa: B023
        played = jnp.where(chosen[:, None], found[jnp.minimum(place, size - 1)], played)
        answered |= chosen
    return played, answered


def _finish(
    strategy: Array, value: Array, explore: int | None, legal: Array, slot: Array
) -> tuple[Array, Array]:
    """What a decision is worth and each action's regret, from the values of the tried actions."""
    if explore is not None:
        number = jnp.sum(legal.at[slot].get(mode="clip"), axis=-1, keepdims=True)
        value = value * jnp.maximum(number, explore) / explore
    estimate = jnp.sum(strategy * value, axis=-1)
    return estimate, value - estimate[:, None]


def _keys(keys: Key, walk: Walk) -> Key:
    return jax.vmap(jax.random.fold_in)(keys[walk.trajectory], walk.node)


def _rank(which: Array) -> Array:
    """The place i32[B] of each among those of `which`."""
    return jnp.cumsum(which, dtype=jnp.int32) - 1


def _where(which: Array, new: Array, old: Array) -> Array:
    return jnp.where(which.reshape(*which.shape, *[1] * (old.ndim - which.ndim)), new, old)


def _draw(probabilities: Array, uniform: Array) -> Array:
    """An action i32[B] from probabilities f32[B, A], never one of probability 0."""
    possible = probabilities > 0
    # a parallel sum may be rounded differently from one action to the next
    cumulative = jnp.where(possible, jnp.cumsum(probabilities, axis=-1), 0)
    reached = uniform[:, None] * jnp.max(cumulative, axis=-1, keepdims=True)
    return jnp.argmax(possible & (cumulative > reached), axis=-1).astype(jnp.int32)


def _subset(keys: Key, legal: Array, size: int) -> Array:
    """`size` of the legal actions bool[B, A], drawn evenly; all of them where there are no more."""
    order = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 2), legal.shape[1:]))(keys)
    order = jnp.where(legal, order, 2.0)
    rank = jnp.sum(order[:, None, :] < order[:, :, None], axis=-1)
    return legal & (rank < size)


def traverse(
    walker: Traverser,
    key: Key,
    params: tuple[Params, Params],
    player: int,
    trajectories: Array,
    *,
    setups: PyTree,
) -> Iterator[Walk]:
    """Traverse the trajectories i32[N] of `player`, and yield the walk, whose buffers hold new samples, until
    all are done. What is yielded must be read before the next is asked for: the arrays are used again.

    `params` are the traverser's and the opponent's. Trajectory `i` is a function of (`key`, `i`) and the
    params alone; `setups` is one setup for all.
    """
    keys, roots = _roots(walker.game.init, key, trajectories, setups)
    walk = walker.start(roots)
    while True:
        walk = walker.advance(walk, keys, roots, params, jnp.int32(player))
        yield walk
        if not np.any(np.asarray(walk.trajectory) >= 0):
            return


@partial(jax.jit, static_argnums=0)
def _roots(init: Callable[..., Any], key: Key, trajectories: Array, setups: PyTree) -> tuple[Key, PyTree]:
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(trajectories)
    roots = jax.vmap(lambda one: init(jax.random.fold_in(one, 0x7FFFFFFF), setups))(keys)
    return keys, roots
