"""Where an engine's random numbers come from: hashes of a key in play, a recorded tape in tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxnash.games.gen1.sites import SITE_IDS
from jaxnash.types import Array, Key

SITE = SITE_IDS


class Source(NamedTuple):
    """`draw(state, place, site, lo, hi, mask)` -> (state, i32[] in [lo, hi)).

    `place` numbers the drawing in a step: a site may draw at several. Where `mask` is false, nothing is drawn
    and the number is `lo`. `draw` is a `Partial`, whose arrays can be arguments of a jitted function.
    """

    state: Any
    draw: Partial


def hashed(key: Key) -> Source:
    """Numbers that depend on the key and the place alone. Chances are off by 2^-16 at most."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    first, second = key[..., 0].astype(jnp.uint32), key[..., -1].astype(jnp.uint32)
    seed = _mix(first ^ _mix(second + jnp.uint32(0x9E3779B9)))
    return Source((), Partial(_hash, seed))


def _hash(
    seed: Array, state: Any, place: Array, site: Any, lo: Any, hi: Any, mask: Array
) -> tuple[Any, Array]:
    del site
    number = _mix(seed + jnp.uint32(0x85EBCA6B) * jnp.asarray(place, jnp.uint32)) >> 8
    many = jnp.asarray(hi - lo, jnp.uint32)
    value = jnp.asarray(lo, jnp.int32) + (number * many >> 24).astype(jnp.int32)
    return state, jnp.where(mask, value, lo)


def _mix(x: Array) -> Array:
    """murmur3's last step: every bit of u32 depends on every other."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


class Tape(NamedTuple):
    """Draws in the order in which they are to be made, `N` at most."""

    site: Array  # i32[N]
    lo: Array  # i32[N]
    hi: Array  # i32[N]
    value: Array  # i32[N]
    length: Array  # i32[]


class Head(NamedTuple):
    """Where a tape is read, and the first drawing that did not agree with it."""

    at: Array  # i32[], draws made
    wrong: Array  # bool[]
    asked: Array  # i32[3]: site, lo, hi of that drawing
    asked_at: Array  # i32[]


def taped(tape: Tape) -> Source:
    """A recorded tape; a drawing of another site or other bounds sets `Head.wrong`."""
    nothing = Head(jnp.int32(0), jnp.bool_(False), jnp.full(3, -1, jnp.int32), jnp.int32(-1))
    return Source(nothing, Partial(_read, tape))


def _read(
    tape: Tape, state: Head, place: Array, site: Any, lo: Any, hi: Any, mask: Array
) -> tuple[Head, Array]:
    del place
    at = jnp.minimum(state.at, tape.site.shape[0] - 1)
    asked = jnp.stack([jnp.asarray(x, jnp.int32) for x in (site, lo, hi)])
    agrees = (asked == jnp.stack([tape.site[at], tape.lo[at], tape.hi[at]])).all()
    agrees &= state.at < tape.length
    wrong = mask & ~agrees & ~state.wrong
    state = Head(
        at=state.at + mask,
        wrong=state.wrong | wrong,
        asked=jnp.where(wrong, asked, state.asked),
        asked_at=jnp.where(wrong, state.at, state.asked_at),
    )
    return state, jnp.where(mask, tape.value[at], lo)
