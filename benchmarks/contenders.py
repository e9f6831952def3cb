"""The contenders of `python -m benchmarks cfr`: ours in two forms, and three peers.

Each lives in a process of its own, so that none shares memory, precision or a crash with another. Nothing
here imports JAX or a peer before `serve` has set the process up. All run CFR+ with alternating updates, the
average weighted by t, and in float64 but for JaxCFR, which has float32 only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

GOOFSPIEL = "goofspiel(num_cards={},imp_info=True,points_order=descending)"
OPENSPIEL = {
    "kuhn": "kuhn_poker",
    "leduc": "leduc_poker",
    "liars_dice": "liars_dice",
    "goofspiel_5": GOOFSPIEL.format(5),
    "liars_dice_2": "liars_dice(numdice=2,dice_sides=4)",
    "goofspiel_6": GOOFSPIEL.format(6),
}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's own thread pools
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
SMALLEST_STREAM = 24 * 1024  # bytes: smaller buffers measure the loop, not the memory


class Contender(NamedTuple):
    """A solver that has been built."""

    run: Callable[[int], Any]  # that many more iterations, finished on return
    average: Callable[[], Any]  # the average policy so far, in the form that `nash_conv` reads
    nash_conv: Callable[[Any], float]
    facts: dict[str, Any]  # seconds of "build" and "compile"; ours: "touched" and "traffic" in bytes
    stream: Callable[[], float] | None = None  # bytes a second over a buffer of `touched` bytes


def game_of(name: str) -> Any:
    """Our `TreeGame` of one of the names."""
    if name == "liars_dice_2":
        return import_module("jaxnash.games.liars_dice").liars_dice(dice=2, sides=4)
    family, _, size = name.rpartition("_")
    if family == "goofspiel":
        return import_module("jaxnash.games.goofspiel").goofspiel(int(size))
    return getattr(import_module(f"jaxnash.games.{name}"), name)()


def ours(name: str, public: bool) -> Contender:
    import jax
    import jax.numpy as jnp

    from jaxnash import cfr

    jnp.zeros(1).block_until_ready()  # starts the backend
    _forget_peak()
    game, recipe = game_of(name), cfr.cfr_plus()
    began = time.perf_counter()
    tree = cfr.compile_tree(cfr.public_form(game) if public else game)
    jax.block_until_ready(tree.arrays)
    built = time.perf_counter()
    cfr.solve(tree, recipe, iterations=1)
    facts: dict[str, Any] = {"build": built - began, "compile": time.perf_counter() - built}
    with jax.enable_x64(True):
        state = jax.jit(cfr.init, static_argnums=1)(tree.arrays, recipe)
        loop = (
            jax.jit(cfr.iterate, static_argnums=1).lower(tree.arrays, recipe, state, jnp.int32(1)).compile()
        )
    sizes = loop.memory_analysis()  # of the arguments that the loop reads, unused ones left out
    assert sizes is not None
    facts["touched"] = sizes.argument_size_in_bytes
    facts["traffic"] = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    facts["device"] = jax.devices()[0].device_kind

    def run(iterations: int) -> None:
        nonlocal state
        with jax.enable_x64(True):
            state = jax.block_until_ready(loop(tree.arrays, state, jnp.int32(iterations)))

    def average() -> Any:  # no further iterations, so solve only reads the average
        return cfr.solve(tree, recipe, iterations=int(state.iteration), state=state).policy

    return Contender(
        run,
        average,
        lambda policy: 2 * cfr.exploitability(tree, policy),
        facts,
        lambda: _stream(facts["touched"]),
    )


def openspiel_cpp(name: str) -> Contender:
    import pyspiel

    _forget_peak()
    game = _openspiel_game(name)
    began = time.perf_counter()
    solver = pyspiel.CFRPlusSolver(game)
    facts = {"build": time.perf_counter() - began}

    def run(iterations: int) -> None:
        for _ in range(iterations):
            solver.evaluate_and_update_policy()

    return Contender(run, solver.average_policy, lambda policy: pyspiel.nash_conv(game, policy), facts)


def openspiel_jax(name: str) -> Contender:
    import jax
    import numpy as np
    import pyspiel
    from open_spiel.python.jax.cfr.jax_cfr import JaxCFR

    jax.numpy.zeros(1).block_until_ready()
    _forget_peak()
    game = _openspiel_game(name)
    began = time.perf_counter()
    solver = JaxCFR(game)
    built = time.perf_counter()
    solver.jit_step(list(solver.regrets), list(solver.averages), 1, 0)  # compiles, and is thrown away
    facts: dict[str, Any] = {"build": built - began, "compile": time.perf_counter() - built}
    facts["device"] = jax.devices()[0].device_kind

    def run(iterations: int) -> None:
        solver.multiple_steps(iterations)
        jax.block_until_ready((solver.regrets, solver.averages))

    def average() -> dict[str, list[tuple[int, float]]]:
        policy = {}
        for player, rows in enumerate(solver.iset_map):
            sums = np.asarray(solver.averages[player], np.float64)
            masks: Any = solver.constants.iset_action_mask
            legal = np.asarray(masks[player], bool)
            for key, row in rows.items():
                if key:  # the empty one stands for the root
                    p = sums[row] / sums[row].sum()
                    policy[key] = [(int(a), float(p[a])) for a in np.flatnonzero(legal[row])]
        return policy

    return Contender(run, average, lambda policy: pyspiel.nash_conv(game, policy), facts)


def lite_efg(name: str) -> Contender:
    import LiteEFG
    from LiteEFG.baselines.CFRplus import graph

    _forget_peak()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:  # it writes the game as a file into the home directory
        os.environ["HOME"] = home
        env = LiteEFG.OpenSpielEnv(_openspiel_game(name), traverse_type="Enumerate", regenerate=True)
    solver = graph()
    env.set_graph(solver)
    facts = {"build": time.perf_counter() - began}

    def run(iterations: int) -> None:
        for _ in range(iterations):
            # Averages before it updates, as the others do; its own examples have it the other way round.
            env.update_strategy(solver.current_strategy())
            solver.update_graph(env)

    def nash_conv(policy: None) -> float:
        del policy  # it keeps the average itself
        return sum(env.exploitability(solver.current_strategy(), "linear-avg-iterate"))

    return Contender(run, lambda: None, nash_conv, facts)


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "ours, public": lambda name: ours(name, True),
    "ours, generic": lambda name: ours(name, False),
    "OpenSpiel C++": openspiel_cpp,
    "LiteEFG": lite_efg,
    "JaxCFR": openspiel_jax,
}


def serve(connection: Connection, name: str, game: str, device: str) -> None:
    """A contender's process: builds it, then answers (what, argument) until it is sent None."""
    os.environ.update(ONE_THREAD)
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # LiteEFG and pyspiel talk
    answer(connection, lambda: CONTENDERS[name](game))


def answer(connection: Connection, build: Callable[[], Contender]) -> None:
    """The conversation: first the facts or a string that says why there are none, then the answers."""
    try:
        contender = build()
    except ImportError as error:
        return connection.send(f"not installed ({error})")
    except Exception as error:
        return connection.send(
            f"does not run ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})"
        )
    connection.send(contender.facts)
    policy = None
    while (asked := _question(connection)) is not None:
        what, argument = asked
        began = time.perf_counter()
        if what == "run":
            contender.run(argument)
            connection.send(time.perf_counter() - began)
        elif what == "nash_conv":  # of the average so far, evaluated `argument` times: value, seconds of one
            policy = contender.average()
            began = time.perf_counter()
            for _ in range(argument):
                value = contender.nash_conv(policy)
            connection.send((value, (time.perf_counter() - began) / argument))
        elif what == "stream":
            connection.send(contender.stream() if contender.stream else None)
        elif what == "peak":
            connection.send(_peak())


def _question(connection: Connection) -> tuple[str, Any] | None:
    try:
        return connection.recv()
    except EOFError:  # who asked is gone
        return None


def _openspiel_game(name: str) -> Any:
    import pyspiel

    game = pyspiel.load_game(OPENSPIEL[name])
    simultaneous = game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS
    return pyspiel.convert_to_turn_based(game) if simultaneous else game


def _stream(size: int) -> float:
    """Bytes a second of x += y over x and y that fill `size` bytes together, less what the loop costs."""
    import jax
    import jax.numpy as jnp

    def passes(x: Any, y: Any, count: Any) -> Any:
        return jax.lax.fori_loop(0, count, lambda _, x: x + y, x)

    def seconds_of_one(n: int) -> float:
        x, y, count = jnp.zeros(n), jnp.full(n, 1e-3), 16
        loop = jax.jit(passes).lower(x, y, jnp.int32(1)).compile()
        while True:
            began = time.perf_counter()
            jax.block_until_ready(loop(x, y, jnp.int32(count)))
            if (spent := time.perf_counter() - began) > 0.05:
                return spent / count
            count *= 4

    with jax.enable_x64(True):
        n = max(size, SMALLEST_STREAM) // 16
        return 24 * n / max(seconds_of_one(n) - seconds_of_one(8), 1e-12)


_before = 0.0


def _status(field: str) -> float:
    """A line of Linux's /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))


def _forget_peak() -> None:
    """What the process holds from here on is the contender's."""
    global _before
    try:
        Path("/proc/self/clear_refs").write_text("5")
        _before = _status("VmRSS:")
    except OSError:
        _before = 0.0


def _peak() -> float | None:
    """MB at the worst moment, imports left out; on a GPU, the MB there. None where nobody says."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != "cpu":
        stats = jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] / 1e6 if stats else None
    try:
        return _status("VmHWM:") - _before
    except OSError:
        return None
