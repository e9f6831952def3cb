"""`python -m benchmarks evaluator`, small."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import evaluator, recorded


def test_it_measures_and_writes(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "RESULTS", tmp_path)
    monkeypatch.setattr(evaluator, "peers", dict)
    config = evaluator.Evaluator(hands=4096, peer_hands=1000, rounds=3, every_hand=False, write=True)
    result = evaluator.run(config)
    assert [row["row"].split(",")[0] for row in result["rows"]] == ["ours"] * 4 + ["NumPy (cards.hand_ranks)"]
    assert all(min(row["rates"]) <= row["rate"] <= max(row["rates"]) for row in result["rows"])
    assert all((row["compile_s"] is not None) == row["row"].startswith("ours") for row in result["rows"])
    assert 0.1 < result["tables_mb"] < 2
    printed = capsys.readouterr().out
    assert "ours, i32[n, 7]" in printed and "phevaluator: not installed" in printed
    written = json.loads((tmp_path / "evaluator.json").read_text())
    assert written["rows"][0]["rate"] == pytest.approx(result["rows"][0]["rate"], rel=1e-3)


def test_random_hands_have_seven_different_cards():
    hands = evaluator.random_hands(5_000, 0)
    assert hands.shape == (5_000, 7) and hands.min() == 0 and hands.max() == 51
    assert (np.diff(np.sort(hands, axis=1)) > 0).all()
    assert (np.bincount(hands[:, 0], minlength=52) > 50).all()  # 96 expected, each with a deviation of 10


def test_another_order_is_an_error():
    evaluator.assert_same_order("a peer", np.array([1, 3, 3, 2]), np.array([10, 40, 40, 20]))
    for other in ([10, 40, 41, 20], [10, 20, 20, 40]):
        with pytest.raises(AssertionError, match="a peer orders"):
            evaluator.assert_same_order("a peer", np.array([1, 3, 3, 2]), np.array(other))
