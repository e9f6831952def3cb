import json

import numpy as np
import pytest
from scipy.stats import chisquare

from jaxnash.psro.members import (
    Entry,
    draw_opponents,
    population_from_json,
    population_to_json,
    unique_names,
)
from jaxnash.types import JaxnashError

SIGMA = np.array([0.5, 0.3, 0.2, 0.0])


def p_value(draws):
    counts = np.bincount(draws, minlength=4)
    return chisquare(counts[:3], SIGMA[:3] * counts[:3].sum()).pvalue


@pytest.mark.parametrize("seed", range(5))
def test_draws_follow_the_mixture(seed):
    draws = draw_opponents(SIGMA, seed, "collection", 1, n=5000)
    assert p_value(draws) > 1e-4
    assert not (draws == 3).any()


@pytest.mark.parametrize("off", [(-0.05, 0.05, 0), (0.05, 0, -0.05), (0, -0.05, 0.05)])
def test_a_sampler_off_by_five_points_fails_the_same_test(off):
    draws = draw_opponents(SIGMA + np.append(off, 0), 0, "collection", 1, n=5000)
    assert p_value(draws) <= 1e-4


def test_a_draw_depends_on_its_own_path_alone():
    many = draw_opponents(SIGMA, 7, "collection", 2, n=300)
    assert np.array_equal(draw_opponents(SIGMA, 7, "collection", 2, n=40), many[:40])
    assert not np.array_equal(draw_opponents(SIGMA, 7, "collection", 3, n=300), many)
    assert not np.array_equal(draw_opponents(SIGMA, 8, "collection", 2, n=300), many)


def test_a_pure_mixture_draws_one_member():
    assert set(draw_opponents([0, 1.0, 0], 0, n=200).tolist()) == {1}
    assert set(draw_opponents([1e-300, 1.0 - 1e-16, 0.0], 0, n=200).tolist()) == {1}


@pytest.mark.parametrize("mixture", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0], [], [[1.0]]])
def test_what_is_not_a_mixture_is_refused(mixture):
    with pytest.raises(JaxnashError, match="sum to 1"):
        draw_opponents(mixture, 0, n=1)


def test_population_round_trip():
    entries = (
        Entry("random", "heuristic", "any legal action"),
        Entry("br-1", "checkpoint", "best response of iteration 1", "checkpoints/br-1", True),
    )
    content = json.loads(json.dumps(population_to_json(entries)))
    assert population_from_json(content) == entries
    assert content["policies"]["br-1"]["checkpoint"] == "checkpoints/br-1"
    assert content["policies"]["random"]["policy_type"] == "heuristic"
    content["policies"]["random"]["note"] = "of another pipeline"
    del content["policies"]["random"]["greedy"]
    assert population_from_json(content) == entries


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"policies": {"a": {"name": "a"}}},
        {"policies": {"a": {"name": "b", "policy_type": "heuristic"}}},
        {"policies": {"a": {"name": "a", "policy_type": "magic"}}},
        {"policies": ["a"]},
    ],
)
def test_another_file_is_refused(content):
    with pytest.raises(JaxnashError, match=r"population\.json"):
        population_from_json(content)


def test_names_are_unique():
    assert unique_names(["a", "b"]) == ("a", "b")
    with pytest.raises(JaxnashError, match="'a' is taken"):
        unique_names(["a", "b", "a"])
    with pytest.raises(JaxnashError, match="empty"):
        unique_names(["a", ""])
    with pytest.raises(JaxnashError, match="'a' is taken"):
        population_to_json([Entry("a", "heuristic"), Entry("a", "heuristic")])
