"""Policies by name, so that a checkpoint can be restored without the script that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxnash.games.fighter.table import digest
from jaxnash.games.gen1 import layout
from jaxnash.policies.advantage import counterfactual_policy
from jaxnash.policies.history import history_policy
from jaxnash.policies.networks import mlp_policy, token_policy
from jaxnash.types import JaxnashError, Policy, PolicySpec

REGISTRY: dict[str, Callable[..., Policy]] = {
    "token": token_policy,
    "mlp": mlp_policy,
    "counterfactual": counterfactual_policy,
    "history": history_policy,
}

LAYOUTS: dict[str, str] = {  # what each reads, "" for what the game's own types say
    "token": layout.LAYOUT_HASH,
    "mlp": "",
    "counterfactual": "",
    "history": digest(),
}

MODEL_SIZES: dict[str, dict[str, int]] = {
    "nano": {"width": 16, "layers": 1, "heads": 2},  # 0.02M parameters, for tests
    "tiny": {"width": 64, "layers": 2, "heads": 4},  # 0.19M parameters
    "small": {"width": 128, "layers": 4, "heads": 4},  # 1M
    "base": {"width": 512, "layers": 8, "heads": 8},  # 27M
    "large": {"width": 1024, "layers": 16, "heads": 16},  # 209M
}


def token_spec(size: str) -> PolicySpec:
    """The spec of a token policy by model size; raises `JaxnashError` naming the sizes there are."""
    if size not in MODEL_SIZES:
        raise JaxnashError(f"unknown model size {size!r}: choose from {', '.join(MODEL_SIZES)}")
    return PolicySpec(
        "token", dict(MODEL_SIZES[size]), layout.LAYOUT_HASH, f"categorical:{layout.NUM_ACTIONS}"
    )


def mlp_spec(*, observation_size: int, actions: int, hidden: tuple[int, ...] = (64, 64)) -> PolicySpec:
    """The spec of a policy over flat observations."""
    kwargs: dict[str, Any] = {
        "observation_size": observation_size,
        "actions": actions,
        "hidden": list(hidden),
    }
    return PolicySpec("mlp", kwargs, "", f"categorical:{actions}")


def history_spec(**sizes: Any) -> PolicySpec:
    """The spec of `history_policy(**sizes)` for the fighter; its layout names the fighter's rules."""
    kwargs = {name: list(size) if isinstance(size, tuple) else size for name, size in sizes.items()}
    return PolicySpec("history", kwargs, digest(), "buttons:10")


def build(spec: PolicySpec) -> Policy:
    """The policy a spec describes; equal specs give the identical policy, so that jit compiles it once.

    Raises `JaxnashError` for an unknown name, arguments that its factory does not take, and a layout other
    than this version's, naming both.
    """
    if spec.name not in REGISTRY:
        raise JaxnashError(f"unknown policy {spec.name!r}: this version has {', '.join(REGISTRY)}")
    if spec.layout != LAYOUTS[spec.name]:
        raise JaxnashError(
            f"the policy reads observation layout {spec.layout!r}, this version writes "
            f"{LAYOUTS[spec.name]!r}: use the version that made it"
        )
    try:
        return REGISTRY[spec.name](**spec.kwargs)
    except TypeError as error:
        raise JaxnashError(f"policy {spec.name!r} cannot be built from {spec.kwargs}: {error}") from error
