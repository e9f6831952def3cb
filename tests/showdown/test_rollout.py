"""Battles between members: results depend on keys alone, and fill the same `Trajectory` as `scan_rollout`."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from jaxnash.games.game import sampled
from jaxnash.games.kuhn import kuhn
from jaxnash.policies.networks import mlp_policy
from jaxnash.policies.spec import PolicySpec, build, token_spec
from jaxnash.rollouts.scan import scan_rollout
from jaxnash.runs.files import write_bytes
from jaxnash.showdown.heuristics import MEMBERS
from jaxnash.showdown.matches import (
    battles_of,
    pair_keys,
    pair_scores,
    read_decisions,
    record_battles,
    row_of,
)
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.rollout import Outcome, pack, play, showdown_rollout
from jaxnash.showdown.teams import TeamSet, load_teams
from jaxnash.types import Member, Neural, Trajectory

SPEC = PolicySpec("token", {"width": 16, "layers": 1, "heads": 2}, token_spec("tiny").layout, "categorical:9")


@pytest.fixture(scope="module")
def teams() -> TeamSet:
    return load_teams("train")


@pytest.fixture(scope="module")
def members() -> list[Member]:
    policy = build(SPEC)
    net = Neural("net", policy, policy.init(jax.random.key(0)), SPEC)
    return [net, MEMBERS["random"], MEMBERS["gen1-boss-ai"], net._replace(name="greedy", greedy=True)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(workers=1, turn_limit=40) as pool:
        yield pool


def plain(outcome: Outcome) -> tuple:
    leaves = jax.tree.leaves(outcome.trace)
    return (*outcome._replace(trace=None), *(leaf.tobytes() for leaf in leaves))


def test_workers_and_parallel_battles_change_no_bit(teams: TeamSet, members: list[Member]) -> None:
    pairs = pair_keys(0, 1, 4, 7, "a") + pair_keys(0, 2, 3, 7, "b") + pair_keys(3, 0, 3, 7, "c")
    battles = battles_of(pairs, teams)
    results = []
    for workers, parallel in ((1, 3), (1, 64), (2, 3), (2, 64)):
        with Pool(workers=workers, turn_limit=40) as pool:
            outcomes = list(play(pool, members, battles, parallel=parallel, record=(0, 1)))
        assert [o.battle.battle_id for o in outcomes] == list(range(20))
        results.append([plain(o) for o in outcomes])
    assert results[0] == results[1] == results[2] == results[3]


def test_a_pair_swaps_seats_and_teams_under_a_common_seed(teams: TeamSet) -> None:
    first, second = battles_of(pair_keys(2, 5, 1, 0), teams)
    assert first.seats == (2, 5) and second.seats == (5, 2)
    assert first.teams == second.teams and first.seed == second.seed and first.key != second.key


def test_both_rollouts_fill_the_same_trajectory(pool: Pool, teams: TeamSet, members: list[Member]) -> None:
    battles = battles_of(pair_keys(0, 1, 4, 1), teams)
    ours, _ = showdown_rollout(pool, members, battles, length=200, rows=8)
    policy = mlp_policy(observation_size=sampled(kuhn()).observe(_kuhn_state()).obs.shape[-1], actions=2)
    net = Neural("net", policy, policy.init(jax.random.key(0)))
    scanned = scan_rollout(sampled(kuhn()), length=12, batch=3)(jax.random.key(1), (net, net), None)
    assert isinstance(ours, Trajectory) and isinstance(scanned, Trajectory)
    for name in Trajectory._fields:
        if name in ("obs", "first_carry"):
            continue
        a, b = np.asarray(getattr(ours, name)), np.asarray(getattr(scanned, name))
        assert (a.ndim, a.dtype) == (b.ndim, b.dtype), name
    assert all(leaf.shape[:3] == (200, 8, 2) for leaf in jax.tree.leaves(ours.obs))


def _kuhn_state():
    return sampled(kuhn()).init(jax.random.key(0), None)


def test_trajectory_of_whole_battles(pool: Pool, teams: TeamSet, members: list[Member]) -> None:
    battles = battles_of(pair_keys(0, 1, 6, 2), teams)
    trajectory, outcomes = showdown_rollout(
        pool, members, battles, record=(0,), length=120, rows=2, gamma=0.9, shaping=0.7
    )
    t = Trajectory(*trajectory)
    for outcome in outcomes:
        mine = t.episode_id[..., 0] == outcome.battle.battle_id
        assert mine.sum() == outcome.steps
        assert t.reset[mine].all(axis=-1).sum() == t.terminated[mine].all(axis=-1).sum() == 1
        seat = outcome.battle.seats.index(0)
        assert t.active[mine][:, seat].sum() == outcome.decisions[seat]
        assert t.active[mine][:, 1 - seat].sum() == 0  # was not recorded
        assert (t.member[mine] == outcome.battle.seats).all()
        # potential-based shaping telescopes: sum of gamma^k F_k = gamma^n * 0 - phi(first)
        rewards = t.reward[mine][t.active[mine][:, seat], seat]
        discounts = 0.9 ** np.arange(len(rewards))
        final = 0.0 if outcome.winner is None else (1.0 if outcome.winner == seat else -1.0)
        # at the first decision nothing is hurt and nothing unseen: phi = 0
        assert np.sum(discounts * rewards) == pytest.approx(discounts[-1] * final, abs=1e-5)
    assert not t.legal[~t.active][:, 1:].any() and t.legal[..., 0][~t.active].all()
    assert t.legal[t.active][np.arange(t.active.sum()), t.action[t.active]].all()


def test_rewards_of_the_two_seats_are_opposite(pool: Pool, teams: TeamSet, members: list[Member]) -> None:
    outcomes = list(play(pool, members, battles_of(pair_keys(1, 2, 5, 3), teams), record=(1, 2)))
    trajectory = pack(outcomes, length=150, rows=8)
    assert np.allclose(trajectory.reward.sum(axis=(0, 2)), 0.0)
    decided = [o for o in outcomes if o.winner is not None]
    assert np.abs(trajectory.reward).sum() == 2 * len(decided)


def test_the_turn_limit_is_a_draw(teams: TeamSet, members: list[Member]) -> None:
    with Pool(workers=1, turn_limit=3) as pool:
        outcomes = list(play(pool, members, battles_of(pair_keys(1, 2, 2, 4), teams)))
    assert all(o.truncated and o.winner is None and o.score == 0.5 and o.turns <= 4 for o in outcomes)


def test_a_broken_off_recording_goes_on_where_it_stopped(
    pool: Pool, teams: TeamSet, members: list[Member], tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("jaxnash.showdown.matches.CHUNK", 4)
    battles = battles_of(pair_keys(0, 1, 6, 5), teams)
    names = [m.name for m in members]
    played = []

    def runner(pool: Pool, broken_after: int | None):
        def run(todo):
            for count, outcome in enumerate(play(pool, members, todo, record=(0, 1))):
                if count == broken_after:
                    raise KeyboardInterrupt
                played.append(outcome.battle.battle_id)
                yield outcome

        return run

    whole = record_battles(tmp_path / "whole", battles, runner(pool, None), names=names, write=write_bytes)
    with Pool(workers=1, turn_limit=40) as broken, pytest.raises(KeyboardInterrupt):
        record_battles(tmp_path / "broken", battles, runner(broken, 6), names=names, write=write_bytes)
    played.clear()
    again = record_battles(tmp_path / "broken", battles, runner(pool, None), names=names, write=write_bytes)
    assert played == list(range(4, 12))  # the first chunk of four was kept
    assert again == whole and len(pair_scores(whole)) == 6
    files = sorted(f.name for f in (tmp_path / "whole").iterdir())
    assert files == sorted(f.name for f in (tmp_path / "broken").iterdir())
    assert all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "broken" / f).read_bytes() for f in files)
    decisions = read_decisions(tmp_path / "whole")
    assert decisions is not None and len(decisions.action) == sum(sum(row["decisions"]) for row in whole)
    assert decisions.legal[np.arange(len(decisions.action)), decisions.action].all()


def test_a_row_names_members_teams_and_seed(pool: Pool, teams: TeamSet, members: list[Member]) -> None:
    (outcome, _) = play(pool, members, battles_of(pair_keys(1, 2, 1, 6), teams))
    row = row_of(outcome, [m.name for m in members])
    assert row["members"] == ["random", "gen1-boss-ai"] and set(row["teams"]) <= set(teams.names)
    assert int(row["seed"], 16) == outcome.battle.seed and row["winner"] in ("random", "gen1-boss-ai", None)
