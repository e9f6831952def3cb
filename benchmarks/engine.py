"""Turns a second of Gen 1 battles in JAX, beside Showdown's simulator on the same teams.

Both play random legal actions, all alike. Showdown is one node process that replays recorded battles without
pipes or Python (`bridge.node_alone`), which is the fastest that it is. The engine plays a batch of battles in
a jitted scan; one that ends begins anew. Contenders take turns, so that all meet the machine's noise alike.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.bridge import node_alone, random_policy
from benchmarks.recorded import conditions, write
from benchmarks.rollouts import congruence
from jaxnash.games.gen1.game import gen1
from jaxnash.games.gen1.platforms import cpu_or_gpu
from jaxnash.games.gen1.state import State
from jaxnash.games.gen1.teams import setup
from jaxnash.keys import derive
from jaxnash.showdown.teams import load_teams
from jaxnash.types import Array

REQUIRED, AIM = 50, 100  # times one Showdown process, two cores, batch 16,384
ON_GPU = "required on a GPU at 16384: 20M turns/s, aim at 65536: 100M"
LIMIT_BYTES, LIMIT_COMPILE = 768, 60
PKMN = "pkmn/engine (Zig) publishes 4.3M turns/s on one core of its machine, in its Showdown mode"
FUSION = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"


@dataclass(frozen=True)
class Engine:
    """The Gen 1 engine, by batch, beside Showdown's simulator."""

    batches: tuple[int, ...] = (1, 16, 256, 4096, 16384, 65536)
    """battles at once"""
    decisions: int = 1_000_000
    """decision points of a timed call, about; a small batch makes fewer"""
    rounds: int = 5
    """rounds, of which the median counts"""
    battles: int = 200
    """battles that Showdown plays in each"""
    ppo: int = 3
    """updates of self-play PPO on the engine that are timed; 0: none"""
    fusion: bool = False
    """let XLA fuse across outputs on a CPU (a flag of XLA that crashes it on other programs)"""
    seed: int = 0
    write: bool = False
    """write the results to benchmarks/results/engine.json, on a GPU engine_gpu.json"""


class Contender:
    """A batch of battles, and a compiled call that plays on from where they are."""

    def __init__(self, batch: int, config: Engine):
        game = gen1()
        teams = load_teams("train").packed
        rng = np.random.default_rng(derive(config.seed, "engine", batch))
        pairs = rng.integers(len(teams), size=(min(batch, 512), 2))
        setups = [setup([teams[i] for i in pair]) for pair in pairs]
        rows = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *setups)
        rows = jax.tree.map(lambda leaf: leaf[jnp.arange(batch) % len(pairs)], rows)
        fresh = jax.jit(jax.vmap(lambda one: game.init(None, one)))(rows)
        words = jnp.asarray(rng.integers(2**32, size=(batch, 3), dtype=np.uint32))
        self.batch, self.length = batch, max(64, min(2048, config.decisions // batch))
        self.bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(fresh)) // batch
        self.carry = (fresh, fresh, words)
        began = time.perf_counter()
        self.call = jax.jit(lambda carry: play(carry, self.length)).lower(self.carry).compile()
        self.compile_s = time.perf_counter() - began
        self()  # warm, and the battles are no longer all at their beginnings

    def __call__(self) -> tuple[int, int, float]:
        """(turns, choices of a side, seconds)."""
        began = time.perf_counter()
        self.carry, turns, choices = self.call(self.carry)
        turns, choices = int(turns), int(choices)
        return turns, choices, time.perf_counter() - began


def play(carry: Any, length: int) -> Any:
    """`length` decision points of each battle: (carry, turns in all, choices in all)."""
    game, (fresh, *begun) = gen1(), carry

    def one(carry: Any, _: None) -> Any:
        state, words, turns, choices = carry
        words = congruence(words)
        seen = jax.vmap(game.observe)(state)
        actions = jnp.stack([uniform(seen.legal[:, side], words[:, side]) for side in range(2)], axis=1)
        after: State = jax.vmap(game.step)(words[:, 1:], state, actions)
        turns += (after.turn - state.turn).astype(jnp.int32).sum()
        choices += seen.active.astype(jnp.int32).sum()
        done = after.winner >= 0

        def anew(state: State) -> State:
            def pick(new: Array, old: Array) -> Array:
                return jnp.where(done.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            return jax.tree.map(pick, fresh, state)

        def seldom(state: State) -> State:
            return jax.lax.cond(done.any(), anew, lambda same: same, state)

        # a GPU would have to be asked first whether any is done
        after = cpu_or_gpu(seldom, anew, after)
        return (after, words, turns, choices), None

    state, words = begun
    zero = jnp.int32(0)
    (state, words, turns, choices), _ = jax.lax.scan(one, (state, words, zero, zero), length=length)
    return (fresh, state, words), turns, choices


def uniform(legal: Array, word: Array) -> Array:
    """i32[B]: one of the legal actions bool[B, A], all alike, by random words u32[B]."""
    many = legal.sum(axis=1).astype(jnp.uint32)
    number = ((word >> 8) * many >> 24).astype(jnp.int32)
    place = jnp.cumsum(legal, axis=1) - 1
    return jnp.argmax(legal & (place == number[:, None]), axis=1)


def ppo_rate(updates: int, *, rows: int = 256, length: int = 64, minibatch: int = 2048) -> dict[str, float]:
    """Self-play of a fresh d64 network on the engine, and PPO on both seats: choices a second, by phase."""
    import optax

    from jaxnash.learners import ppo
    from jaxnash.policies.spec import build, token_spec
    from jaxnash.rollouts.scan import scan_rollout
    from jaxnash.types import Neural

    game, spec = gen1(), token_spec("tiny")
    policy = build(spec)
    teams = load_teams("train").packed
    setups = [setup([teams[(2 * i) % len(teams)], teams[(2 * i + 1) % len(teams)]]) for i in range(rows)]
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *setups)
    rollout = scan_rollout(game, length=length, batch=rows)
    optimizer = optax.adam(3e-4)
    learner = ppo.ppo(
        policy, optimizer, actions=game.actions, capacity=rows * length * 2, minibatch=minibatch, epochs=3
    )
    state = ppo.start(policy.init(jax.random.key(0)), optimizer=optimizer)
    spent = {"rollout_s": 0.0, "update_s": 0.0}
    choices = 0
    for update in range(updates + 1):  # the first compiles
        net = Neural("tiny", policy, learner.behaviour(state), spec)
        began = time.perf_counter()
        trajectory = jax.block_until_ready(rollout(jax.random.key(update), (net, net), stacked, ids=(0, 0)))
        played = time.perf_counter()
        state, _ = jax.block_until_ready(learner.update(jax.random.key(update), state, trajectory))
        if update:
            choices += int(trajectory.active.sum())
            spent["rollout_s"] += played - began
            spent["update_s"] += time.perf_counter() - played
    return spent | {"choices": choices, "choices_per_s": choices / sum(spent.values())}


def run(config: Engine) -> dict[str, Any]:
    """Times all contenders in each of the rounds, prints the table and returns what it says."""
    if config.fusion:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FUSION}".strip()
    gpu = jax.default_backend() == "gpu"
    where = conditions(jax.devices()[0].device_kind)
    played = random_policy(1, battles=config.battles)
    showdown_turns = sum(turn for _, turn in played.ends)
    contenders = []
    for batch in config.batches:
        contenders.append(Contender(batch, config))
        assert contenders[-1].bytes <= LIMIT_BYTES, contenders[-1].bytes
        _tell(f"batch {batch:,} compiled in {contenders[-1].compile_s:.1f} s")
    rates: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(config.rounds):
        choices, seconds = node_alone(played)
        rates.setdefault("Showdown", []).append((showdown_turns / seconds, choices / seconds, 1.0))
        for contender in contenders:
            busy = time.process_time()
            turns, choices, seconds = contender()
            cores = (time.process_time() - busy) / seconds
            rates.setdefault(f"{contender.batch}", []).append((turns / seconds, choices / seconds, cores))
        said = ", ".join(f"{name}: {rows[-1][0]:,.0f}" for name, rows in rates.items())
        _tell(f"round {number + 1} of {config.rounds}, turns/s by batch: {said}")
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in rates.items()}
    peer = medians["Showdown"][0]
    compiled = {f"{contender.batch}": contender for contender in contenders}
    rows = [
        {
            "batch": name,
            "turns_per_s": turns,
            "choices_per_s": choices,
            "cores": cores,
            "to_showdown": turns / peer,
            "compile_s": compiled[name].compile_s if name in compiled else None,
            "rounds": [round(rate) for rate, *_ in rates[name]],
        }
        for name, (turns, choices, cores) in medians.items()
    ]
    result = {
        "config": asdict(config),
        **where,
        "bytes_a_battle": contenders[0].bytes if contenders else None,
        "rows": rows,
        "crosses_showdown_at": next((r["batch"] for r in rows[1:] if r["to_showdown"] > 1), None),
        "ppo": ppo_rate(config.ppo) if config.ppo else None,
        "gpu": "measured" if gpu else "not measured",
    }
    _show(result)
    if config.write:
        write("engine", result, gpu=gpu)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[Engine] = Engine()) -> None:
    """The Gen 1 engine beside Showdown's simulator."""
    run(config)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(result: dict[str, Any]) -> None:
    title = f"Gen 1 battles, median of {result['config']['rounds']} ({result['machine']})"
    table = Table(title=title)
    for column in ("batch", "turns/s", "choices/s", "cores busy", "to Showdown", "compiled in"):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        compiled = "" if row["compile_s"] is None else f"{row['compile_s']:.1f} s"
        table.add_row(
            row["batch"], f"{row['turns_per_s']:,.0f}", f"{row['choices_per_s']:,.0f}",
            f"{row['cores']:.2f}", f"{row['to_showdown']:.1f}", compiled,
        )  # fmt: skip
    console = Console()
    console.print(table)
    at = result["crosses_showdown_at"]
    console.print(
        f"{result['bytes_a_battle']} bytes a battle; faster than Showdown from batch {at}; "
        f"required at 16384 on two cores: {REQUIRED}, aim {AIM}; {ON_GPU}; GPU {result['gpu']}; {PKMN}"
    )
    if ppo := result["ppo"]:
        console.print(
            f"PPO by self-play, d64: {ppo['choices_per_s']:,.0f} choices/s, of the time "
            f"{ppo['rollout_s'] / (ppo['rollout_s'] + ppo['update_s']):.0%} playing"
        )
