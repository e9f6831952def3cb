"""Gen 1 vocabularies, tables and the observation layout: what a policy reads and what a codec must write.

Every quantity is an int16 with an exact definition, so that the Showdown bridge and a JAX engine can produce
the same bytes; `tests/showdown/test_codec.py` has examples. Nothing in it is hidden from the player.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import NamedTuple

import numpy as np

from jaxnash.types import Array

NUM_ACTIONS = 9  # 0-3 moves of the active in alphabetical order of id, 4-8 switch to observation rows 1-5
TEAM = 6
PSEUDO_MOVES = ("fight", "recharge")  # what Showdown offers besides the 165 moves
STATS = ("atk", "def", "spc", "spe")
BOOSTS = ("atk", "def", "spc", "spe", "acc", "eva")

_DATA = json.loads(resources.files("jaxnash.games.gen1").joinpath("data.json").read_text(encoding="utf-8"))
PACKAGE_VERSION: str = _DATA["package"]

# Index 0 is "none or unknown" everywhere.
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "species": ("", *_DATA["species"]),
    "move": ("", *_DATA["moves"], *PSEUDO_MOVES),
    "type": ("", *_DATA["types"]),
    "status": ("", "brn", "frz", "par", "psn", "slp", "tox"),
}
IDS: dict[str, dict[str, int]] = {
    name: {word: i for i, word in enumerate(words)} for name, words in VOCABULARIES.items()
}


class Column(NamedTuple):
    """One integer of an observation: a category id of `vocabulary`, or the number value / scale."""

    name: str
    vocabulary: str | None
    scale: float


class Observation(NamedTuple):
    """What one player may know at a decision.

    Rows of `pokemon`: 0 the own active (or the one to be replaced), 1-5 the own bench, fainted ones included,
    in alphabetical order of species; 6 the opponent's active, 7-11 its revealed bench in the same order, then
    blanks. A blank row is all zeros.
    """

    pokemon: Array  # int16[..., 12, len(POKEMON_COLUMNS)]
    field: Array  # int16[..., len(FIELD_COLUMNS)]


def _category(vocabulary: str, *names: str) -> list[Column]:
    return [Column(name, vocabulary, 1.0) for name in names]


def _number(scale: float, *names: str) -> list[Column]:
    return [Column(name, None, scale) for name in names]


POKEMON_COLUMNS: tuple[Column, ...] = (
    *_category("species", "species", "base_species"),  # as it is now (Transform), as it was sent out
    *_category("type", "type1", "type2"),  # as they are now (Transform, Conversion)
    *_category("status", "status"),
    *_category("move", "move1", "move2", "move3", "move4"),  # known ones, in alphabetical order of id
    *_category("move", "last_move", "disabled"),  # last_move: announced since it came in
    # left, floor of 1000ths of the move's maximum, 1000 at most; opponent's: inferred from uses seen
    *_number(1000, "pp1", "pp2", "pp3", "pp4"),
    *_number(1000, "hp"),  # own: ceil of 1000ths; opponent's: 10 x the percentage shown
    *_number(100, "level"),
    *_number(1, "active", "revealed", "fainted"),  # revealed: the other side has seen it
    *_number(6, *(f"boost_{name}" for name in BOOSTS)),
    # unmodified. Own: exact. Opponent's: of its species at its level with full DVs and stat experience
    *_number(714, "stat_hp"),
    *_number(400, *(f"stat_{name}" for name in STATS)),
    # Volatiles, 0 or 1, as the protocol shows them. Those but trapping and trapped were the simulator's own
    # in every decision compared.
    *_number(1, "substitute", "reflect", "lightscreen", "mist", "focusenergy", "confusion", "leechseed"),
    # trapping: what it last did was a partial trapping move that did not miss the foe still there (when
    # that ends is hidden); trapped: the foe's. locked: by Thrash or Petal Dance. invulnerable: by Dig or Fly
    *_number(1, "recharge", "trapped", "trapping", "bide", "rage", "locked", "charging", "invulnerable"),
    *_number(1, "transformed"),
    *_number(7, "sleep_turns"),  # actions shown lost to this sleep, 7 at most; kept on the bench
    *_number(1, "resting"),  # 1 if this sleep is by Rest; kept on the bench
    *_number(15, "toxic_turns"),  # Toxic's counter: losses shown to psn, brn, Leech Seed since, 15 at most
    *_number(7, "confusion_turns"),  # times shown acting while confused, 7 at most
    *_number(7, "disable_turns"),  # turns begun since it was disabled, 7 at most
    *_number(5, "lock_turns"),  # uses in a row of trapping, Thrash, Petal Dance, Rage; or turns of Bide
    *_number(5, "substitute_hits"),  # hits this substitute has taken and stood, 5 at most
    *_number(10, "turns_in"),  # turns begun since it came in, 10 at most
)

FIELD_COLUMNS: tuple[Column, ...] = (
    *_number(100, "turn"),
    *_number(1, "forced_switch", "single", "waiting"),  # single: no choice of move (recharge, fight, locked)
    *_number(1, "cannot_switch"),
    *_number(6, "own_alive", "opponent_alive", "own_revealed", "opponent_revealed"),
    # for the Sleep and Freeze clauses: alive, asleep but not by Rest; alive and frozen
    *_number(1, "own_asleep", "opponent_asleep", "own_frozen", "opponent_frozen"),
)

POKEMON_INDEX = {column.name: i for i, column in enumerate(POKEMON_COLUMNS)}
FIELD_INDEX = {column.name: i for i, column in enumerate(FIELD_COLUMNS)}

SPECIES_STATS = ("hp", "atk", "def", "spc", "spe")


def _species_table() -> dict[str, np.ndarray]:
    """Base stats and type ids by species id, int16[species]."""
    rows = [([], [0] * 5), *_DATA["species"].values()]
    table = {name: np.array([row[1][i] for row in rows], np.int16) for i, name in enumerate(SPECIES_STATS)}
    for i in range(2):
        ids = [IDS["type"][row[0][i]] if i < len(row[0]) else 0 for row in rows]
        table[f"type{i + 1}"] = np.array(ids, np.int16)
    return table


CATEGORIES = ("", "Physical", "Special", "Status")
_MOVE_NUMBERS = (
    *(
        "power",
        "accuracy",
        "priority",
        "pp",
        "critical",
        "fixed",
        "hits",
        "selfdestruct",
        "recharge",
        "charge",
    ),
    *("trap", "locks", "ohko", "recoil", "drain", "heal", "chance", "confusion", "flinch"),
)


def _move_table() -> dict[str, np.ndarray]:
    """Move facts by move id, int16[moves]. Rows of "" and the pseudo-moves are zeros.

    power, accuracy (percent, 0 never misses), priority, type (id), category (0 none, 1 physical, 2 special,
    3 status), pp (maximum), critical (high rate), fixed (damage at level 100), hits (mean, tenths), flags
    (selfdestruct, recharge, charge, trap, locks, ohko, confusion, flinch), recoil / drain / heal (percent),
    status (id) with its chance (percent), self_<stat> and foe_<stat> stages.
    """
    rows = [{}, *_DATA["moves"].values(), *({} for _ in PSEUDO_MOVES)]
    table = {name: np.array([row.get(name, 0) for row in rows], np.int16) for name in _MOVE_NUMBERS}
    table["type"] = np.array([IDS["type"][row.get("type", "")] for row in rows], np.int16)
    table["category"] = np.array([CATEGORIES.index(row.get("category", "")) for row in rows], np.int16)
    table["status"] = np.array([IDS["status"][row.get("status", "")] for row in rows], np.int16)
    long = {"acc": "accuracy", "eva": "evasion"}
    for side in ("self", "foe"):
        for stat in BOOSTS:
            values = [row.get(side, {}).get(long.get(stat, stat), 0) for row in rows]
            table[f"{side}_{stat}"] = np.array(values, np.int16)
    return table


def _type_chart() -> np.ndarray:
    """float32[types, types]: attacking type, defending type -> multiplier; row and column 0 are ones."""
    chart = np.ones((len(VOCABULARIES["type"]),) * 2, np.float32)
    chart[1:, 1:] = np.array(_DATA["chart"], np.float32) / 2
    return chart


SPECIES_TABLE = _species_table()
MOVE_TABLE = _move_table()
TYPE_CHART = _type_chart()


def _hash() -> str:
    """Of everything a trained policy relies on: columns, vocabularies, actions."""
    facts = [POKEMON_COLUMNS, FIELD_COLUMNS, VOCABULARIES, NUM_ACTIONS]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


LAYOUT_HASH = _hash()
