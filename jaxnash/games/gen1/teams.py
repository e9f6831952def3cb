"""From Showdown's packed teams to the numbers that a battle starts with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnash.games.gen1.data import SPECIES
from jaxnash.games.gen1.layout import IDS, SPECIES_STATS
from jaxnash.games.gen1.state import SLOTS, TEAM, Setup
from jaxnash.types import JaxnashError


def setup(teams: Sequence[str]) -> Setup:
    """Two packed teams ("Tauros|||ability|bodyslam,...|...]Chansey|..."), i32 arrays of numpy.

    Raises `JaxnashError` for a species or move that Gen 1 does not have, no or too many Pokemon or moves, and
    a species that is there twice. What OU allows is the validator's matter.
    """
    if len(teams) != 2:
        raise JaxnashError(f"a battle has 2 teams, not {len(teams)}")
    found = Setup(*(np.zeros((2, TEAM, *more), np.int32) for more in ((), (), (), (SLOTS,), (SLOTS,))))
    for n, packed in enumerate(teams):
        members = packed.strip().split("]")
        if not packed.strip() or len(members) > TEAM:
            raise JaxnashError(f"a packed team holds 1 to {TEAM} Pokemon: {packed[:40]!r}")
        for i, member in enumerate(members):
            _one(found, n, i, member)
        if len(set(found.species[n][: len(members)])) < len(members):
            raise JaxnashError(f"a species is in a team twice: {packed[:60]!r}")
    return found


def _one(found: Setup, n: int, i: int, packed: str) -> None:
    fields = packed.split("|")
    if len(fields) < 11:
        raise JaxnashError(f"not a packed Pokemon, which has 11 fields or more: {packed[:40]!r}")
    name = _id(fields[1] or fields[0])
    species = IDS["species"].get(name, 0)
    if not species:
        raise JaxnashError(f"{name or 'a Pokemon without a name'} is no species of Gen 1")
    moves = [_id(move) for move in fields[4].split(",") if move]
    unknown = [move for move in moves if not 0 < IDS["move"].get(move, 0) < IDS["move"]["fight"]]
    if unknown or not 1 <= len(moves) <= SLOTS:
        raise JaxnashError(
            f"{name} has {', '.join(unknown)} among its moves" if unknown else f"{name}: {moves}"
        )
    evs, ivs = _six(fields[6], 0, 255), _six(fields[8], 31, 31)
    ivs = [iv & 30 for iv in ivs]
    level = int(fields[10]) if fields[10] else 100
    if not 1 <= level <= 100:
        raise JaxnashError(f"{name} has level {level}, which is not in 1 to 100")
    parts = [
        2 * int(SPECIES[stat][species]) + ivs[at] + min(evs[at], 255) // 4
        for stat, at in zip(SPECIES_STATS, (0, 1, 2, 3, 5), strict=True)
    ]
    found.species[n, i], found.level[n, i] = species, level
    found.maxhp[n, i] = (parts[0] + 100) * level // 100 + 10
    found.stats[n, i] = [part * level // 100 + 5 for part in parts[1:]]
    found.moves[n, i, : len(moves)] = [IDS["move"][move] for move in moves]


def _six(field: str, default: int, most: int) -> list[int]:
    if not field:
        return [default] * 6
    numbers = [int(x) if x else default for x in field.split(",")]
    return [min(max(x, 0), most) for x in (numbers + [default] * 6)[:6]]


def _id(name: str) -> str:
    return "".join(c for c in name.lower() if c.isascii() and c.isalnum())
