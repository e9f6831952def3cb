"""Gen 1 battles as a `Game`: a decision of both sides is a step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from jaxnash.games.game import Categorical, Game
from jaxnash.games.gen1 import turn
from jaxnash.games.gen1.layout import NUM_ACTIONS
from jaxnash.games.gen1.observe import observe
from jaxnash.games.gen1.source import hashed
from jaxnash.games.gen1.state import RUNNING, TIE, State, side_of
from jaxnash.types import Array, Key, TimeStep


@lru_cache  # the identical functions each time, so that jit compiles them once
def gen1() -> Game:
    """Battles by the rules of Showdown's gen1ou, step by step as its simulator has them.

    `setup` is a `state.Setup`, which `teams.setup` makes of two packed teams. Actions are i32[2], of
    `layout.NUM_ACTIONS`: 0-3 moves in alphabetical order of id, 4-8 switches in that of species.
    Fight, Recharge and Struggle are action 0; so is waiting. An action that is not legal is replaced by the
    first legal one and counted in `State.illegal`. Observations are `layout.Observation`, as the Showdown
    bridge makes them. The reward is 1 or -1 at the end, 0 for a tie.
    """
    return Game(_init, _step, _observe, 2, Categorical(NUM_ACTIONS))


def _init(key: Key, setup: Any) -> State:
    del key
    return turn.begin(setup)


def _step(key: Key, state: State, actions: Array) -> State:
    return turn.step(hashed(key), state, actions)[0]


def requests(state: State) -> tuple[turn.Request, turn.Request]:
    """What both sides are asked."""
    sides = [side_of(a, t) for a, t in zip(state.actives, state.teams, strict=True)]
    forced = (sides[0].hp <= 0) | (sides[1].hp <= 0)
    over = state.winner != RUNNING
    first, second = (turn.request(s, t, forced, over) for s, t in zip(sides, state.teams, strict=True))
    return first, second


def _observe(state: State) -> TimeStep:
    asked = requests(state)
    seen = [observe(n, state.teams, state.actives, asked[n], state.turn) for n in range(2)]
    won = jnp.where(state.winner == jnp.arange(2), 1.0, -1.0)
    decided = (state.winner != RUNNING) & (state.winner != TIE)
    return TimeStep(
        obs=jax.tree.map(lambda *both: jnp.stack(both), *seen),
        legal=jnp.stack([request.legal for request in asked]),
        active=jnp.stack([request.kind > 0 for request in asked]),
        reward=jnp.where(decided, won, 0.0).astype(jnp.float32),
        terminated=state.winner != RUNNING,
        truncated=jnp.bool_(False),
    )
