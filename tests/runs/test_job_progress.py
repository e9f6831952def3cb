"""Figures of a job's progress, as `jaxnash status` tells them."""

from __future__ import annotations

import pytest

from jaxnash.runs.job_progress import iteration_seconds, measured, seconds_text


def timed(*seconds: float, **more: object) -> list[dict]:
    return [{"iteration": k + 1, "timing": {"seconds": s} | more} for k, s in enumerate(seconds)]


def test_seconds_an_iteration_are_the_median_of_measured_ones() -> None:
    own = timed(30.0, 2.0, 3.0, 2.5, 90.0, phases={})  # the first compiles, the last evaluates
    assert iteration_seconds(own, []) == (2.75, "2.8 s an iteration, the median of the last 4 measured")
    so_far = [row | {"iteration": 10 * row["iteration"]} for row in timed(1.0, 3.0, 7.0, 9.0)]
    assert iteration_seconds(so_far, [])[0] == pytest.approx(0.2)
    stamps = ["12:00:00", "12:00:10", "13:00:00", "13:00:30"]
    stamped = [{"iteration": k, "timing": {"timestamp": f"2026-01-01T{t}Z"}} for k, t in enumerate(stamps)]
    assert iteration_seconds(stamped, ["2026-01-01T12:59:00Z"])[0] == 20  # not the hour that it lay idle
    assert iteration_seconds([], [])[0] is None and iteration_seconds(timed(1.0), [])[0] is None
    assert iteration_seconds(timed(*[5.0] * 30, *[1.0] * 20, phases={}), [])[0] == 1.0  # only the recent ones


def test_what_was_measured_says_of_what_kind_it_is() -> None:
    row = {"iteration": 3, "exploitability": 0.25, "exploitability_kind": "lower bound (LBR)"}
    assert measured(row).text == "0.25 (lower bound (LBR))"
    assert measured(row | {"exploitability_kind": None}).kind == "kind not stated"
    assert measured({"exploitability": 0.0}, exact=True).kind == "exact"
    assert measured({"exploitability": None, "value_loss": 1e-9}) is None
    assert "no exploit found" in measured({"oracle_gap": -0.1}).text
    gap = measured({"iteration": 3, "oracle_gap": 0.1})
    assert gap.text == "+0.100 (lower bound: oracle gap)" and gap.iteration == 2  # the mixture it is of


def test_seconds_as_people_say_them() -> None:
    spoken = {0.0123: "12.3 ms", 3.14: "3.1 s", 59.97: "1 min 00 s", 402: "6 min 42 s", 3599.9: "1 h 00 min"}
    spoken |= {3900: "1 h 05 min", 86399: "1 d 00 h", 183600: "2 d 03 h"}
    assert {seconds: seconds_text(seconds) for seconds in spoken} == spoken
