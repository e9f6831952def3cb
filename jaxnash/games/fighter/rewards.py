"""What a frame pays, term by term, from what happened in it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp

from jaxnash.games.fighter import table
from jaxnash.games.fighter.state import Fighter, State, over
from jaxnash.types import Array, JaxnashError

DT = 1 / table.FPS
DANGER_BELOW = 4.2  # y
MANY_KEYS = 3  # more are too many
DAMAGE_UNIT = 140.0


class Weights(NamedTuple):
    """What things are worth to a player; the opponent's knock-out and defeat count the other way."""

    damage: float  # for every 140 of damage dealt; taken counts the other way
    damage_most: float  # damage of a stock beyond this pays nothing
    danger: float  # each second at y >= 4.2
    attacking: float  # each second in an attack
    keys: float  # each second with more than three buttons down
    win: float
    knock_out: float
    combo: float  # a hit on an opponent still stunned, once a stun
    spear: float  # picking it up
    hammer: float
    drop: float  # throwing a weapon away


# `reference` is what people trained with: a hammer picked up and thrown away pays 5. In `sound` that costs,
# and all but wins and knock-outs comes to less than one knock-out in a whole match: see `shaping_bound`.
REWARDS = {
    "reference": Weights(1.0, table.DAMAGE_MAX, -0.5, -0.04, -0.01, 50.0, 8.0, 5.0, 10.0, 20.0, -15.0),
    "sound": Weights(1.0, 35.0, -0.001, -0.0002, -0.0001, 1.0, 1.0, 0.0, 0.001, 0.002, -0.003),
}


class Terms(NamedTuple):
    """What each term paid both players, f32[2]; their sum is the reward."""

    damage: Array
    danger: Array
    attacking: Array
    keys: Array
    win: Array
    knock_out: Array
    combo: Array
    pick_up: Array
    drop: Array


def weights_of(rewards: Literal["reference", "sound"] | Weights) -> Weights:
    """Raises `JaxnashError` for a preset there is not."""
    if isinstance(rewards, Weights):
        return rewards
    if rewards not in REWARDS:
        raise JaxnashError(f"unknown rewards {rewards!r}; there are {', '.join(REWARDS)}, or give Weights")
    return REWARDS[rewards]


def terms(state: State, weights: Weights) -> Terms:
    """What the last frame paid."""
    first, second = state.fighters
    ended = over(state)
    lead = jnp.sign(first.stocks - second.stocks).astype(jnp.float32)
    own = [_own(one, two, weights) for one, two in ((first, second), (second, first))]
    pairs = {name: jnp.stack([each[name] for each in own]) for name in own[0]}
    return Terms(**pairs, win=jnp.where(ended, weights.win * jnp.stack([lead, -lead]), 0))


def _own(fighter: Fighter, other: Fighter, weights: Weights) -> dict[str, Array]:
    dealt, taken = (_pays(one, weights.damage_most) for one in (other, fighter))
    falls = other.fell.astype(jnp.float32) - fighter.fell.astype(jnp.float32)
    down = sum((fighter.held >> place) & 1 for place in range(len(table.BUTTONS)))
    picked = jnp.where(
        fighter.picked == 1, weights.spear, jnp.where(fighter.picked == 2, weights.hammer, 0.0)
    )
    return {
        "damage": weights.damage * (dealt - taken) / DAMAGE_UNIT,
        "danger": jnp.where(fighter.y >= DANGER_BELOW, weights.danger * DT, 0.0),
        "attacking": jnp.where(fighter.state == table.ATTACKING, weights.attacking * DT, 0.0),
        "keys": jnp.where(down > MANY_KEYS, weights.keys * DT, 0.0),
        "knock_out": weights.knock_out * falls,
        "combo": jnp.where(fighter.combo, weights.combo, 0.0),
        "pick_up": picked,
        "drop": jnp.where(fighter.dropped, weights.drop, 0.0),
    }


def _pays(victim: Fighter, most: float) -> Array:
    """How much of the damage just taken counts. Damage falls to 0 only with a respawn, after which no hit
    counts at once, so what was there before is what is there now less what was taken."""
    return jnp.minimum(victim.damage, most) - jnp.minimum(victim.damage - victim.taken, most)


def shaping_bound(weights: Weights) -> float:
    """The most that all terms but `win` and `knock_out` can pay or cost a player in a match, in sum.

    Damage of each stock counts up to `damage_most`; a spawner has one weapon every `table.WEAPON_EVERY`
    frames; a combo needs a stun, of which each takes at least the shortest attack.
    """
    seconds = table.FRAMES * DT
    weapons = sum(1 + (table.FRAMES - first) // table.WEAPON_EVERY for first in table.FIRST_WEAPONS)
    shortest = min(attack.startup for attack in table.ATTACKS)
    damage = abs(weights.damage) * table.STOCKS * min(weights.damage_most, table.DAMAGE_MAX) / DAMAGE_UNIT
    steady = sum(abs(each) for each in (weights.danger, weights.attacking, weights.keys)) * seconds
    armed = weapons * (max(abs(weights.spear), abs(weights.hammer)) + abs(weights.drop))
    return damage + steady + armed + abs(weights.combo) * table.FRAMES / shortest
