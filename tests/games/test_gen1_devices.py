"""A GPU plays the same battles as a CPU, bit for bit. Skipped where there is no GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from benchmarks.engine import uniform
from jaxnash.games.gen1.teams import setup
from jaxnash.showdown.teams import load_teams

LANES, STEPS = 1024, 300


def _gpus():
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


@pytest.mark.skipif(not _gpus(), reason="no GPU")
def test_cpu_and_gpu_play_the_same_battles():
    """Random legal play by integer draws: what every decision shows, by checksum, and the last states."""
    game, teams = jn.games.gen1(), load_teams("train").packed
    pairs = [setup((teams[i % len(teams)], teams[(7 * i + 3) % len(teams)])) for i in range(LANES)]
    setups = jax.tree.map(lambda *leaves: np.stack(leaves), *pairs)

    def one(key, teams):
        def body(state, key):
            now = game.observe(state)
            choose, go = jax.random.split(key)
            actions = uniform(now.legal, jax.random.bits(choose, (2,)))
            seen = [_checksum(leaf) for leaf in jax.tree.leaves(now.obs)]
            return game.step(go, state, actions), jnp.stack([*seen, _checksum(now.legal)])

        return jax.lax.scan(body, game.init(key, teams), jax.random.split(key, STEPS))

    def play(device):
        keys = jax.random.split(jax.random.key(6), LANES)
        return jax.device_get(jax.jit(jax.vmap(one))(*jax.device_put((keys, setups), device)))

    (state, seen), (other, other_seen) = play(jax.devices("cpu")[0]), play(_gpus()[0])
    np.testing.assert_array_equal(seen, other_seen)
    for leaf, its in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, its)
    assert (state.winner >= 0).mean() > 0.8


def _checksum(leaf):
    flat = leaf.reshape(-1).astype(jnp.uint32)
    return (flat * (jnp.arange(flat.size, dtype=jnp.uint32) * np.uint32(2654435762) + 1)).sum(
        dtype=jnp.uint32
    )
