"""Whole matches from both sides, and what is counted in them."""

from __future__ import annotations

from operator import itemgetter

import jax
import numpy as np
import pytest

from jaxnash.games.fighter import SCRIPTS, over, table
from jaxnash.policies.history import history_policy
from jaxnash.rollouts.fights import GAME, fights
from jaxnash.types import Neural

PAIRS = 10
BASED, CONSTANT = SCRIPTS["based"], SCRIPTS["constant"]


def first_of(played):
    """Against the first opponent."""
    return jax.tree.map(itemgetter(0), jax.device_get(played))


@pytest.fixture(scope="module")
def played():
    return first_of(fights(BASED, (CONSTANT,), pairs=PAIRS)(jax.random.key(0), (), ((),)))


def test_based_beats_constant_and_mostly_by_hits(played):
    assert np.all(played.result == 1) and np.all(played.knock_outs == table.STOCKS)
    assert np.all(played.taken == 0) and np.all(played.dealt > 0) and np.all(played.attacks > 0)
    assert np.all(played.knocked_out <= 2) and np.all(played.fell_alone == played.knocked_out)
    assert np.all(played.opponent_alone <= played.knock_outs) and np.all(played.frames < table.FRAMES)
    assert len(set(zip(played.frames.tolist(), played.dealt.tolist(), strict=True))) > PAIRS


def test_the_other_way_round_it_is_the_same_from_the_other_side(played):
    other = first_of(fights(CONSTANT, (BASED,), pairs=PAIRS)(jax.random.key(0), (), ((),)))
    turned = jax.tree.map(lambda leaf: np.roll(leaf, PAIRS), other)
    assert np.array_equal(turned.result, -played.result)
    pairs = (("dealt", "taken"), ("knock_outs", "knocked_out"), ("fell_alone", "opponent_alone"))
    for one, two in (*pairs, ("frames", "frames")):
        assert np.array_equal(getattr(turned, one), getattr(played, two))
        assert np.array_equal(getattr(turned, two), getattr(played, one))


def test_a_match_alone_is_counted_alike(played):
    """The third match of seat 0 and of seat 1, played by hand from the same start."""
    step, start = jax.jit(GAME.step), jax.jit(lambda key: GAME.init(key, None))
    scripts = [[BASED, CONSTANT], [CONSTANT, BASED]]
    for seat in (0, 1):
        state, dealt, fell = start(jax.random.fold_in(jax.random.key(0), 2 * PAIRS + 3)), 0.0, 0
        act = jax.jit(lambda state, seat=seat: [scripts[seat][each](state, each) for each in (0, 1)])
        while not over(state):
            state = step(None, state, np.stack(act(state)))
            dealt += float(state.fighters[1 - seat].taken)
            fell += int(state.fighters[seat].fell)
        place = 3 + seat * PAIRS
        assert played.dealt[place] == pytest.approx(dealt) and played.knocked_out[place] == fell
        assert played.frames[place] == int(state.frame)


@pytest.mark.slow
def test_networks_play_as_they_do_alone_and_greedy_ones_do_not_draw():
    """A network against two others, one of them itself: the opponents' matches do not touch each other."""
    sizes = {
        "width": 8,
        "layers": 1,
        "heads": 2,
        "mlp": 8,
        "span": 4,
        "segment": 8,
        "core": 8,
        "hidden": (8,),
    }
    policy, key = history_policy(latents=1, **sizes), jax.random.key(0)
    one, two = (policy.init(jax.random.key(seed)) for seed in (1, 2))
    net, greedy = Neural("net", policy, ()), Neural("net", policy, (), greedy=True)
    both = fights(net, (net, greedy), pairs=4)(key, one, (one, two))
    again = fights(net, (net, greedy), pairs=4)(key, one, (one, one))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(both, again, strict=True))
    assert not np.array_equal(both.frames[1], again.frames[1])
    play = fights(greedy, (CONSTANT,), pairs=4)
    assert not np.array_equal(play(key, one, ((),)).attacks, play(jax.random.key(1), one, ((),)).attacks)
