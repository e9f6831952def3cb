"""Progress on the terminal: one bar for the whole, one for the phase under way, and seconds by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining


class Display:
    """A context manager. `phase` opens a bar that counts units; the seconds of each kind add up in `seconds`.

    The first bar is the whole: it advances by each unit's estimated seconds, out of `estimate`.
    """

    def __init__(self, console: Console, *, estimate: float, log: Callable[[str], None] = lambda text: None):
        self.console = console
        self.seconds: dict[str, float] = {}
        self.log = log
        self._progress = Progress(
            TextColumn("{task.description:<28}"),  # all columns fit into 80 characters
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]:<8}"),
            TimeElapsedColumn(),
            Remaining(),
            console=console,
            disable=not console.is_terminal,
        )
        self._whole = self._progress.add_task("all of it (seconds, about)", total=round(estimate), note="")
        self._done = 0.0

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line that stays, on the terminal and in the log."""
        self.console.print(text, style=style, highlight=False)
        self.log(text)

    @contextmanager
    def phase(self, kind: str, title: str, *, total: int, unit_seconds: float = 0.0) -> Iterator[Advance]:
        """`kind` names the sum of seconds, `title` the bar, `total` its units."""
        task = self._progress.add_task(title, total=total, note="")
        started = time.monotonic()
        try:
            yield Advance(self, task, unit_seconds)
        finally:
            seconds = time.monotonic() - started
            self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
            self._progress.remove_task(task)
            self.log(f"{title}: {seconds:.1f} s")
            if not self.console.is_terminal:  # no bars there: a line a phase
                self.console.print(f"{title}: {seconds:.1f} s", highlight=False)

    def _advance(self, task: TaskID, units: int, note: str | None, seconds: float) -> None:
        self._done += seconds
        if note is not None:
            self._progress.update(task, note=note)
        self._progress.advance(task, units)
        self._progress.update(self._whole, completed=round(self._done))


class Advance:
    """Advances one phase's bar."""

    def __init__(self, display: Display, task: TaskID, unit_seconds: float):
        self._display, self._task, self._unit_seconds = display, task, unit_seconds

    def __call__(self, units: int = 1, note: str | None = None) -> None:
        self._display._advance(self._task, units, note, units * self._unit_seconds)
