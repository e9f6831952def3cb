"""Chips a hand of one member against another, played in duplicate pairs on device.

Both hands of a pair have the same key and setup, and the members change seats. So luck that does not depend
on who sits where (cards dealt at `init`, as all of hold'em's and Kuhn poker's are) cancels, and of a member
against itself nothing is left. What a game draws in `step`, as Leduc's public card, is keyed by the pair and
the number of decisions so far: it is the same in both hands if it comes after equally many decisions, and
independent if not. Either way each hand is a fair one and pairs are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import Game
from jaxnash.rollouts.scan import by_rule
from jaxnash.types import (
    Array,
    External,
    JaxnashError,
    Key,
    Member,
    Neural,
    Params,
    PyTree,
    Scripted,
    TimeStep,
)

TILE = 16  # rows of one network that go through it together, where a member is a mixture
Seats = Member | tuple[Member, Member]  # one member for both seats, or one per seat


class Score(NamedTuple):
    """What one side earned from the other, per hand."""

    mean: float
    low: float  # of the interval
    high: float
    pairs: int
    level: float
    kind: str = "match"  # or which bound the mean estimates


def score(payoffs: Array, *, level: float = 0.95, bound: float | None = None, kind: str = "match") -> Score:
    """The mean of payoffs f[pairs, 2] with a two-sided interval; the number of pairs is fixed beforehand.

    The unit is a pair, whose two hands are not independent. Without a `bound` the interval is the normal one
    on pair means. Payoffs are bounded, so it is right in the limit, but a match in which rare hands decide
    (deep stacks, few all-ins) takes many pairs, and below a few hundred it is too narrow. With `bound`, the
    most that a hand can win or lose, it is the empirical Bernstein interval (Maurer and Pontil 2009,
    "Empirical Bernstein Bounds and Sample Variance Penalization", theorem 4, on both sides): it holds
    whatever the distribution and the number of pairs, and is wider.

    Raises:
        JaxnashError: less than two pairs, which have no variance; a level outside (0, 1); a payoff above the
            bound.
    """
    means = np.mean(np.asarray(payoffs, np.float64), axis=1)
    if len(means) < 2:
        raise JaxnashError(f"{len(means)} pairs have no interval: play two or more")
    if not 0 < level < 1:
        raise JaxnashError(f"level {level}: of an interval, between 0 and 1")
    mean, deviation, n = float(np.mean(means)), float(np.std(means, ddof=1)), len(means)
    if bound is None:
        half = NormalDist().inv_cdf((1 + level) / 2) * deviation / sqrt(n)
    else:
        if np.max(np.abs(payoffs)) > bound:
            raise JaxnashError(f"a hand won {np.max(np.abs(payoffs)):g} chips: more than the bound {bound:g}")
        tail = log(4 / (1 - level))
        half = deviation * sqrt(2 * tail / n) + 7 * (2 * bound) * tail / (3 * (n - 1))
    return Score(mean, mean - half, mean + half, n, level, kind)


def milli_big_blinds(result: Score, big_blind: float = 100) -> Score:
    """A score in chips as one in milli big blinds a game (mbb/g)."""
    unit = 1000 / big_blind
    return result._replace(mean=result.mean * unit, low=result.low * unit, high=result.high * unit)


class _Player(NamedTuple):
    """What is static about a seat."""

    choose: Any  # of a scripted member, or None
    initial_carry: Any
    apply: Any  # of a network, or None
    greedy: bool
    sees_state: bool  # as of `Scripted`


class _Lanes(NamedTuple):
    """Hands in play, of which each lane holds one and takes up the next when it is over."""

    state: PyTree  # [L, ...]
    hand: Array  # i32[L], -1 where there is none left
    turn: Array  # i32[L]
    carries: tuple[PyTree, PyTree]
    earned: Array  # f32[L, 2], so far
    result: Array  # f32[M, 2]
    upcoming: Array  # i32[]
    endless: Array  # bool[]: a hand was cut


def hands(
    game: Game, *, pairs: int, most_decisions: int, lanes: int = 2048, setup_axes: PyTree = None
) -> Callable[..., Array]:
    """A function `(key, members, setups=None, *, mixtures=(None, None))` to the first member's payoffs
    f32[pairs, 2], in seat 0 and in seat 1; see `play`."""
    if game.num_players != 2:
        raise JaxnashError(f"a match is between two players: this game has {game.num_players}")
    lanes = max(1, min(lanes, pairs))
    size = min(16 * lanes, -(-pairs // lanes) * lanes)  # pairs whose deals are held at once

    @jax.jit
    def deal(key: Key, numbers: Array, setups: PyTree) -> tuple[Key, PyTree]:
        keys = _fold(key, numbers, 4)  # for the deal, each seat's network, the decisions
        return keys[:, 1:], jax.vmap(game.init, in_axes=(0, setup_axes))(keys[:, 0], setups)

    @partial(jax.jit, static_argnums=0)
    def run(
        players: tuple[_Player, _Player],
        keys: Key,
        roots: PyTree,
        count: Array,
        params: tuple[Params, Params],
        mixtures: tuple[Array | None, Array | None],
    ) -> tuple[Array, Array]:
        networks = [
            None if mixture is None else _draw(keys[:, seat], mixture)
            for seat, mixture in enumerate(mixtures)
        ]

        def act(seat: int, step: TimeStep, now: _Lanes, here: Key) -> tuple[Array, PyTree]:
            player, own = players[seat], now.carries[seat]
            obs, legal, active, reward = jax.tree.map(lambda leaf: leaf[:, seat], tuple(step[:4]))
            if player.choose is not None:
                view = TimeStep(obs, legal, active, reward, step.terminated, step.truncated)
                return jnp.where(active, by_rule(player, view, here, state=now.state, seat=seat), 0), own
            inputs = (obs, legal, own, now.turn == 0)
            network = networks[seat]
            if network is None:
                head, _, carry = player.apply(params[seat], *inputs)
            else:
                choice = network[jnp.maximum(now.hand, 0)]
                head, _, carry = by_network(player.apply, params[seat], choice, inputs)
            if player.greedy:
                return game.actions.mode(head), carry
            return jax.vmap(game.actions.sample)(here, head), carry

        def going(now: _Lanes) -> Array:
            return jnp.any(now.hand >= 0)

        def one(now: _Lanes) -> _Lanes:
            playing = now.hand >= 0
            here = _fold(keys[now.hand, 2], now.turn, 3)
            step = jax.vmap(game.observe)(now.state)
            done = [act(seat, step, now, here[:, seat]) for seat in (0, 1)]
            actions = jnp.stack([action for action, _ in done], axis=1)
            state = jax.vmap(game.step)(here[:, 2], now.state, actions)
            after = jax.vmap(game.observe)(state)
            earned = now.earned + after.reward
            ended = jnp.logical_or(after.terminated, after.truncated)
            cut = playing & jnp.logical_not(ended) & (now.turn + 1 >= most_decisions)
            over = playing & (ended | cut)
            order = now.upcoming + jnp.cumsum(over, dtype=jnp.int32) - 1
            fresh = jax.tree.map(lambda leaf: leaf[jnp.minimum(order, size - 1)], roots)
            return _Lanes(
                state=jax.tree.map(partial(_where, over), fresh, state),
                hand=jnp.where(over, jnp.where(order < count, order, -1), now.hand),
                turn=jnp.where(over, 0, now.turn + 1),
                carries=(done[0][1], done[1][1]),
                earned=jnp.where(over[:, None], 0, earned),
                result=now.result.at[jnp.where(over, now.hand, size)].set(earned, mode="drop"),
                upcoming=now.upcoming + jnp.sum(over, dtype=jnp.int32),
                endless=now.endless | jnp.any(cut),
            )

        first = jnp.arange(lanes, dtype=jnp.int32)
        now = _Lanes(
            state=jax.tree.map(lambda leaf: leaf[:lanes], roots),
            hand=jnp.where(first < count, first, -1),
            turn=jnp.zeros(lanes, jnp.int32),
            carries=(players[0].initial_carry(lanes), players[1].initial_carry(lanes)),
            earned=jnp.zeros((lanes, 2), jnp.float32),
            result=jnp.zeros((size, 2), jnp.float32),
            upcoming=jnp.int32(lanes),
            endless=jnp.zeros((), bool),
        )
        now = jax.lax.while_loop(going, one, now)
        return now.result, now.endless

    def played(
        key: Key,
        members: tuple[Seats, Seats],
        setups: PyTree = None,
        *,
        mixtures: tuple[Array | None, Array | None] = (None, None),
    ) -> Array:
        (a, b), (c, d) = (by_seat(member, mixture) for member, mixture in zip(members, mixtures))
        tables = [_sides(one, other) for one, other in ((a, d), (c, b))]
        found = np.zeros((pairs, 2), np.float32)
        for start in range(0, pairs, size):
            numbers = np.minimum(np.arange(start, start + size), pairs - 1)
            keys, roots = deal(key, numbers, _rows(setup_axes, setups, numbers))
            count = min(size, pairs - start)
            for seat, (players, params, mixed) in enumerate(tables):
                result, endless = run(players, keys, roots, np.int32(count), params, mixed)
                if bool(endless):
                    raise JaxnashError(
                        f"a hand has more than {most_decisions} decisions: raise most_decisions"
                    )
                found[start : start + count, seat] = np.asarray(result)[:count, seat]
        return found

    return played


def play(
    game: Game,
    *,
    pairs: int,
    most_decisions: int,
    lanes: int = 2048,
    setup_axes: PyTree = None,
    level: float = 0.95,
    bound: float | None = None,
) -> Callable[..., Score]:
    """A function `(key, members, setups=None, *, mixtures=(None, None)) -> Score` of the first of two members
    against the second, in chips a hand over `pairs` pairs of hands.

    A member is a `Neural` or `Scripted` one (as for `scan_rollout`), or a tuple of two, who play seat 0 and
    seat 1. Where `mixtures` has weights f[K] or, by seat, f[2, K] (any unit) instead of None, that member's
    params are stacked [K, ...] and one of the K networks is drawn by weight for each hand. Hands are
    independent, also of others with the same network, so that this is how the average of the K strategies,
    each weighed by its own reach, plays exactly (Steinberger 2019, "Single Deep Counterfactual Regret
    Minimization", section 4).

    Args:
        pairs: fixed beforehand; the unit of the interval.
        most_decisions: more than a hand can have is an error.
        lanes: hands in play at once. A result does not depend on it, up to rounding in the networks.
        setup_axes: which leaves of `setups` have a leading axis [pairs], as `in_axes` of `jax.vmap`. None:
            one setup for all. With cards in it: `HoldemSetup(None, None, None, None, 0)`.
        level, bound: of the interval, see `score`.

    Raises:
        JaxnashError: a member that plays on a server, a game that is not for two, a hand that does not end,
            or what `score` refuses.
    """
    played = hands(game, pairs=pairs, most_decisions=most_decisions, lanes=lanes, setup_axes=setup_axes)

    def match(
        key: Key,
        members: tuple[Seats, Seats],
        setups: PyTree = None,
        *,
        mixtures: tuple[Array | None, Array | None] = (None, None),
    ) -> Score:
        return score(played(key, members, setups, mixtures=mixtures), level=level, bound=bound)

    return match


def by_network(apply: Callable[..., Any], params: Params, choice: Array, inputs: PyTree) -> Any:
    """`apply(params[choice[b]], inputs[b])` for each row b, for params [K, ...] and inputs [B, ...].

    Rows of one network are laid together in tiles, because copying a network for every row is some ten to
    eighty times slower. On a CPU tiles are taken one by one, elsewhere all at once.
    """
    count, (size,) = jax.tree.leaves(params)[0].shape[0], choice.shape
    tiles = size // TILE + min(count, size)  # enough, however the rows fall
    order = jnp.argsort(choice)
    rows = jnp.bincount(choice, length=count)
    used = -(-rows // TILE)
    behind = jnp.arange(size) - (jnp.cumsum(rows) - rows)[choice[order]]
    place = (jnp.cumsum(used) - used)[choice[order]] * TILE + behind
    source = jnp.zeros(tiles * TILE, jnp.int32).at[place].set(order.astype(jnp.int32))
    network = jnp.minimum(jnp.searchsorted(jnp.cumsum(used), jnp.arange(tiles), side="right"), count - 1)
    laid = jax.tree.map(lambda leaf: leaf[source].reshape(tiles, TILE, *leaf.shape[1:]), inputs)

    def one(params: Params, tile: tuple[Array, PyTree]) -> Any:
        return apply(jax.tree.map(lambda leaf: leaf[tile[0]], params), *tile[1])

    out = jax.lax.platform_dependent(
        params,
        (network, laid),
        cpu=lambda params, tiles: jax.lax.map(partial(one, params), tiles),
        default=lambda params, tiles: jax.vmap(partial(one, params))(tiles),
    )
    back = jnp.zeros(size, jnp.int32).at[order].set(place.astype(jnp.int32))
    return jax.tree.map(lambda leaf: leaf.reshape(tiles * TILE, *leaf.shape[2:])[back], out)


# Scripted opponents. `choose` is one function each, so that a match against it is compiled once.


def random_legal() -> Scripted:
    """Plays each legal action alike, in any game of one `Categorical` choice."""
    return Scripted("random", _random_legal)


def always_call(game: str = "holdem") -> Scripted:
    """Checks, or calls any bet; `game` is holdem, leduc or kuhn, whose actions differ.

    Raises `JaxnashError` for another game.
    """
    if game not in _CALLS:
        raise JaxnashError(f"no rule says how to call in {game!r}: there are {', '.join(_CALLS)}")
    return Scripted("always-call", _CALLS[game])


def _random_legal(step: TimeStep, key: Key) -> Array:
    return jax.random.categorical(key, jnp.where(step.legal, 0.0, -jnp.inf))


def _first_but_fold(step: TimeStep, key: Key) -> Array:
    return jnp.int32(1)


def _call_in_kuhn(step: TimeStep, key: Key) -> Array:
    bets = step.obs[4:9:2]  # of the three actions, one-hot after the card: whether it is a bet
    return jnp.any(bets > 0).astype(jnp.int32)


_CALLS = {"holdem": _first_but_fold, "leduc": _first_but_fold, "kuhn": _call_in_kuhn}


def by_seat(member: Seats, mixture: Array | None) -> list[tuple[Member, Array | None]]:
    """Who plays each seat, and the weights of its networks; raises what `play` does of one member."""
    first, second = (member, member) if isinstance(member, Member) else member
    weights = (None, None) if mixture is None else np.broadcast_to(mixture, (2, np.shape(mixture)[-1]))
    found = []
    for one, weight in ((first, weights[0]), (second, weights[1])):
        if isinstance(one, External):
            raise JaxnashError(f"{one.name} plays on a server; only neural and scripted members play here")
        if weight is not None:
            _check(one, weight)
        found.append((one, weight))
    return found


def _check(member: Member, weight: Array) -> None:
    if not isinstance(member, Neural):
        raise JaxnashError(f"{member.name} is scripted and has no networks to draw from")
    if not (np.all(weight >= 0) and 0 < np.sum(weight) < np.inf):
        raise JaxnashError(f"{member.name}'s weights {weight}: none negative, one positive")
    for leaf in jax.tree.leaves(member.params):
        if np.shape(leaf)[:1] != np.shape(weight):
            raise JaxnashError(
                f"{member.name} has a leaf of shape {np.shape(leaf)} where {len(weight)} networks are weighed"
            )


def _sides(*seats: tuple[Any, Array | None]) -> tuple[Any, Any, Any]:
    """The static players, their params and the weights as data."""
    players, params, weights = [], [], []
    for member, weight in seats:
        if isinstance(member, Neural):
            policy = member.policy
            players.append(_Player(None, policy.initial_carry, policy.apply, member.greedy, False))
            params.append(member.params)
        else:
            players.append(_Player(member.choose, _nothing, None, False, member.sees_state))
            params.append(())
        weights.append(None if weight is None else np.asarray(weight / np.sum(weight), np.float32))
    return tuple(players), tuple(params), tuple(weights)


def _nothing(batch: int) -> tuple[()]:
    return ()


def _rows(axes: PyTree, setups: PyTree, numbers: Array) -> PyTree:
    """The setups of these pairs."""

    def rows(axis: int | None, part: PyTree) -> PyTree:
        return part if axis is None else jax.tree.map(lambda leaf: np.take(leaf, numbers, axis), part)

    return jax.tree.map(rows, axes, setups, is_leaf=lambda axis: axis is None)


def _draw(keys: Key, weights: Array) -> Array:
    """One number of 0..K-1 for each key, by weights f32[K], never one of weight 0."""
    cumulative = jnp.cumsum(weights)
    uniform = jax.vmap(jax.random.uniform)(keys) * cumulative[-1]
    drawn = jnp.searchsorted(cumulative, uniform, side="right")
    last = jnp.max(jnp.where(weights > 0, jnp.arange(weights.shape[0]), 0))
    return jnp.minimum(drawn, last).astype(jnp.int32)


def _where(which: Array, new: Array, old: Array) -> Array:
    return jnp.where(which.reshape(-1, *[1] * (old.ndim - 1)), new, old)


def _fold(keys: Key, numbers: Array, count: int) -> Key:
    """`count` keys for each number, and for each key where there are several: [B, count]."""
    one = lambda key, number: jax.random.split(jax.random.fold_in(key, number), count)  # noqa: E731
    return jax.vmap(one, (0 if keys.ndim else None, 0))(keys, numbers)
