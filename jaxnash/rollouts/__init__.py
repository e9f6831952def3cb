"""Rollouts: members play a game, out comes a `Trajectory`."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
