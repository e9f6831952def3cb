"""One learner against snapshots of itself and scripts, in matches that go on from one rollout to the next.

A rollout is a segment of frames of many matches at once, one match a row. Rows are in equal groups, and each
group meets one snapshot in a rollout, so that a snapshot's weights are read once for all of its rows. Which
kind of opponent a match has, a snapshot or one of the scripts, is drawn as the match begins and stays; so is
the learner's seat.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.game import Game
from jaxnash.types import Array, JaxnashError, Key, Params, Policy, PyTree, TimeStep, Trajectory

Script = Callable[[Any, int], Array]  # (state, seat) -> action


class Matches(NamedTuple):
    """Matches under way. Leading axis [B]."""

    state: PyTree
    step: TimeStep
    reset: Array  # bool[B]: the next frame is a match's first
    episode: Array  # i32[B], matches ended in this row
    turn: Array  # i32[B], frames of the match
    seat: Array  # i32[B], the learner's
    kind: Array  # i32[B], the opponent's: 0 a snapshot, else 1 + its place among the scripts
    carry: PyTree  # the learner's
    rivals: PyTree  # the snapshots', leading axes [groups, B / groups]


class SelfPlay(NamedTuple):
    """Self-play as pure functions; see `self_play`."""

    start: Callable[..., Matches]  # (key, setups, shares) -> Matches
    play: Callable[..., tuple[Matches, Trajectory, PyTree]]


def self_play(
    game: Game,
    policy: Policy,
    scripts: tuple[Script, ...],
    *,
    length: int,
    batch: int,
    groups: int = 8,
    watch: Callable[[PyTree, Array], PyTree] = lambda state, seat: (),
) -> SelfPlay:
    """Rollouts of `batch` matches and `length` frames for a game of two who always act.

    `start(key, setups, shares)`: the first frame of all matches. `setups` has a leading axis [batch], or is
    None. `shares` f32[1 + scripts] says how often an opponent is a snapshot or each of the scripts.
    `play(key, params, snapshots, matches, setups, shares)` goes on: `snapshots` are params stacked
    [groups, ...], and rows [g batch / groups, (g + 1) batch / groups) meet the g-th. It returns the matches
    after the rollout, the learner's `Trajectory` with leaves [length, batch, 1, ...] (`member` is 0,
    `first_carry` what `Policy.segments.unroll` starts from) and what `watch(state, seat)` says of the states
    after each frame, [length, batch, ...].

    Randomness is keyed by row, match and frame. A policy with segments begins one with each rollout; a
    snapshot that takes over a match goes on with what its predecessor remembers. Raises `JaxnashError` where
    rows do not make equal groups, or the policy's segments are not of this length.
    """
    segments, rows = policy.segments, jnp.arange(batch)
    if batch % groups:
        raise JaxnashError(f"{batch} matches at once do not make {groups} equal groups")
    if segments is not None and segments.length != length:
        raise JaxnashError(f"the policy's segments have {segments.length} frames, the rollout {length}")
    share = batch // groups
    initial = policy.initial_carry(share)
    shared = jax.tree.map(
        lambda leaf: 0 if jnp.ndim(leaf) else None, initial
    )  # a segment's clock is all groups'
    begin = (lambda params, carry: carry) if segments is None else segments.begin
    frame = policy.apply if segments is None else segments.frame
    begin_groups = jax.vmap(begin, in_axes=(0, shared), out_axes=shared)
    rival_frame = jax.vmap(frame, in_axes=(0, 0, 0, shared, 0), out_axes=(0, 0, shared))

    def keys_of(key: Key, episode: Array) -> Key:
        return jax.vmap(lambda number: jax.random.fold_in(key, number))(episode * batch + rows)

    def new(keys: Key, setups: PyTree, shares: Array) -> tuple[PyTree, Array, Array]:
        """The states of matches that begin, the learner's seats and the opponents' kinds."""

        def one(key: Key, setup: PyTree) -> tuple[PyTree, Array, Array]:
            first, second, third = jax.random.split(key, 3)
            kind = jax.random.categorical(third, jnp.log(shares))
            return game.init(first, setup), jax.random.randint(second, (), 0, 2), kind.astype(jnp.int32)

        return jax.vmap(one, in_axes=(0, None if setups is None else 0))(keys, setups)

    @jax.jit
    def start(key: Key, setups: PyTree, shares: Array) -> Matches:
        episode = jnp.zeros(batch, jnp.int32)
        state, seat, kind = new(_fold(keys_of(key, episode), 0), setups, shares)
        return Matches(
            state=state,
            step=jax.vmap(game.observe)(state),
            reset=jnp.ones(batch, bool),
            episode=episode,
            turn=jnp.zeros(batch, jnp.int32),
            seat=seat,
            kind=kind,
            carry=policy.initial_carry(batch),
            rivals=jax.tree.map(_stacked(groups), initial),
        )

    def rival(snapshots: Params, now: Matches, seat: Array, keys: Key) -> tuple[Array, PyTree]:
        """What the opponents in `seat` i32[B] do, and the snapshots' carries."""
        obs, legal = (_of_seat(leaf, seat) for leaf in (now.step.obs, now.step.legal))
        grouped = partial(jax.tree.map, lambda leaf: leaf.reshape(groups, share, *leaf.shape[1:]))
        inputs = grouped(obs), grouped(legal)
        head, _, carry = rival_frame(snapshots, *inputs, now.rivals, grouped(now.reset))
        head = head.reshape(batch, *head.shape[2:])
        action = jax.vmap(game.actions.sample)(keys, head)
        for number, script in enumerate(scripts, 1):
            both = [
                jax.vmap(lambda state, seat=seat, script=script: script(state, seat))(now.state)
                for seat in (0, 1)
            ]
            theirs = jnp.where(_wide(seat == 0, both[0]), *both).astype(action.dtype)
            action = jnp.where(_wide(now.kind == number, action), theirs, action)
        return action, carry

    @jax.jit
    def play(
        key: Key, params: Params, snapshots: Params, matches: Matches, setups: PyTree, shares: Array
    ) -> tuple[Matches, Trajectory, PyTree]:
        def one(now: Matches, _: None) -> tuple[Matches, tuple[Trajectory, PyTree]]:
            keys = keys_of(key, now.episode)
            here = jax.vmap(jax.random.fold_in)(_fold(keys, 1), now.turn)
            obs, legal = (_of_seat(leaf, now.seat) for leaf in (now.step.obs, now.step.legal))
            head, value, carry = frame(params, obs, legal, now.carry, now.reset)
            action = jax.vmap(game.actions.sample)(_fold(here, 0), head)
            answer, rivals = rival(snapshots, now, 1 - now.seat, _fold(here, 1))
            first = _wide(now.seat == 0, action)
            pair = jnp.stack([jnp.where(first, action, answer), jnp.where(first, answer, action)], axis=1)
            state = jax.vmap(game.step)(_fold(here, 2), now.state, pair)
            after = jax.vmap(game.observe)(state)
            ended = jnp.logical_or(after.terminated, after.truncated)
            seen = Trajectory(
                obs=obs,
                legal=legal,
                active=jnp.ones(batch, bool),
                action=action,
                log_prob=game.actions.log_prob(head, action),
                value=value,
                reward=_of_seat(after.reward, now.seat),
                terminated=after.terminated,
                truncated=after.truncated,
                reset=now.reset,
                first_carry=(),
                bootstrap_value=(),
                member=jnp.zeros(batch, jnp.int32),
                episode_id=now.episode * batch + rows,
                valid=jnp.ones(batch, bool),
            )
            noted = jax.vmap(watch)(state, now.seat)
            episode = now.episode + ended

            def begun(
                playing: tuple[PyTree, TimeStep, Array, Array],
            ) -> tuple[PyTree, TimeStep, Array, Array]:
                fresh, seat, kind = new(_fold(keys_of(key, episode), 0), setups, shares)
                anew = fresh, jax.vmap(game.observe)(fresh), seat, kind
                return jax.tree.map(lambda new, old: jnp.where(_wide(ended, old), new, old), anew, playing)

            # cond also keeps XLA from working out the whole step once more for each leaf of the state
            playing = state, after, now.seat, now.kind
            state, step, seat, kind = jax.lax.cond(jnp.any(ended), begun, lambda same: same, playing)
            following = Matches(
                state=state,
                step=step,
                reset=ended,
                episode=episode,
                turn=jnp.where(ended, 0, now.turn + 1),
                seat=seat,
                kind=kind,
                carry=carry,
                rivals=rivals,
            )
            return following, (seen, noted)

        carry, rivals = begin(params, matches.carry), begin_groups(snapshots, matches.rivals)
        first = matches.carry if segments is None else segments.memory(matches.carry)
        begun = matches._replace(carry=carry, rivals=rivals)
        last, (rows_of, noted) = jax.lax.scan(one, begun, length=length)
        obs, legal = (_of_seat(leaf, last.seat) for leaf in (last.step.obs, last.step.legal))
        worth = policy.apply(params, obs, legal, last.carry, last.reset)[1]
        trajectory = jax.tree.map(lambda leaf: leaf[:, :, None], rows_of)._replace(
            first_carry=jax.tree.map(lambda leaf: leaf[:, None], first),
            bootstrap_value=jnp.where(last.reset, 0, worth)[:, None],
        )
        return last, trajectory, noted

    return SelfPlay(start, play)


def _fold(keys: Key, number: int) -> Key:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _stacked(groups: int) -> Callable[[Array], Array]:
    return lambda leaf: jnp.broadcast_to(leaf, (groups, *leaf.shape)) if jnp.ndim(leaf) else leaf


def _of_seat(leaf: Array, seat: Array) -> Array:
    """[B, 2, ...] -> [B, ...], each row's own seat."""
    return jnp.where(_wide(seat == 0, leaf[:, 0]), leaf[:, 0], leaf[:, 1])


def _wide(mask: Array, like: Array) -> Array:
    return mask.reshape(-1, *[1] * (like.ndim - 1))
