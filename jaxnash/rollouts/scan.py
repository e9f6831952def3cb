"""Games written in JAX, played by members inside one jitted scan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.game import Game
from jaxnash.types import Array, JaxnashError, Key, Member, Neural, PyTree, Scripted, TimeStep, Trajectory


class Mix(NamedTuple):
    """A seat that one of several members plays, drawn for each episode.

    Number k < K is the k-th of the stacked params, K + i the i-th of the scripted members; without a network
    K is 0.
    """

    stacked: Neural | None  # params [K, ...]
    scripted: tuple[Scripted, ...]


class _Seat(NamedTuple):
    """What is static about a seat: which functions play it."""

    policy: tuple[Callable[..., Any], ...]  # (initial_carry, apply), empty for scripted members
    rules: tuple[Scripted, ...]
    greedy: bool


class _Now(NamedTuple):
    """The scan's carry. Leading axis [B]."""

    state: PyTree
    step: TimeStep
    reset: Array  # bool[B]
    episode: Array  # i32[B], episodes ended in this row
    turn: Array  # i32[B], steps since the episode began
    carries: tuple[PyTree, ...]  # per seat
    last_value: Array  # f32[B, P], each seat's value at its last decision


def scan_rollout(game: Game, *, length: int, batch: int) -> Callable[..., Trajectory]:
    """A function `(key, seats, setups=None, *, ids, mixtures) -> Trajectory` of shape [length, batch, P].

    `seats` has one `Neural` or `Scripted` member per player. A `Scripted` member's `choose(step, key)` is
    written in JAX for one game: `step` is the `TimeStep` as its seat sees it, without the axis [P]. One with
    `sees_state` has `choose(step, key, state, *, seat)`, where `state` is the game's and `seat` an int.
    `setups` is a tree with leading axis [B] (or None), a row's setup for each of its episodes. `ids` are what
    `Trajectory.member` says of the seats (default 0, 1, ...). Where `mixtures[seat]` is f[K] instead of None,
    that member's params are stacked [K, ...]; one of the K is drawn for each episode, and its number is added
    to the seat's id. A seat may also be a `Mix` of stacked params and scripted members, with f[K + scripts].

    Each row starts a fresh game and starts another as soon as one ends. Randomness is keyed by row, episode
    and turn, so a row does not depend on the others. A row that stops within a game has the policy's value
    as `bootstrap_value`; for a seat that does not move next that is its value at its last decision, because
    policies never learn values where they do not act. Raises `JaxnashError` for a member that cannot enter
    jit.
    """

    @partial(jax.jit, static_argnums=0)
    def run(players: tuple[_Seat, ...], key, params, setups, ids, mixtures) -> Trajectory:
        rows = jnp.arange(batch)

        def episode_keys(episode: Array) -> Key:
            return jax.vmap(lambda number: jax.random.fold_in(key, number))(episode * batch + rows)

        def start(keys: Key) -> PyTree:
            axis = None if setups is None else 0
            return jax.vmap(game.init, in_axes=(0, axis))(_fold(keys, 0), setups)

        def drawn(keys: Key, seat: int) -> Array:
            if mixtures[seat] is None:
                return jnp.zeros(batch, jnp.int32)
            logits = jnp.log(mixtures[seat])
            return jax.vmap(lambda k: jax.random.categorical(k, logits))(_fold(keys, 1 + seat))

        def play(seat: int, now: _Now, keys: Key, choice: Array):
            player = players[seat]
            obs, legal, active, reward = jax.tree.map(lambda leaf: leaf[:, seat], tuple(now.step[:4]))
            view = TimeStep(obs, legal, active, reward, now.step.terminated, now.step.truncated)
            action, log_prob, value = jnp.zeros(batch, jnp.int32), *(jnp.zeros(batch),) * 2
            carry, nets = now.carries[seat], 0
            if player.policy:
                nets = 1 if mixtures[seat] is None else jax.tree.leaves(params[seat])[0].shape[0]
                action, log_prob, value, carry = infer(seat, now, view, keys, jnp.minimum(choice, nets - 1))
            for number, rule in enumerate(player.rules, start=nets):
                chosen = by_rule(rule, view, keys, state=now.state, seat=seat)
                mine = choice == number
                action = jnp.where(mine, jnp.where(view.active, chosen, 0), action)
                log_prob, value = jnp.where(mine, 0.0, log_prob), jnp.where(mine, 0.0, value)
            return action, log_prob, value, carry

        def infer(seat: int, now: _Now, view: TimeStep, keys: Key, choice: Array):
            player = players[seat]
            apply = player.policy[1]
            inputs = (view.obs, view.legal, now.carries[seat], now.reset)
            if mixtures[seat] is None:
                head, value, carry = apply(params[seat], *inputs)
            else:
                own = jax.tree.map(lambda leaf: leaf[choice], params[seat])
                grow = partial(jax.tree.map, lambda leaf: leaf[:, None])
                out = jax.vmap(apply)(own, *grow(inputs))
                head, value, carry = jax.tree.map(lambda leaf: leaf[:, 0], out)
            action = game.actions.mode(head) if player.greedy else jax.vmap(game.actions.sample)(keys, head)
            return action, game.actions.log_prob(head, action), value, carry

        def one(now: _Now, _):
            keys = episode_keys(now.episode)
            here = jax.vmap(jax.random.fold_in)(_fold(keys, 100), now.turn)
            choices = [drawn(keys, seat) for seat in range(len(players))]
            out = [play(seat, now, _fold(here, 1 + seat), choices[seat]) for seat in range(len(players))]
            action, log_prob, value = (jnp.stack(part, axis=1) for part in list(zip(*out))[:3])
            carries = tuple(part[3] for part in out)
            state = jax.vmap(game.step)(_fold(here, 0), now.state, action)
            after = jax.vmap(game.observe)(state)
            ended = jnp.logical_or(after.terminated, after.truncated)
            seen = partial(jnp.broadcast_to, shape=now.step.active.shape)
            row = Trajectory(
                obs=now.step.obs,
                legal=now.step.legal,
                active=now.step.active,
                action=action.astype(jnp.int32),
                log_prob=log_prob,
                value=value,
                reward=after.reward,
                terminated=seen(after.terminated[:, None]),
                truncated=seen(after.truncated[:, None]),
                reset=seen(now.reset[:, None]),
                first_carry=(),
                bootstrap_value=jnp.where(now.step.active, value, now.last_value),
                member=jnp.stack(choices, axis=1) + ids,
                episode_id=seen((now.episode * batch + rows)[:, None]),
                valid=seen(jnp.ones((batch, 1), bool)),
            )
            episode = now.episode + ended

            def pick(new: Array, old: Array) -> Array:
                return jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            def anew(going: tuple[PyTree, TimeStep]) -> tuple[PyTree, TimeStep]:
                fresh = start(episode_keys(episode))
                return jax.tree.map(pick, (fresh, jax.vmap(game.observe)(fresh)), going)

            # cond also keeps XLA from working out the whole step once more for each leaf of the state
            state, after = jax.lax.cond(ended.any(), anew, lambda going: going, (state, after))
            following = _Now(
                state=state,
                step=after,
                reset=ended,
                episode=episode,
                turn=jnp.where(ended, 0, now.turn + 1),
                carries=carries,
                last_value=row.bootstrap_value,
            )
            return following, row

        state = start(episode_keys(jnp.zeros(batch, jnp.int32)))
        carries = tuple(seat.policy[0](batch) if seat.policy else () for seat in players)
        now = _Now(
            state=state,
            step=jax.vmap(game.observe)(state),
            reset=jnp.ones(batch, bool),
            episode=jnp.zeros(batch, jnp.int32),
            turn=jnp.zeros(batch, jnp.int32),
            carries=carries,
            last_value=jnp.zeros((batch, len(players)), jnp.float32),
        )
        # one step more than is kept, for the values after the last
        steps = jax.lax.scan(one, now, length=length + 1)[1]
        kept = jax.tree.map(lambda leaf: leaf[:-1], steps)
        return kept._replace(
            first_carry=jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *carries),
            bootstrap_value=jnp.where(steps.reset[-1], 0.0, steps.bootstrap_value[-1]),
        )

    def rollout(
        key: Key,
        seats: tuple[Member | Mix, ...],
        setups: PyTree = None,
        *,
        ids: tuple[int, ...] | None = None,
        mixtures: tuple[Array | None, ...] | None = None,
    ) -> Trajectory:
        if len(seats) != game.num_players:
            raise JaxnashError(f"the game has {game.num_players} seats, not {len(seats)}")
        players = tuple(_static(member) for member in seats)
        params = tuple(_params(member) for member in seats)
        numbers = jnp.asarray(range(len(seats)) if ids is None else ids, jnp.int32)
        return run(players, key, params, setups, numbers, mixtures or (None,) * len(seats))

    return rollout


def by_rule(player: Any, view: TimeStep, keys: Key, *, state: PyTree, seat: int) -> Array:
    """Actions i32[B] of a scripted member; `player` has its `choose` and `sees_state`."""
    if player.sees_state:
        return jax.vmap(partial(player.choose, seat=seat))(view, keys, state)
    return jax.vmap(player.choose)(view, keys)


def _fold(keys: Key, number: int) -> Key:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _params(member: Member | Mix) -> PyTree:
    net = member.stacked if isinstance(member, Mix) else member
    return net.params if isinstance(net, Neural) else ()


def _static(member: Member | Mix) -> _Seat:
    if isinstance(member, Mix):
        if member.stacked is None:
            return _Seat((), member.scripted, False)
        return _static(member.stacked)._replace(rules=member.scripted)
    if isinstance(member, Neural):
        return _Seat((member.policy.initial_carry, member.policy.apply), (), member.greedy)
    if isinstance(member, Scripted):
        return _Seat((), (member,), False)
    raise JaxnashError(f"{member.name} plays on a server; only neural and scripted members play in a scan")
