"""The token policy: what it reads, its symmetries, and its bits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import MASKED, Categorical
from jaxnash.games.gen1 import layout
from jaxnash.policies.features import features
from jaxnash.policies.networks import token_policy

BATCH = 64
POLICY = token_policy(width=64, layers=2, heads=4)
APPLY = jax.jit(lambda params, obs, legal: POLICY.apply(params, obs, legal, (), None)[:2])
FEATURES = jax.jit(features)
COLUMN = layout.POKEMON_INDEX


def observations(seed: int, batch: int = BATCH) -> layout.Observation:
    """Any ids and numbers in range, with blank rows and with benches that have no last move."""
    rng = np.random.default_rng(seed)

    def draw(columns, shape):
        high = [len(layout.VOCABULARIES[c.vocabulary]) if c.vocabulary else int(c.scale) + 1 for c in columns]
        return np.stack([rng.integers(0, top, shape) for top in high], axis=-1).astype(np.int16)

    pokemon = draw(layout.POKEMON_COLUMNS, (batch, 12))
    for name in ("last_move", "disabled"):
        pokemon[:, [*range(1, 6), *range(7, 12)], COLUMN[name]] = 0
    revealed = rng.integers(1, 7, batch)
    pokemon[np.arange(12)[None] - 6 >= revealed[:, None]] = 0
    return layout.Observation(pokemon, draw(layout.FIELD_COLUMNS, (batch,)))


def legal_actions(seed: int, batch: int = BATCH) -> np.ndarray:
    legal = np.random.default_rng(seed).random((batch, layout.NUM_ACTIONS)) < 0.5
    legal[:, 0] |= ~legal.any(axis=1)
    return legal


def take(tree, rows):
    return jax.tree.map(lambda leaf: leaf[rows], tree)


@pytest.fixture(scope="module")
def fresh():
    return POLICY.init(jax.random.key(0))


@pytest.fixture(scope="module")
def params(fresh):
    """Weights far from their small beginnings, so that every path through the network counts."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.05, leaf.shape).astype(np.float32), fresh)


def test_a_fresh_policy_is_nearly_uniform_with_modest_values(fresh):
    obs, legal = observations(0), legal_actions(0)
    logits, value = APPLY(fresh, obs, legal)
    logits = np.asarray(logits)
    p = jax.nn.softmax(logits)
    np.testing.assert_allclose(p, legal / legal.sum(axis=1, keepdims=True), atol=0.05)
    assert np.all(logits[~legal] == MASKED)
    assert logits.shape == (BATCH, 9) and value.shape == (BATCH,)
    assert np.all(np.abs(value) < 1)


def test_the_gradient_reaches_every_parameter(params):
    obs, legal = observations(1), np.ones((BATCH, 9), bool)

    def loss(params):
        logits, value, _ = POLICY.apply(params, obs, legal, (), None)
        return jnp.mean(Categorical(9).entropy(5 * logits)) + jnp.mean((value - 1) ** 2)

    gradient = jax.jit(jax.grad(loss))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), jax.tree_util.keystr(path)
        # some of a relu's or a rare word's entries may be idle, most are not
        assert np.mean(np.abs(leaf) > 0) > 0.5, jax.tree_util.keystr(path)


def test_a_row_has_the_same_bits_wherever_it_stands(params):
    """Inference is padded to one batch shape; results may not depend on which battles share the batch."""
    obs, legal, rng = observations(2), legal_actions(2), np.random.default_rng(2)
    logits, value = map(np.asarray, APPLY(params, obs, legal))
    for _ in range(30):
        order = rng.permutation(BATCH)
        ours = map(np.asarray, APPLY(params, take(obs, order), legal[order]))
        for one, all_ in zip(ours, (logits, value), strict=True):
            assert one.tobytes() == all_[order].tobytes()


def test_a_row_has_the_same_bits_whatever_the_others_hold(params):
    obs, legal = observations(3), legal_actions(3)
    logits, value = map(np.asarray, APPLY(params, obs, legal))
    for count in (1, 7, 33):
        padded = jax.tree.map(lambda leaf: np.where(_rows(leaf) < count, leaf, 0), obs)  # noqa: B023
        ours, values = APPLY(params, padded, legal)
        assert np.asarray(ours)[:count].tobytes() == logits[:count].tobytes()
        assert np.asarray(values)[:count].tobytes() == value[:count].tobytes()


def _rows(leaf: np.ndarray) -> np.ndarray:
    return np.arange(len(leaf)).reshape(-1, *[1] * (leaf.ndim - 1))


def test_the_benches_have_no_order(params):
    obs, legal = observations(4), np.ones((BATCH, 9), bool)
    logits, value = APPLY(params, obs, legal)
    order = np.array([0, 3, 1, 5, 2, 4, 6, 9, 8, 7, 11, 10])
    moved, same_value = APPLY(params, obs._replace(pokemon=obs.pokemon[:, order]), legal)
    np.testing.assert_allclose(moved[:, :4], logits[:, :4], atol=1e-4)
    np.testing.assert_allclose(moved[:, 4:], logits[:, 3 + order[1:6]], atol=1e-4)
    np.testing.assert_allclose(same_value, value, atol=1e-4)
    assert np.abs(moved - logits).max() > 0.01


def test_the_policy_reads_every_column(params):
    obs, legal = observations(5), np.ones((BATCH, 9), bool)
    logits, _ = APPLY(params, obs, legal)
    for index, column in enumerate(layout.POKEMON_COLUMNS):
        pokemon = obs.pokemon.copy()
        high = len(layout.VOCABULARIES[column.vocabulary]) if column.vocabulary else int(column.scale) + 1
        pokemon[:, 0, index] = (pokemon[:, 0, index] + max(high // 2, 1)) % high
        assert np.abs(APPLY(params, obs._replace(pokemon=pokemon), legal)[0] - logits).max() > 1e-5, (
            column.name
        )
    for index, column in enumerate(layout.FIELD_COLUMNS):
        field = obs.field.copy()
        field[:, index] += max(int(column.scale) // 2, 1)
        changed, _ = APPLY(params, obs._replace(field=field), legal)
        assert np.abs(changed - logits).max() > 1e-5, column.name


def facing(own: dict, opponent: dict) -> np.ndarray:
    """`features().moves` f32[4, E] of an own active facing an opponent's; numbers as in `POKEMON_COLUMNS`."""
    pokemon = np.zeros((1, 12, len(layout.POKEMON_COLUMNS)), np.int16)
    for row, facts in ((0, own), (6, opponent)):
        for name, value in facts.items():
            column = layout.POKEMON_COLUMNS[COLUMN[name]]
            pokemon[0, row, COLUMN[name]] = (
                layout.IDS[column.vocabulary][value] if isinstance(value, str) else value
            )
    field = np.zeros((1, len(layout.FIELD_COLUMNS)), np.int16)
    return np.asarray(FEATURES(layout.Observation(pokemon, field)).moves[0])


TAUROS = dict(type1="normal", level=100, hp=1000, stat_hp=353, stat_atk=298, stat_def=288, stat_spc=238)
GENGAR = dict(type1="ghost", type2="poison", level=100, hp=1000, stat_hp=323, stat_def=218, stat_spc=358)


def test_expected_damage_knows_types_and_stats():
    tauros = TAUROS | dict(move1="blizzard", move2="bodyslam", move3="earthquake", move4="seismictoss")
    on_gengar = facing(tauros, GENGAR)[:, 0]
    assert on_gengar[1] == 0  # Normal does not touch Ghost
    assert on_gengar[3] == pytest.approx(100 / 323)
    # Earthquake: power 100, Ground on Poison x2, at Gen 1's formula, mean roll, critical hits at 1.2
    by_hand = (42 * 100 * 1.2 * 298 / 218 / 50 + 2) * 2 * 0.925 / 323
    assert on_gengar[2] == pytest.approx(by_hand, rel=1e-4)
    on_itself = facing(tauros, TAUROS)[:, 0]
    same_type = (42 * 85 * 1.2 * 298 / 288 / 50 + 2) * 1.5 * 0.925 / 353
    assert on_itself[1] == pytest.approx(same_type, rel=1e-4)
    assert facing(tauros, TAUROS | {"hp": 500})[1, 0] == pytest.approx(2 * same_type, rel=1e-2)
    assert facing(tauros | {"boost_atk": -2}, TAUROS)[1, 0] == pytest.approx(same_type / 2, rel=0.05)
    assert facing(tauros, TAUROS | {"reflect": 1})[1, 0] == pytest.approx(same_type / 2, rel=0.05)
