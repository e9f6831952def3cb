"""Compile once a machine: XLA's programs are kept in the user's cache folder, for child processes too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", platformdirs.user_cache_dir("jaxnash-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

MAPS = 20_000  # Linux gives a process 65,530; programs take tens each, and XLA aborts when there is no more


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Lets go of the compiled programs of the tests before, when they are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPS:
        import jax

        jax.clear_caches()
