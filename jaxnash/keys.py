"""Randomness keyed by what happens, not by when: every draw is a function of (seed, purpose, ids...)."""

from __future__ import annotations

from hashlib import blake2b


def derive(*path: int | str) -> int:
    """A 64-bit key for a path such as ``(seed, "tournament", pair, battle, seat, decision)``.

    Distinct paths give independent keys; the same path gives the same key on every machine, in any order
    of execution and from any number of workers.
    """
    text = "\x1f".join([f"{type(part).__name__[0]}{part}" for part in path])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
