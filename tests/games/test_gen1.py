"""Gen 1 battles as a `Game`: random legal play to the end, keys, packed teams, actions that are not legal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.games.gen1.teams import setup
from jaxnash.types import JaxnashError

FULL = "252,252,252,252,252,252"
TEAM = "]".join(
    f"{name}|||noability|{moves}||{FULL}|N||||"
    for name, moves in (
        ("tauros", "bodyslam,hyperbeam,blizzard,earthquake"),
        ("chansey", "softboiled,thunderwave,icebeam,metronome"),
        ("gengar", "hypnosis,explosion,nightshade,substitute"),
    )
)
LANES, STEPS = 64, 200


@pytest.fixture(scope="module")
def played():
    """One compiled run of random legal actions (but for the first of lane 0): what was seen, and the end."""
    game, teams = jn.games.gen1(), setup((TEAM, TEAM))

    def one(key, wrong):
        def body(state, key):
            now = game.observe(state)
            choose, go = jax.random.split(key)
            actions = jax.random.categorical(choose, jnp.where(now.legal, 0.0, -jnp.inf))
            actions = jnp.where(wrong & (state.illegal == 0), jnp.array([99, -1]), actions)
            return game.step(go, state, actions), now

        return jax.lax.scan(body, game.init(key, teams), jax.random.split(key, STEPS))

    run = jax.jit(jax.vmap(one))
    keys = jax.random.split(jax.random.key(0), LANES)
    wrong = jnp.arange(LANES) == 0
    return jax.device_get(run(keys, wrong)), jax.device_get(run(keys, wrong))


def test_battles_end_and_pay_what_they_are_worth(played):
    (state, seen), _ = played
    assert np.isin(state.winner, (-1, 0, 1, 2)).all() and (state.winner >= 0).mean() > 0.8
    assert (seen.reward.sum(axis=-1) == 0).all()
    alive = np.stack([(team.hp > 0).any(axis=1) for team in state.teams], axis=1)
    for winner in (0, 1):
        won = state.winner == winner
        assert won.any() and alive[won, winner].all() and not alive[won, 1 - winner].any()


def test_an_illegal_action_is_counted_and_another_one_played(played):
    (state, seen), _ = played
    assert state.illegal[0] == 2 and not state.illegal[1:].any()
    assert seen.obs.field[0, 1, 0, 0] in (1, 2)  # the battle went on


def test_somebody_can_always_act(played):
    (_, seen), _ = played
    assert seen.legal.any(axis=-1).all()
    assert (seen.active.any(axis=-1) | seen.terminated).all()
    waits = ~seen.active
    assert (seen.legal[waits].sum(axis=-1) == 1).all() and seen.legal[waits][:, 0].all()


def test_the_same_keys_give_the_same_battles(played):
    first, second = played
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.array_equal(one, other)


def test_a_battle_fits_in_768_bytes(played):
    (state, _), _ = played
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) <= 768 * LANES


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ("pikachuu|||noability|surf||||||||", "no species"),
        ("tauros|||noability|surfing||||||||", "surfing"),
        ("tauros|||noability|||||||||", "tauros"),
        ("", "1 to 6"),
        ("]".join(["tauros|||noability|surf||||||||"] * 2), "twice"),
    ],
)
def test_a_team_outside_gen_1_is_refused_in_one_line(packed, words):
    with pytest.raises(JaxnashError, match=words) as error:
        setup((packed, TEAM))
    assert "\n" not in str(error.value)
