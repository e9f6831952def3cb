"""STATE holds all that matters: from it alone Showdown goes on as it went on in the battle it is of."""

from __future__ import annotations

from typing import Any

import pytest

from jaxnash.showdown.teams import load_teams
from tests.differential import records


def restore(battles: int, *, seed: int, **more: Any) -> list[str]:
    teams = (*load_teams("train").packed, *load_teams("eval").packed)
    answers = records.run_node("restore.js", records.jobs(battles, seed=seed, teams=teams, **more))
    return [f"{one['seed']}: {one['difference']}" for one in answers if one["difference"]]


def test_the_state_suffices_to_go_on():
    assert not restore(16, seed=1, turns=25)


def test_a_state_that_forgets_something_does_not():
    assert restore(8, seed=1, turns=25, mix=(("any", "rare"),), forget="lastDamage")


@pytest.mark.slow
def test_the_state_suffices_to_go_on_in_many_battles():
    different = restore(2_000, seed=2)
    assert not different, "\n".join(different)
