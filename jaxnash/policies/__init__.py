"""Policies: networks as pure functions, and the specs that rebuild them."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
