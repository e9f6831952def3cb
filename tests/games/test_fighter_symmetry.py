"""The fighter from the other side: mirrored, seats swapped; and long random play."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.games.fighter import SCRIPTS, State, over, table, terms
from jaxnash.games.fighter.game import step
from jaxnash.games.fighter.rewards import REWARDS
from tests.games.arena import RIGHT, arena

GAME = jn.games.fighter(rewards="reference")
LEFT_RIGHT = np.array([table.BUTTONS.index({"a": "d", "d": "a"}.get(name, name)) for name in table.BUTTONS])


def mirrored(state: State) -> State:
    """Left for right: the stage, the fighters and the buttons they held."""
    stage, a, d = state.stage, table.BUTTONS.index("a"), table.BUTTONS.index("d")

    def flip(place):
        return (-place[0], place[1])

    def fighter(one):
        others = one.held & ~(1 << a | 1 << d)
        held = others | ((one.held >> a & 1) << d) | ((one.held >> d & 1) << a)
        x, vx, facing, home = -one.x, -one.vx, -one.facing, -one.home
        return one._replace(x=x, vx=vx, facing=facing, home=home, held=held)

    return state._replace(
        stage=stage._replace(
            grounds=tuple((-right, -left, y) for left, right, y in stage.grounds),
            platform_from=flip(stage.platform_from),
            platform_to=flip(stage.platform_to),
            spawners=tuple(flip(place) for place in stage.spawners),
        ),
        fighters=tuple(fighter(one) for one in state.fighters),
    )


def swapped(state: State) -> State:
    return state._replace(fighters=state.fighters[::-1])


def random_buttons(key, shape, share):
    return jax.random.bernoulli(key, share, (*shape, 2, len(table.BUTTONS)))


@jax.jit
def played(state: State, keys) -> tuple[State, State]:
    """Matches [B] over buttons [T, B, 2, 10]: the last states, and those after each frame."""

    def one(state, buttons):
        after = jax.vmap(step, in_axes=(None, 0, 0))(None, state, buttons)
        return after, after

    return jax.lax.scan(one, state, keys)


def starts(seed: int, count: int) -> State:
    return jax.vmap(lambda key: GAME.init(key, None))(jax.random.split(jax.random.key(seed), count))


def same(found: State, expected: State) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_mirrored_match_is_the_match_mirrored(share):
    state, keys = starts(0, 32), random_buttons(jax.random.key(1), (600, 32), share)
    plain, other = played(state, keys)[1], played(mirrored(state), keys[..., LEFT_RIGHT])[1]
    same(mirrored(other), plain)
    stocks = np.array([one.stocks for one in plain.fighters])
    assert (
        stocks.min() < 3 and np.array([one.taken for one in plain.fighters]).max() > 0
    )  # something happened


def test_swapped_seats_swap_the_outcome():
    state, keys = starts(2, 32), random_buttons(jax.random.key(3), (600, 32), 0.3)
    plain, other = played(state, keys)[1], played(swapped(state), keys[:, :, ::-1])[1]
    same(swapped(other), plain)
    both = jax.jit(jax.vmap(jax.vmap(GAME.observe)))
    found, expected = both(other), both(plain)
    assert np.array_equal(found.obs[:, :, ::-1], expected.obs)
    assert np.array_equal(found.reward[:, :, ::-1], expected.reward)
    assert np.array_equal(found.terminated, expected.terminated)


@pytest.mark.parametrize("batch", [371, pytest.param(3704, marks=pytest.mark.slow)], ids=["1M", "10M"])
def test_random_frames_stay_finite_and_rewards_are_their_terms(batch):
    def frame(carry, key):
        state, fine, largest = carry
        buttons = jax.random.bernoulli(key, 0.3, (batch, 2, len(table.BUTTONS)))
        after = jax.vmap(step, in_axes=(None, 0, 0))(None, state, buttons)
        done = jax.vmap(over)(state)
        state = jax.tree.map(
            lambda old, new: jnp.where(done, old, new), state._replace(stage=()), after._replace(stage=())
        )
        state = state._replace(stage=after.stage)
        seen = jax.vmap(GAME.observe)(state)
        total = sum(jax.vmap(lambda one: terms(one, REWARDS["reference"]))(state))
        numbers = [leaf for leaf in jax.tree.leaves(state.fighters) if leaf.dtype == jnp.float32]
        fine &= jnp.all(jnp.isfinite(jnp.stack(numbers))) & jnp.all(jnp.isfinite(seen.obs))
        fine &= jnp.all(total == seen.reward)
        return (state, fine, jnp.maximum(largest, jnp.max(jnp.abs(seen.obs)))), None

    @jax.jit
    def walk(state, key):
        return jax.lax.scan(
            frame, (state, jnp.bool_(True), jnp.float32(0)), jax.random.split(key, table.FRAMES)
        )[0]

    last, fine, largest = walk(starts(6, batch), jax.random.key(4))
    assert fine and np.all(jax.vmap(over)(last))
    assert largest < 3  # about [-1, 1]; a hit may throw one faster than a fall
    fell = table.STOCKS - np.array([one.stocks for one in last.fighters])
    assert fell.mean() > 0.5 and np.array([one.damage for one in last.fighters]).max() > 0


def test_based_beats_constant_from_both_sides():
    """99 of 100 matches, 50 from each seat, no two of them alike."""

    @jax.jit
    def match(state, seat):
        def frame(state):
            pressed = [SCRIPTS["based"](state, 0), SCRIPTS["constant"](state, 1)]
            other = [SCRIPTS["constant"](state, 0), SCRIPTS["based"](state, 1)]
            return step(None, state, jnp.where(seat == 0, jnp.stack(pressed), jnp.stack(other)))

        return jax.lax.while_loop(lambda state: ~over(state), frame, state)

    seats, first = np.arange(100) % 2, starts(5, 100)
    last = jax.vmap(match)(first, seats)
    stocks = np.array([one.stocks for one in last.fighters])  # [2, 100]
    own, other = stocks[seats, range(100)], stocks[1 - seats, range(100)]
    assert np.sum(own > other) >= 99
    begins = np.array([one.x for one in first.fighters])
    assert len(np.unique(begins, axis=1).T) == 100 and len(np.unique(last.frame)) > 50


def test_based_by_hand():
    def pressed(first, second, **fields):
        state = arena(first, second, **fields)
        return {name for name, down in zip(table.BUTTONS, SCRIPTS["based"](state, 0), strict=True) if down}

    far, near = {"x": -6.0, "y": RIGHT}, {"x": 3.0, "y": RIGHT}
    held = 1 << table.BUTTONS.index("j") | 1 << table.BUTTONS.index("space")
    assert pressed({}, far) == {"a"}
    assert pressed({"x": 2.5}, {"x": 6.0, "y": RIGHT}) == {"d"}
    assert pressed({}, near) == {"a", "j"}
    assert pressed({"held": held}, near) == {"a"}
    assert pressed({}, {**near, "y": 0.0}) == {"a", "j", "space"}
    assert pressed({"y": 1.7}, far) == {"a", "space"}
    assert pressed({"x": 5.4}, {"x": 5.4, "y": RIGHT}) == {"a", "j"}  # back from the edge
    assert pressed({"x": -5.4}, {"x": -9.0, "y": RIGHT}) == {"d"}
    assert pressed({}, {**far, "stun": 3}) == set()
    assert pressed({}, {**far, "state": table.KNOCKED_OUT}) == set()
