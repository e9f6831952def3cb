"""`BattleRecord`: one side's view of a battle, from what Showdown sends to that side and nothing else.

It serves the simulator pool and a server alike. Lines are kept and only read when somebody looks, so a member
that needs no more than the legal actions pays for nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from jaxnash.games.gen1.layout import NUM_ACTIONS
from jaxnash.showdown.pokemon import to_id
from jaxnash.showdown.view import View

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
        team = self.data["side"]["pokemon"]
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


class BattleRecord:
    """One side's battle so far.

    history: every line, split on "|", and every request, as ["", "request", raw], in order of arrival; a
    request comes after the lines of its decision point. extras: private state of members.
    """

    def __init__(self, side: int):
        self.side = side
        self.history: list[list[str]] = []
        self.extras: dict[str, Any] = {}
        self._raw: str | None = None
        self._asked: Request | None = None
        self._view = View(side)
        self._seen = 0

    def feed(self, lines: list[list[str]]) -> None:
        """Take the lines of this side's channel, each split on "|"."""
        self.history += lines

    def request(self, raw: str) -> None:
        """Take the request that follows those lines."""
        self.history.append(["", "request", raw])
        self._raw = raw
        self._asked = None

    @property
    def asked(self) -> Request:
        """The current request. Raises ValueError before the first one."""
        if self._asked is None:
            if self._raw is None:
                raise ValueError("no request has come yet")
            self._asked = Request(self._raw)
        return self._asked

    @property
    def waiting(self) -> bool:
        return self.asked.waiting

    @property
    def legal(self) -> tuple[bool, ...]:
        return self.asked.legal

    @property
    def view(self) -> View:
        """What this side knows, after everything in `history`."""
        if self._seen < len(self.history):
            view, asked = self._view, None
            for line in self.history[self._seen :] if self._seen else self.history:
                handler = HANDLERS.get(line[1]) if len(line) > 1 else None
                if handler is not None:
                    handler(view, line)
                elif line[1:2] == ["request"]:
                    asked = self.asked if line[2] is self._raw else Request(line[2])
                    view.on_request(asked)
            self._seen = len(self.history)
        return self._view


HANDLERS = View.handlers()
