"""`python -m tests.differential`: its counts, its last line, and what it says to bad input."""

from __future__ import annotations

import pytest

from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError
from tests.differential import tally
from tests.differential.__main__ import Knobs, run, teams_of


def test_the_last_line_counts_battles_decisions_and_divergences(monkeypatch, capsys, tmp_path):
    def replay(records):  # an engine that errs in the second battle
        return [(3, "state" if i == 1 else "", ["turn: 4, not 3"]) for i in range(len(records))]

    monkeypatch.setattr("tests.differential.replay.replay", replay)
    path = tmp_path / "teams.txt"
    path.write_text("\n".join(load_teams("eval").packed[:2]))
    assert run(Knobs(battles=4, seed=3, first=8, teams=str(path), coverage=True)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("battle 9 (") and said[0].endswith("decision 3: state: turn: 4, not 3")
    assert any(line.endswith("  move: rage") for line in said)
    assert said[-1].startswith("4 battles, ") and said[-1].endswith(" decisions, 1 divergences")


def test_a_run_cut_off_goes_on_and_counts_what_one_run_counts(monkeypatch, capsys, tmp_path):
    def replay(records):
        return [
            (0, "mask", ["action 2"]) if len(record["decisions"]) % 2 else (0, "", []) for record in records
        ]

    monkeypatch.setattr("tests.differential.replay.replay", replay)
    monkeypatch.setattr("tests.differential.__main__.CHUNK", 2)
    one, two = str(tmp_path / "one.json"), str(tmp_path / "two.json")
    whole = run(Knobs(battles=5, seed=3, coverage=True, tally=one))
    said = capsys.readouterr().out
    run(Knobs(battles=3, seed=3, coverage=True, tally=two))
    capsys.readouterr()
    assert run(Knobs(battles=5, seed=3, coverage=True, tally=two)) == whole > 0
    assert capsys.readouterr().out == said
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()
    with pytest.raises(
        JaxnashError, match=r"two.json counts another run \(other seed\): give --tally another"
    ):
        run(Knobs(battles=5, seed=4, coverage=True, tally=two))
    monkeypatch.setattr(tally, "code", lambda: "another engine")
    with pytest.raises(JaxnashError, match=r"another run \(other code\)"):
        run(Knobs(battles=5, seed=3, coverage=True, tally=two))
    (tmp_path / "two.json").write_text("[]")
    with pytest.raises(JaxnashError, match=r"two.json is not a tally of this command"):
        run(Knobs(battles=5, seed=3, coverage=True, tally=two))


def test_bad_input_is_told_in_one_line(tmp_path):
    path = tmp_path / "teams.txt"
    path.write_text("Tauros\n- Body Slam\n")
    with pytest.raises(JaxnashError, match=r"teams.txt holds no packed teams: expected .* one team a line"):
        teams_of(str(path))
    with pytest.raises(JaxnashError, match="unknown team set 'nothing'"):
        teams_of("nothing")
