"""Random poker hands a second, by ours and by its peers, and the time for all 133,784,560 of seven cards.

The hands are arguments of the jitted function, all different in all likelihood and in random order. A peer
takes one hand per call from Python, as it is meant to be used; a call is timed on hands that have been made
ready for it. Before anything is timed, all agree on the hands that the slowest is timed on.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.recorded import conditions, write
from jaxnash.games.cards import CATEGORIES, RANKS, SUITS, hand_ranks
from jaxnash.games.evaluator import STRENGTHS, category, hand_strength, numbered_hand, tables
from jaxnash.types import Array

EVERY_HAND = (23_294_460, 58_627_800, 31_433_400, 6_461_620, 6_180_020, 4_047_644, 3_473_184, 224_848, 41_584)
BLOCK = 1 << 16
AIM = 100e6  # hands a second


@dataclass(frozen=True)
class Evaluator:
    """Seven-card hands a second: ours, NumPy, phevaluator and eval7."""

    hands: int = 1 << 22
    """random hands for ours"""
    peer_hands: int = 200_000
    """random hands for the peers and NumPy, and for the agreement"""
    rounds: int = 9
    """rounds, of which the median counts"""
    every_hand: bool = True
    """also time all 133,784,560 hands"""
    seed: int = 0
    """of the random hands"""
    write: bool = False
    """write the results to benchmarks/results/evaluator.json"""


def random_hands(number: int, seed: int) -> Array:
    """i32[number, 7]"""
    rng = np.random.default_rng(seed)
    hands = jax.jit(numbered_hand, static_argnums=1)(rng.integers(comb(52, 7), size=number), 7)
    return rng.permuted(np.stack(hands, axis=1), axis=1)


def peers() -> dict[str, Callable[[Array], Callable[[], list[int]]]]:
    """Those installed: hands -> a call that evaluates them; a greater number wins."""
    found = {}
    try:
        from phevaluator import evaluate_cards  # pyright: ignore[reportMissingImports]

        def phevaluator(hands: Array) -> Callable[[], list[int]]:
            ready = hands.tolist()
            return lambda: [STRENGTHS + 1 - evaluate_cards(*hand) for hand in ready]

        found["phevaluator"] = phevaluator
    except ImportError:
        pass
    try:
        import eval7  # pyright: ignore[reportMissingImports]

        deck = [eval7.Card(rank + suit) for rank in RANKS for suit in SUITS]

        def by_eval7(hands: Array) -> Callable[[], list[int]]:
            ready = [[deck[card] for card in hand] for hand in hands.tolist()]
            return lambda: [eval7.evaluate(hand) for hand in ready]

        found["eval7"] = by_eval7
    except ImportError:
        pass
    return found


def assert_same_order(name: str, ours: Array, theirs: Array) -> None:
    order = np.argsort(ours, kind="stable")
    steps = (np.sign(np.diff(np.asarray(values, np.int64)[order])) for values in (ours, theirs))
    differ = np.count_nonzero(np.not_equal(*steps))
    assert not differ, f"{name} orders {differ} of {len(ours)} hands otherwise"


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], float]:
    """A call that waits for its result, and the seconds that compiling took."""
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    return lambda: jax.block_until_ready(program(*arguments)), seconds


def count_every_hand(tables: Any) -> Array:
    """How many seven-card hands are of each category, i32[9]."""
    total = comb(52, 7)

    def count(counts: Array, block: Array) -> tuple[Array, None]:
        number = block * BLOCK + jnp.arange(BLOCK)
        strength = hand_strength(tables, numbered_hand(jnp.minimum(number, total - 1), 7))
        return counts.at[jnp.where(number < total, strength, 0)].add(1), None

    counts = jnp.zeros(STRENGTHS + 1, jnp.int32)
    counts = jax.lax.scan(count, counts, jnp.arange(-(-total // BLOCK)))[0][1:]
    return jnp.zeros(len(CATEGORIES), jnp.int32).at[category(jnp.arange(1, STRENGTHS + 1))].add(counts)


def run(config: Evaluator) -> dict[str, Any]:
    """Times all contenders, prints the table and returns what it says."""
    where = conditions(jax.default_backend())
    began = time.perf_counter()
    on_host = tables()
    build = time.perf_counter() - began
    on_device = jax.device_put(on_host)
    hands = random_hands(config.hands, config.seed)
    few = random_hands(config.peer_hands, config.seed + 1)

    calls: dict[str, tuple[int, Callable[[], Any], float | None]] = {}
    small = hands.astype(np.int8)
    for name, cards in {
        "ours, 7 arrays i32[n]": tuple(jnp.asarray(card) for card in hands.T),
        "ours, 7 arrays i8[n]": tuple(jnp.asarray(card) for card in small.T),
        "ours, i32[n, 7]": jnp.asarray(hands),
        "ours, i8[n, 7]": jnp.asarray(small),
    }.items():
        calls[name] = (config.hands, *compiled(hand_strength, on_device, cards))
    calls["NumPy (cards.hand_ranks)"] = (config.peer_hands, lambda: hand_ranks(few), None)
    for name, ready in peers().items():
        calls[name] = (config.peer_hands, ready(few), None)

    strength = np.asarray(jax.jit(hand_strength)(on_device, few))
    answers = [np.asarray(call()) for name, (_, call, _) in calls.items() if name.startswith("ours")]
    assert all((answer == answers[0]).all() for answer in answers), "the forms of ours differ"
    for name, (_, call, _) in calls.items():
        if not name.startswith("ours"):
            assert_same_order(name, strength, np.asarray(call()))

    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(config.rounds):
        for name, (number, call, _) in calls.items():
            began = time.perf_counter()
            call()
            rates[name].append(number / (time.perf_counter() - began))
    rows = [
        {
            "row": name,
            "rate": statistics.median(rates[name]),
            "rates": rates[name],
            "compile_s": seconds,
        }
        for name, (_, _, seconds) in calls.items()
    ]
    result: dict[str, Any] = {
        "config": asdict(config),
        **where,
        "tables_mb": sum(table.nbytes for table in on_host) / 1e6,
        "tables_s": build,
        "rows": rows,
        "absent": [name for name in ("phevaluator", "eval7") if name not in calls],
        "aim": {"at_least": AIM, "measured": rows[0]["rate"], "met": rows[0]["rate"] >= AIM},
    }
    if config.every_hand:
        call, seconds = compiled(count_every_hand, on_device)
        began = time.perf_counter()
        counts = tuple(np.asarray(call()).tolist())
        taken = time.perf_counter() - began
        assert counts == EVERY_HAND, counts
        result["every_hand"] = {"seconds": taken, "compile_s": seconds, "rate": comb(52, 7) / taken}
    _show(result)
    if config.write:
        write("evaluator", result)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[Evaluator] = Evaluator()) -> None:
    """Seven-card hands a second: ours, NumPy, phevaluator and eval7."""
    run(config)


def _show(result: dict[str, Any]) -> None:
    rows = {row["row"]: row for row in result["rows"]}
    known = [name for name in ("phevaluator", "eval7") if name in rows]
    table = Table(title=f"Seven-card hands, median of {result['config']['rounds']} ({result['machine']})")
    for column in ("", "M hands/s", "min – max", *(f"× {name}" for name in known), "compile s"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, row in rows.items():
        compile_s = "–" if row["compile_s"] is None else f"{row['compile_s']:.2f}"
        ratios = (f"{row['rate'] / rows[peer]['rate']:.3g}" for peer in known)
        least, most = (_millions(bound(row["rates"])) for bound in (min, max))
        table.add_row(Text(name), _millions(row["rate"]), f"{least} – {most}", *ratios, compile_s)
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False)
    console.print(table)
    for name in result["absent"]:
        console.print(f"{name}: not installed")
    console.print(f"Tables: {result['tables_mb']:.2f} MB, built in {result['tables_s']:.2f} s")
    if every := result.get("every_hand"):
        seconds = f"{every['seconds']:.1f} s (compile {every['compile_s']:.1f} s)"
        console.print(f"All 133,784,560 hands, made, evaluated and counted: {seconds}")
    word = "met" if result["aim"]["met"] else "missed"
    console.print(f"Aim: at least {_millions(AIM)}M random hands/s in 7 arrays of i32: {word}")
    console.print(f"Load of the machine before: {result['load']:.1f}")


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.3g}"
