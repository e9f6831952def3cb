"""The fighter as a `Game`: a frame of 1/30 s is a step."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.control import act
from jaxnash.games.fighter.hits import exchange, fall_or_return, row_of
from jaxnash.games.fighter.observe import observations
from jaxnash.games.fighter.physics import move
from jaxnash.games.fighter.rewards import Weights, terms, weights_of
from jaxnash.games.fighter.state import State, over, platform_at, start
from jaxnash.games.fighter.weapons import grab
from jaxnash.games.game import Buttons, Game
from jaxnash.types import Array, Key, TimeStep


@lru_cache  # equal arguments give the identical functions, so that jit compiles them once
def fighter(*, rewards: Literal["reference", "sound"] | Weights = "sound") -> Game:
    """A platform fighter for two, 30 frames a second, three stocks, 90 seconds.

    Actions are bool[2, 10], the buttons of `table.BUTTONS`; observations f32[2, 64], see `observe`. `setup`
    is a `Stage` (None: the usual one). A match is decided by its key and the buttons: `step` reads no key. It
    ends when someone has no stock left or the time is up; more stocks win, equal is a draw. `rewards` names a
    preset of `rewards.REWARDS` or gives `Weights`; `rewards.terms` has the sum's terms. Raises
    `JaxnashError` for an unknown preset.
    """
    weights = weights_of(rewards)

    def observe(state: State) -> TimeStep:
        return TimeStep(
            obs=observations(state),
            legal=jnp.ones((2, len(table.BUTTONS)), bool),
            active=jnp.ones(2, bool),
            reward=sum(terms(state, weights)),
            terminated=over(state),
            truncated=jnp.bool_(False),
        )

    return Game(start, step, observe, 2, Buttons(len(table.BUTTONS)))


def step(key: Key, state: State, actions: Array) -> State:
    """A frame: buttons, movement, weapons, blows, knock-outs; both players at once in each."""
    del key
    actions = actions.astype(bool)
    now = state.frame + state.phase
    before, after = platform_at(state.stage, now), platform_at(state.stage, now + 1)
    rows = (row_of(state.fighters[0]), row_of(state.fighters[1]))
    acted = [act(one, keys, row) for one, keys, row in zip(state.fighters, actions, rows, strict=True)]
    moved = tuple(move(one, state.stage, before, after, wish.drops) for one, wish in acted)
    state, threw = grab(state._replace(fighters=moved), (acted[0][1], acted[1][1]))
    hit = exchange(state.fighters, rows, threw)
    fighters = tuple(fall_or_return(one, state.stage) for one in hit)
    return state._replace(fighters=fighters, frame=state.frame + 1)
