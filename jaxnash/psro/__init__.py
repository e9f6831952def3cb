"""The meta-game: tables, mixtures, gaps and the loop."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
