"""Scan rollouts: what they record is what the game does, row by row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.game import TERMINAL, Categorical, Game, sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.policies.networks import mlp_policy
from jaxnash.rollouts.scan import Mix, scan_rollout
from jaxnash.types import External, JaxnashError, Neural, Scripted, TimeStep

LENGTH, BATCH = 13, 32
TREE = kuhn()


def player(seed: int, hidden=(16,)) -> Neural:
    policy = mlp_policy(observation_size=11, actions=2, hidden=hidden)
    params = jax.tree.map(lambda leaf: 3 * leaf, policy.init(jax.random.key(seed)))
    return Neural(f"m{seed}", policy, params)


ALWAYS_BET = Scripted("always-bet", lambda step, key: jnp.where(step.legal[1], 1, 0))


PEEKS = Scripted(
    "peeks",
    lambda step, key, state, *, seat: (state[seat] > state[1 - seat]).astype(jnp.int32),
    sees_state=True,
)


@pytest.fixture(scope="module")
def rollout():
    return scan_rollout(sampled(kuhn()), length=LENGTH, batch=BATCH)


@pytest.fixture(scope="module")
def played(rollout):
    seats = player(0), player(1, (8, 8))
    return seats, jax.tree.map(np.asarray, rollout(jax.random.key(0), seats))


def test_every_episode_replays_through_the_tree(played):
    _, rows = played
    finished = 0
    for b in range(BATCH):
        state = None
        for t in range(LENGTH):
            if rows.reset[t, b, 0]:
                cards = rows.obs[t, b, :, :3].argmax(axis=-1)
                state, episode = np.array([*cards, -1, -1, -1], np.int32), rows.episode_id[t, b, 0]
            mover = int(TREE.player(state))
            assert rows.active[t, b].tolist() == [mover == 0, mover == 1]
            assert rows.legal[t, b, 1 - mover].tolist() == [True, False]
            assert rows.action[t, b, 1 - mover] == 0 and rows.log_prob[t, b, 1 - mover] == 0
            np.testing.assert_array_equal(rows.obs[t, b], TREE.observe(state))
            assert rows.episode_id[t, b].tolist() == [episode] * 2
            state = np.asarray(TREE.next(state, rows.action[t, b, mover]))
            ended = int(TREE.player(state)) == TERMINAL
            assert rows.terminated[t, b].tolist() == [ended] * 2
            assert rows.reward[t, b].tolist() == (TREE.returns(state).tolist() if ended else [0, 0])
            if t + 1 < LENGTH:
                assert rows.reset[t + 1, b].tolist() == [ended] * 2
            finished += ended
    assert finished > BATCH
    assert len(np.unique(rows.episode_id)) >= finished
    assert rows.valid.all() and not rows.truncated.any()


def test_each_seat_is_played_by_its_own_member(played):
    seats, rows = played
    for seat, member in enumerate(seats):
        obs, legal = rows.obs[:, :, seat].reshape(-1, 11), rows.legal[:, :, seat].reshape(-1, 2)
        head, value, _ = member.policy.apply(member.params, obs, legal, (), None)
        log_prob = Categorical(2).log_prob(head, rows.action[:, :, seat].reshape(-1))
        np.testing.assert_allclose(rows.log_prob[:, :, seat].reshape(-1), log_prob, atol=1e-5)
        np.testing.assert_allclose(rows.value[:, :, seat].reshape(-1), value, atol=1e-5)
        assert np.all(rows.member[:, :, seat] == seat)


def test_a_row_that_stops_within_a_game_has_a_value_to_go_on_with(played):
    seats, rows = played
    seen = set()
    for b in range(BATCH):
        mover = rows.active[-1, b].argmax()
        begin = max(t for t in range(LENGTH) if rows.reset[t, b, 0])
        if rows.terminated[-1, b, 0]:
            assert rows.bootstrap_value[b].tolist() == [0, 0]
            seen.add("ended")
            continue
        # neither seat moves twice running in Kuhn: the mover waits, the other moves next
        assert rows.bootstrap_value[b, mover] == rows.value[-1, b, mover]
        cards = rows.obs[-1, b, :, :3].argmax(axis=-1)
        acted = [rows.action[t, b, rows.active[t, b].argmax()] for t in range(begin, LENGTH)]
        state = np.array([*cards, *acted, *[-1] * (3 - len(acted))], np.int32)
        other = seats[1 - mover]
        obs = np.asarray(TREE.observe(state))[1 - mover][None]
        value = other.policy.apply(other.params, obs, np.ones((1, 2), bool), (), None)[1]
        assert rows.bootstrap_value[b, 1 - mover] == pytest.approx(float(value[0]), abs=1e-5)
        seen.add(int(mover))
    assert seen == {"ended", 0, 1}


def test_the_same_key_gives_the_same_bytes(rollout, played):
    seats, rows = played
    again, other = rollout(jax.random.key(0), seats), rollout(jax.random.key(1), seats)
    for one, two in zip(jax.tree.leaves(rows), jax.tree.leaves(again), strict=True):
        assert one.tobytes() == np.asarray(two).tobytes()
    assert not np.array_equal(rows.obs, other.obs)


def test_greedy_and_scripted_members(rollout):
    me = player(2)._replace(greedy=True)
    rows = jax.tree.map(np.asarray, rollout(jax.random.key(0), (me, ALWAYS_BET), ids=(4, 7)))
    assert np.all(rows.action[..., 1] == rows.active[..., 1])
    assert not rows.log_prob[..., 1].any() and not rows.value[..., 1].any()
    head, _, _ = me.policy.apply(me.params, rows.obs[:, :, 0], rows.legal[:, :, 0], (), None)
    np.testing.assert_array_equal(rows.action[..., 0], np.argmax(head, axis=-1))
    assert np.all(rows.member == [4, 7])


def test_a_mixture_is_drawn_once_an_episode_and_plays_the_drawn_params(rollout):
    members = [player(seed) for seed in range(3)]
    stacked = members[0]._replace(params=jax.tree.map(lambda *x: jnp.stack(x), *[m.params for m in members]))
    mixture = jnp.array([0.7, 0.3, 0.0])
    rows = [
        jax.tree.map(np.asarray, rollout(jax.random.key(k), (ALWAYS_BET, stacked), mixtures=(None, mixture)))
        for k in range(8)
    ]
    drawn = []
    for part in rows:
        chosen = part.member[:, :, 1] - 1
        heads = [
            m.policy.apply(m.params, part.obs[:, :, 1], part.legal[:, :, 1], (), None)[0] for m in members
        ]
        head = np.take_along_axis(np.stack(heads), chosen[None, ..., None], axis=0)[0]
        np.testing.assert_allclose(
            part.log_prob[..., 1], Categorical(2).log_prob(head, part.action[..., 1]), atol=1e-5
        )
        same_episode = ~part.reset[1:, :, 1]
        assert np.all((chosen[1:] == chosen[:-1])[same_episode])
        drawn.append(chosen[part.reset[:, :, 1]])
    counts = np.bincount(np.concatenate(drawn), minlength=3)
    expected = counts.sum() * np.array([0.7, 0.3])
    assert counts[2] == 0
    assert np.sum((counts[:2] - expected) ** 2 / expected) < 15  # one degree of freedom: p of about 1e-4


def test_a_seat_of_networks_and_scripts_plays_who_was_drawn(rollout):
    nets = [player(seed) for seed in range(2)]
    stacked = nets[0]._replace(params=jax.tree.map(lambda *x: jnp.stack(x), *[net.params for net in nets]))
    never_bet = Scripted("never-bet", lambda step, key: jnp.int32(0))
    sees = Scripted("sees", lambda step, key, state, *, seat: jnp.where(step.legal[1], seat, 0), True)
    mix, weights = Mix(stacked, (ALWAYS_BET, never_bet, sees)), jnp.array([0.2, 0.2, 0.2, 0.1, 0.3])
    rows = jax.tree.map(np.asarray, rollout(jax.random.key(3), (player(5), mix), mixtures=(None, weights)))
    who, acts, action = rows.member[..., 1] - 1, rows.active[..., 1], rows.action[..., 1]
    assert set(np.unique(who)) == {0, 1, 2, 3, 4}
    assert np.all(action[acts & np.isin(who, (2, 4))] == 1) and not action[who == 3].any()
    obs, legal = rows.obs[:, :, 1], rows.legal[:, :, 1]
    for number, net in enumerate(nets):
        head, value, _ = net.policy.apply(net.params, obs, legal, (), None)
        log_prob = Categorical(2).log_prob(head, action)
        mine = who == number
        np.testing.assert_allclose(rows.log_prob[..., 1][mine], log_prob[mine], atol=1e-5)
        np.testing.assert_allclose(rows.value[..., 1][mine], value[mine], atol=1e-5)
    assert not rows.log_prob[..., 1][who > 1].any() and not rows.value[..., 1][who > 1].any()
    only = rollout(jax.random.key(3), (player(5), Mix(None, (never_bet,))), mixtures=(None, jnp.ones(1)))
    assert not np.asarray(only.action[..., 1]).any()


def test_setups_reach_their_rows_again_at_every_reset():
    def observe(state):
        return TimeStep(
            obs=jnp.stack([state["left"], state["setup"]])[None].astype(jnp.float32),
            legal=jnp.ones((1, 2), bool),
            active=jnp.ones(1, bool),
            reward=jnp.ones(1),
            terminated=jnp.zeros((), bool),
            truncated=state["left"] == 0,
        )

    countdown = Game(
        init=lambda key, setup: {"left": setup, "setup": setup},
        step=lambda key, state, actions: state | {"left": state["left"] - 1},
        observe=observe,
        num_players=1,
        actions=Categorical(2),
    )
    rows = scan_rollout(countdown, length=6, batch=2)(jax.random.key(0), (ALWAYS_BET,), jnp.array([2, 3]))
    assert rows.obs[:, :, 0, 0].T.tolist() == [[2, 1, 2, 1, 2, 1], [3, 2, 1, 3, 2, 1]]
    assert rows.truncated[:, :, 0].T.tolist() == [[False, True] * 3, [False, False, True] * 2]


def test_members_that_cannot_play_here_are_named(rollout):
    with pytest.raises(JaxnashError, match="somebody"):
        rollout(jax.random.key(0), (player(0), External("somebody", "user")))
    with pytest.raises(JaxnashError, match="2 seats, not 1"):
        rollout(jax.random.key(0), (player(0),))


def test_a_rule_may_read_the_state(rollout):
    rows = jax.tree.map(np.asarray, rollout(jax.random.key(3), (ALWAYS_BET, PEEKS)))
    cards = rows.obs[..., :3].argmax(axis=-1)
    turn = rows.active[..., 1]
    assert turn.sum() > 20
    assert (rows.action[turn][:, 1] == (cards[turn][:, 1] > cards[turn][:, 0])).all()
