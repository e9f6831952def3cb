"""Draws that the tape leaves off decide nothing: drawn anew, they leave Showdown's own states the same."""

from __future__ import annotations

from typing import Any

import pytest

from jaxnash.showdown.teams import load_teams
from tests.differential import records


def redraw(battles: int, *, seed: int, **more: Any) -> list[dict[str, Any]]:
    teams = (*load_teams("train").packed, *load_teams("eval").packed)
    return list(
        records.run_node("redraw.js", records.jobs(battles, seed=seed, teams=teams, redraw=1, **more))
    )


def check(answers: list[dict[str, Any]], changed: int) -> None:
    different = [f"{one['seed']}: {one['difference']}" for one in answers if one["difference"]]
    assert not different, "\n".join(different)
    assert sum(one["changed"] for one in answers) > changed


def test_the_dropped_draws_decide_nothing():
    mirrors = tuple(mix for mix in records.MIX if mix[0] in ("mirror", "any"))
    check(redraw(200, seed=1, turns=25, mix=mirrors), changed=1000)


def test_other_ties_decide_something():
    answers = redraw(6, seed=1, turns=25, mix=(("mirror", "random"),), redrawn=["order"])
    assert any(one["difference"] for one in answers)


@pytest.mark.slow
def test_the_dropped_draws_decide_nothing_in_ten_thousand_battles():
    check(redraw(10_000, seed=2), changed=100_000)
