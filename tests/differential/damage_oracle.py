"""Showdown's own damage formula as an oracle: int32 cases in, what `getDamage` does with them out.

Attacker and defender need not be possible: stats are given as they are now and unmodified, so that the
corners of the formula (stats of 1024, defence of 0 after the division by 4) can be asked for directly.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1 import moves
from jaxnash.games.gen1.damage import immune
from jaxnash.games.gen1.data import STATUS, move_row
from jaxnash.games.gen1.layout import IDS, MOVE_TABLE, SPECIES_TABLE, VOCABULARIES
from jaxnash.games.gen1.sites import SITE_IDS
from jaxnash.games.gen1.state import Active, Row, with_row, zeros
from jaxnash.showdown.simulator import install, node_path
from jaxnash.types import JaxnashError

CASE = (
    *("move", "species", "level", "type1", "type2"),  # ids of layout.VOCABULARIES; species sets the crit rate
    *("atk", "spc", "base_atk", "base_spc"),  # the attacker's: modified, and baseStoredStats, which crits use
    *("foe_def", "foe_spc", "foe_base_def", "foe_base_spc", "foe_type1", "foe_type2"),  # a type of 0: none
    *("reflect", "lightscreen", "focusenergy", "mist"),  # 0 or 1; focusenergy is the attacker's
    *("foe_hp", "substitute"),  # substitute: its hp, or 0: none
    *("crit", "roll"),  # the draws: critical where crit < rate; roll 217-255, or Psywave's damage
)
INDEX = {name: i for i, name in enumerate(CASE)}
IMMUNE, NONE = -1, -2
# Their damage depends on more than a case holds (the last moves, the damage so far), or they are no moves.
EXCLUDED = ("counter", "bide", "metronome", "mirrormove")


class Damage(NamedTuple):
    """What Showdown did, each int32 [n]."""

    damage: np.ndarray  # before the defender's hp caps it; IMMUNE, or NONE for a move that does none
    substitute: np.ndarray  # its hp afterwards; 0 broken, or there was none
    crit: np.ndarray  # 0 or 1
    draws: np.ndarray  # how many numbers were drawn


def damage(cases: np.ndarray) -> Damage:
    """Showdown's answers to int32 cases [n, len(CASE)].

    With a substitute, damage is what it was struck for (lastDamage), IMMUNE where the move does not strike
    it.

    Raises:
      JaxnashError: the simulator threw.
    """
    words = {"species": VOCABULARIES["species"], "moves": VOCABULARIES["move"], "types": VOCABULARIES["type"]}
    script = Path(__file__).with_name("damage.js")
    command = [node_path(), str(script), str(install()), json.dumps(words)]
    done = subprocess.run(command, input=np.ascontiguousarray(cases, "<i4").tobytes(), capture_output=True)
    if done.returncode:
        raise JaxnashError(f"damage.js failed: {done.stderr.decode(errors='replace')[-1500:]}")
    answers = np.frombuffer(done.stdout, "<i4").reshape(-1, 4)
    return Damage(*answers.T)


def random_cases(count: int, *, seed: int) -> np.ndarray:
    """All moves, levels 1-100, stats 1-999 with many near the formula's edges: int32 [n, len(CASE)]."""
    rng = np.random.default_rng(seed)
    cases = np.zeros((count, len(CASE)), np.int32)

    def put(name: str, values: np.ndarray) -> None:
        cases[:, INDEX[name]] = values

    known = [i for i, id in enumerate(VOCABULARIES["move"][:-2]) if i and id not in EXCLUDED]
    put("move", rng.choice(known, count))
    species = rng.integers(1, len(VOCABULARIES["species"]), (2, count))
    put("species", species[0])
    put("level", np.where(rng.random(count) < 0.3, 100, rng.integers(1, 101, count)))
    types = len(VOCABULARIES["type"])
    for who, one in zip(("", "foe_"), species):
        odd = rng.random(count) < 0.2  # Conversion and the like
        for i in (1, 2):
            put(f"{who}type{i}", np.where(odd, rng.integers(1, types, count), SPECIES_TABLE[f"type{i}"][one]))
        same = cases[:, INDEX[f"{who}type1"]] == cases[:, INDEX[f"{who}type2"]]
        put(f"{who}type2", np.where(same, 0, cases[:, INDEX[f"{who}type2"]]))
    edges = np.array([1, 2, 3, 4, 127, 128, 255, 256, 257, 511, 512, 513, 514, 998, 999])
    for name in CASE[INDEX["atk"] : INDEX["foe_base_spc"] + 1]:
        put(name, np.where(rng.random(count) < 0.3, rng.choice(edges, count), rng.integers(1, 1000, count)))
    for name in ("reflect", "lightscreen", "focusenergy", "mist"):
        put(name, rng.random(count) < 0.25)
    put("foe_hp", rng.integers(1, 704, count))
    put("substitute", np.where(rng.random(count) < 0.3, rng.integers(1, 177, count), 0))
    put("crit", rng.integers(0, 256, count))
    put("roll", rng.integers(217, 256, count))
    psywave = cases[:, INDEX["move"]] == IDS["move"]["psywave"]
    most = np.maximum(cases[:, INDEX["level"]] * 3 // 2, 2)
    cases[psywave, INDEX["roll"]] = rng.integers(1, most)[psywave]
    return cases


def describe(case: np.ndarray) -> str:
    """A case in words, for a report."""
    return ", ".join(f"{name} {_word(name, int(value))}" for name, value in zip(CASE, case))


def _word(name: str, value: int) -> str:
    vocabulary = name.removeprefix("foe_").rstrip("12")
    return VOCABULARIES[vocabulary][value] if vocabulary in ("move", "species", "type") else str(value)


@jax.jit
def engine(cases: Any) -> tuple[Any, Any, Any]:
    """The engine's `damage`, `substitute` and `draws` of `Damage` for the same cases."""
    return jax.vmap(_engine)(cases)


def _engine(case: Any) -> tuple[Any, Any, Any]:
    of = {name: case[i] for i, name in enumerate(CASE)}

    def draw(count: Any, place: Any, site: Any, lo: Any, hi: Any, mask: Any) -> tuple[Any, Any]:
        del place, lo, hi
        number = of["crit"] if site == SITE_IDS["crit"] else of["roll"]
        counted = 0 if site == SITE_IDS["multi_hit"] else mask  # drawn before getDamage
        return count + counted, number % 8 if site == SITE_IDS["multi_hit"] else number

    def flag(name: str) -> Any:
        return of[name] > 0

    one, nothing = jnp.int32(1), jnp.int32(0)
    plain = Active(**{name: zeros(name) for name in Active._fields})
    mine = plain._replace(
        types=(of["type1"], of["type2"]),
        now=(of["atk"], one, of["spc"], one),
        focusenergy=flag("focusenergy"),
    )
    theirs = plain._replace(
        types=(of["foe_type1"], of["foe_type2"]),
        now=(one, of["foe_def"], of["foe_spc"], one),
        reflect=flag("reflect"),
        lightscreen=flag("lightscreen"),
        mist=flag("mist"),
        sub=of["substitute"],
    )
    four = (nothing,) * 4
    blank = Row(
        of["species"],
        of["level"],
        one,
        four,
        four,
        one,
        *(nothing,) * 3,
        *(jnp.bool_(False),) * 2,
        four,
        four,
    )
    me = with_row(mine, blank)._replace(base=(of["base_atk"], one, of["base_spc"], one))
    foe = with_row(theirs, blank)._replace(
        base=(one, of["foe_base_def"], of["foe_base_spc"], one), hp=of["foe_hp"]
    )
    move = move_row(of["move"])
    strikes = (move.own == 0) & (move.category != STATUS)
    unhurt = (move.own == 0) & immune(foe.active, move)
    hits = strikes & ~unhurt
    draws, raw, landed, _ = moves.damage(
        draw, nothing, me=me, foe=foe, move=move, hit=hits, last=nothing, place=nothing
    )
    struck = jnp.where(landed, raw, jnp.where(strikes | unhurt | (of["substitute"] > 0), IMMUNE, NONE))
    left = jnp.where(landed, jnp.maximum(of["substitute"] - raw, 0), of["substitute"])
    # behind a substitute that stands, the damage told is what was drained; there are draws for confusion
    stands = landed & (left > 0)
    struck = jnp.where(stands & (move.drain > 0), jnp.maximum(raw >> 1, 1), struck)
    confuses = stands & (move.secondary > 0) & (move.confusion > 0)
    return struck, left, draws + confuses + (confuses & (of["crit"] < move.secondary))


assert len(MOVE_TABLE["power"]) == len(VOCABULARIES["move"])
