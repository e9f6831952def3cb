"""`python -m tests.differential --battles N --seed S [--teams FILE]`: Showdown plays, the engine replays.

Every battle is played by Showdown (random and rare-move policies over OU teams, random and mirrored movesets;
with `--members` the scripted members), its draws logged by site, its state dumped at every decision. The
engine replays the tape; the last line tells how often it came out differently. A battle is named by the run's
seed and its number, so `--first NUMBER --battles 1` plays one again. With `--tally FILE` the counts are kept
as it goes; the same command goes on from there, with more `--battles` too.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import tyro

from jaxnash.runs.cli import main as cli
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError
from tests.differential import coverage, records, replay
from tests.differential import tally as tallies

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
    calls: bool = False
    """nothing but battles in which it is hard to tell what was chosen (moves called, copied, after a thaw)"""
    coverage: bool = False
    """print how often each move and each row of the checklist was reached"""
    tally: str = ""
    """a JSON file that keeps the counts, to go on from"""


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


def battles(knobs: Knobs, done: int = 0) -> Iterator[records.Record]:
    mix = records.CALLS if knobs.calls else records.MIX
    more = {"seed": knobs.seed, "teams": teams_of(knobs.teams), "lines": True, "raw": True}
    tasks = records.jobs(knobs.battles - done, first=knobs.first + done, mix=mix, **more)
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
    named = {
        name: getattr(knobs, name) for name in ("seed", "first", "teams", "members", "calls", "coverage")
    }
    named["code"] = tallies.code()
    tally = tallies.load(knobs.tally, named) if knobs.tally else tallies.Tally()
    began, already = time.perf_counter(), tally.battles
    print(*tally.divergences, sep="\n", end="\n" if tally.divergences else "")
    for chunk in chunks(battles(knobs, already) if knobs.battles > already else ()):
        for record in chunk:
            if record["error"]:
                tally.thrown[record["error"].splitlines()[0]] += 1
            tally.draws.update(site for one in (record, *record["decisions"]) for site, *_ in one["draws"])
            if knobs.coverage:
                tally.reached += coverage.count(record)
        for number, (record, (at, kind, words)) in enumerate(zip(chunk, replay.replay(chunk))):
            if kind:
                of = f"{record['kind']}, {record['policy']}"
                battle = f"battle {knobs.first + tally.battles + number} ({of})"
                tally.divergences.append(f"{battle}, decision {at}: {kind}: {'; '.join(words[:4])}")
                print(tally.divergences[-1], flush=True)
        tally.battles += len(chunk)
        tally.decisions += sum(len(record["decisions"]) for record in chunk)
        if knobs.tally:
            tallies.save(knobs.tally, named, tally)
        rate = (tally.battles - already) / (time.perf_counter() - began)
        print(f"{tally.battles}/{knobs.battles} battles, {rate:.1f}/s", file=sys.stderr, flush=True)
    played = tally.battles
    if knobs.coverage:
        print(coverage.table(tally.reached))
    per = (f"{site} {1000 * n / played:.0f}," for site, n in tally.draws.most_common())
    print("draws per 1,000 battles:", *per)
    for words, count in tally.thrown.items():
        print(f"the simulator itself threw in {count} battles (compared up to there): {words}")
    print(f"{played} battles, {tally.decisions} decisions, {len(tally.divergences)} divergences")
    return len(tally.divergences)


def main() -> None:
    knobs = tyro.cli(Knobs, prog="python -m tests.differential", description=__doc__)
    if knobs.battles < 1:
        raise JaxnashError(f"--battles {knobs.battles} plays nothing: give at least 1")
    gc.disable()  # millions of numbers in records, and no cycles: looking through them costs a sixth
    if run(knobs):
        raise SystemExit(1)


if __name__ == "__main__":
    cli(main)
