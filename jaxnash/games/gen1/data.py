"""Moves and species as the engine reads them: rows of numbers packed into a few 32-bit words.

A word is one table look-up; taking it apart is arithmetic on what is there already.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1.layout import _DATA, IDS, MOVE_TABLE, SPECIES_TABLE, TYPE_CHART, VOCABULARIES
from jaxnash.types import Array

MOVE_IDS = IDS["move"]
NUM_MOVES = len(_DATA["moves"])
# Beyond the vocabulary: what a side has selected before anything else, and what cannot act
NOMOVE, CANNOTMOVE = len(VOCABULARIES["move"]), len(VOCABULARIES["move"]) + 1
STRUGGLE, METRONOME, MIRRORMOVE = (MOVE_IDS[name] for name in ("struggle", "metronome", "mirrormove"))
BIDE, COUNTER, RAGE, FISSURE = (MOVE_IDS[name] for name in ("bide", "counter", "rage", "fissure"))
TRANSFORM = MOVE_IDS["transform"]
BRN, FRZ, PAR, PSN, SLP, TOX = (IDS["status"][name] for name in ("brn", "frz", "par", "psn", "slp", "tox"))
POISON, GRASS, GHOST, NORMAL, FIGHTING = (
    IDS["type"][name] for name in ("poison", "grass", "ghost", "normal", "fighting")
)
PHYSICAL, SPECIAL, STATUS = 1, 2, 3

# What a move does that no other kind of move does; 0: nothing of the kind
KINDS = (
    *("", "level", "fixed", "superfang", "psywave", "counter", "ohko", "trap", "thrash", "rage", "recharge"),
    *("charge", "hide", "bide", "recover", "rest", "haze", "mimic", "transform", "conversion", "disable"),
    *("substitute", "leechseed", "mist", "focusenergy", "lightscreen", "reflect", "dreameater", "explode"),
    *("crash", "twice", "often", "swift"),
)
KIND = {name: i for i, name in enumerate(KINDS)}
_KIND_OF = {
    "seismictoss": "level",
    "nightshade": "level",
    "sonicboom": "fixed",
    "dragonrage": "fixed",
    **{name: "trap" for name in ("bind", "wrap", "clamp", "firespin")},
    **{name: "thrash" for name in ("thrash", "petaldance")},
    "hyperbeam": "recharge",
    **{name: "charge" for name in ("razorwind", "skullbash", "skyattack", "solarbeam")},
    **{name: "hide" for name in ("dig", "fly")},
    **{name: "recover" for name in ("recover", "softboiled")},
    **{name: "explode" for name in ("explosion", "selfdestruct")},
    **{name: "crash" for name in ("jumpkick", "highjumpkick")},
    **{name: "ohko" for name in ("guillotine", "horndrill", "fissure")},
}
# useMoveInner leaves battle.lastDamage alone at these (gen1/scripts.js)
_KEEPS_DAMAGE = (
    *("confuseray", "conversion", "counter", "focusenergy", "glare", "haze", "leechseed", "lightscreen"),
    *("mimic", "mist", "poisongas", "poisonpowder", "recover", "reflect", "rest", "softboiled", "splash"),
    *("stunspore", "substitute", "supersonic", "teleport", "thunderwave", "toxic", "transform"),
)
_STAT_NAMES = ("atk", "def", "spc", "spe", "accuracy", "evasion")


class Field(NamedTuple):
    """Where a number lies in the packed words."""

    word: int
    shift: int
    bits: int


# Three words of up to 31 bits; the fourth is the row of the type chart, two bits a defending type
_LAYOUT = (
    {"power": 8, "type": 4, "category": 2, "accuracy": 8, "kind": 6},
    {"secondary": 8, "status": 3, "stat": 3, "change": 3, "confusion": 1, "flinch": 1, "recoil": 2}
    | {"drain": 1, "high": 1, "own": 1, "ignores": 1, "keeps": 1, "priority": 2},
)
FIELDS = {
    name: Field(word, sum(list(widths.values())[:i]), bits)
    for word, widths in enumerate(_LAYOUT)
    for i, (name, bits) in enumerate(widths.items())
}


class Move(NamedTuple):
    """A move's numbers, i32[] each. `status`, `stat`, `confusion`: the secondary effect's, if it has one."""

    id: Array
    power: Array
    type: Array
    category: Array  # PHYSICAL, SPECIAL, STATUS, 0 for pseudo-moves
    accuracy: Array  # of 255; 0 never misses
    kind: Array  # index into KINDS
    secondary: Array  # of 256, 0: no secondary effect
    status: Array
    stat: Array  # 1 + index of atk def spc spe accuracy evasion, 0 none
    change: Array  # of that stat, stages
    confusion: Array
    flinch: Array
    recoil: Array  # damage >> recoil, 0 none
    drain: Array
    high: Array  # critical
    own: Array  # targets the user
    ignores: Array  # type immunities
    keeps: Array  # battle.lastDamage
    priority: Array
    chart: Array  # two bits a defending type: 0 neutral, 1 double, 2 half, 3 immune


def _row(name: str, facts: dict) -> dict[str, int]:
    kind = _KIND_OF.get(name, name if name in KIND else "")
    kind = {"hits20": "twice", "hits30": "often"}.get(f"hits{facts.get('hits')}", kind)
    changes = facts.get("self") or facts.get("foe") or {}
    stat, change = next(iter(changes.items()), (None, 0))
    assert len(changes) < 2, name
    return {
        "power": facts.get("power", 0) if kind != "fixed" else facts["fixed"],
        "type": IDS["type"][facts.get("type", "")],
        "category": ("", "Physical", "Special", "Status").index(facts["category"]),
        "accuracy": facts.get("accuracy", 0) * 255 // 100,
        "kind": KIND[kind],
        "secondary": facts.get("secondary", 0),
        "status": IDS["status"][facts.get("status", "")],
        "stat": 0 if stat is None else 1 + _STAT_NAMES.index(stat),
        "change": change + 2 if stat else 0,
        "confusion": facts.get("confusion", 0),
        "flinch": facts.get("flinch", 0),
        "recoil": {0: 0, 25: 2, 50: 1}[facts.get("recoil", 0)],
        "drain": int(facts.get("drain", 0) == 50),
        "high": facts.get("critical", 0),
        "own": facts.get("own", 0),
        "ignores": facts.get("ignores", 0),
        "keeps": int(name in _KEEPS_DAMAGE),
        "priority": facts.get("priority", 0) + 1,
    }


def _chart_word(type_id: int) -> int:
    codes = {1.0: 0, 2.0: 1, 0.5: 2, 0.0: 3}
    return sum(codes[float(TYPE_CHART[type_id, i])] << 2 * i for i in range(TYPE_CHART.shape[1]))


def _words() -> np.ndarray:
    """uint32[moves, 3]: the packed rows, by move id."""
    blank = {name: 0 for name in FIELDS} | {"priority": 1}
    # Thawed before it ever selected a move: Fissure's animation, 31.6 % accurate (gen1/scripts.js)
    nomove = blank | {"power": 102, "category": SPECIAL, "accuracy": 81 * 100 // 256 * 255 // 100}
    nomove["accuracy"] = int(100 * 81 / 256 * 255 / 100)
    rows = [blank, *(_row(name, facts) for name, facts in _DATA["moves"].items())]
    rows += [blank] * (NOMOVE - len(rows)) + [nomove, blank]
    words = np.zeros((len(rows), 3), np.uint32)
    for i, row in enumerate(rows):
        for name, (word, shift, bits) in FIELDS.items():
            assert 0 <= row[name] < 1 << bits, (i, name)
            words[i, word] |= row[name] << shift
        words[i, 2] = _chart_word(row["type"])
    return words


WORDS = _words()
PP = np.pad(MOVE_TABLE["pp"], (0, 2)).astype(np.int32)  # maximum, by move id
# Metronome's list: by number, without those that it cannot call
CALLABLE = np.array(
    [
        MOVE_IDS[name]
        for name, facts in sorted(_DATA["moves"].items(), key=lambda item: item[1]["number"])
        if facts.get("callable")
    ],
    np.int32,
)
SPECIES = {name: np.asarray(column, np.int32) for name, column in SPECIES_TABLE.items()}
NUM_TYPES = len(VOCABULARIES["type"])
# of a stage -6..6, hundredths: floor(stat * hundredths / 100) is what the simulator's fractions give
STAGES = np.array([25, 28, 33, 40, 50, 66, 100, 150, 200, 250, 300, 350, 400], np.int32)
HITS = np.array([2, 2, 2, 3, 3, 3, 4, 5], np.int32)


def move_row(id: Array) -> Move:
    """The numbers of move i32[]."""
    words = [jnp.asarray(WORDS[:, i])[id] for i in range(3)]

    def field(name: str) -> Array:
        word, shift, bits = FIELDS[name]
        return ((words[word] >> shift) & ((1 << bits) - 1)).astype(jnp.int32)

    numbers = {name: field(name) for name in FIELDS}
    numbers["change"] = numbers["change"] - 2
    numbers["priority"] = numbers["priority"] - 1
    return Move(id=id, chart=words[2], **numbers)


def two_turns(kind: Array) -> Array:
    """bool[]: a move of this kind is made in two turns."""
    return (kind == KIND["charge"]) | (kind == KIND["hide"])


def shown(id: Array) -> Array:
    """i32[]: what move i32[] is announced and remembered as."""
    return jnp.where(id == NOMOVE, FISSURE, id)


def effectiveness(move: Move, defending: Array) -> Array:
    """i32[]: the chart's code of a defending type id."""
    return ((move.chart >> (2 * defending).astype(jnp.uint32)) & 3).astype(jnp.int32)
