"""A best response to a mixture: clone winners, then improve by policy gradient, then choose on validation.

Knows no backend: batches, rollouts and validation battles are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.keys import derive
from jaxnash.psro.tournament import wilson
from jaxnash.types import Learner, Params, PyTree, Trajectory


class Store(NamedTuple):
    """Where an oracle keeps its state between steps. The default keeps nothing."""

    # (template of a step's tree) -> (step, tree, rows) of the last complete save, or None
    load: Callable[[Callable[[int], PyTree]], tuple[int, PyTree, list[dict]] | None] = lambda template: None
    save: Callable[[int, PyTree, list[dict]], None] = lambda step, tree, rows: None


class Schedule(NamedTuple):
    """Fixed numbers, never a clock."""

    epochs: int  # of cloning
    updates: int  # of policy gradient
    validate_every: int  # updates
    save_every: int  # updates


class BestResponse(NamedTuple):
    params: Params
    chosen: int  # the step whose parameters won the validation
    rows: list[dict[str, Any]]  # one a step: phase, metrics and, where validated, winrate and winrate_ci


def jax_key(*path: int | str) -> jax.Array:
    """A JAX key for a path of ids, by `keys.derive`."""
    return jax.random.key(derive(*path) % 2**63)


def best_response(
    *,
    seed: tuple[int | str, ...],
    params: Params,
    cloning: tuple[Learner, Callable[[Params], Any]],
    batches: Callable[[int], Iterable[Any]],
    gradient: tuple[Learner, Callable[[Params], Any]],
    rollout: Callable[[int, Params], Trajectory],
    validate: Callable[[int, Params], tuple[float, int]],
    schedule: Schedule,
    store: Store | None = None,
    on_step: Callable[[dict[str, Any]], None] = lambda row: None,
) -> BestResponse:
    """Train against one fixed mixture.

    `cloning` and `gradient` are a learner and the function that starts its state from parameters. `batches`
    (epoch) yields what the cloning learner eats; `rollout` (update, behaviour parameters) is a fresh
    `Trajectory` against the mixture; `validate` (step, parameters) is (mean score in [0, 1], pairs) on
    battles set aside for the choice. Steps count 1..epochs for cloning, then the updates. Continues from
    `store` where it holds a step, with the same result as without the interruption.
    """
    store = store or Store()
    clone, start_clone = cloning
    learn, start_learn = gradient
    total = schedule.epochs + schedule.updates

    def template(step: int) -> PyTree:
        started = start_clone(params) if step <= schedule.epochs else start_learn(params)
        return {"state": started, "best": params, "best_score": np.zeros((), np.float32)}

    state, best, best_score = start_clone(params), params, -1.0
    found = store.load(template)
    rows: list[dict[str, Any]] = []
    first = 1
    if found is not None:
        step, tree, rows = found
        first, state, best, best_score = step + 1, tree["state"], tree["best"], float(tree["best_score"])
        for row in rows:
            on_step(row)
    if schedule.epochs == 0 and first == 1:
        state = start_learn(params)

    for step in range(first, total + 1):
        row: dict[str, Any] = {"step": step}
        if step <= schedule.epochs:
            state, metrics = _clone_epoch(clone, state, batches(step), (*seed, "clone", step))
            row |= {"phase": "clone"} | metrics
            current = clone.policy(state)
        else:
            if step == schedule.epochs + 1 and schedule.epochs:
                state = start_learn(clone.policy(state))
            trajectory = rollout(step - schedule.epochs, learn.behaviour(state))
            state, metrics = learn.update(jax_key(*seed, "update", step), state, trajectory)
            row |= {"phase": "ppo"} | _floats(metrics)
            current = learn.policy(state)
        update = step - schedule.epochs
        if step in (schedule.epochs, total) or (update > 0 and update % schedule.validate_every == 0):
            mean, pairs = validate(step, current)
            row |= {"winrate": mean, "winrate_ci": list(wilson(mean, pairs)), "pairs": pairs}
            if np.float32(mean) > np.float32(best_score):
                best, best_score = jax.tree.map(np.asarray, current), mean
        rows.append(row)
        if update <= 0 or step == total or update % schedule.save_every == 0:
            tree = {"state": state, "best": best, "best_score": np.float32(best_score).reshape(())}
            store.save(step, tree, rows)
        on_step(row)
    scored = [row for row in rows if "winrate" in row]
    chosen = max(scored, key=lambda row: (row["winrate"], -row["step"]))["step"] if scored else total
    return BestResponse(best, chosen, rows)


def _clone_epoch(learner: Learner, state: Any, batches: Iterable[Any], path: tuple) -> tuple[Any, dict]:
    totals: list[dict] = []
    for index, batch in enumerate(batches):
        state, metrics = learner.update(jax_key(*path, index), state, batch)
        totals.append(metrics)
    means = {k: float(np.mean([float(m[k]) for m in totals])) for k in (totals[0] if totals else {})}
    return state, means | {"minibatches": len(totals)}


def _floats(metrics: dict) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
