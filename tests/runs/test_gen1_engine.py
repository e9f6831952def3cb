"""Rollouts on the engine for an oracle: whom they meet, and what they pay beside wins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.gen1.layout import FIELD_COLUMNS, POKEMON_COLUMNS, POKEMON_INDEX, Observation
from jaxnash.policies.spec import build, token_spec
from jaxnash.runs.gen1_engine import CAPACITY, met, one_team, opponents, potential, shaped
from jaxnash.runs.knobs import scripted
from jaxnash.showdown.rollout import potential as on_showdown
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError, Neural, Trajectory

NAMES = ("random", "max-base-power", "grunt", "gym-leader", "gen1-boss-ai", "simple-heuristics")


def network(name: str, size: str = "nano", seed: int = 0) -> Neural:
    spec = token_spec(size)
    policy = build(spec)
    return Neural(name, policy, policy.init(jax.random.key(seed)), spec)


def test_a_population_becomes_one_seat() -> None:
    population = [scripted("grunt"), network("br_1", seed=1), scripted("random"), network("br_2", seed=2)]
    mix, weights, names = opponents(network("br_3"), population, np.array([0.5, 0.2, 0.0, 0.3]))
    assert names == ["br_1", "br_2", *[""] * (CAPACITY - 2), *NAMES]
    assert weights.tolist() == pytest.approx([0.2, 0.3, 0, 0, 0, 0, 0.5, 0, 0, 0])
    assert [one.name for one in mix.scripted] == list(NAMES) and mix.stacked is not None
    for number in (0, 1):
        mine = jax.tree.map(lambda leaf, number=number: leaf[number], mix.stacked.params)
        theirs = population[1 + 2 * number].params
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs)))
    alone, weights, names = opponents(network("br_1"), [scripted("grunt")], np.ones(1))
    assert names == [*[""] * CAPACITY, *NAMES] and weights[CAPACITY + 2] == 1  # compiled once
    assert jax.tree.structure(alone) == jax.tree.structure(mix)


def test_who_cannot_play_here_is_named() -> None:
    with pytest.raises(JaxnashError, match=r"big is another network.*--backend showdown"):
        opponents(network("br_1"), [network("big", "tiny")], np.ones(1))


def test_a_team_is_the_same_in_either_seat() -> None:
    packed = load_teams("train").packed[0]
    species, level, maxhp, stats, moves = one_team(packed)
    assert (species > 0).all() and level.tolist() == [100] * 6 and maxhp.min() > 200
    assert stats.shape == (6, 4) and moves.shape == (6, 4)


def observations(hp: list[float], length: int) -> Observation:
    pokemon = np.zeros((length, 1, 2, 12, len(POKEMON_COLUMNS)), np.int16)
    pokemon[..., :6, POKEMON_INDEX["hp"]] = np.array(hp)[:, None, None, None]
    return Observation(pokemon, np.zeros((length, 1, 2, len(FIELD_COLUMNS)), np.int16))


def test_shaping_pays_differences_of_the_potential_between_decisions() -> None:
    rng = np.random.default_rng(0)
    obs = observations(rng.integers(0, 1000, 7).tolist(), 7)
    phi = np.asarray(potential(obs))
    np.testing.assert_allclose(phi[:, 0, 0], on_showdown(jax.tree.map(lambda x: x[:, 0, 0], obs)), atol=1e-6)
    active = np.array([1, 0, 1, 1, 1, 0, 1], bool)
    ended = np.array([0, 0, 0, 1, 0, 0, 0], bool)

    def wide(x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x[:, None, None], (7, 1, 2))

    nothing = {name: None for name in Trajectory._fields}
    trajectory = Trajectory(**nothing)._replace(
        obs=obs, active=wide(active), terminated=wide(ended), truncated=wide(~ended & False),
        reward=jnp.asarray(wide(ended)).astype(jnp.float32),
    )  # fmt: skip
    reward = np.asarray(shaped(trajectory, gamma=0.9, shaping=0.5).reward)[:, 0, 0]
    half = 0.5 * phi[:, 0, 0]
    # decisions 0, 2, 3 of the first battle, 4 and 6 of one that goes on beyond the row
    by_hand = [
        0.9 * half[2] - half[0],
        0,
        0.9 * half[3] - half[2],
        1 - half[3],
        0.9 * half[6] - half[4],
        0,
        0,
    ]
    np.testing.assert_allclose(reward, by_hand, atol=1e-6)


def test_battles_that_ended_are_counted_by_opponent() -> None:
    who = np.zeros((3, 2, 2), int)
    who[..., 1] = 1 + np.array([[0, 1], [0, 1], [2, 1]])
    ended = np.broadcast_to(np.array([[0, 0], [1, 0], [0, 1]], bool)[..., None], (3, 2, 2))
    reward = np.zeros((3, 2, 2))
    reward[1, 0], reward[2, 1] = (1, -1), (-1, 1)
    nothing = {name: None for name in Trajectory._fields}
    trajectory = Trajectory(**nothing)._replace(
        member=who, terminated=ended, reward=reward, active=np.ones((3, 2, 2), bool)
    )
    found = met(trajectory, ["a", "b", "c"])
    assert found["against"] == {"a": {"battles": 1, "score": 1.0}, "b": {"battles": 1, "score": 0.0}}
    assert (found["battles"], found["decisions"]) == (2, 6)
