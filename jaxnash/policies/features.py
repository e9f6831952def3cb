"""What a network reads of a Gen 1 observation: category one-hots, scaled numbers, and expected damage."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1 import layout
from jaxnash.types import Array

OWN, OPPONENT = 0, layout.TEAM  # rows of the two active Pokemon
MOVES = tuple(layout.POKEMON_INDEX[f"move{slot}"] for slot in range(1, 5))


class Features(NamedTuple):
    """Leading axis [B]. Everything f32 but `move_ids`."""

    pokemon: Array  # [B, 12, D]: numbers, damage
    known_moves: Array  # [B, 12, moves], weight of each known move: (1 + share of PP left) / 2
    species: Array  # [B, 12, species], one-hot
    types: Array  # [B, 12, types], sum of two one-hots
    status: Array  # [B, 12, statuses], one-hot
    active: Array  # [B, 2, ...], one-hots of what only an active Pokemon has
    move_ids: Array  # i32[B, 4], of the own active
    moves: Array  # [B, 4, E], of the own active: damage and use
    field: Array  # [B, G], numbers


def move_facts() -> np.ndarray:
    """`MOVE_TABLE` as numbers of order one, f32[moves, ...]."""
    table = layout.MOVE_TABLE
    one_hot = [np.eye(len(words), dtype=np.float32)[table[name]] for name, words in _MOVE_CATEGORIES.items()]
    numbers = np.stack([table[name] for name in table if name not in _MOVE_CATEGORIES], axis=1)
    largest = np.maximum(np.abs(numbers).max(axis=0), 1).astype(np.float32)
    return np.concatenate([*one_hot, numbers / largest], axis=1)


def species_facts() -> np.ndarray:
    """Base stats by species as numbers of order one, f32[species, 5]."""
    return np.stack([layout.SPECIES_TABLE[name] for name in layout.SPECIES_STATS], axis=1) / np.float32(255)


_MOVE_CATEGORIES = {
    "type": layout.VOCABULARIES["type"],
    "category": layout.CATEGORIES,
    "status": layout.VOCABULARIES["status"],
}


def features(obs: layout.Observation) -> Features:
    """From int16[B, 12, F] and int16[B, G] to what a network multiplies."""
    pokemon = obs.pokemon.astype(jnp.int32)

    def column(name: str) -> Array:
        return pokemon[..., layout.POKEMON_INDEX[name]]

    def one_hot(name: str, vocabulary: str) -> Array:
        return jax.nn.one_hot(column(name), len(layout.VOCABULARIES[vocabulary]))

    moves = jnp.stack([pokemon[..., index] for index in MOVES], axis=-1)  # [B, 12, 4]
    left = jnp.stack([column(f"pp{slot}") for slot in range(1, 5)], axis=-1) / 1000.0
    weight = (1 + left) / 2
    number_of_moves = len(layout.VOCABULARIES["move"])
    known = sum(jax.nn.one_hot(moves[..., k], number_of_moves) * weight[..., k, None] for k in range(4))
    dealt, taken, faster = _damage(pokemon, moves)
    hits = jnp.asarray(_MOVE_FACTS[:, 1])[moves]
    per_pokemon = [
        jnp.max(dealt, axis=-1),
        jnp.max(dealt * hits, axis=-1),
        jnp.max(taken, axis=-1),
        faster,
    ]
    own = [dealt[:, OWN], (dealt * hits)[:, OWN], (dealt[:, OWN] >= 1).astype(jnp.float32), left[:, OWN]]
    actives = slice(None, None, layout.TEAM)
    return Features(
        pokemon=jnp.concatenate([pokemon * _scales(layout.POKEMON_COLUMNS), jnp.stack(per_pokemon, -1)], -1),
        known_moves=known,
        species=one_hot("species", "species"),
        types=one_hot("type1", "type") + one_hot("type2", "type"),
        status=one_hot("status", "status"),
        active=jnp.concatenate(
            [
                jax.nn.one_hot(column(name)[:, actives], len(layout.VOCABULARIES[vocabulary]))
                for name, vocabulary in _ACTIVE_ONLY.items()
            ],
            axis=-1,
        ),
        move_ids=moves[:, OWN],
        moves=jnp.stack(own, axis=-1),
        field=obs.field * _scales(layout.FIELD_COLUMNS),
    )


# all zeros on the bench, so that its tokens need not pay for them
_ACTIVE_ONLY = {"base_species": "species", "last_move": "move", "disabled": "move"}


def _scales(columns: tuple[layout.Column, ...]) -> np.ndarray:
    """What turns a row of integers into numbers, with zeros at the categories."""
    return np.array([0 if column.vocabulary else 1 / column.scale for column in columns], np.float32)


def _move_damage_facts() -> np.ndarray:
    """f32[moves, 4]: power (with hits, critical hits and Explosion's halved defence in it), chance to hit,
    whether it is special, fixed damage."""
    table = {name: values.astype(np.float32) for name, values in layout.MOVE_TABLE.items()}
    hits = np.where(table["hits"] > 0, table["hits"] / 10, 1)
    critical = np.where(table["critical"] > 0, 1.95, 1.2)
    power = table["power"] * hits * critical * (1 + table["selfdestruct"])
    accuracy = np.where(table["accuracy"] > 0, table["accuracy"] / 100, 1)
    special = layout.MOVE_TABLE["category"] == layout.CATEGORIES.index("Special")
    return np.stack([power, accuracy, special, table["fixed"]], axis=1).astype(np.float32)


_MOVE_FACTS = _move_damage_facts()
_EFFECTIVENESS = layout.TYPE_CHART[layout.MOVE_TABLE["type"]]  # f32[moves, types]


def _damage(pokemon: Array, moves: Array) -> tuple[Array, Array, Array]:
    """Mean damage as a share of the remaining hp, at most 2, f32[B, 12, 4] each: of each Pokemon's known
    moves on the other side's active, and of the other active's known moves on each; and f32[B, 12], whether
    it would be the faster of the two. A guide for the network, not the simulator: Gen 1's formula, at its
    mean.
    """

    def column(name: str) -> Array:
        return pokemon[..., layout.POKEMON_INDEX[name]]

    def boosted(name: str) -> Array:
        stage = column(f"boost_{name}").astype(jnp.float32)
        return column(f"stat_{name}") * jnp.maximum(2, 2 + stage) / jnp.maximum(2, 2 - stage)

    status = column("status")
    burned, paralysed = (status == layout.IDS["status"][name] for name in ("brn", "par"))
    attack = boosted("atk") * jnp.where(burned, 0.5, 1.0)
    special = boosted("spc")
    speed = boosted("spe") * jnp.where(paralysed, 0.25, 1.0)
    defence = boosted("def") * (1 + column("reflect"))
    resistance = special * (1 + column("lightscreen"))
    left = jnp.maximum(column("stat_hp") * column("hp") / 1000.0, 1.0)
    strength = 0.4 * column("level") + 2

    def other(x: Array) -> Array:
        """For each row, the value of the other side's active."""
        own, opponent = x[:, OWN : OWN + 1], x[:, OPPONENT : OPPONENT + 1]
        return jnp.concatenate([jnp.repeat(opponent, 6, axis=1), jnp.repeat(own, 6, axis=1)], axis=1)

    known = jnp.asarray(_MOVE_FACTS)[moves]  # [B, 12, 4, 4]
    own_types = column("type1"), column("type2")
    move_types = jnp.asarray(layout.MOVE_TABLE["type"].astype(np.int32))[moves]
    same = (move_types == own_types[0][..., None]) | (move_types == own_types[1][..., None])
    bonus = jnp.where(same, 1.5, 1.0)
    effect = jnp.asarray(_EFFECTIVENESS).reshape(-1)
    rows = moves * layout.TYPE_CHART.shape[0]

    def hurt(attacker, defender):
        power, _, is_special, fixed = (attacker["known"][..., i] for i in range(4))
        force = jnp.where(is_special > 0, attacker["special"][..., None], attacker["attack"][..., None])
        armour = jnp.where(is_special > 0, defender["resistance"][..., None], defender["defence"][..., None])
        first, second = (attacker["rows"] + kind[..., None] for kind in defender["types"])
        # a Pokemon of one type has 0 as its other, which changes nothing
        effectiveness = attacker["bonus"] * effect[first] * effect[second] * 0.925
        plain = attacker["strength"][..., None] * power * force / jnp.maximum(armour, 1) / 50 + 2
        dealt = jnp.where(fixed > 0, fixed, jnp.where(power > 0, plain * effectiveness, 0.0))
        return jnp.minimum(dealt / defender["left"][..., None], 2.0)

    attacker = dict(known=known, special=special, attack=attack, rows=rows, bonus=bonus, strength=strength)
    defender = dict(resistance=resistance, defence=defence, types=own_types, left=left)
    dealt = hurt(attacker, jax.tree.map(other, defender))
    taken = hurt(jax.tree.map(other, attacker), defender)
    return dealt, taken, (speed > other(speed)).astype(jnp.float32)
