"""Nodes a second of the traverser, gradient steps a second, and each phase's share, beside OpenSpiel.

A node is a decision or an end that was visited; chance is not counted. Ours calls the network at every
decision it visits. OpenSpiel's Python deep CFR is timed in its traversals alone (no training), on networks of
the same sizes. Its C++ external-sampling MCCFR has a table and no network; it tells no nodes, and is counted
as if its traversals were as large as ours.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.recorded import conditions, write
from jaxnash.learners.deep_cfr import ordered, remember
from jaxnash.rollouts.sampling import Taken, here, workers
from jaxnash.runs.deep_cfr import build, parts_of, start
from jaxnash.runs.deep_cfr_knobs import PRESETS, Knobs

AIM = 1.5e6  # nodes a second, Leduc with 3 x 64
LEDUC = replace(PRESETS["leduc"], game="leduc", hidden=(64, 64, 64), memory=200_000, iterations=2)
LIMIT = replace(LEDUC, game="limit", batch_size=2048, scale=300.0)
CASES: dict[str, tuple[Knobs, int]] = {  # and how many trajectories a round takes
    "Leduc, 3 x 64": (LEDUC, 100_000),
    "Leduc, 3 x 64, two workers": (replace(LEDUC, workers=2), 100_000),
    "Leduc without suits, 3 x 64": (replace(LEDUC, game="leduc(suits=0)"), 100_000),
    "limit hold'em, two branches of 76 (93k)": (replace(LIMIT, network="cards", hidden=(76,)), 8_000),
    "limit hold'em, residual 512 x 6": (replace(LIMIT, network="residual", hidden=()), 600),
}


@dataclass(frozen=True)
class DeepCfr:
    """The traverser's nodes a second and SGD steps a second, beside OpenSpiel's."""

    cases: tuple[str, ...] = tuple(CASES)
    """which of ours"""
    lanes: int = 1024
    """traversals at once in each process"""
    rounds: int = 5
    """rounds, of which the median counts"""
    share: float = 1.0
    """of each round's trajectories, for a quick look"""
    steps: int = 50
    """gradient steps of a round"""
    peers: bool = True
    """time OpenSpiel too"""
    write: bool = False
    """write the results to benchmarks/results/deep_cfr.json"""


def case_of(name: str, config: DeepCfr) -> dict[str, Any]:
    """One of ours, compiled: its calls and how long compiling took."""
    knobs, trajectories = CASES[name]
    knobs = replace(knobs, lanes=config.lanes, trajectories=max(1, round(trajectories * config.share)))
    parts = parts_of(knobs)
    state = start(knobs, parts)
    task = partial(build, parts.plan)
    sampler = here(task) if knobs.workers == 1 else workers(task, knobs.workers)
    # networks that differ from an even strategy: a fresh one's outputs are all zero
    rng = np.random.default_rng(0)
    params = [
        jax.tree.map(lambda leaf: np.float32(leaf + 0.1 * rng.normal(size=leaf.shape)), side.params)
        for side in state.sides
    ]

    def traverse(round_: int) -> tuple[Taken, Taken]:
        key = jax.random.key(round_)
        return (
            sampler.take(key, 0, (params[0], params[1]), knobs.trajectories),
            sampler.take(key, 1, (params[1], params[0]), knobs.trajectories),
        )

    began = time.perf_counter()
    first = traverse(0)[0]
    compile_traverse = time.perf_counter() - began
    samples, count = ordered(first.regrets)
    memory = remember(jax.random.key(0), state.sides[0].memory, samples, count=count, iteration=1)

    def fit(round_: int) -> Any:
        out = parts.learner.advantages(jax.random.key(round_), params[0], memory, np.int32(config.steps))
        return jax.block_until_ready(out)

    began = time.perf_counter()
    fit(0)
    size = sum(leaf.size for leaf in jax.tree.leaves(params[0]))
    return {
        "traverse": traverse,
        "fit": fit,
        "close": sampler.close,
        "parameters": size,
        "batch": knobs.batch_size,
        "compile_s": [compile_traverse, time.perf_counter() - began],
    }


def run(config: DeepCfr) -> dict[str, Any]:
    """Time all cases round by round, print the table and return what it says."""
    where = conditions(jax.default_backend())
    cases = {name: case_of(name, config) for name in config.cases}
    figures: dict[str, dict[str, list[float]]] = {name: {"nodes": [], "steps": []} for name in cases}
    per_traversal: dict[str, float] = {}
    peers = {"OpenSpiel, Python deep CFR": python_deep_cfr, "OpenSpiel, C++ MCCFR": cpp_mccfr}
    rates: dict[str, list[float]] = {name: [] for name in peers}
    absent: dict[str, str] = {}
    for round_ in range(1, config.rounds + 1):
        for name, case in cases.items():
            began = time.perf_counter()
            taken = case["traverse"](round_)
            nodes = sum(one.nodes for one in taken)
            figures[name]["nodes"].append(nodes / (time.perf_counter() - began))
            trajectories = max(1, round(CASES[name][1] * config.share))
            per_traversal[name] = nodes / (2 * trajectories)
            began = time.perf_counter()
            case["fit"](round_)
            figures[name]["steps"].append(config.steps / (time.perf_counter() - began))
        for name, peer in peers.items() if config.peers else ():
            try:
                rates[name].append(peer(per_traversal.get("Leduc, 3 x 64", 17.2)))
            except ImportError as error:
                absent[name] = str(error)
    rows = []
    for name, case in cases.items():
        case["close"]()
        nodes, steps = (statistics.median(figures[name][what]) for what in ("nodes", "steps"))
        rows.append(
            {
                "row": name,
                "nodes_per_second": nodes,
                "nodes_rounds": figures[name]["nodes"],
                "nodes_per_traversal": per_traversal[name],
                "steps_per_second": steps,
                "rows_per_second": steps * case["batch"],
                **{key: case[key] for key in ("parameters", "batch", "compile_s")},
            }
        )
    for name, found in rates.items():
        if found:
            rows.append({"row": name, "nodes_per_second": statistics.median(found), "nodes_rounds": found})
    result: dict[str, Any] = {
        "config": asdict(config),
        **where,
        "rows": rows,
        "absent": absent,
        "aim": {"at_least": AIM, "measured": {row["row"]: row["nodes_per_second"] for row in rows[:2]}},
    }
    show(result)
    if config.write:
        write("deep_cfr", result)
    return result


def cpp_mccfr(per_traversal: float) -> float:
    """Nodes a second of OpenSpiel's C++ external-sampling MCCFR on Leduc, which updates both players."""
    import pyspiel  # pyright: ignore[reportMissingImports]

    solver = pyspiel.ExternalSamplingMCCFRSolver(
        pyspiel.load_game("leduc_poker"), 0, pyspiel.MCCFRAverageType.SIMPLE
    )
    iterations = 10_000
    began = time.perf_counter()
    for _ in range(iterations):
        solver.run_iteration()
    return 2 * per_traversal * iterations / (time.perf_counter() - began)


def python_deep_cfr(per_traversal: float) -> float:
    """Nodes a second of OpenSpiel's Python deep CFR (JAX) on Leduc, its traversals alone."""
    del per_traversal
    import pyspiel  # pyright: ignore[reportMissingImports]
    from open_spiel.python.jax import deep_cfr  # pyright: ignore[reportMissingImports]

    solver = deep_cfr.DeepCFRSolver(
        pyspiel.load_game("leduc_poker"),
        policy_network_layers=(64, 64, 64),
        advantage_network_layers=(64, 64, 64),
        num_iterations=1,
        num_traversals=1,
    )
    nodes = 0
    visit = solver._traverse_game_tree

    def counted(state: Any, player: int) -> Any:
        nonlocal nodes
        nodes += not state.is_chance_node()
        return visit(state, player)

    solver._traverse_game_tree = counted
    root = solver._root_node.clone()
    counted(root.clone(), 0)  # compiles
    nodes, began = 0, time.perf_counter()
    while time.perf_counter() - began < 3:
        for player in (0, 1):
            counted(root.clone(), player)
    return nodes / (time.perf_counter() - began)


def show(result: dict[str, Any]) -> None:
    table = Table("", "nodes/s", "nodes a traversal", "SGD steps/s", "rows/s", "parameters", "compile s")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in result["rows"]:
        ours = "parameters" in row
        table.add_row(
            row["row"],
            f"{row['nodes_per_second']:,.0f}",
            f"{row['nodes_per_traversal']:.1f}" if ours else "",
            f"{row['steps_per_second']:,.0f} x {row['batch']}" if ours else "",
            f"{row['rows_per_second']:,.0f}" if ours else "",
            f"{row['parameters']:,}" if ours else "",
            " + ".join(f"{seconds:.1f}" for seconds in row["compile_s"]) if ours else "",
        )
    console = Console()
    console.print(table)
    for name, why in result["absent"].items():
        console.print(f"{name}: not installed ({why})", highlight=False)
    console.print(f"load before: {result['load']:.2f}", highlight=False)


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[DeepCfr] = DeepCfr()) -> None:
    """The traverser's nodes a second and SGD steps a second, beside OpenSpiel's."""
    run(config)
