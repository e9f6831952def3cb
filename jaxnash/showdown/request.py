"""`Request`: what Showdown asks of one side, and what the nine actions mean for it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from jaxnash.games.gen1.layout import NUM_ACTIONS
from jaxnash.showdown.pokemon import to_id

FIRST_SWITCH = 4
WAITING = (True, *[False] * (NUM_ACTIONS - 1))  # an inactive seat is one-hot on action 0


class Request:
    """What Showdown asks: the JSON and what the nine actions mean now.

    data: the decoded request. offered: its moves. waiting: nothing is asked of this side. forced: it must
    switch. single: there is one move, which is not chosen (Fight, Recharge, Struggle, a locked move).
    moves: slots of actions 0-3. switches: slots of actions 4-8, in order of species. Slots count from 0.
    """

    __slots__ = ("data", "forced", "legal", "moves", "offered", "single", "switches", "waiting")

    def __init__(self, raw: str):
        self.data: dict[str, Any] = orjson.loads(raw)
        self.waiting = bool(self.data.get("wait"))
        self.forced = bool(self.data.get("forceSwitch"))
        self.moves: tuple[int, ...] = ()
        self.offered: list[dict[str, Any]] = []
        self.single = False
        team = self.data["side"]["pokemon"] if "side" in self.data else []
        self.switches = bench_order(tuple([one["details"] for one in team]))
        if self.waiting:
            self.legal = WAITING
            return
        legal = [False] * NUM_ACTIONS
        can_switch = True
        if not self.forced:
            active = self.data["active"][0]
            can_switch = not active.get("trapped")
            self.offered = active["moves"]
            self.single = "pp" not in self.offered[0]
            self.moves = alphabetical(tuple([move["id"] for move in self.offered]))
            for action, slot in enumerate(self.moves):
                legal[action] = not self.offered[slot].get("disabled")
        if can_switch:
            for action, slot in enumerate(self.switches, FIRST_SWITCH):
                legal[action] = not team[slot]["condition"].endswith("fnt")
        self.legal = tuple(legal)


@lru_cache(maxsize=4096)
def alphabetical(ids: tuple[str, ...]) -> tuple[int, ...]:
    """Positions in alphabetical order; a move held twice (Mimic) keeps the order of its slots."""
    return tuple(sorted(range(len(ids)), key=lambda i: (ids[i], i)))


@lru_cache(maxsize=4096)
def bench_order(details: tuple[str, ...]) -> tuple[int, ...]:
    """Positions 1.. (0 is the active) in alphabetical order of species id."""
    return tuple(sorted(range(1, len(details)), key=lambda i: (to_id(details[i].split(",", 1)[0]), i)))
