"""Runs on disk: directories, checkpoints, reports, and the main job's parts."""

from jaxnash._lazy import submodules

__getattr__ = submodules(__name__)
