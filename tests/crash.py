"""Runs the main job and kills its process at a chosen moment: `python -m tests.crash WHERE N -- args`.

WHERE is `module:function` (or `module:Class.function`); N says before which call of it.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "experiments" / "psro_gen1ou.py"


def at_call(where: str, count: int, act: Callable[[], Any], *, patch: Callable[..., None] = setattr) -> None:
    """Call `act` before the `count`-th call of the function named by `where`."""
    module, _, path = where.partition(":")
    owner = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            act()
        return real(*args, **kwargs)

    patch(owner, name, counted)


def main() -> None:
    where, count, _, *arguments = sys.argv[1:]
    at_call(where, int(count), lambda: os.kill(os.getpid(), signal.SIGKILL))
    sys.argv = [str(SCRIPT), *arguments]
    runpy.run_path(str(SCRIPT), run_name="__main__")


if __name__ == "__main__":
    main()
