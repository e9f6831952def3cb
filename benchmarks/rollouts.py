"""Frames a second of games written in JAX: the fighter's, random and learnt from, and its peers'.

A frame of the fighter is a step of one match with both players' observations written. Buttons are random by a
linear congruence, so that little but the game is measured; matches that are over begin anew. The peers, of
other authors and other rules, are played as they are meant to be: `vmap`, random legal actions by the same
congruence, their own resets. Contenders take turns, so that all meet the machine's noise alike.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.recorded import conditions, write
from jaxnash.games.fighter import fighter, over, table
from jaxnash.runs.fighter import iterate, parts_of, start
from jaxnash.runs.fighter_knobs import PRESETS, rollout_frames
from jaxnash.types import Array

AIM = 2e6  # random frames a second on two cores


@dataclass(frozen=True)
class Rollouts:
    """Random frames and PPO frames a second of the fighter, beside gymnax and pgx."""

    batch: int = 4096
    """matches at once"""
    length: int = 32
    """frames of a call"""
    calls: int = 10
    """calls of a round"""
    rounds: int = 5
    """rounds, of which the median counts"""
    updates: int = 5
    """updates of the smoke preset that are timed; 0: none"""
    seed: int = 0
    write: bool = False
    """write the results to benchmarks/results/rollouts.json, on a GPU rollouts_gpu.json"""


class Contender:
    """A state, and a jitted call that plays `length` frames of it."""

    def __init__(self, name: str, begin: Callable[..., Any], play: Callable[..., Any], seed: int):
        self.name = name
        began = time.perf_counter()
        self.state = jax.block_until_ready(jax.jit(begin)(jax.random.key(seed)))
        self.play = jax.jit(play).lower(self.state).compile()
        self.compile_s = time.perf_counter() - began

    def __call__(self, calls: int) -> None:
        for _ in range(calls):
            self.state, seen = self.play(self.state)
        jax.block_until_ready(seen)


def congruence(word: Array) -> Array:
    """The next u32 of each row (Numerical Recipes' constants)."""
    return word * jnp.uint32(1664525) + jnp.uint32(1013904223)


def ours(batch: int, length: int, seed: int) -> Contender:
    """The fighter."""
    game, buttons = fighter(), len(table.BUTTONS)

    def begin(key: Any) -> Any:
        keys = jax.random.split(key, batch)
        state = jax.vmap(lambda key: game.init(key, None))(keys)
        return state, state, jax.vmap(jax.random.bits)(keys)

    def play(carry: Any) -> Any:
        fresh = carry[0]

        def frame(carry: Any, _: None) -> Any:
            state, word = carry
            word = congruence(word)
            pressed = (word[:, None] >> jnp.arange(32 - 2 * buttons, 32)) & 1
            state = jax.vmap(lambda state, keys: game.step(None, state, keys))(
                state, pressed.reshape(batch, 2, buttons) == 1
            )
            done = jax.vmap(over)(state)

            def anew(state: Any) -> Any:
                return jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, state)

            # cond also keeps XLA from working out the whole step once more for each leaf of the state
            state = jax.lax.cond(jnp.any(done), anew, lambda same: same, state)
            return (state, word), jax.vmap(game.observe)(state).obs

        (state, word), seen = jax.lax.scan(frame, carry[1:], length=length)
        return (fresh, state, word), seen

    return Contender("fighter", begin, play, seed)


def peers(batch: int, length: int, seed: int) -> list[Contender]:
    """Those installed."""
    found = []
    try:
        import gymnax  # pyright: ignore[reportMissingImports]

        for name in ("CartPole-v1", "Breakout-MinAtar"):
            found.append(by_gymnax(gymnax, name, batch, length, seed))
    except ImportError:
        pass
    try:
        import pgx  # pyright: ignore[reportMissingImports]

        found.append(by_pgx(pgx, "connect_four", batch, length, seed))
    except ImportError:
        pass
    return found


def by_gymnax(gymnax: Any, name: str, batch: int, length: int, seed: int) -> Contender:
    env, params = gymnax.make(name)

    def begin(key: Any) -> Any:
        keys = jax.random.split(key, batch)
        return jax.vmap(env.reset, in_axes=(0, None))(keys, params)[1], keys, jax.vmap(jax.random.bits)(keys)

    def play(carry: Any) -> Any:
        state, keys, word = carry

        def frame(carry: Any, _: None) -> Any:
            state, word = carry
            word = congruence(word)
            action = (word >> 16) % env.num_actions
            step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
            stepped = step(keys, state, action.astype(jnp.int32), params)
            return (stepped[1], word), stepped[0]

        (state, word), seen = jax.lax.scan(frame, (state, word), length=length)
        return (state, keys, word), seen

    return Contender(f"gymnax {name}", begin, play, seed)


def by_pgx(pgx: Any, name: str, batch: int, length: int, seed: int) -> Contender:
    env = pgx.make(name)

    def begin(key: Any) -> Any:
        keys = jax.random.split(key, batch)
        state = jax.vmap(env.init)(keys)
        return state, jax.vmap(env.init)(keys), jax.vmap(jax.random.bits)(keys)

    def play(carry: Any) -> Any:
        fresh = carry[0]

        def frame(carry: Any, _: None) -> Any:
            state, word = carry
            word = congruence(word)
            legal = state.legal_action_mask
            wanted = (word >> 16).astype(jnp.int32) % jnp.maximum(legal.sum(axis=1), 1)
            action = jnp.argmax(jnp.cumsum(legal, axis=1) > wanted[:, None], axis=1)
            state = jax.vmap(env.step)(state, action)
            done = state.terminated | state.truncated
            state = jax.tree.map(
                lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old), fresh, state
            )
            return (state, word), state.observation

        (state, word), seen = jax.lax.scan(frame, carry[1:], length=length)
        return (fresh, state, word), seen

    return Contender(f"pgx {name}", begin, play, seed)


def run(config: Rollouts) -> dict[str, Any]:
    """Times all contenders, prints the table and returns what it says."""
    where = conditions(jax.devices()[0].device_kind)
    contenders = [
        ours(config.batch, config.length, config.seed),
        *peers(config.batch, config.length, config.seed),
    ]
    for contender in contenders:
        contender(1)
        print(f"{contender.name} compiled in {contender.compile_s:.1f} s", file=sys.stderr, flush=True)
    frames = config.batch * config.length * config.calls
    rates: dict[str, list[float]] = {one.name: [] for one in contenders}
    per_core: dict[str, list[float]] = {one.name: [] for one in contenders}
    for _ in range(config.rounds):
        for one in contenders:
            began, worked = time.perf_counter(), time.process_time()
            one(config.calls)
            rates[one.name].append(frames / (time.perf_counter() - began))
            per_core[one.name].append(frames / (time.process_time() - worked))
    assert np.all(np.isfinite(jax.vmap(fighter().observe)(contenders[0].state[1]).obs))
    rows = [
        {
            "row": one.name,
            "rate": statistics.median(rates[one.name]),
            "rates": rates[one.name],
            "per_core_second": statistics.median(per_core[one.name]),
            "compile_s": one.compile_s,
        }
        for one in contenders
    ]
    result: dict[str, Any] = {"config": asdict(config), **where, "rows": rows}
    result["aim"] = {"at_least": AIM, "measured": rows[0]["rate"], "met": rows[0]["rate"] >= AIM}
    result["absent"] = [name for name in ("gymnax", "pgx") if not any(name in row["row"] for row in rows)]
    if config.updates:
        result["ppo"] = ppo_frames(config)
    _show(result)
    if config.write:
        write("rollouts", result, gpu=jax.default_backend() == "gpu")
    return result


def ppo_frames(config: Rollouts) -> dict[str, Any]:
    """Updates of the smoke preset, rollout and learning together."""
    knobs = replace(PRESETS["smoke"], seed=config.seed)
    parts, began = parts_of(knobs), time.perf_counter()
    state, _ = iterate(knobs, parts, start(knobs, parts))
    first, seconds = time.perf_counter() - began, []
    for _ in range(config.updates):
        began = time.perf_counter()
        state, _ = iterate(knobs, parts, state)
        seconds.append(time.perf_counter() - began)
    rate = rollout_frames(knobs) / statistics.median(seconds)
    return {"preset": "smoke", "rate": rate, "seconds": seconds, "first_s": first}


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[Rollouts] = Rollouts()) -> None:
    """Random frames and PPO frames a second of the fighter, beside gymnax and pgx."""
    run(config)


def _show(result: dict[str, Any]) -> None:
    shown = Table(title=f"Frames a second, batch {result['config']['batch']:,} ({result['machine']})")
    for column in ("", "M frames/s", "min – max", "M a core-second", "ratio", "compile s"):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in result["rows"]:
        least, most = (f"{bound(row['rates']) / 1e6:.3g}" for bound in (min, max))
        cells = f"{row['rate'] / 1e6:.3g}", f"{least} – {most}", f"{row['per_core_second'] / 1e6:.3g}"
        ratio = f"{row['rate'] / result['rows'][0]['rate']:.3g}"
        shown.add_row(Text(row["row"]), *cells, ratio, f"{row['compile_s']:.1f}")
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)
    console.print(shown)
    for name in result["absent"]:
        console.print(f"{name}: not installed")
    if learnt := result.get("ppo"):
        console.print(
            f"PPO, preset smoke: {learnt['rate']:,.0f} frames/s (first update {learnt['first_s']:.1f} s)"
        )
    word = "met" if result["aim"]["met"] else "missed"
    console.print(f"Aim: at least {AIM / 1e6:.3g}M random frames/s: {word}")
    console.print(f"Load of the machine before: {result['load']:.1f}")
