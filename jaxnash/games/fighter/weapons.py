"""Weapons: where they appear, who picks them up, and what is thrown."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.control import Wish
from jaxnash.games.fighter.state import Fighter, Spawner, State
from jaxnash.types import Array


def grab(state: State, wishes: tuple[Wish, Wish]) -> tuple[State, tuple[Array, Array]]:
    """Weapons change hands; also which player threw one.

    Without a weapon one takes that of the first spawner in reach; of two who reach for the same, the nearer
    has it, and neither if both are as near. With one it is thrown away, and is gone.
    """
    first, second = state.fighters
    throws = tuple(wish.grabs & (one.weapon > 0) for one, wish in zip(state.fighters, wishes, strict=True))
    free = [wish.grabs & (one.weapon == 0) for one, wish in zip(state.fighters, wishes, strict=True)]
    got = [jnp.int32(0), jnp.int32(0)]
    spawners = []
    for spawner, place in zip(state.spawners, state.stage.spawners, strict=True):
        (wants, near), (other_wants, other_near) = (
            _wants(fighter, still, spawner, place)
            for fighter, still in zip((first, second), free, strict=True)
        )
        takes = (wants & (~other_wants | (near < other_near)), other_wants & (~wants | (other_near < near)))
        for seat, mine in enumerate(takes):
            got[seat] = jnp.where(mine, spawner.weapon, got[seat])
            free[seat] = free[seat] & ~(wants, other_wants)[seat]
        spawners.append(_next(spawner, takes[0] | takes[1], state, len(spawners)))
    fighters = tuple(
        fighter._replace(
            weapon=jnp.where(threw, 0, jnp.where(new > 0, new, fighter.weapon)), picked=new, dropped=threw
        )
        for fighter, new, threw in zip(state.fighters, got, throws, strict=True)
    )
    return state._replace(fighters=fighters, spawners=tuple(spawners)), throws


def _wants(
    fighter: Fighter, free: Array, spawner: Spawner, place: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Whether a fighter who is `free` to take reaches a spawner's weapon, and how near it is."""
    dx, dy = jnp.abs(fighter.x - place[0]), jnp.abs(fighter.y - place[1])
    reach = (dx <= table.PICK_UP_REACH[0]) & (dy <= table.PICK_UP_REACH[1])
    return free & reach & (spawner.weapon > 0), dx + dy


def _next(spawner: Spawner, taken: Array, state: State, number: int) -> Spawner:
    """A frame later: an empty spawner's timer runs, and at 0 a spear or hammer lies there, each as likely."""
    timer = jnp.where(spawner.weapon > 0, 0, jnp.maximum(spawner.timer - 1, 0))
    comes = (spawner.weapon == 0) & (timer == 0)
    weapon = jnp.where(comes, 1 + _bit(state.luck, state.frame, number), spawner.weapon)
    return Spawner(jnp.where(taken, 0, weapon), jnp.where(taken, table.WEAPON_EVERY, timer))


def _bit(luck: Array, frame: Array, number: int) -> Array:
    """i32[]: 0 or 1, by a hash of the match's luck (the mixer of Murmur3)."""
    mixed = luck ^ (
        frame.astype(jnp.uint32) * jnp.uint32(0x9E3779B9) + jnp.uint32(number * 0x632BE5AB & 0xFFFFFFFF)
    )
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * jnp.uint32(factor)
    return ((mixed ^ (mixed >> 16)) & 1).astype(jnp.int32)
