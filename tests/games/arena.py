"""Matches of the fighter set up by hand and played frame by frame."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.fighter import State, table
from jaxnash.games.fighter.game import step
from jaxnash.games.fighter.state import start

_step = jax.jit(step)
_start = jax.jit(start)
RIGHT, LEFT = table.GROUNDS[0][2], table.GROUNDS[1][2]  # the grounds' y


def arena(first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **fields: Any) -> State:
    """A match whose fighters stand still on the right ground at x = 4 and the left at -4, unless said."""
    state = _start(jax.random.key(0), None)
    usual = [
        {"x": 4.0, "y": RIGHT, "home": 5.0, "facing": 1.0, "standing": 1},
        {"x": -4.0, "y": LEFT, "home": -5.0, "facing": 1.0, "standing": 1},
    ]
    fighters = tuple(
        _put(fighter, {**before, **(own or {})})
        for fighter, before, own in zip(state.fighters, usual, (first, second), strict=True)
    )
    return _put(state._replace(fighters=fighters), {"phase": 0, **fields})


def _put(record: Any, values: dict[str, Any]) -> Any:
    """The record with values of the dtypes that it has."""
    typed = {
        name: jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), getattr(record, name), value)
        for name, value in values.items()
    }
    return record._replace(**typed)


def buttons(names: str) -> np.ndarray:
    """bool[10] of names with spaces between them."""
    return np.isin(table.BUTTONS, names.split())


def play(state: State, first: list[str], second: list[str] | None = None) -> list[State]:
    """The states after each frame; a list that ends early goes on with nothing pressed."""
    second = second or []
    states = []
    for frame in range(max(len(first), len(second))):
        keys = [names[frame] if frame < len(names) else "" for names in (first, second)]
        state = _step(None, state, np.stack([buttons(each) for each in keys]))
        states.append(state)
    return states


def numbers(states: list[State], name: str, seat: int = 0) -> np.ndarray:
    """A field of a fighter over the frames."""
    return np.array([getattr(state.fighters[seat], name) for state in states])
