"""Compile once a machine: XLA's programs are kept in the user's cache folder, for child processes too."""

from __future__ import annotations

import os

import platformdirs

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", platformdirs.user_cache_dir("jaxnash-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
