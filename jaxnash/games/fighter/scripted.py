"""Opponents by rule: `(state, seat) -> bool[10]`, the buttons of this frame."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.control import held
from jaxnash.games.fighter.state import State
from jaxnash.types import Array


def constant(state: State, seat: int) -> Array:
    """Presses nothing."""
    del state, seat
    return jnp.zeros(len(table.BUTTONS), bool)


def based(state: State, seat: int) -> Array:
    """Comes back from the edge, else walks to the opponent unless that one is stunned or knocked out; jumps
    when low or below the opponent; attacks when near. Taps are of every other frame."""
    own, other = state.fighters[seat], state.fighters[1 - seat]
    back = jnp.abs(own.x) > table.BACK_BEYOND
    waits = (other.stun > 0) | (other.state == table.KNOCKED_OUT)
    heading = jnp.where(back, -jnp.sign(own.x), jnp.where(waits, 0.0, jnp.sign(other.x - own.x)))
    low = (own.y > table.LOW) | (other.y < own.y)
    near = jnp.hypot(other.x - own.x, other.y - own.y) < table.NEAR
    pressed = {
        "a": heading < 0,
        "d": heading > 0,
        "space": low & ~held(own, "space"),
        "j": near & ~held(own, "j"),
    }
    return jnp.stack([pressed.get(name, jnp.bool_(False)) for name in table.BUTTONS])


SCRIPTS = {"based": based, "constant": constant}
