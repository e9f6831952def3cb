"""From a battle record to an observation, and between the nine actions and Showdown's orders."""

from __future__ import annotations

from array import array

import numpy as np

from jaxnash.games.gen1.layout import (
    FIELD_INDEX,
    IDS,
    POKEMON_COLUMNS,
    POKEMON_INDEX,
    TEAM,
    Observation,
)
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.pokemon import to_id
from jaxnash.showdown.request import FIRST_SWITCH

_WIDTH = len(POKEMON_COLUMNS)
_BLANKS = [bytes(2 * _WIDTH * missing) for missing in range(TEAM + 1)]
_STATUS, _FAINTED, _REVEALED, _RESTING = (
    POKEMON_INDEX[name] for name in ("status", "fainted", "revealed", "resting")
)
_SLEEP, _FREEZE = IDS["status"]["slp"], IDS["status"]["frz"]
assert list(FIELD_INDEX) == [  # the order in which `observe` writes them
    *("turn", "forced_switch", "single", "waiting", "cannot_switch"),
    *("own_alive", "opponent_alive", "own_revealed", "opponent_revealed"),
    *("own_asleep", "opponent_asleep", "own_frozen", "opponent_frozen"),
]


def observe(record: BattleRecord) -> Observation:
    """What the record's side knows now: `layout.Observation` of numpy int16 [12, F] and [G].

    A function of the lines and requests sent to that side alone. Raises ValueError before the first request.
    """
    view, asked = record.view, record.asked
    own, other = view.rows()
    joined = b"".join([*own, _BLANKS[TEAM - len(own)], *other, _BLANKS[TEAM - len(other)]])
    counts = [_census(rows) for rows in (own, other)]
    (own_alive, own_seen, own_asleep, own_frozen), (_, seen, asleep, frozen) = counts
    fallen = sum([row[_FAINTED] for row in other])
    field = array(
        "h",
        [
            min(view.turn, 32767),
            asked.forced,
            asked.single,
            asked.waiting,
            not any(asked.legal[FIRST_SWITCH:]),
            own_alive,
            view.team_size[1 - view.side] - fallen,
            own_seen,
            seen,
            own_asleep,
            asleep,
            own_frozen,
            frozen,
        ],
    )
    pokemon = np.frombuffer(joined, np.int16).reshape(2 * TEAM, _WIDTH)
    return Observation(pokemon, np.frombuffer(field, np.int16))


def _census(rows: list[array]) -> tuple[int, int, int, int]:
    """How many are alive, revealed, asleep other than by Rest, frozen."""
    alive = seen = asleep = frozen = 0
    for row in rows:
        seen += row[_REVEALED]
        if not row[_FAINTED]:
            alive += 1
            status = row[_STATUS]
            if status == _SLEEP:
                asleep += not row[_RESTING]
            elif status == _FREEZE:
                frozen += 1
    return alive, seen, asleep, frozen


def order(record: BattleRecord, action: int) -> str:
    """Showdown's choice string, in its present slot numbers: "move 2", "switch 4".

    Raises ValueError for an illegal action or a waiting side.
    """
    asked = record.asked
    if asked.waiting or not asked.legal[action]:
        raise ValueError(f"action {action} is not legal now; legal: {record.legal}, waiting: {asked.waiting}")
    if action < FIRST_SWITCH:
        return f"move {asked.moves[action] + 1}"
    return f"switch {asked.switches[action - FIRST_SWITCH] + 1}"


def action_of(record: BattleRecord, order: str) -> int:
    """The action of a choice string: "move 2", "move bodyslam", "switch 4", "/choose switch Chansey".

    The action need not be legal. Raises ValueError where no action means that order.
    """
    asked = record.asked
    kind, _, what = order.removeprefix("/choose ").strip().partition(" ")
    name = to_id(what)
    if kind == "move":
        for action, slot in enumerate(asked.moves):
            if name == asked.offered[slot]["id"] or what == str(slot + 1):
                return action
    elif kind == "switch":
        team = asked.data["side"]["pokemon"]
        for action, slot in enumerate(asked.switches, FIRST_SWITCH):
            one = team[slot]
            names = (to_id(one["details"].split(",", 1)[0]), to_id(one["ident"].partition(": ")[2]))
            if name in names or what == str(slot + 1):
                return action
    raise ValueError(f"no action means {order!r} now")
