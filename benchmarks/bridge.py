"""How much of the bare simulator's speed the bridge keeps, against node alone and poke-env over a server.

(a) node alone replays the battles of (b) by the worker's own code, without pipes or Python; (b) the random
policy through the pool; (c) poke-env's RandomPlayer against itself over the real server. All play one set of
teams. A decision is one choice of one side. Start-up (node, the data files, logging in) is not timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.recorded import conditions, write
from jaxnash.keys import derive
from jaxnash.showdown import simulator
from jaxnash.showdown.pool import NODE_FLAGS, Pool
from jaxnash.showdown.server import Server
from jaxnash.showdown.teams import load_teams

HERE = Path(__file__).parent
TURN_LIMIT = 300
PolicyRow = tuple[str, Callable[[int], tuple[int, float]]]  # a name, and workers -> (decisions, seconds)


def tiny_policy(battles: int) -> Callable[[int], tuple[int, float]]:
    """Self-play of a fresh network of size tiny (d64, 2 layers), both seats observed and inferred."""

    def play_with(workers: int) -> tuple[int, float]:
        import jax

        from jaxnash.policies.spec import build, token_spec
        from jaxnash.showdown.matches import battles_of, pair_keys
        from jaxnash.showdown.rollout import play
        from jaxnash.types import Neural

        spec = token_spec("tiny")
        policy = build(spec)
        net = Neural("tiny", policy, policy.init(jax.random.key(0)), spec)
        games = battles_of(pair_keys(0, 0, battles // 2, "bench"), load_teams("train"))
        with Pool(workers=workers, turn_limit=TURN_LIMIT) as pool:
            list(play(pool, [net], games[:8]))  # compiles, and starts node
            began = time.perf_counter()
            outcomes = list(play(pool, [net], games))
            seconds = time.perf_counter() - began
        assert sum(sum(o.invalid) for o in outcomes) == 0
        return sum(sum(o.decisions) for o in outcomes), seconds

    return play_with


class Played(NamedTuple):
    """Battles played through the pool: what was asked of the simulator, and how each ended."""

    messages: list[list[str]]  # per battle, in the worker's words
    ends: list[tuple[str, int]]  # state and turn
    decisions: int
    seconds: float


def random_choice(request: str | None, rng: random.Random) -> str | None:
    """A legal choice at random, None for a side that waits."""
    assert request is not None
    asked = orjson.loads(request)
    if "wait" in asked:
        return None
    options = []
    trapped = False
    if "active" in asked:
        active = asked["active"][0]
        moves = active["moves"]
        options = [
            f"move {i + 1}"
            for i in range(len(moves))
            if not moves[i].get("disabled") and moves[i].get("pp", 1)
        ]
        trapped = active.get("trapped")
    if not trapped:
        for i, pokemon in enumerate(asked["side"]["pokemon"]):
            if not pokemon["active"] and not pokemon["condition"].endswith("fnt"):
                options.append(f"switch {i + 1}")
    return options[int(rng.random() * len(options))]


def random_policy(
    workers: int, *, battles: int, parallel: int = 64, ended: Callable[[int], None] | None = None
) -> Played:
    """Plays `battles` battles at random; the same ones for any number of workers."""
    teams = load_teams("train").packed
    messages: list[list[str]] = [[] for _ in range(battles)]
    ends: list[tuple[str, int]] = [("", 0)] * battles
    rngs = [random.Random(derive("bench", i)) for i in range(battles)]
    decisions = done = begun = 0
    began = None
    with Pool(workers=workers, turn_limit=TURN_LIMIT) as pool:
        while done < battles:
            while begun < battles and pool.running < parallel:
                pair = (rngs[begun].choice(teams), rngs[begun].choice(teams))
                pool.start(begun, begun, pair)
                messages[begun].append(f"S\n{begun}\n{begun:016x}\n{pair[0]}\n{pair[1]}")
                begun += 1
            updates = pool.poll()
            began = began or time.perf_counter()
            for update in updates:
                battle = update.battle_id
                if update.ended:
                    state = "x" if update.truncated else "t" if update.winner is None else str(update.winner)
                    ends[battle] = (state, update.turn)
                    done += 1
                    if ended:
                        ended(done)
                        messages[battle] = []  # a long run keeps nothing
                    continue
                rng = rngs[battle]
                first, second = update.requests
                choices = (random_choice(first, rng), random_choice(second, rng))
                decisions += (choices[0] is not None) + (choices[1] is not None)
                messages[battle].append(f"C\n{battle}\n{choices[0] or ''}\n{choices[1] or ''}")
                pool.choose(battle, choices)
        assert pool.invalid == 0 and began is not None
        return Played(messages, ends, decisions, time.perf_counter() - began)


def node_alone(played: Played) -> tuple[int, float]:
    """(a): (decisions, seconds) of the same battles in node alone; asserts that they end as they did."""
    script = [str(HERE / "replay.js"), str(simulator.NODE_DIR / "worker.js"), str(simulator.install())]
    question = orjson.dumps({"turnLimit": TURN_LIMIT, "battles": played.messages})
    command = [simulator.node_path(), *NODE_FLAGS, *script]
    answer = orjson.loads(subprocess.run(command, input=question, stdout=subprocess.PIPE, check=True).stdout)
    assert [(state, int(turn)) for state, turn in answer["ends"]] == played.ends
    return played.decisions, answer["seconds"]


def poke_env_over_server(battles: int, *, concurrent: int = 16) -> tuple[int, float]:
    """(c): (decisions, seconds) of poke-env's RandomPlayer against itself over our `Server`."""
    from poke_env import AccountConfiguration, RandomPlayer, ServerConfiguration
    from poke_env.teambuilder import Teambuilder

    teams = load_teams("train").packed
    logging.getLogger("poke-env").setLevel(logging.ERROR)  # it warns of Gen 1's effects, a line each

    class Draw(Teambuilder):
        def yield_team(self) -> str:
            return random.choice(teams)

    class Counting(RandomPlayer):
        decisions = 0

        def choose_move(self, battle):
            self.decisions += 1
            return super().choose_move(battle)

    async def play(url: str) -> tuple[int, float]:
        players = [
            Counting(
                account_configuration=AccountConfiguration(f"bench{i}", None),
                battle_format="gen1ou",
                max_concurrent_battles=concurrent,
                server_configuration=ServerConfiguration(url, ""),
                team=Draw(),
                log_level=40,
            )
            for i in (0, 1)
        ]
        await players[0].battle_against(players[1], n_battles=1)  # logs in, loads the data files
        for player in players:
            player.decisions = 0
        began = time.perf_counter()
        await players[0].battle_against(players[1], n_battles=battles)
        return sum(player.decisions for player in players), time.perf_counter() - began

    with Server() as server:
        return asyncio.run(play(server.url))


def memory(battles: int, *, every: int = 100) -> dict[str, Any]:
    """Node's heap after garbage collection and Python's resident set over a long run, one worker, in MB.

    Medians of the last tenth of the run and of the tenth around the end of its first tenth (of 20,000
    battles: the last 2,000, and those around 2,000), and their ratio.
    """
    python: list[float] = []

    def ended(done: int) -> None:
        if done % every == 0:
            with open("/proc/self/statm") as statm:
                python.append(int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)

    with tempfile.NamedTemporaryFile("r") as file:
        battle = simulator.install() / "pokemon-showdown" / "dist" / "sim" / "battle.js"
        options = f'--require "{HERE / "heap.js"}"'
        probe = {
            "NODE_OPTIONS": options,
            "HEAP_FILE": file.name,
            "HEAP_EVERY": str(every),
            "HEAP_BATTLE": str(battle),
        }
        with _environment(probe):
            random_policy(1, battles=battles, ended=ended)
        node = [int(line) / 1e6 for line in file]

    def compare(samples: list[float]) -> dict[str, float]:
        tenth = len(samples) // 10
        early = statistics.median(samples[tenth // 2 : tenth + (tenth + 1) // 2])
        late = statistics.median(samples[-tenth:])
        return {"early_mb": round(early, 1), "late_mb": round(late, 1), "ratio": round(late / early, 3)}

    return {"battles": battles, "node_heap": compare(node), "python_rss": compare(python)}


@contextlib.contextmanager
def _environment(extra: dict[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.update(extra)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@dataclass(frozen=True)
class Bridge:
    """The Showdown bridge against node alone and poke-env over the server."""

    battles: int = 300
    """battles a row and round (poke-env: a fifth of it)"""
    rounds: int = 3
    """rounds, of which the median counts"""
    workers: tuple[int, ...] = (1, 2)
    """worker counts of the pool rows"""
    memory_battles: int = 0
    """length of the memory check, 0 for none; 20,000 take about ten minutes"""
    write: bool = False
    """write the results to benchmarks/results/bridge.json"""


def run(config: Bridge, *, policy_rows: Sequence[PolicyRow] = ()) -> dict[str, Any]:
    """Times all rows in each of the rounds, prints the table and returns what it says."""
    where = conditions()
    rates: dict[str, list[float]] = {}

    def add(name: str, decisions: int, seconds: float) -> None:
        rates.setdefault(name, []).append(decisions / seconds)

    for _ in range(config.rounds):
        played = random_policy(config.workers[0], battles=config.battles)
        add("(a) node alone", *node_alone(played))
        add(f"(b) pool, random, W = {config.workers[0]}", played.decisions, played.seconds)
        for workers in config.workers[1:]:
            again = random_policy(workers, battles=config.battles)
            assert again.ends == played.ends
            add(f"(b) pool, random, W = {workers}", again.decisions, again.seconds)
        for name, play in policy_rows:
            for workers in config.workers:
                add(f"(b) pool, {name}, W = {workers}", *play(workers))
        add("(c) poke-env over the server", *poke_env_over_server(max(1, config.battles // 5)))

    medians = {name: statistics.median(values) for name, values in rates.items()}
    alone, peer = medians["(a) node alone"], medians["(c) poke-env over the server"]
    rows = [
        {
            "row": name,
            "decisions_per_s": round(rate),
            "to_node_alone": round(rate / alone, 3),
            "to_poke_env": round(rate / peer, 2),
            "rounds": [round(value) for value in rates[name]],
        }
        for name, rate in medians.items()
    ]
    result = {
        "config": asdict(config),
        **where,
        "rows": rows,
    }
    if config.memory_battles:
        result["memory"] = memory(config.memory_battles)
    _show(result)
    if config.write:
        write("bridge", result)
    return result


def run_from_command_line(config: tyro.conf.OmitArgPrefixes[Bridge] = Bridge()) -> None:
    """The Showdown bridge against node alone and poke-env over the server."""
    run(config, policy_rows=[("d64", tiny_policy(config.battles))])


def _show(result: dict[str, Any]) -> None:
    table = Table(title=f"Bridge, median of {result['config']['rounds']} ({result['machine']})")
    for column in ("", "decisions/s", "to node alone", "to poke-env"):
        table.add_column(column, justify="left" if not column else "right")
    for row in result["rows"]:
        rate, alone, peer = row["decisions_per_s"], row["to_node_alone"], row["to_poke_env"]
        table.add_row(row["row"], f"{rate:,}", f"{alone:.2f}", f"{peer:.2f}")
    console = Console()
    console.print(table)
    for name in ("node_heap", "python_rss"):
        if found := result.get("memory", {}).get(name):
            line = f"{name}: {found['early_mb']} MB early, {found['late_mb']} MB late, ratio {found['ratio']}"
            console.print(line)
