"""A polite stop: SIGTERM is noted, and the script ends at its next safe point, where all is saved.

    stop.watch()
    while ...:
        ...  # an update, then its save
        if stop.requested():
            stop.leave(iteration)

What runs between two safe points delays the stop by its own length; `kill -9` needs none of this.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

SAID = "stopped after {}; the same command with --resume continues"
AT_ONCE = 143  # 128 + SIGTERM, as shells count

_asked: list[int] = []  # the signals since `watch`


def watch() -> None:
    """From now on SIGTERM makes `requested` true; a second one ends the process at once with exit code 143.

    An earlier request is forgotten. To be called by the main thread (ValueError elsewhere), early: before it,
    SIGTERM kills as ever. Python looks at signals between its own instructions, so one that comes during a
    long jitted call is seen when that returns. Processes forked from this one die of SIGTERM as ever.
    """
    _asked.clear()
    owner = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != owner:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if _asked:
            os.write(2, b"stopped at once: what was saved last stands, and --resume continues from there\n")
            os._exit(AT_ONCE)
        _asked.append(number)

    signal.signal(signal.SIGTERM, note)


def requested() -> bool:
    """Whether SIGTERM came since `watch`."""
    return bool(_asked)


def leave(done: int | str, *, say: Callable[[str], Any] = print) -> NoReturn:
    """End the script with exit code 0 and one line, by `SystemExit`, so that `with` and `finally` clean up.

    `done` is the last saved iteration, or says in words up to where the run is saved. `jaxnash status` tells
    a stopped job from a finished one by this line, so `say` prints it as it is.
    """
    say(SAID.format(f"iteration {done}" if isinstance(done, int) else done))
    raise SystemExit(0)
