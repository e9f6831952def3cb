"""The engine is Showdown's simulator: draws, states, legal actions and observations of recorded battles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.differential import records
from tests.differential.__main__ import teams_of
from tests.differential.replay import replay

SEED = 2026
BATTLES, PARTS = 500, 2  # in CI; parts run side by side


def divergences(battles: Sequence[tuple[int, int]], mix: tuple = records.MIX) -> tuple[list[str], int]:
    """Each divergence of these battles (seed, number) in words, and how many decisions agreed."""
    more: dict[str, Any] = {"teams": teams_of(""), "lines": True, "raw": True, "mix": mix}
    jobs = [job for seed, number in battles for job in records.jobs(1, seed=seed, first=number, **more)]
    found, decisions, chunk = [], 0, 250
    played = list(records.play(jobs))
    for start in range(0, len(played), chunk):
        for number, (at, kind, words) in enumerate(replay(played[start : start + chunk])):
            decisions += at
            if kind:
                seed, battle = battles[start + number]
                place = f"seed {seed}, battle {battle}, decision {at}"
                found.append(f"{place}: {kind}: {'; '.join(words[:4])}")
    return found, decisions


@pytest.mark.parametrize("part", range(PARTS))
def test_recorded_battles_come_out_the_same(part: int) -> None:
    each = BATTLES // PARTS
    found, decisions = divergences([(SEED, number) for number in range(part * each, (part + 1) * each)])
    assert not found, "\n".join(found)
    assert decisions > 40 * each


def test_battles_that_came_out_differently_once() -> None:
    """Mimic, called, takes the other of two moves alike; a called trapping move goes on against a third, or
    is chosen after it missed, or by one that has it itself goes on. Two Ditto with nothing but Transform tie
    before anyone chose. Mimic takes Metronome twice, once called by it: two alike, both by Mimic; or
    two with as many PP left. One that thaws makes a trapping move of another one, which goes on."""
    called = [(100, 257), (100, 796), (100, 5967), (300, 3266), (302, 4716)]
    found, _ = divergences([*called, (300, 1312), (302, 2207), (304, 1787), (305, 3717), (308, 32516)])
    assert not found, "\n".join(found)


def test_battles_in_which_it_is_hard_to_tell_what_was_chosen() -> None:
    """Some came out differently once: Hyper Beam, its own but called, is repeated where Clamp took away
    the recharge; Mimic is made after a thaw, its own or for another; two pairs of moves are alike."""
    others = [(1, 76), (1, 475), (1, 808), (1, 1650), (2, 2730), (4, 365)]
    found, _ = divergences([*others, *((SEED, number) for number in range(122))], mix=records.CALLS)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_twenty_thousand_battles_come_out_the_same() -> None:
    found: list[str] = []
    for first in range(0, 20_000, 1000):
        found += divergences([(SEED + 1, number) for number in range(first, first + 1000)])[0]
        print(f"{first + 1000} battles, {len(found)} divergences", flush=True)
    assert not found, "\n".join(found)


def test_the_judge_sees_what_is_wrong() -> None:
    """A record that was tampered with: a draw, a state, a legal action, what a side is told."""
    jobs = records.jobs(1, seed=SEED, teams=teams_of(""), lines=True, raw=True, turns=6)
    (record,) = records.play(jobs)
    assert replay([record])[0][1] == ""
    decision = record["decisions"][2]
    drawn = next(draw for draw in decision["draws"] if draw[0] == "accuracy")
    drawn[2] += 1
    assert replay([record])[0][1] == "draw"
    drawn[2] -= 1
    draws = decision["draws"]
    draws.append(draws[-1])  # a tape that is not used up, then one that runs out
    (words,) = replay([record])[0][2]
    assert words == f"draw {len(draws) - 1}: engine asks for nothing more, Showdown drew {draws[-1]}"
    del draws[-1]
    last = draws.pop()
    (words,) = replay([record])[0][2]
    asked = " ".join(map(str, last[:3]))
    assert words == f"draw {len(draws)}: engine asks for {asked}, Showdown drew no more"
    draws.append(last)
    side = decision["state"]["sides"][0]
    side["on"]["boosts"][0] += 1
    assert replay([record])[0][:2] == (1, "state")
    side["on"]["boosts"][0] -= 1
    legal = decision["requests"][0]["legal"]
    legal[0] = 1 - legal[0]
    assert replay([record])[0][:2] == (2, "mask")
    legal[0] = 1 - legal[0]
    at = next(i for i, line in enumerate(record["lines"]) if line.startswith(("1|switch|p2a", "1|drag|p2a")))
    record["lines"][at] = record["lines"][at].replace("100/100", "99/100")
    assert replay([record])[0][1] == "observation"
