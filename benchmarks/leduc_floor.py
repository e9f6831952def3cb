"""The floor of deep CFR on Leduc: the same traverser and schedule with a table in place of networks.

External-sampling linear CFR (Brown and Sandholm, "Solving Imperfect-Information Games via Discounted Regret
Minimization", 2019), alternating, on `leduc(suits=0)`: what is left of the exploitability when nothing has to
be fitted, and only sampling is to blame.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from benchmarks.recorded import conditions, write
from jaxnash.cfr import exploitability
from jaxnash.games.game import sampled
from jaxnash.games.leduc import leduc
from jaxnash.learners.exact import Infosets, infosets, own_reach
from jaxnash.policies.advantage import regret_matching
from jaxnash.rollouts.sampling import traversing
from jaxnash.rollouts.traverse import traverser
from jaxnash.types import Array


@dataclass(frozen=True)
class LeducFloor:
    """Tabular external-sampling linear CFR on Leduc, with deep CFR's traverser and schedule."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """one run each"""
    iterations: int = 700
    """of both players in turn, as the preset leduc has"""
    trajectories: int = 414
    """traversals of each player an iteration"""
    lanes: int = 414
    """traversals at once"""
    nodes: float = 1e7
    """read at the first measurement after so many"""
    evaluate_every: int = 100
    """iterations between measurements"""
    write: bool = False
    """write the results to benchmarks/results/leduc_floor.json"""


def strategy(table: tuple[Array, Array], obs: Array, legal: Array) -> Array:
    """Regret matching on the rows of `table` = (observations f32[I, D], regrets f32[I, A])."""
    return regret_matching(table[1][_rows(table[0], obs)], legal)


def _rows(known: Array, obs: Array) -> Array:
    """Which of the observations, of zeros and ones, each one is."""
    return (2 * obs @ known.T - (known**2).sum(axis=1)).argmax(axis=1)


def one(config: LeducFloor, where: Infosets, seed: int) -> list[tuple[int, int, float]]:
    """(iterations, nodes, milli-antes) of a run."""
    game, depth = sampled(leduc(suits=False)), len(where.levels)
    walk = traverser(game, strategy, lanes=config.lanes, capacity=4096, depth=depth)
    take = traversing(walk)
    regrets, total, nodes, curve = np.zeros(where.legal.shape), np.zeros(where.legal.shape), 0, []
    ids = np.arange(config.trajectories, dtype=np.int32)
    seats = np.asarray(where.player)
    reach_of = jax.jit(lambda policy: own_reach(where._replace(tree=None), policy))
    for t in track(range(1, config.iterations + 1), description=f"seed {seed}", console=Console(stderr=True)):
        for player in (0, 1):
            policy = np.asarray(regret_matching(regrets, where.legal), np.float64)
            own = (seats == player)[:, None]
            total += own * t * np.asarray(reach_of(jnp.float32(policy)), np.float64)[:, None] * policy
            side = (jnp.float32(where.obs), jnp.float32(regrets))
            key = jax.random.fold_in(jax.random.key(seed), 2 * t + player)
            taken = take(key, player, (side, side), ids)
            nodes += taken.nodes
            for chunk in taken.regrets:
                gained = t * np.where(chunk.legal, chunk.target, 0)
                np.add.at(regrets, _rows(np.asarray(where.obs), chunk.obs), gained)
        if t % config.evaluate_every == 0 or t == config.iterations:
            mass = total.sum(axis=1, keepdims=True)
            even = where.legal / where.legal.sum(axis=1, keepdims=True)
            average = np.where(mass > 0, total / np.where(mass > 0, mass, 1), even)
            curve.append((t, nodes, 1000 * exploitability(where.tree, average)))
    return curve


def run(config: LeducFloor) -> dict[str, Any]:
    """All seeds; prints each one's first measurement at or after the budget of nodes, and the mean."""
    measured_on = conditions()
    where, console, found = infosets(leduc(suits=False)), Console(), {}
    began = time.perf_counter()
    for seed in config.seeds:
        curve = one(config, where, seed)
        read = next((row for row in curve if row[1] >= config.nodes), curve[-1])
        found[seed] = {"curve": curve, "read": read}
        console.print(f"seed {seed}: {read[2]:.1f} milli-antes at {read[1]:,} nodes, iteration {read[0]}")
    values = [one["read"][2] for one in found.values()]
    console.print(f"mean {np.mean(values):.1f}, {min(values):.1f} to {max(values):.1f}", highlight=False)
    result = {"config": asdict(config), **measured_on, "seeds": found, "seconds": time.perf_counter() - began}
    if config.write:
        write("leduc_floor", result)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[LeducFloor] = LeducFloor()) -> None:
    """Tabular external-sampling linear CFR on Leduc, with deep CFR's traverser and schedule."""
    run(config)
