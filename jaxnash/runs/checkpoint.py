"""Checkpoints on disk, by Orbax: policies that restore themselves, and whole states for an exact resume.

Each folder is an Orbax `CheckpointManager`'s: `<step>/` appears complete or not at all, so a killed save
leaves the last complete step in force. Every array's CRC-32 is kept beside it, so that files which a disk has
changed are told. Orbax is imported on first use; it takes seconds.
"""

from __future__ import annotations

import json
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from jaxnash.policies.spec import build
from jaxnash.runs.files import first_line
from jaxnash.types import JaxnashError, Neural, Params, PolicySpec, PyTree

SHOWN = 3  # mismatches an error lists


def save(
    path: str | Path, *, params: Params, spec: PolicySpec, name: str, extra: dict[str, Any] | None = None
) -> None:
    """Write a policy that `restore` rebuilds from `path` alone. `extra` is any JSON, see `describe`.

    What is there stays in force until the new one is complete. Saving what is already there changes nothing,
    so that a repeated stage leaves the same files. Raises `JaxnashError` if it cannot be written.
    """
    about = {"name": name, "spec": spec._asdict(), "extra": extra or {}}
    about = json.loads(json.dumps(about))  # what cannot be restored fails here, not on the day it is needed
    tree = _plain(params)
    with _manager(path, write=True) as manager:
        step = manager.latest_step()
        if step is not None and _holds(manager, step, about, tree):
            return
        _write(manager, path, 0 if step is None else step + 1, params=tree, about=about)


def restore(path: str | Path) -> Neural:
    """The member saved at `path`, ready to play.

    Raises `JaxnashError` for a path without a checkpoint, an unknown policy or another observation layout,
    and parameters that do not fit the policy, naming the first few with the shapes expected and found.
    """
    about = describe(path)
    spec = PolicySpec(**about["spec"])
    policy = build(spec)
    template = jax.eval_shape(policy.init, jax.random.key(0))
    with _manager(path) as manager:
        params = _read(manager, path, manager.latest_step(), "params", template)
    return Neural(about["name"], policy, params, spec)


def describe(path: str | Path) -> dict[str, Any]:
    """`{"name", "spec", "extra"}` as saved at `path`, without reading parameters."""
    with _manager(path) as manager:
        step = manager.latest_step()
        if step is None:
            raise JaxnashError(f"no complete checkpoint in {path}")
        return _about(manager, path, step)


def save_state(path: str | Path, step: int, tree: PyTree, *, keep: int | None = 1) -> None:
    """Write a tree (params, optimiser state, counters, PRNG keys) as `path`/`step`.

    Of older steps only the last `keep` stay (None: all). A step that is there is not written again. Raises
    `JaxnashError` if it cannot be written.
    """
    with _manager(path, write=True, keep=keep) as manager:
        if step not in manager.all_steps():
            _write(manager, path, step, state=_plain(tree))


def restore_state(path: str | Path, template: PyTree, *, step: int | None = None) -> tuple[int, PyTree]:
    """`(step, tree)` of the last complete step, or of `step`.

    `template` is a tree of the same structure, of which only shapes and dtypes are read (`jax.eval_shape`
    will do). Raises `JaxnashError` as `restore` does.
    """
    with _manager(path) as manager:
        found = manager.latest_step() if step is None else step
        if found is None or found not in manager.all_steps():
            which = "" if step is None else f" of step {step}"
            raise JaxnashError(f"no complete checkpoint{which} in {path}")
        return found, _read(manager, path, found, "state", template)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _manager(path: str | Path, *, write: bool = False, keep: int | None = 1) -> Iterator[Any]:
    """A `CheckpointManager` on a folder, which is only made for writing."""
    import orbax.checkpoint as ocp

    folder = Path(path).absolute()
    if not write and not folder.is_dir():
        raise JaxnashError(f"no checkpoint at {path}")
    handlers = {
        "params": ocp.StandardCheckpointHandler(),
        "state": ocp.StandardCheckpointHandler(),
        "about": ocp.JsonCheckpointHandler(filename="spec.json"),
        "sums": ocp.JsonCheckpointHandler(filename="crc32.json"),
    }
    with _quiet():
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep if write else None,
            create=write,
            read_only=not write,
            cleanup_tmp_directories=write,  # what a killed save left behind
            enable_async_checkpointing=False,
        )
        try:
            manager = ocp.CheckpointManager(folder, options=options, item_handlers=handlers)
        except OSError as error:
            raise JaxnashError(f"cannot write the checkpoint {path}: {first_line(error)}") from error
        try:
            yield manager
        finally:
            manager.close()


def _write(manager: Any, path: str | Path, step: int, **items: Any) -> None:
    import orbax.checkpoint as ocp

    kinds = {"params": ocp.args.StandardSave, "state": ocp.args.StandardSave, "about": ocp.args.JsonSave}
    arguments = {name: kinds[name](item) for name, item in items.items()}
    arguments["sums"] = ocp.args.JsonSave(_sums(items.get("params", items.get("state"))))
    try:
        manager.save(step, args=ocp.args.Composite(**arguments), force=True)
    except (OSError, ValueError, RuntimeError) as error:  # TensorStore reports a full disk as a ValueError
        raise JaxnashError(f"cannot write the checkpoint {path}: {first_line(error)}") from error


def _about(manager: Any, path: str | Path, step: int) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    try:
        return manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
    except (OSError, ValueError, KeyError) as error:
        raise JaxnashError(f"{path} holds no policy that can be read") from error


def _read(manager: Any, path: str | Path, step: int, item: str, template: PyTree) -> PyTree:
    """A tree like `template`, whose leaves are arrays, keys or Python numbers, as they were."""
    import orbax.checkpoint as ocp

    plain = _plain(template)
    expected = _shapes(plain)
    try:
        metadata = manager.item_metadata(step)[item]
    except (OSError, ValueError, KeyError):
        metadata = None
    if metadata is None:
        _mute_leftovers()
        raise JaxnashError(f"{path} holds no {item} that can be read")
    found = _shapes(metadata)
    wrong = [
        f"{name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise JaxnashError(f"the checkpoint {path} does not fit: {'; '.join(wrong[:SHOWN])}{more}")
    try:
        read = manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(plain)}))[item]
    except (OSError, ValueError, KeyError) as error:
        _mute_leftovers()
        raise JaxnashError(f"cannot read the checkpoint {path}: {first_line(error)}") from error
    saved = _saved_sums(manager, step)
    changed = [name for name, sum_ in _sums(read).items() if saved.get(name, sum_) != sum_]
    if changed:
        raise JaxnashError(
            f"cannot read the checkpoint {path}: its files are damaged: {', '.join(changed[:SHOWN])} of step "
            f"{step} is not what was saved"
        )
    leaves = serialization.from_state_dict(jax.tree.map(_bare, template), read)
    return jax.tree.map(_as, template, leaves)


def _mute_leftovers() -> None:
    """After a failed read TensorStore's threads find Orbax's event loop closed, and print a traceback each
    beside the one line that says what is wrong: not any more."""
    for name in ("excepthook", "unraisablehook"):
        told = getattr(sys, name)
        if getattr(told, "func", None) is not _unless_closed:
            setattr(sys, name, partial(_unless_closed, told))


def _unless_closed(told: Any, first: Any, *rest: Any) -> None:
    error = rest[0] if rest else first.exc_value
    if not (isinstance(error, RuntimeError) and "Event loop is closed" in str(error)):
        told(first, *rest)


def _holds(manager: Any, step: int, about: dict[str, Any], tree: PyTree) -> bool:
    """Whether a step has just these contents."""
    import orbax.checkpoint as ocp

    try:
        old = manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        if old != about or _shapes(manager.item_metadata(step)["params"]) != _shapes(tree):
            return False
        old = manager.restore(step, args=ocp.args.Composite(params=ocp.args.StandardRestore(tree)))["params"]
    except (OSError, ValueError, KeyError):
        return False  # damaged: write a new one
    pairs = zip(jax.tree.leaves(old), jax.tree.leaves(tree))
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", np.dtype(float)), jax.dtypes.prng_key)


def _bare(leaf: Any) -> np.ndarray:
    """An array of a leaf's (or `ShapeDtypeStruct`'s) values: keys as their data, scalars as arrays, since
    Orbax takes neither NumPy's scalars nor every kind of key."""
    abstract = isinstance(leaf, jax.ShapeDtypeStruct)
    if _is_key(leaf):
        data = jax.eval_shape(jax.random.key_data, leaf) if abstract else jax.random.key_data(leaf)
        return _bare(data)
    return np.empty(leaf.shape, leaf.dtype) if abstract else np.asarray(leaf)


def _plain(tree: PyTree) -> Any:
    """The tree as nested dicts of NumPy arrays, which any device can read back."""
    return serialization.to_state_dict(jax.tree.map(_bare, tree))


def _as(template: Any, leaf: np.ndarray) -> Any:
    """A read leaf in the kind of its template."""
    if _is_key(template):
        impls: list[Any] = []  # only a traced key tells its kind where the template is abstract
        jax.eval_shape(lambda key: impls.append(jax.random.key_impl(key)), template)
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=impls[0])
    if isinstance(template, (bool, int, float)):
        return type(template)(leaf)
    return leaf if isinstance(template, (np.ndarray, np.generic)) else jnp.asarray(leaf)


def _shapes(tree: PyTree) -> dict[str, str]:
    """ "dtype[shape]" by the path of each leaf."""
    named = _named(tree)
    return {name: f"{np.dtype(leaf.dtype)}{list(leaf.shape)}" for name, leaf in named.items()}


def _named(tree: PyTree) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(str(getattr(key, "key", key)) for key in path): leaf for path, leaf in leaves}


def _sums(tree: PyTree) -> dict[str, int]:
    """The CRC-32 of each leaf's bytes, by its path."""
    flat = {name: np.ascontiguousarray(leaf).reshape(-1) for name, leaf in _named(tree).items()}
    return {name: zlib.crc32(leaf.view(np.uint8).data) for name, leaf in flat.items()}


def _saved_sums(manager: Any, step: int) -> dict[str, int]:
    """What `_sums` gave when a step was saved; nothing for checkpoints from before they were kept."""
    import orbax.checkpoint as ocp

    try:
        return manager.restore(step, args=ocp.args.Composite(sums=ocp.args.JsonRestore()))["sums"] or {}
    except (OSError, ValueError, KeyError):
        return {}
