"""Battles set up so that rows of the checklist happen which ordinary play hardly reaches.

A scene gives both sides few Pokemon with telling moves, weights for the policy, and, by `force`, values for
draws of some sites (record.js tells how): the engine replays the tape whatever its values are.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from jaxnash.keys import derive

# Indices of Metronome's sample: moves by number without Metronome itself and Struggle.
DIG, FLY, GUILLOTINE, RAZOR_WIND, HORN_DRILL, FISSURE = 90, 18, 11, 12, 31, 89
WRAP, CLAMP, HYPER_BEAM, MIMIC, THRASH, RAGE = 34, 126, 62, 101, 36, 98
DISABLE, TRANSFORM, HAZE = 49, 142, 113


class Side(NamedTuple):
    """species, moves: what a Pokemon is drawn from; must: moves that all have; size; levels."""

    species: tuple[str, ...]
    moves: tuple[str, ...]
    must: tuple[str, ...] = ()
    size: int = 3
    levels: tuple[int, ...] = (100,)


class Scene(NamedTuple):
    """sides: p1's and p2's; they are exchanged in every other battle."""

    sides: tuple[Side, Side]
    force: dict[str, list[int | None]] = {}  # noqa: RUF012
    weights: dict[str, float] = {}  # noqa: RUF012


_STURDY = ("chansey", "snorlax", "slowbro", "lapras", "cloyster", "hypno", "exeggutor")
_FAST = ("alakazam", "jolteon", "starmie", "tauros", "aerodactyl", "persian")
_STATUS = ("thunderwave", "sing", "toxic", "confuseray", "leechseed")
_WEAK = ("magikarp", "caterpie", "weedle", "abra", "rattata", "pidgey", "zubat", "diglett")

SCENES: dict[str, Scene] = {
    # Both behind substitutes and confused: self-hits strike the other's; confusion comes through.
    "substitutes": Scene(
        (
            Side(
                _STURDY, ("confuseray", "supersonic", "psybeam", "recover", "rest"), ("substitute", "psybeam")
            ),
            Side(_FAST, ("confuseray", "psybeam", "dizzypunch", "jumpkick", "explosion"), ("substitute",)),
        ),
        {"substitute_confusion": [0, None], "confusion": [255, None], "secondary": [0, None]},
        {"substitute": 4, "confuseray": 3},
    ),
    # Frozen before any move was chosen, then thawed by fire or by Haze.
    "frozen": Scene(
        (
            Side(_FAST, ("fireblast", "blizzard", "icebeam", "haze"), ("blizzard", "fireblast")),
            Side(_STURDY, ("bide", "thrash", "rage", "counter", "hyperbeam"), size=4),
        ),
        {"secondary": [0, None], "accuracy": [0]},
        {"switch": 2, "fight": 12, "haze": 1, "blizzard": 8, "fireblast": 12, "icebeam": 2}
        | dict.fromkeys(("bide", "thrash", "rage", "counter", "hyperbeam"), 0.05),
    ),
    # All that are left are frozen, or can do nothing but transform into one another.
    "endless, frozen": Scene(
        (Side(_FAST, ("icebeam", "explosion"), size=2), Side(_FAST, ("icebeam", "explosion"), size=2)),
        {"secondary": [0], "accuracy": [0], "crit": [255]},
        {"icebeam": 1, "explosion": 1, "switch": 2},
    ),
    "endless, transformed": Scene(
        (
            Side(("electrode", "ditto"), ("explosion", "selfdestruct", "thunderwave"), size=2),
            Side(("golem", "ditto"), ("explosion", "selfdestruct", "rest"), size=2),
        ),
        {"accuracy": [0]},
        {"switch": 0.02},
    ),
    # Haze while the other is asleep or frozen in the middle of Bide, Thrash, Rage, a charge, a recharge.
    "haze": Scene(
        (
            Side(_FAST, ("spore", "hypnosis", "icepunch", "thunderwave", "toxic"), ("haze", "spore")),
            Side(
                (*_STURDY, *_FAST),
                ("bide", "thrash", "rage", "razorwind", "hyperbeam", "wrap"),
                ("bide", "rage"),
            ),
        ),
        {"accuracy": [0], "secondary": [0, None], "sleep_turns": [7]},
        {"haze": 3, "switch": 0.1},
    ),
    # Long trapping with few PP against somebody who flees: PP below 0, locks without a victim.
    "trapping": Scene(
        (
            Side(_FAST, ("clamp", "firespin", "wrap", "bind"), ("clamp",), size=2, levels=(2, 5, 9)),
            Side(_STURDY, (*_STATUS, "splash", "teleport", "rest"), ("splash",), size=6),
        ),
        {"accuracy": [0], "trap_turns": [7, None], "crit": [255], "roll": [217]},
        {"switch": 1, "clamp": 6, "firespin": 2, "wrap": 0.5, "bind": 0.5, "splash": 5},
    ),
    "trapped sleepers": Scene(
        (
            Side(_FAST, ("wrap", "bind", "hypnosis", "sing", "metronome"), ("wrap", "hypnosis")),
            Side(_STURDY, ("counter", "bide", "hyperbeam", "rest", "mimic"), ("rest",), size=4),
        ),
        {"accuracy": [0, 0, None], "crit": [255]},
        {"switch": 1, "wrap": 4},
    ),
    # Stats of 1 to 3 against stats above 255: the division by 4, the bounce at 1.
    "tiny": Scene(
        (
            Side(
                _WEAK,
                ("tackle", "growl", "sandattack", "psywave", "recover", "harden"),
                size=6,
                levels=(1, 2, 3),
            ),
            Side(
                ("snorlax", "tauros", "golem", "rhydon", "lapras"),
                ("bodyslam", "growl", "stringshot", "acid", "psychic"),
                ("screech", "leer"),
            ),
        ),
        {"accuracy": [0]},
        {"screech": 4, "bodyslam": 2, "leer": 4, "growl": 3, "stringshot": 3, "switch": 0.05},
    ),
    # Defence of 512 and 513 doubled by Reflect: 0 in 8 bits.
    "screens": Scene(
        (
            Side(
                ("cloyster", "golem", "onix", "kabutops"),
                ("reflect", "withdraw", "harden", "barrier", "rest"),
            ),
            Side(_FAST, ("bodyslam", "leer", "tailwhip", "explosion", "slash", "haze")),
        ),
        {},
        {"reflect": 5, "switch": 0.05},
    ),
    # Dig, Fly, OHKO and charging moves by Metronome, under paralysis, mirrored.
    "called": Scene(
        (
            Side(_FAST, ("mirrormove", "thunderwave", "recover", "transform"), ("metronome", "mirrormove")),
            Side(_STURDY, ("razorwind", "skyattack", "solarbeam", "thunderwave", "swift"), ("mirrormove",)),
        ),
        {
            "metronome": [DIG, FLY, GUILLOTINE, RAZOR_WIND, HORN_DRILL, FISSURE, None],
            "paralysis": [0, None, None],
            "accuracy": [0, None],
        },
        {"switch": 0.05, "metronome": 3, "mirrormove": 3},
    ),
    # Toxic's counter outlives Rest, and feeds burn, poison and Leech Seed.
    "counters": Scene(
        (
            Side(
                _FAST, ("toxic", "leechseed", "fireblast", "sludge", "haze", "smog"), ("toxic", "leechseed")
            ),
            Side(_STURDY, ("rest", "bite", "headbutt", "stomp", "recover", "substitute"), ("rest",)),
        ),
        {"secondary": [0, None], "accuracy": [0, None]},
        {"switch": 0.05, "rest": 4, "fireblast": 3, "sludge": 3, "haze": 0.2},
    ),
    # A flinch outlives the turn in which somebody faints.
    "flinches": Scene(
        (
            Side(_FAST, ("bite", "headbutt", "stomp", "hyperfang", "lowkick"), size=6, levels=(40, 60)),
            Side(_STURDY, ("toxic", "leechseed", "rest", "counter", "bodyslam")),
        ),
        {"secondary": [0, None], "accuracy": [0, None]},
        {"switch": 0.05, "toxic": 4, "leechseed": 4},
    ),
    # Four substitutes in a row, where hp at first is a multiple of 4.
    "last hp": Scene(
        (
            Side(
                _FAST,
                ("splash", "recover", "growl", "toxic"),
                ("substitute",),
                levels=(52, 61, 66, 73, 84, 97),
            ),
            Side(_STURDY, ("seismictoss", "nightshade", "tackle", "growl"), ("seismictoss", "nightshade")),
        ),
        {"accuracy": [0]},
        {"substitute": 20, "seismictoss": 4, "nightshade": 4, "switch": 0.02},
    ),
    # The last hp for a substitute, recoil and explosions, both fainting at once.
    "costly": Scene(
        (
            Side(
                (*_STURDY, *_FAST),
                ("substitute", "takedown", "doubleedge", "explosion", "highjumpkick", "toxic"),
            ),
            Side(
                (*_STURDY, *_FAST), ("substitute", "seismictoss", "nightshade", "superfang", "selfdestruct")
            ),
        ),
        {"accuracy": [0, None, 255]},
        {"substitute": 3, "switch": 0.05},
    ),
    # Hyper Beam and its recharge against sleep, trapping, freezing, and substitutes.
    "recharge": Scene(
        (
            Side(_FAST, ("spore", "wrap", "icebeam", "substitute", "disable", "counter"), ("spore", "wrap")),
            Side(_STURDY, ("hyperbeam", "substitute", "rest", "disable"), ("hyperbeam",), size=4),
        ),
        {"accuracy": [0, None], "secondary": [0, None]},
        {"hyperbeam": 5, "switch": 0.05},
    ),
    # A drain of 1, of a Pokemon whose substitute has cost it hp, from those who resist it.
    "drains": Scene(
        (
            Side(_WEAK, ("megadrain", "leechlife"), ("absorb", "substitute"), levels=(2, 3, 5)),
            Side(
                ("rapidash", "dragonair", "arcanine", "arbok", "pinsir"),
                ("splash", "growl", "psywave", "tackle"),
            ),
        ),
        {"accuracy": [0]},
        {"absorb": 4, "megadrain": 4, "leechlife": 2, "splash": 4, "psywave": 1, "switch": 0.05},
    ),
    # Copies of copies, and PP that are gone.
    "copies": Scene(
        (
            Side(("ditto", "clefable"), ("mimic", "transform", "disable"), size=2, levels=(100, 50)),
            Side(
                ("chansey", "clefable"),
                ("mimic", "transform", "metronome", "disable", "splash"),
                size=2,
            ),
        ),
        {"disable_move": [0]},
        {"switch": 0.3},
    ),
}


def scene_job(seed: int, number: int) -> dict[str, Any]:
    """teams, force, weights, kind and policy of the scene that battle `number` of a run plays."""
    names = tuple(SCENES)
    name = names[derive(seed, "scene", number) % len(names)]
    scene = SCENES[name]
    teams = [_team(side, (seed, number, i)) for i, side in enumerate(scene.sides)]
    if derive(seed, "exchanged", number) % 2:
        teams.reverse()
    job = {"teams": teams, "force": scene.force, "weights": scene.weights}
    return {**job, "kind": f"scene {name}", "policy": "rare"}


# Moves that make it hard to tell what was chosen: called, copied, repeated, made after a thaw.
_CALLS = ("wrap", "clamp", "metronome", "mirrormove", "mimic", "blizzard", "fireblast", "hyperbeam")
_OTHERS = (
    *("firespin", "bind", "transform", "icebeam", "ember", "disable", "rage", "thrash", "dig", "solarbeam"),
    *("haze", "rest", "spore", "counter", "bide", "substitute", "leechseed", "thunderwave"),
)
_CALLED = [WRAP, CLAMP, HYPER_BEAM, MIMIC, THRASH, RAGE, DIG, DISABLE, TRANSFORM, RAZOR_WIND, HAZE]
_CALLERS = (*_STURDY, *_FAST, "clefable", "machop", "magikarp", "gengar", "ditto", "mew")


def calls_job(seed: int, number: int) -> dict[str, Any]:
    """A battle full of what a bridge may mistake: mistakes are ten times as frequent as in other battles."""
    rng = random.Random(derive(seed, "calls", number))

    def team() -> str:
        packed = []
        for one in rng.sample(_CALLERS, rng.randint(2, 5)):
            moves = rng.sample(_CALLS, rng.choice((1, 2, 3)))
            moves += rng.sample([move for move in (*_CALLS, *_OTHERS) if move not in moves], 4 - len(moves))
            rng.shuffle(moves)
            level = rng.choice((100, 100, 100, 70, 50))
            packed.append(_packed(one, moves, level))
        return "]".join(packed)

    teams = [team(), team()]
    force: dict[str, list[int | None]] = {}
    if rng.random() < 0.5:
        force["metronome"] = [*_CALLED, *[None] * 6]
    if rng.random() < 0.5:
        force["secondary"] = [0, None]  # freezes
    if rng.random() < 0.4:
        force["accuracy"] = [0]
    weights = {"switch": rng.choice((0.1, 0.4, 1)), "fight": 4} | dict.fromkeys(rng.sample(_CALLS, 3), 3)
    return {"teams": teams, "force": force, "weights": weights, "kind": "calls", "policy": "rare"}


def _packed(species: str, moves: list[str], level: int) -> str:
    return f"{species}|||NoAbility|{','.join(moves)}||252,252,252,252,252,252|N|||{level}|"


def _team(side: Side, path: tuple[int, ...]) -> str:
    def some(of: tuple[str, ...], count: int, *more: Any) -> list[str]:
        return sorted(of, key=lambda one: derive(*path, *more, one))[:count]

    packed = []
    species = sorted(some(side.species, side.size), key=lambda one: one == "ditto")  # it comes last
    for i, one in enumerate(species):
        others = tuple(move for move in side.moves if move not in side.must)
        moves = [*side.must, *some(others, 4 - len(side.must), "moves", i)]
        level = side.levels[derive(*path, "level", i) % len(side.levels)]
        moves = ["transform"] if one == "ditto" else some(tuple(moves), 4, "order", i)
        packed.append(_packed(one, moves, level))
    return "]".join(packed)
