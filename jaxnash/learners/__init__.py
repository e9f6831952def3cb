"""Learners: pure updates over trajectories and recorded samples."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
