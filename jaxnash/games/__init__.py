"""Games: simulators and enumerable trees."""

from jaxnash._lazy import submodules
from jaxnash.games.kuhn import kuhn

__all__ = ["kuhn"]

__getattr__ = submodules(__name__)
