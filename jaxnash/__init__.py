"""jaxnash: agents that cannot be exploited, in JAX, and how exploitable they are.

Parts are imported when they are first named, so that `import jaxnash` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxnash._lazy import submodules

if TYPE_CHECKING:
    from jaxnash import cfr, games, keys, learners, policies, psro, rollouts, runs, showdown, types
    from jaxnash.runs.checkpoint import restore
    from jaxnash.types import JaxnashError

__all__ = [
    "JaxnashError",
    "cfr",
    "games",
    "keys",
    "learners",
    "policies",
    "psro",
    "restore",
    "rollouts",
    "runs",
    "showdown",
    "types",
]

_NAMES = {"restore": "jaxnash.runs.checkpoint", "JaxnashError": "jaxnash.types"}
_room = submodules(__name__)


def __getattr__(name: str) -> Any:
    return getattr(import_module(_NAMES[name]), name) if name in _NAMES else _room(name)
