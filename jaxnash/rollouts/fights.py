"""Whole matches of the fighter between two players, from both sides, and what happened in them."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.fighter import State, fighter, over, table
from jaxnash.games.fighter.rewards import DANGER_BELOW
from jaxnash.rollouts.selfplay import Script
from jaxnash.types import Array, Key, Neural, PyTree

GAME = fighter()


class Fights(NamedTuple):
    """Matches from the first player's side, [2 pairs]; a pair is the places i and i + pairs."""

    result: Array  # i32: 1 won, 0 drawn, -1 lost
    dealt: Array  # f32, damage
    taken: Array
    knock_outs: Array  # i32, the opponent's
    knocked_out: Array  # i32, one's own
    fell_alone: Array  # i32: of `knocked_out`, those with no hit in `table.ALONE_FRAMES` before
    opponent_alone: Array  # i32: of `knock_outs`
    frames: Array  # i32
    danger: Array  # i32, frames so low that they cost
    picked: Array  # i32, weapons picked up
    attacks: Array  # i32, attacks begun


class _Now(NamedTuple):
    state: State
    carries: tuple[PyTree, PyTree]
    first: Array  # bool[]: the first frame
    tally: Fights


def fights(
    first: Neural | Script, second: Neural | Script, *, pairs: int, setup: Any = None
) -> Callable[..., Fights]:
    """`(key, params of the first, params of the second) -> Fights`, jitted.

    Of each pair, whose two matches begin alike, the first player has seat 0 once and seat 1 once. A `Neural`
    player draws its buttons, or takes the likelier ones where it is `greedy`; its own params are only shapes
    here, those of a script are (). Randomness is keyed by match and frame.
    """
    players = (first, second)
    count = 2 * pairs

    def sides(leaf: Array, player: int) -> Array:
        """[2 pairs, 2, ...] -> what a player's seats see."""
        return jnp.concatenate([leaf[:pairs, player], leaf[pairs:, 1 - player]])

    def pressed(player: int, params: PyTree, now: _Now, step: Any, keys: Key) -> tuple[Array, PyTree]:
        one, carry = players[player], now.carries[player]
        if not isinstance(one, Neural):
            halves = [(slice(None, pairs), player), (slice(pairs, None), 1 - player)]
            parts = [
                jax.vmap(lambda state, seat=seat, script=one: script(state, seat))(
                    jax.tree.map(itemgetter(rows), now.state)
                )
                for rows, seat in halves
            ]
            return jnp.concatenate(parts), carry
        inputs = sides(step.obs, player), sides(step.legal, player)
        head, _, carry = one.policy.apply(params, *inputs, carry, jnp.full(count, now.first))
        if one.greedy:
            return GAME.actions.mode(head), carry
        return jax.vmap(GAME.actions.sample)(keys, head), carry

    @jax.jit
    def play(key: Key, *params: PyTree) -> Fights:
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))
        begin = jax.vmap(lambda number: GAME.init(jax.random.fold_in(key, count + number), setup))
        state = begin(jnp.arange(count) % pairs)

        def frame(now: _Now) -> _Now:
            step = jax.vmap(GAME.observe)(now.state)
            here = jax.vmap(jax.random.fold_in)(keys, now.state.frame)
            acts = []
            for player in (0, 1):
                mine = jax.vmap(lambda one, player=player: jax.random.fold_in(one, player))(here)
                acts.append(pressed(player, params[player], now, step, mine))
            (one, carry), (other, other_carry) = acts
            buttons = jnp.stack([sides(jnp.stack([one, other], 1), seat) for seat in (0, 1)], axis=1)
            after = jax.vmap(lambda state, both: GAME.step(None, state, both))(now.state, buttons)
            done = jax.vmap(over)(now.state)
            state = jax.tree.map(lambda old, new: jnp.where(done, old, new), now.state, after)
            noted = jax.tree.map(lambda new: jnp.where(done, 0, new), _noted(now.state, state, pairs))
            return _Now(
                state, (carry, other_carry), jnp.bool_(False), jax.tree.map(jnp.add, now.tally, noted)
            )

        carries = tuple(one.policy.initial_carry(count) if isinstance(one, Neural) else () for one in players)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), _noted(state, state, pairs))
        now = _Now(state, (carries[0], carries[1]), jnp.bool_(True), nothing)
        last = jax.lax.while_loop(lambda now: ~jnp.all(jax.vmap(over)(now.state)), frame, now)
        stocks = [_by_player(last.state, "stocks", player, pairs) for player in (0, 1)]
        return last.tally._replace(result=jnp.sign(stocks[0] - stocks[1]))

    return play


def _by_player(state: State, name: str, player: int, pairs: int) -> Array:
    """A field of a player's fighters, [2 pairs]."""
    own, other = (getattr(state.fighters[seat], name) for seat in (player, 1 - player))
    return jnp.concatenate([own[:pairs], other[pairs:]])


def _noted(before: State, after: State, pairs: int) -> Fights:
    """What a frame adds to the tally."""
    own, other = (
        {name: _by_player(after, name, player, pairs) for name in ("taken", "fell", "hit_ago", "y", "picked")}
        for player in (0, 1)
    )
    began = (_by_player(after, "clock", 0, pairs) == 0) & (
        _by_player(after, "state", 0, pairs) == table.ATTACKING
    )
    alone, opponent_alone = (one["fell"] & (one["hit_ago"] > table.ALONE_FRAMES) for one in (own, other))
    counted = {
        "result": jnp.zeros_like(own["fell"]),
        "knock_outs": other["fell"],
        "knocked_out": own["fell"],
        "fell_alone": alone,
        "opponent_alone": opponent_alone,
        "frames": after.frame > before.frame,
        "danger": own["y"] >= DANGER_BELOW,
        "picked": own["picked"] > 0,
        "attacks": began,
    }
    return Fights(
        dealt=other["taken"],
        taken=own["taken"],
        **{name: flag.astype(jnp.int32) for name, flag in counted.items()},
    )
