"""`BattleRecord`: one side's view of a battle, from what Showdown sends to that side and nothing else.

It serves the simulator pool and a server alike. Lines are kept and only read when somebody looks, so a member
that needs no more than the legal actions pays for nothing else.
"""

from __future__ import annotations

from typing import Any

from jaxnash.showdown.request import Request
from jaxnash.showdown.view import View


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
