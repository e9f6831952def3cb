"""How much memory there is and is used, so that what cannot fit is refused before it is allocated."""

from __future__ import annotations

import os


def available_memory() -> int:
    """Bytes of memory that new work can use; 4 GiB where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 4 * 2**30


def process_memory() -> int | None:
    """Bytes of memory that this process holds now (its resident set); None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def in_words(size: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{size / 2**20:.4g} MiB" if size < 2**30 else f"{size / 2**30:.4g} GiB"
