"""`python -m tests.differential`: its counts, its last line, and what it says to bad input."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError
from tests.differential.__main__ import Knobs, run, teams_of


def test_the_last_line_counts_battles_decisions_and_divergences(monkeypatch, capsys, tmp_path):
    def replay(records):  # an engine that errs in the second battle
        return [(3, "state" if i == 1 else "", ["turn: 4, not 3"]) for i in range(len(records))]

    monkeypatch.setitem(sys.modules, "tests.differential.replay", SimpleNamespace(replay=replay))
    path = tmp_path / "teams.txt"
    path.write_text("\n".join(load_teams("eval").packed[:2]))
    assert run(Knobs(battles=4, seed=3, first=8, teams=str(path), coverage=True)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("battle 9 (") and said[0].endswith("decision 3: state: turn: 4, not 3")
    assert any(line.endswith("  move: rage") for line in said)
    assert said[-1].startswith("4 battles, ") and said[-1].endswith(" decisions, 1 divergences")


def test_bad_input_is_told_in_one_line(tmp_path):
    path = tmp_path / "teams.txt"
    path.write_text("Tauros\n- Body Slam\n")
    with pytest.raises(JaxnashError, match=r"teams.txt holds no packed teams: expected .* one team a line"):
        teams_of(str(path))
    with pytest.raises(JaxnashError, match="unknown team set 'nothing'"):
        teams_of("nothing")
