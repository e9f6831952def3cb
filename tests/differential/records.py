"""Battles played and recorded by Showdown, for Python: jobs in, records out.

What a job, a record, a state and a request hold is described in record.js and state.js beside this file. A
record depends on its job alone, byte for byte, so that nothing but seeds need be kept.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from jaxnash.games.gen1.sites import DROPPED
from jaxnash.keys import derive
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.simulator import install, node_path
from jaxnash.types import JaxnashError
from tests.differential.scenes import calls_job, scene_job

HERE = Path(__file__).parent
# What one battle in the endless sequence of a seed is, by its number modulo the length: (kind of teams,
# policy).
MIX = (
    *(("ou", "random"), ("random", "random"), ("mirror", "random"), ("ou", "rare")),
    *(
        ("random", "rare"),
        ("any", "random"),
        ("any", "rare"),
        ("metronome", "rare"),
        ("scene", "rare"),
        ("scene", "rare"),
    ),
)

CALLS = (("calls", "rare"),)  # a mix of these alone

Job = dict[str, Any]
Record = dict[str, Any]


def seed_of(seed: int, number: int) -> str:
    """The 16 hex digits that seed battle `number` of a run; different runs share none but by accident."""
    return f"{derive(seed, 'battle', number):016x}"


def jobs(
    battles: int, *, seed: int, teams: tuple[str, ...] = (), first: int = 0, mix: tuple = MIX, **more: Any
) -> Iterator[Job]:
    """The jobs of a run, in order: number `first` up to `first + battles`, cycling through `mix`.

    teams: packed teams for the kind "ou", drawn uniformly per side; without any, "ou" is "random". more:
    further fields of every job, such as `lines=True`.
    """
    for number in range(first, first + battles):
        kind, policy = mix[number % len(mix)]
        job: Job = {"seed": seed_of(seed, number), "policy": policy}
        if kind in ("scene", "calls"):
            job |= scene_job(seed, number) if kind == "scene" else calls_job(seed, number)
        elif kind == "ou" and teams:
            job["teams"] = [teams[derive(seed, "team", number, side) % len(teams)] for side in (0, 1)]
        else:
            job["kind"] = "random" if kind == "ou" else kind
        yield {**job, **more}


@contextmanager
def _node(script: str, stdin: Any) -> Iterator[subprocess.Popen]:
    command = [node_path(), str(HERE / script), str(install())]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=said)
        with process:
            try:
                yield process
                if process.stdin is not None:
                    process.stdin.close()
                if process.wait():
                    said.seek(0)
                    words = said.read().decode(errors="replace").strip()
                    raise JaxnashError(f"{script} failed: {words[-1500:]}")
            finally:
                if process.poll() is None:
                    process.kill()


def run_node(script: str, tasks: Iterable[Job]) -> Iterator[Any]:
    """Gives each task to a node script of this folder as a JSON line and yields the lines it answers with.

    Raises:
      JaxnashError: the script failed; with the last words it said.
    """
    with tempfile.TemporaryFile() as questions:
        questions.writelines(orjson.dumps(task) + b"\n" for task in tasks)
        questions.seek(0)
        with _node(script, questions) as process:
            assert process.stdout is not None
            yield from map(orjson.loads, process.stdout)


def play(tasks: Iterable[Job], *, workers: int = 1) -> Iterator[Record]:
    """Records of the jobs, in their order, whatever number of node processes plays them."""
    tasks = list(tasks)
    streams = [run_node("record.js", tasks[worker::workers]) for worker in range(workers)]
    for number in range(len(tasks)):
        yield next(streams[number % workers])
    for stream in streams:
        next(stream, None)  # its exit is looked at


def play_members(tasks: Iterable[Job], choosers: tuple[str, ...]) -> Iterator[Record]:
    """Records of battles between scripted members, by name; each job's seed draws which two of them play it.

    They see what the bridge shows them: the same lines and requests, read by the same `BattleRecord`.
    """
    from jaxnash.showdown.heuristics import MEMBERS  # imports poke-env

    with _node("record.js", subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None

        def say(value: Any) -> Any:
            process.stdin.write(orjson.dumps(value) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            return orjson.loads(line) if line else None  # None: it failed, which leaving `_node` tells

        for task in tasks:
            names = [choosers[derive(task["seed"], "member", side) % len(choosers)] for side in (0, 1)]
            seats = [BattleRecord(0), BattleRecord(1)]
            answer, decision = say({**task, "policy": "asked"}), 0
            while answer is not None and "decisions" not in answer:
                choices = []
                for side, (name, record) in enumerate(zip(names, seats)):
                    _feed(record, answer)
                    rng = random.Random(derive(task["seed"], side, decision))
                    choices.append(None if record.waiting else MEMBERS[name].choose(record, rng))
                answer, decision = say(choices), decision + 1
            if answer is None:
                break
            yield {**answer, "policy": " ".join(names)}


def _feed(record: BattleRecord, told: Job) -> None:
    other = "21"[record.side]
    lines = [line.lstrip("12") for line in told["lines"] if line[:1] != other]
    record.feed([line.split("|") for line in lines])
    record.request(told["raw"][record.side])


def seats(record: Record) -> Iterator[tuple[BattleRecord, BattleRecord]]:
    """What the bridge has been told on each side at every decision of a record made with `lines` and `raw`.

    The two are the same ones throughout, told more each time.
    """
    both = BattleRecord(0), BattleRecord(1)
    for lines, decision in zip(told(record), record["decisions"]):
        for seat in both:
            _feed(seat, {"lines": lines, "raw": decision["raw"]})
        yield both


def told(record: Record) -> Iterator[list[str]]:
    """The protocol that came before each decision, and at last before the end, of a record with `lines`."""
    yield record["lines"]
    for decision in record["decisions"]:
        yield decision["lines"]


def tape(draws: Iterable[list]) -> list[tuple[str, int, int, int]]:
    """The draws an engine must ask for: without those of dropped sites."""
    return [(site, lo, hi, value) for site, lo, hi, value in draws if site not in DROPPED]


def first_difference(expected: Any, got: Any, at: str = "") -> str | None:
    """Where values of dicts and lists first differ, as "sides[0].on.boosts[1]: 0, not 1"; or None."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in {**expected, **got}:
            if key not in expected or key not in got:
                return f"{at}.{key}: {'extra' if key in got else 'missing'}".lstrip(".")
            if found := first_difference(expected[key], got[key], f"{at}.{key}".lstrip(".")):
                return found
        return None
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(expected) != len(got):
            return f"{at}: {list(got)}, not {list(expected)}"
        pairs = enumerate(zip(expected, got))
        return next((found for i, (a, b) in pairs if (found := first_difference(a, b, f"{at}[{i}]"))), None)
    return None if expected == got else f"{at}: {got!r}, not {expected!r}"
