"""Whole matches of the fighter against some opponents, from both sides, and what happened in them."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.fighter import State, fighter, over, table
from jaxnash.games.fighter.rewards import DANGER_BELOW
from jaxnash.rollouts.selfplay import Script
from jaxnash.types import Array, Key, Neural, PyTree

GAME = fighter()


class Fights(NamedTuple):
    """Matches from a player's side; of [..., 2 pairs] a pair is the places i and i + pairs."""

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
    carry: PyTree
    carries: tuple[PyTree, ...]  # of each opponent that is a network
    first: Array  # bool[]: the first frame
    tally: Fights
    film: PyTree  # states of one match so far, [table.FRAMES + 1, ...], or ()


def fights(
    player: Neural | Script,
    opponents: tuple[Neural | Script, ...],
    *,
    pairs: int,
    setup: Any = None,
    film: bool = False,
) -> Callable[..., Any]:
    """`(key, the player's params, each opponent's) -> Fights` with leaves [opponents, 2 pairs], jitted.

    Of each pair, whose two matches begin alike, the player has seat 0 once and seat 1 once; all opponents
    meet it in matches that begin alike. A `Neural` draws its buttons, or takes the likelier ones where it is
    `greedy`; its own params are only shapes here, those of a script are (). Randomness is keyed by match and
    frame.

    With `film` it is `(key, params, others, number) -> (Fights, states)`: also the states, leaves
    [table.FRAMES + 1, ...], of match `number` i32[] against the first opponent, of which it counted `frames`:
    before the first frame and after each; what follows means nothing.
    """
    shape = (len(opponents), 2, pairs)
    count = 2 * pairs * len(opponents)
    seats = np.broadcast_to(np.arange(2)[:, None], shape).reshape(-1)

    def by_script(script: Script, state: State, player: int) -> Array:
        """What a script presses in states [2, pairs], of which it has seat `player` in the first half."""
        halves = [
            jax.vmap(lambda one, seat=seat: script(one, seat))(jax.tree.map(itemgetter(half), state))
            for half, seat in enumerate((player, 1 - player))
        ]
        return jnp.stack(halves)

    def by_network(one: Neural, params: PyTree, carry: PyTree, now: _Now, step: Any, keys: Key) -> Any:
        head, _, carry = one.policy.apply(params, *step, carry, jnp.full(len(keys), now.first))
        drawn = GAME.actions.mode(head) if one.greedy else jax.vmap(GAME.actions.sample)(keys, head)
        return drawn.reshape(-1, *shape[1:], drawn.shape[-1]), carry

    def grouped(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), tree)

    def pressed(params: PyTree, others: tuple[PyTree, ...], now: _Now, keys: Key) -> Any:
        """What the player and the opponents press, [opponents, 2, pairs, 10] each, and the carries."""
        step, states = jax.vmap(GAME.observe)(now.state), grouped(now.state)
        own, theirs = (
            tuple(_of_seat(leaf, seat) for leaf in (step.obs, step.legal)) for seat in (seats, 1 - seats)
        )
        mine, other_keys = (jax.vmap(lambda key, n=n: jax.random.fold_in(key, n))(keys) for n in (0, 1))
        carry, carries, answers = now.carry, [], []
        if isinstance(player, Neural):
            action, carry = by_network(player, params, carry, now, own, mine)
        else:
            script = player
            action = jax.vmap(lambda state: by_script(script, state, 0))(states)
        for number, one in enumerate(opponents):
            rows = slice(number * 2 * pairs, (number + 1) * 2 * pairs)
            if isinstance(one, Neural):
                seen = tuple(leaf[rows] for leaf in theirs)
                answer, kept = by_network(
                    one, others[number], now.carries[number], now, seen, other_keys[rows]
                )
                answers.append(answer[0])
            else:
                answers.append(by_script(one, jax.tree.map(itemgetter(number), states), 1))
                kept = ()
            carries.append(kept)
        return action, jnp.stack(answers), carry, tuple(carries)

    @jax.jit
    def play(key: Key, params: PyTree, others: tuple[PyTree, ...], number: Array | int = 0) -> Any:
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(count))
        begin = jax.vmap(lambda number: GAME.init(jax.random.fold_in(key, count + number), setup))
        state = begin(jnp.arange(count) % pairs)

        def filmed(held: PyTree, state: State) -> PyTree:
            """The film with the state that its match is in; one that is over is put where it was."""
            now = jax.tree.map(itemgetter(number), state)
            put = jax.lax.dynamic_update_index_in_dim
            return jax.tree.map(lambda leaf, new: put(leaf, new, now.frame, 0), held, now)

        def frame(now: _Now) -> _Now:
            here = jax.vmap(jax.random.fold_in)(keys, now.state.frame)
            *acts, carry, carries = pressed(params, others, now, here)
            action, answer = (act.reshape(count, -1) for act in acts)
            first = (seats == 0)[:, None]
            both = jnp.stack([jnp.where(first, action, answer), jnp.where(first, answer, action)], axis=1)
            after = jax.vmap(lambda state, both: GAME.step(None, state, both))(now.state, both)
            done = jax.vmap(over)(now.state)
            state = jax.tree.map(lambda old, new: jnp.where(done, old, new), now.state, after)
            added = jax.tree.map(lambda new: jnp.where(done, 0, new), jax.vmap(noted)(state, seats))
            tally = jax.tree.map(jnp.add, now.tally, added)
            shot = filmed(now.film, state) if film else ()
            return _Now(state, carry, carries, jnp.bool_(False), tally, shot)

        nothing = jax.tree.map(jnp.zeros_like, jax.vmap(noted)(state, seats))
        carries = tuple(_carry(one, 2 * pairs) for one in opponents)
        shot = ()
        if film:
            blank = jax.tree.map(
                lambda leaf: jnp.zeros((table.FRAMES + 1, *leaf.shape[1:]), leaf.dtype), state
            )
            shot = filmed(blank, state)
        now = _Now(state, _carry(player, count), carries, jnp.bool_(True), nothing, shot)
        last = jax.lax.while_loop(lambda now: ~jnp.all(jax.vmap(over)(now.state)), frame, now)
        played = jax.tree.map(lambda leaf: leaf.reshape(len(opponents), 2 * pairs), last.tally)
        return (played, last.film) if film else played

    return play


def _carry(one: Neural | Script, rows: int) -> PyTree:
    return one.policy.initial_carry(rows) if isinstance(one, Neural) else ()


def _of_seat(leaf: Array, seat: np.ndarray) -> Array:
    return jnp.where((seat == 0).reshape(-1, *[1] * (leaf.ndim - 2)), leaf[:, 0], leaf[:, 1])


def noted(state: State, seat: Array) -> Fights:
    """What a match's last frame adds to the tally of the player in `seat` i32[]."""
    own, other = (
        jax.tree.map(lambda one, two, mine=mine: jnp.where(mine, one, two), *state.fighters)
        for mine in (seat == 0, seat == 1)
    )
    begun = (own.clock == 0) & (own.state == table.ATTACKING)
    alone, opponent_alone = (one.fell & (one.hit_ago > table.ALONE_FRAMES) for one in (own, other))
    counted = {
        "result": jnp.where(over(state), jnp.sign(own.stocks - other.stocks), 0),
        "knock_outs": other.fell,
        "knocked_out": own.fell,
        "fell_alone": alone,
        "opponent_alone": opponent_alone,
        "frames": jnp.int32(1),
        "danger": own.y >= DANGER_BELOW,
        "picked": own.picked > 0,
        "attacks": begun,
    }
    return Fights(
        dealt=other.taken,
        taken=own.taken,
        **{name: number.astype(jnp.int32) for name, number in counted.items()},
    )
