"""One Pokémon of a `View`: its observation row and the little that the row does not hold."""

from __future__ import annotations

from array import array
from functools import lru_cache

from jaxnash.games.gen1.layout import IDS, MOVE_TABLE, POKEMON_COLUMNS, POKEMON_INDEX, SPECIES_TABLE, STATS

C = POKEMON_INDEX
MOVES = IDS["move"]
MAX_PP = MOVE_TABLE["pp"].tolist()
STAT_RUN = slice(C["stat_atk"], C["stat_spe"] + 1)
_BLANK = bytes(2 * len(POKEMON_COLUMNS))
_HP, _MOVE1, _PP1 = C["hp"], C["move1"], C["pp1"]
_TYPE1, _TYPE2 = SPECIES_TABLE["type1"].tolist(), SPECIES_TABLE["type2"].tolist()

# What switching out or fainting wipes: contiguous runs of columns.
_VOLATILE = [
    (C["last_move"], C["disabled"] + 1),
    (C["boost_atk"], C["boost_eva"] + 1),
    (C["substitute"], C["transformed"] + 1),
    (C["toxic_turns"], C["turns_in"] + 1),
]
_ZEROS = [(slice(a, b), array("h", bytes(2 * (b - a)))) for a, b in _VOLATILE]


@lru_cache(maxsize=4096)
def to_id(name: str) -> str:
    """Showdown's id of a name: lower-case letters and digits."""
    return "".join([c for c in name.lower() if c.isascii() and c.isalnum()])


@lru_cache(maxsize=4096)
def move_id(name: str) -> int:
    """The vocabulary id of a move's name or id, 0 if it is none of Gen 1's."""
    return MOVES.get(to_id(name), 0)


class Pokemon:
    """One Pokémon as far as it is known.

    row: its observation columns. moves / pps: what it has now, by slot for an own one, by first sight for an
    opponent's. base_moves / base_pps: what it has back on the bench. slot: of the move last chosen. called:
    the last move shown was, by Metronome or Mirror Move (or another's, after a thaw), or goes on from one.
    badly_poisoned: Toxic's counter runs. condition / max_hp: an own one's, from requests.
    """

    __slots__ = (
        "badly_poisoned",
        "base_moves",
        "base_pps",
        "called",
        "condition",
        "max_hp",
        "moves",
        "pps",
        "row",
        "slot",
        "species",
        "stats",
    )

    def __init__(self, details: str):
        name, *rest = details.split(", ")
        level = next((int(part[1:]) for part in rest if part[0] == "L"), 100)
        self.species = to_id(name)
        self.row = array("h", _BLANK)
        self.moves: list[int] = []
        self.pps: list[int] = []
        self.base_moves, self.base_pps = self.moves, self.pps
        self.slot = -1
        self.called = False
        self.badly_poisoned = False
        self.condition = ""
        self.max_hp = 0
        self.row[C["base_species"]] = IDS["species"].get(self.species, 0)
        self.row[C["level"]] = level
        hp, *stats = _stats(self.row[C["base_species"]], level)  # an own one's first request corrects them
        self.stats = array("h", stats)
        self.row[C["stat_hp"]] = hp
        self.row[_HP] = 1000
        self.settle()

    def settle(self) -> None:
        """Forget what does not outlast a switch."""
        row = self.row
        for run, zeros in _ZEROS:
            row[run] = zeros
        species = row[C["base_species"]]
        row[C["species"]] = species
        row[C["type1"]] = _TYPE1[species]
        row[C["type2"]] = _TYPE2[species]
        row[STAT_RUN] = self.stats
        self.slot = -1
        self.called = False
        self.badly_poisoned = False
        if self.moves is not self.base_moves:  # Transform, Mimic
            self.moves, self.pps = self.base_moves, self.base_pps
            self.write_moves()

    def write_moves(self) -> None:
        row, max_pp = self.row, MAX_PP
        slots = range(4) if self.max_hp else self.pps  # of two alike: by slot, an opponent's by PP
        known = sorted(zip(self.moves, slots, self.pps))[:4]
        for i in range(4):
            if i < len(known):
                move, _, pp = known[i]
                row[_MOVE1 + i] = move
                row[_PP1 + i] = min(1000 * pp // (max_pp[move] or 1), 1000)
            else:
                row[_MOVE1 + i] = row[_PP1 + i] = 0

    def learn(self, move: int) -> int:
        """The slot of a move that it showed, -1 where it cannot be its own.

        Of two alike that is the one of more PP, or the one by Mimic, or in place of the move of higher id.
        """
        alike = [slot for slot, known in enumerate(self.moves) if known == move]
        if len(alike) > 1:
            before = [0] * 4 if self.row[C["transformed"]] else [*self.base_moves, 0, 0, 0, 0]
            return max(alike, key=lambda slot: (self.pps[slot], move != before[slot], before[slot]))
        if alike:
            return alike[0]
        if len(self.moves) >= 4 or not MAX_PP[move]:
            return -1
        if self.moves is not self.base_moves and self.pps is self.base_pps:  # Mimic
            self.base_moves.append(move)
        self.moves.append(move)
        self.pps.append(MAX_PP[move])
        return len(self.moves) - 1

    def spend(self, amount: int) -> None:
        if 0 <= self.slot < len(self.pps):
            self.pps[self.slot] = (self.pps[self.slot] - amount) & 63  # six bits: from 0 it wraps to 63


@lru_cache(maxsize=4096)
def _stats(species: int, level: int) -> tuple[int, ...]:
    """hp, atk, def, spc, spe with full DVs and stat experience."""
    hp, *others = ((2 * int(SPECIES_TABLE[stat][species]) + 93) * level for stat in ("hp", *STATS))
    return (hp // 100 + level + 10, *(value // 100 + 5 for value in others))
