"""Curves of runs by configuration, their means, and published expectations as hypotheses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jaxnash.psro.tournament import wilson
from jaxnash.runs.fighter_curves import Point, curve, figure, groups, hypotheses, lines
from jaxnash.runs.fighter_knobs import PRESETS
from jaxnash.runs.files import plain, write_json
from jaxnash.types import JaxnashError


def row(frames: int, based: float | None, constant: float = 0.5, pairs: int = 50) -> dict:
    found = {
        name: {"win_rate": rate, "win_rate_interval": wilson(rate, pairs, 0.99), "matches": 2 * pairs}
        for name, rate in {"based": based, "constant": constant}.items()
        if rate is not None
    }
    return {"frames": frames} | ({"evaluation": found} if based is not None else {})


def run(path: Path, *rows: dict, **knobs: object) -> str:
    config = plain(PRESETS["test"].__dict__) | {"run_dir": str(path), "updates": 10} | knobs
    write_json(path / "config.json", config)
    (path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def test_runs_of_one_configuration_make_a_mean(tmp_path):
    rows = [row(10_000, None), row(20_000, 0.2), row(40_000, 0.4)]
    names = [
        run(tmp_path / "a", *rows, seed=0, name="a"),
        run(tmp_path / "b", *rows[:2], row(40_000, 0.6), row(50_000, 0.7), seed=1, debug=False),
        run(tmp_path / "c", row(20_000, 0.1), seed=0, frames=10_000_000, preset="full"),
        run(tmp_path / "d", row(20_000, 0.1), seed=0, core=64),
    ]
    found = groups(names)
    assert [group.label for group in found] == [
        "test, 50,000 frames, core 512",
        "full, 10,000,000 frames",
        "test, 50,000 frames, core 64",
    ]
    assert [[each.seed for each in group.runs] for group in found] == [[0, 1], [0], [0]]
    mean = found[0].curve("based")
    assert [(point.frames, point.rate, point.pairs, point.rates) for point in mean] == [
        (20_000, pytest.approx(0.2), 100, (0.2, 0.2)),
        (40_000, pytest.approx(0.5), 100, (0.4, 0.6)),
        (50_000, pytest.approx(0.7), 50, (0.7,)),
    ]
    assert (mean[1].low, mean[1].high) == pytest.approx(wilson(0.5, 100, 0.99))
    table = lines(found[0])
    assert [line["frames"] for line in table] == 2 * ["20,000", "40,000", "50,000"]
    assert table[1]["win rate [99 %]"] == "0.500 [0.375, 0.625] of 2 seeds"
    assert table[1]["each seed"] == "0.400, 0.600"
    for kind, head in {"png": b"\x89PNG", "svg": b"<?xml"}.items():
        drawn = figure(found, kind)
        assert drawn.startswith(head) and drawn == figure(found, kind)
    assert "published expectation, not measured here" in drawn.decode() or len(drawn) > 10_000


def test_long_curves_are_told_by_some_lengths(tmp_path):
    name = run(tmp_path / "a", *[row(50_000 * k, 0.5) for k in range(1, 201)])
    shown = [int(line["frames"].replace(",", "")) for line in lines(groups([name])[0])]
    shown = shown[: len(shown) // 2]
    assert shown[0] == 50_000 and shown[-1] == 10_000_000 and 6 < len(shown) <= 10
    assert shown == sorted(set(shown))


def point(frames: int, low: float, high: float) -> Point:
    return Point(frames, (low + high) / 2, low, high, 50, ((low + high) / 2,))


def test_expectations_are_hypotheses_beside_what_was_measured():
    told = hypotheses([])
    assert told.startswith("published expectation, not measured here: 30-50 % wins after 50,000 frames: ")
    assert told.count("no measurement at this length") == 2
    told = hypotheses([point(20_000, 0.9, 1.0), point(49_920, 0.1, 0.3)])  # they touch at 0.3
    assert "ours 0.200 [0.100, 0.300] against Based after 49,920, consistent with it; 70-85 %" in told
    assert "contradicts it" in hypotheses([point(49_920, 0.1, 0.29)])
    assert "contradicts it" in hypotheses([point(49_920, 0.51, 0.9)])
    long = hypotheses([point(9_999_360, 0.86, 0.99), point(9_500_000, 0.7, 0.8)])
    assert "70-85 % wins after 10,000,000 frames: ours 0.925 [0.860, 0.990] against Based after 9" in long
    assert long.endswith("contradicts it") and long.count("no measurement") == 1
    assert "no measurement" in hypotheses([point(44_000, 0.4, 0.5)]).split(";")[0]  # more than 10 % off


def test_a_runs_rows_make_its_curve():
    found = curve([row(10, None), row(20, 0.25, 0.75)], "constant")
    assert found == [Point(20, 0.75, *wilson(0.75, 50, 0.99), 50, (0.75,))]


def test_what_cannot_be_drawn_is_refused(tmp_path):
    name = run(tmp_path / "a", row(20_000, 0.2))
    with pytest.raises(JaxnashError, match="nowhere is not a run directory"):
        groups(["nowhere"])
    with pytest.raises(JaxnashError, match="have one configuration and one seed, 0: name one of them"):
        groups([name, run(tmp_path / "b", row(20_000, 0.3))])
    with pytest.raises(JaxnashError, match="has no evaluation yet"):
        groups([run(tmp_path / "c", row(10_000, None))])
    write_json(tmp_path / "d" / "config.json", {"iterations": 3})
    with pytest.raises(JaxnashError, match="is no run of fighter_selfplay"):
        groups([str(tmp_path / "d")])
