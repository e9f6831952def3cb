"""Who is in the population, and who of it is met: `population.json` and draws from a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxnash.keys import derive
from jaxnash.types import Array, JaxnashError

POLICY_TYPES = ("pretrained", "heuristic", "checkpoint")


class Entry(NamedTuple):
    """A line of `population.json`: how to have this member again."""

    name: str
    policy_type: str  # one of POLICY_TYPES
    description: str = ""
    checkpoint: str | None = None  # path, None for a heuristic
    greedy: bool = False  # plays its most probable action


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names, unchanged. Raises `JaxnashError` naming one that is empty or there twice."""
    result = tuple(names)
    for k, name in enumerate(result):
        if not name or name in result[:k]:
            problem = "taken" if name else "empty"
            raise JaxnashError(f"Member name {name!r} is {problem}; give each member its own.")
    return result


def population_to_json(entries: Iterable[Entry]) -> dict[str, Any]:
    """The content of `population.json`, in the order of the population."""
    entries = tuple(entries)
    unique_names(entry.name for entry in entries)
    return {"policies": {e.name: e._asdict() for e in entries}}


def population_from_json(content: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The inverse of `population_to_json`; further fields are passed over.

    Raises `JaxnashError` for a file that is not one of these.
    """
    entries = []
    try:
        for name, policy in content["policies"].items():
            entry = Entry(
                policy.get("name", name),
                policy["policy_type"],
                policy.get("description", ""),
                policy.get("checkpoint"),
                policy.get("greedy", False),
            )
            if entry.name != name or entry.policy_type not in POLICY_TYPES:
                raise ValueError(f"{name!r} has name {entry.name!r} and policy_type {entry.policy_type!r}")
            entries.append(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JaxnashError(f"population.json is not one: {error!r}.") from error
    return tuple(entries)


def draw_opponents(mixture: Array, *path: int | str, n: int) -> np.ndarray:
    """Member indices i32[n] drawn from a mixture f[K], the k-th keyed by `(*path, k)` alone.

    So the k-th battle meets the same member whatever is drawn before it, by whom, and however many are
    drawn. A member of probability 0 is never drawn. Raises `JaxnashError` if it is not a distribution.
    """
    p = np.asarray(mixture, dtype=np.float64)
    if p.ndim != 1 or not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        raise JaxnashError(f"A mixture has probabilities that sum to 1; got {np.array2string(p)}.")
    support = np.flatnonzero(p)
    cumulative = np.cumsum(p[support])
    cumulative /= cumulative[-1]  # exactly 1 at the end: no draw falls off it
    uniform = np.array([derive(*path, k) >> 11 for k in range(n)], dtype=np.float64) * 2.0**-53
    return support[np.searchsorted(cumulative, uniform, side="right")].astype(np.int32)
