"""Gen 1 damage as a player can work it out from an observation's rows, and type match-ups."""

from __future__ import annotations

from array import array

from jaxnash.games.gen1.layout import IDS, MOVE_TABLE, POKEMON_INDEX, SPECIES_TABLE, TYPE_CHART

C = POKEMON_INDEX
M = {name: column.tolist() for name, column in MOVE_TABLE.items()}
CHART = TYPE_CHART.tolist()
MOVES = IDS["move"]
_BASE_SPEED = SPECIES_TABLE["spe"].tolist()
_PHYSICAL, STATUS_MOVE = 1, 3
_BURN, _PARALYSIS, _SLEEP = (IDS["status"][id] for id in ("brn", "par", "slp"))
_LEVEL_DAMAGE = frozenset((MOVES["seismictoss"], MOVES["nightshade"]))
_SUPER_FANG, _DREAM_EATER, _PSYWAVE = MOVES["superfang"], MOVES["dreameater"], MOVES["psywave"]
_STAGES = (25, 28, 33, 40, 50, 66, 100, 150, 200, 250, 300, 350, 400)  # percent, from -6 to +6
_LOW_ROLL, _MEAN_ROLL = 217 / 255, (217 + 255) / 2 / 255


def stat(row: array, name: str) -> int:
    """A stat with its stages and the drop by paralysis or burn. An opponent's is the layout's estimate."""
    value = min(row[C[f"stat_{name}"]] * _STAGES[row[C[f"boost_{name}"]] + 6] // 100, 999)
    if name == "spe" and row[C["status"]] == _PARALYSIS:
        value //= 4
    elif name == "atk" and row[C["status"]] == _BURN:
        value //= 2
    return max(value, 1)


def effectiveness(attack_type: int, defender: array) -> float:
    """The type multiplier: 0, 1/4, 1/2, 1, 2 or 4."""
    against = CHART[attack_type]
    return against[defender[C["type1"]]] * against[defender[C["type2"]]]


def hit_chance(attacker: array, defender: array, move: int) -> float:
    if not M["accuracy"][move]:
        return 1.0
    stages = _STAGES[attacker[C["boost_acc"]] + 6] * _STAGES[6 - defender[C["boost_eva"]]] / 10_000
    return min(M["accuracy"][move] * 255 // 100 * stages, 255) / 256


def hp_left(row: array) -> float:
    return row[C["hp"]] * row[C["stat_hp"]] / 1000


def _hit(attacker: array, defender: array, move: int, critical: bool) -> int:
    """The largest damage of one hit, before the roll. A critical hit doubles the level and ignores stages."""
    physical = M["category"][move] == _PHYSICAL
    attack_name, defence_name = ("atk", "def") if physical else ("spc", "spc")
    level = attacker[C["level"]]
    if critical:
        level *= 2
        attack, defence = attacker[C[f"stat_{attack_name}"]], defender[C[f"stat_{defence_name}"]]
    else:
        attack, defence = stat(attacker, attack_name), stat(defender, defence_name)
        if defender[C["reflect" if physical else "lightscreen"]]:
            defence *= 2
    if attack >= 256 or defence >= 256:
        attack, defence = max(attack // 4 % 256, 1), max(defence // 4 % 256, 1)
    if M["selfdestruct"][move]:
        defence = max(defence // 2, 1)
    damage = min((2 * level // 5 + 2) * M["power"][move] * attack // defence // 50, 997) + 2
    kind = M["type"][move]
    if kind and kind in (attacker[C["type1"]], attacker[C["type2"]]):
        damage += damage // 2
    return int(damage * effectiveness(kind, defender))


def expected_damage(attacker: array, defender: array, move: int, *, low: bool = False) -> float:
    """Mean damage in hp with misses, critical hits, rolls and several hits in it, not capped by the hp left.

    `low`: instead the least that one hit does, critical hits and misses apart. A two-turn move counts half.
    Counter, Bide and the one-hit knock-outs count nothing: what they do is not up to their user alone.
    """
    if M["category"][move] in (0, STATUS_MOVE):
        return 0.0
    chance = 1.0 if low else hit_chance(attacker, defender, move)
    if move in _LEVEL_DAMAGE:
        return chance * attacker[C["level"]]
    if move == _PSYWAVE:
        return 1.0 if low else chance * 0.75 * attacker[C["level"]]
    if move == _SUPER_FANG:
        return chance * hp_left(defender) / 2
    if M["fixed"][move]:
        return chance * M["fixed"][move]
    if M["power"][move] <= 1 or (move == _DREAM_EATER and defender[C["status"]] != _SLEEP):
        return 0.0
    if low:
        return _hit(attacker, defender, move, False) * _LOW_ROLL
    rate = _BASE_SPEED[attacker[C["base_species"]]] // 2 * (8 if M["critical"][move] else 1)
    rate = min(rate // (4 if attacker[C["focusenergy"]] else 1), 255) / 256
    mean = (1 - rate) * _hit(attacker, defender, move, False) + rate * _hit(attacker, defender, move, True)
    return chance * mean * _MEAN_ROLL * M["hits"][move] / (20 if M["charge"][move] else 10)


def known_moves(row: array) -> list[int]:
    return [move for move in row[C["move1"] : C["move4"] + 1] if move]


def matchup(own: array, other: array) -> float:
    """Best multiplier of own types on the other minus the reverse: -4 to 4."""

    def best(attacker: array, defender: array) -> float:
        return max(effectiveness(attacker[C[t]], defender) for t in ("type1", "type2") if attacker[C[t]])

    return best(own, other) - best(other, own)
