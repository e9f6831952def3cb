"""Games: simulators and enumerable trees."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
