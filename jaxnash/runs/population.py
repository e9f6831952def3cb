"""A population of deep CFR agents: how each is trained, what it plays, and what it wins of the others."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.cfr import game_value
from jaxnash.keys import derive
from jaxnash.learners.exact import Infosets, average_policy, infosets
from jaxnash.policies.advantage import counterfactual_policy
from jaxnash.psro.tournament import Table
from jaxnash.rollouts.matches import Score, play
from jaxnash.rollouts.sampling import Sampler, here, workers
from jaxnash.runs.checkpoint import restore_state
from jaxnash.runs.deep_cfr import (
    Parts,
    State,
    advantage_strategy,
    average_networks,
    build,
    parts_of,
    played,
    policy_strategy,
    start,
    weights_of,
)
from jaxnash.runs.deep_cfr_knobs import Knobs
from jaxnash.runs.population_knobs import Agent, PopulationKnobs, agent_knobs
from jaxnash.types import Array, Neural, PyTree


class Strategy(NamedTuple):
    """What an agent plays: networks, each by its weight and the player's own reach."""

    networks: tuple[PyTree, PyTree]  # of player 0 and 1, leaves [N, ...]
    weights: Array  # f64[N]


# -- training ---------------------------------------------------------------------------------------------


def parts_for(knobs: Knobs) -> Parts:
    """`parts_of`, the same one for agents that differ in nothing compiled."""
    return _parts(_compiled(knobs))


_parts = lru_cache(maxsize=256)(parts_of)


def _compiled(knobs: Knobs) -> Knobs:
    """The knobs without those that no program depends on."""
    return dataclasses.replace(
        knobs,
        **{"iterations": 1, "trajectories": 1, "steps": 1, "least_steps": 1, "seed": 0, "run_dir": None},
        **{"workers": 1, "checkpoint_every": 1, "evaluate_every": 0, "max_hours": 1.0},
    )


def sampler_for(knobs: Knobs) -> Sampler:
    """Who traverses; agents with the same network share one that is in this process."""
    if knobs.workers > 1:
        return workers(partial(build, parts_for(knobs).plan), knobs.workers)
    return _here(dataclasses.replace(_compiled(knobs), learning_rate=1.0, batch_size=1))


@lru_cache
def _here(knobs: Knobs) -> Sampler:
    return here(partial(build, parts_of(knobs).plan))


@lru_cache
def table_for(game: str) -> Infosets | None:
    """A game's infosets where it is written out."""
    tree = played(game).tree
    return None if tree is None else infosets(tree)


def begun(knobs: Knobs, agent: Agent, *, run_dir: Path, generation: int) -> State:
    """An agent's state: as last saved, else its parent's, else that of one who knows nothing."""
    parts, own = parts_for(knobs), run_dir / "checkpoints"
    if agent.inherits and not holds_steps(own):
        own = run_dir.parent.parent / f"generation_{generation - 1}" / str(agent.parent) / "checkpoints"
    elif not holds_steps(own):
        return start(knobs, parts)
    return State(*restore_state(own, jax.eval_shape(partial(start, knobs, parts)))[1])


def holds_steps(folder: Path) -> bool:
    """Whether a folder has a complete checkpoint."""
    return folder.is_dir() and any(step.name.isdigit() for step in folder.iterdir())


def strategy_of(knobs: Knobs, parts: Parts, state: State) -> tuple[Strategy, float | None]:
    """What a state plays, and the loss of the average policy networks (deep-cfr)."""
    if knobs.algorithm == "deep-cfr":
        networks, loss = average_networks(knobs, parts, state)
        return Strategy(jax.tree.map(lambda leaf: leaf[None], networks), np.ones(1)), loss
    first, second = (side.history for side in state.sides)
    return Strategy((first, second), weights_of(knobs, int(state.iteration))), None


def restored_agent(
    knobs: PopulationKnobs, run_dir: Path, generation: int, agent: Agent
) -> tuple[Knobs, Strategy]:
    """An agent at the end of a generation: its knobs and the strategy that was saved as `strategy`."""
    own = agent_knobs(knobs, agent)
    count = 1 if own.algorithm == "deep-cfr" else own.iterations
    one = jax.eval_shape(parts_for(own).net.init, jax.random.key(0))
    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), one)
    folder = run_dir / f"generation_{generation}" / agent.name / "strategy"
    return own, Strategy(*restore_state(folder, Strategy((many, many), np.zeros(count)))[1])


# -- matches ----------------------------------------------------------------------------------------------


def exact_policy(knobs: Knobs, table: Infosets, strategy: Strategy) -> np.ndarray:
    """What a strategy plays at every infoset, f64[I, A]."""
    function = policy_strategy if knobs.algorithm == "deep-cfr" else advantage_strategy
    net = parts_for(knobs).net
    return average_policy(table, function(net), strategy.networks, strategy.weights)


def exact_payoff(table: Infosets, first: Array, second: Array) -> Score:
    """The first policy's expected chips a hand against the second, f64[I, A] each, the mean of both seats."""
    seat_0 = (table.player == 0)[:, None]
    there = game_value(table.tree, np.where(seat_0, first, second))
    back = game_value(table.tree, np.where(seat_0, second, first))
    mean = 0.5 * (there - back)
    return Score(mean, mean, mean, 0, 1.0, "exact")


def meeting(
    knobs: PopulationKnobs, agents: list[tuple[Knobs, Strategy]]
) -> Callable[[int, int, tuple[int | str, ...]], Score]:
    """A function `(i, j, path)` to what agent i earns of j: exactly, or in a match on hands keyed by path."""
    table = None if knobs.payoffs == "match" else table_for(knobs.game)
    if table is None:
        return lambda i, j, path: matched(knobs, path, [agents[i], agents[j]])
    policies = [exact_policy(own, table, strategy) for own, strategy in agents]
    return lambda i, j, path: exact_payoff(table, policies[i], policies[j])


def matched(knobs: PopulationKnobs, path: tuple[int | str, ...], both: list[tuple[Knobs, Strategy]]) -> Score:
    """A match of two agents on hands keyed by the path, in chips a hand of the first."""
    members, weights = zip(*(_seats(*one) for one in both))
    match, setups = _match(knobs.game, knobs.bet_sizes, knobs.pairs)
    return match(jax.random.key(derive(*path) >> 33), members, setups, mixtures=weights)


def _seats(knobs: Knobs, strategy: Strategy) -> tuple[tuple[Neural, Neural], Array]:
    head = "softmax" if knobs.algorithm == "deep-cfr" else "regret-matching"
    policy = counterfactual_policy(**{**parts_for(knobs).plan.spec.kwargs, "head": head})
    first, second = (Neural(f"player_{seat}", policy, one) for seat, one in enumerate(strategy.networks))
    return (first, second), strategy.weights


@lru_cache
def _match(game: str, bet_sizes: tuple[float, ...], pairs: int) -> tuple[Callable[..., Score], PyTree]:
    what = played(game, bet_sizes)
    return play(what.game, pairs=pairs, most_decisions=2 * what.depth), what.setups


# -- files ------------------------------------------------------------------------------------------------


def table_to_json(table: Table) -> dict[str, Any]:
    """The content of `interaction_matrix.json` for cells in chips a hand: played pairs only."""
    return {"population": list(table.names), "unit": "chips a hand", "matchups": _rows(table)}


def _rows(table: Table) -> list[dict[str, Any]]:
    return [
        {
            "policy1": table.names[i],
            "policy2": table.names[j],
            "payoff": cell.mean,
            "payoff_ci": [cell.low, cell.high],
            "level": cell.level,
            "pairs": cell.pairs,
            "hands": 2 * cell.pairs,
            "kind": cell.kind,
        }
        for (i, j), cell in sorted(table.cells.items())
    ]


def table_from_json(content: dict[str, Any]) -> Table:
    """The inverse of `table_to_json`."""
    names = tuple(content["population"])
    cells = {}
    for row in content["matchups"]:
        (low, high), (i, j) = row["payoff_ci"], (names.index(row[side]) for side in ("policy1", "policy2"))
        cells[i, j] = Score(row["payoff"], low, high, row["pairs"], row["level"], row["kind"])
    return Table(names, cells)


def table_to_csv(table: Table) -> str:
    """The content of `interaction_matrix.csv`: the same rows, the interval as payoff_low and payoff_high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["policy1", "policy2", "payoff", "payoff_low", "payoff_high", "level", "pairs", "hands", "kind"]
    )
    for row in _rows(table):
        one, two, payoff, (low, high), *others = row.values()
        writer.writerow([one, two, payoff, low, high, *others])
    return out.getvalue()
