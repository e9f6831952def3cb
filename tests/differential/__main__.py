"""`python -m tests.differential --battles N --seed S [--teams FILE]`: Showdown plays, the engine replays.

Every battle is played by Showdown (random and rare-move policies over OU teams, random and mirrored movesets;
with `--members` the scripted members), its draws logged by site, its state dumped at every decision. The
engine replays the tape; the last line tells how often it came out differently. A battle is named by the run's
seed and its number, so `--first NUMBER --battles 1` plays one again.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import tyro

from jaxnash.runs.cli import main as cli
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError
from tests.differential import coverage, records

CHUNK = 512  # battles that are replayed together


@dataclass(frozen=True)
class Knobs:
    battles: int = 100
    """how many"""
    seed: int = 0
    """of the run; battle i of it is the same whatever else is played"""
    first: int = 0
    """number of the first battle"""
    workers: int = 1
    """node processes that play"""
    teams: str = ""
    """a file of packed teams, one a line, or the name or folder of a team set; default: both of gen1ou"""
    members: bool = False
    """the six scripted members choose, instead of random and rare-move policies"""
    coverage: bool = False
    """print how often each move and each row of the checklist was reached"""


def teams_of(name: str) -> tuple[str, ...]:
    """Packed teams. Raises `JaxnashError` for a file without teams, and as `load_teams` does."""
    if not name:
        return (*load_teams("train").packed, *load_teams("eval").packed)
    if not Path(name).is_file():
        return load_teams(name).packed
    packed = tuple(
        line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip()
    )
    if not packed or any(line.count("|") < 11 for line in packed):
        raise JaxnashError(
            f"{name} holds no packed teams: expected Showdown's packed format, one team a line"
        )
    return packed


def battles(knobs: Knobs) -> Iterator[records.Record]:
    tasks = records.jobs(
        knobs.battles, seed=knobs.seed, teams=teams_of(knobs.teams), first=knobs.first, lines=True, raw=True
    )
    if knobs.members:
        from jaxnash.showdown.heuristics import MEMBERS

        return records.play_members(tasks, tuple(MEMBERS))
    return records.play(tasks, workers=knobs.workers)


def chunks(of: Iterable[records.Record]) -> Iterator[list[records.Record]]:
    of = iter(of)
    while chunk := list(islice(of, CHUNK)):
        yield chunk


def run(knobs: Knobs) -> int:
    """Plays, compares, prints what differs and the counts. Returns the number of divergences."""
    try:
        from tests.differential.replay import replay
    except ImportError:  # no engine yet
        replay = None
    began = time.perf_counter()
    played = decisions = differ = 0
    draws: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    thrown: Counter[str] = Counter()
    for chunk in chunks(battles(knobs)):
        for record in chunk:
            if record["error"]:
                thrown[record["error"].splitlines()[0]] += 1
            draws.update(site for one in (record, *record["decisions"]) for site, *_ in one["draws"])
            if knobs.coverage:
                reached += coverage.count(record)
        for number, (record, (at, kind, words)) in enumerate(zip(chunk, replay(chunk) if replay else ())):
            if kind:
                differ += 1
                battle = f"battle {knobs.first + played + number} ({record['kind']}, {record['policy']})"
                print(f"{battle}, decision {at}: {kind}: {'; '.join(words[:4])}", flush=True)
        played += len(chunk)
        decisions += sum(len(record["decisions"]) for record in chunk)
    if knobs.coverage:
        print(coverage.table(reached))
    print(
        "draws per 1,000 battles:", *(f"{site} {1000 * n / played:.0f}," for site, n in draws.most_common())
    )
    for words, count in thrown.items():
        print(f"the simulator itself threw in {count} battles (compared up to there): {words}")
    print(f"{played / (time.perf_counter() - began):.1f} battles/s")
    if replay is None:
        print("there is no engine to compare with: tests/differential/replay.py is missing")
        print(f"{played} battles, {decisions} decisions, nothing compared")
    else:
        print(f"{played} battles, {decisions} decisions, {differ} divergences")
    return differ


def main() -> None:
    knobs = tyro.cli(Knobs, prog="python -m tests.differential", description=__doc__)
    if knobs.battles < 1:
        raise JaxnashError(f"--battles {knobs.battles} plays nothing: give at least 1")
    gc.disable()  # millions of numbers in records, and no cycles: looking through them costs a sixth
    if run(knobs):
        raise SystemExit(1)


if __name__ == "__main__":
    cli(main)
