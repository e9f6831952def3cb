"""The bridge to the real Pokémon Showdown."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
