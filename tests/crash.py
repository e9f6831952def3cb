"""Runs the main job and kills a process at a chosen moment: `python -m tests.crash WHAT WHERE N -- args`.

WHAT is `self` (kill -9 of this process) or `worker` (kill -9 of its first simulator process); WHERE is
`module:function` (or `module:Class.function`); N says at which call of it.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys

import jaxnash.showdown.pool as pool_module


def main() -> None:
    what, where, count = sys.argv[1:4]
    pools: list[pool_module.Pool] = []
    start = pool_module.Pool.__init__

    def remember(self, *args, **kwargs):
        pools.append(self)
        start(self, *args, **kwargs)

    pool_module.Pool.__init__ = remember  # type: ignore[method-assign]
    module, _, path = where.partition(":")
    owner = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real = getattr(owner, name)
    calls = 0

    def fatal(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == int(count):
            os.kill(os.getpid() if what == "self" else pools[0].pids[0], signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, name, fatal)
    script = os.path.join(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "experiments", "psro_gen1ou.py"
    )
    sys.argv = [script, *sys.argv[5:]]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
