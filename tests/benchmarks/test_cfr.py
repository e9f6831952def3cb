"""`python -m benchmarks cfr` without its peers."""

from __future__ import annotations

import json
import multiprocessing
import threading
from typing import Any

import pytest

from benchmarks import cfr, recorded
from benchmarks.contenders import Contender, answer
from jaxnash.types import JaxnashError


def conversation(build: Any) -> tuple[Any, threading.Thread]:
    here, there = multiprocessing.Pipe()
    thread = threading.Thread(target=answer, args=(there, build), daemon=True)
    thread.start()
    return here, thread


def test_it_measures_kuhn_in_a_process_pinned_to_one_core(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "RESULTS", tmp_path)
    monkeypatch.setattr(cfr, "_default_backend", lambda: "cpu")
    config = cfr.Cfr(games=("kuhn",), contenders=("ours, generic",), rounds=2, sample=0.01, write=True)
    result = cfr.run(config)
    ours, gpu = result["games"]["kuhn"]
    assert ours["nash_conv"] == pytest.approx(0.00238880820222, abs=1e-9)
    assert len(ours["rates"]) == 2 and all(rate > 1000 for rate in ours["rates"])
    assert ours["share_of_floor"] == pytest.approx(
        ours["rate"] * ours["traffic_bytes"] / ours["stream_gb_s"] / 1e9
    )
    # 12 infosets of 2 actions, 48 sequences' worth of state, in float64: kilobytes, read and written.
    assert 1000 < ours["traffic_bytes"] < 10_000 and ours["stream_gb_s"] > 0.1
    assert ours["build_s"] > 0 and ours["compile_s"] > 0 and ours["nash_conv_ms"] > 0
    assert gpu["absent"] == "not measured (no GPU)"
    assert all(aim["measured"] is None and aim["met"] is None for aim in result["aims"])
    printed = capsys.readouterr().out
    assert "CFR+ on kuhn" in printed and "no GPU" in printed and "not measured" in printed
    assert json.loads((tmp_path / "cfr.json").read_text())["games"]["kuhn"][1] == gpu


def test_unknown_games_and_contenders_are_refused():
    with pytest.raises(JaxnashError, match=r"games \['goofspiel'\]: there are .*'goofspiel_5'"):
        cfr.run(cfr.Cfr(games=("kuhn", "goofspiel")))
    with pytest.raises(JaxnashError, match=r"contenders \['ours'\]"):
        cfr.run(cfr.Cfr(contenders=("ours",)))


def test_a_contender_that_cannot_be_built_says_why():
    def missing() -> Contender:
        raise ImportError("No module named 'pyspiel'")

    def broken() -> Contender:
        raise ValueError("too large\nand more")

    for build, said in (
        (missing, "not installed (No module named 'pyspiel')"),
        (broken, "does not run (ValueError: too large)"),
    ):
        connection, thread = conversation(build)
        assert connection.recv() == said
        thread.join(5)
        assert not thread.is_alive()


def test_answers_run_and_evaluate_the_same_state():
    done = []
    contender = Contender(done.append, lambda: sum(done), lambda average: 1 / average, {"build": 2.0})
    connection, thread = conversation(lambda: contender)
    assert connection.recv() == {"build": 2.0}
    running = cfr.Running(None, connection, {})
    assert cfr.ask(running, "run", 3) >= 0 and cfr.ask(running, "run", 5) >= 0
    assert done == [3, 5]
    assert cfr.ask(running, "nash_conv", 2)[0] == 1 / 8
    connection.send(None)
    thread.join(5)
    assert not thread.is_alive()


def test_a_contender_that_does_not_build_in_time_or_dies_is_gone():
    class Process:
        exitcode, killed = -6, False

        def join(self) -> None:
            pass

        def kill(self) -> None:
            self.killed = True

    here, there = multiprocessing.Pipe()
    process = Process()
    with pytest.raises(cfr.Gone, match="no build within 0 s"):
        cfr._receive(process, here, 0.01, "no build within 0 s")
    assert process.killed
    there.close()
    with pytest.raises(cfr.Gone, match="ended with -6"):
        cfr._receive(process, here, 1, "late")


def test_nash_convs_must_agree_before_anything_is_timed():
    cfr.assert_agreement("leduc", {"ours, generic": 0.02, "OpenSpiel C++": 0.02 + 5e-10, "JaxCFR": 0.0201})
    with pytest.raises(AssertionError, match=r"ours, generic has 0\.02"):
        cfr.assert_agreement("leduc", {"ours, generic": 0.02, "OpenSpiel C++": 0.02 + 5e-9})
    with pytest.raises(AssertionError, match=r"ours, public has 0\.021"):
        cfr.assert_agreement("leduc", {"ours, generic": 0.02, "ours, public": 0.021})
    with pytest.raises(AssertionError, match=r"JaxCFR has 0\.03"):
        cfr.assert_agreement("leduc", {"OpenSpiel C++": 0.02, "JaxCFR": 0.03})
    cfr.assert_agreement("goofspiel_5", {"OpenSpiel C++": 0.02, "ours, generic": 0.021})
    cfr.assert_agreement("kuhn", {})


def row(title: str, rate: float, **more: Any) -> dict[str, Any]:
    return {"row": title, "rate": rate, "rates": [rate], "nash_conv_ms": 1.0, "build_s": 1.0} | more


def test_aims_are_judged_by_the_better_form_or_the_one_they_name():
    games = {
        "kuhn": [row("ours, generic", 200.0), row("ours, public", 90.0), row("LiteEFG", 10.0)],
        "leduc": [row("ours, generic", 390.0, nash_conv_ms=0.5), row("LiteEFG", 10.0)],
        "liars_dice": [
            row("ours, generic", 99.0, compile_s=4.0),
            row("ours, public", 300.0, compile_s=6.0),
            row("OpenSpiel C++", 1.0),
        ],
        "goofspiel_5": [row("ours, generic", 1.0), {"row": "JaxCFR", "absent": "not installed"}],
    }
    found = {aim["aim"]: (aim["measured"], aim["met"]) for aim in cfr.judge(games)}
    assert found["kuhn, ours, against LiteEFG"] == (20, True)
    assert found["leduc, ours, against LiteEFG"] == (39, False)
    assert found["leduc, ours, against LiteEFG: NashConv"] == (2, True)
    assert found["leduc, ours, against OpenSpiel C++"] == (None, None)
    assert found["liar's dice, ours, public, against OpenSpiel C++"] == (300, True)
    assert found["liar's dice, ours, generic, against OpenSpiel C++"] == (99, False)
    assert found["goofspiel 5, ours, against JaxCFR"] == (None, None)
    assert found["liar's dice, ours, generic: build + compile, s"] == (5, True)
    assert found["liar's dice, ours, public: build + compile, s"] == (7, False)


def test_figures_have_about_three_digits():
    values = (None, 0.0123, 12.34, 1234.0, 12_345.0, 123_456.0, 1_234_567.0, 12_345_678.0)
    shown = ["–", "0.0123", "12.3", "1,234", "12.3k", "123k", "1.23M", "12.3M"]
    assert [cfr.figure(value) for value in values] == shown
