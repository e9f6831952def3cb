"""The scripted members in JAX: the bridge's numbers and choices at recorded decisions, and play in a scan."""

from __future__ import annotations

from array import array
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.games.gen1.data import NUM_MOVES
from jaxnash.games.gen1.expected import C, exact, expected_damage
from jaxnash.games.gen1.layout import IDS
from jaxnash.games.gen1.scripted import MEMBERS, WHICH, Draw, Plan, choose
from jaxnash.games.gen1.teams import setup
from jaxnash.psro.tournament import wilson
from jaxnash.rollouts.scan import scan_rollout
from jaxnash.showdown import damage
from jaxnash.showdown.heuristics import MEMBERS as BRIDGE
from jaxnash.showdown.pokemon import Pokemon
from jaxnash.showdown.teams import load_teams
from tests.differential import records
from tests.games import gen1_members
from tests.games.gen1_members import Case

TEAMS = load_teams("train").packed


def played(battles: int, *, seed: int, by_members: bool) -> list[records.Record]:
    jobs = records.jobs(battles, seed=seed, teams=TEAMS, lines=True, raw=True, turns=300)
    return list(records.play_members(jobs, gen1_members.NAMES) if by_members else records.play(jobs))


def compare(cases: list[Case]) -> Counter[str]:
    """How often choices and scores differ from the bridge's, by name; "decisions" and what poke-env did."""
    choices, scores = gen1_members.evaluate([case.given for case in cases])
    unlike = np.array([case.unlike for case in cases])
    found = Counter(decisions=len(cases), unlike=int(unlike.sum()), fallback=sum(c.fallback for c in cases))
    for name in gen1_members.NAMES:
        wrong = np.array([case.choices[name] for case in cases]) != choices[name]
        found[name] = int((wrong & ~unlike).sum())
        found[f"{name} where unlike"] = int((wrong & unlike).sum())
    for name in (*gen1_members.MOVE_SCORES, *gen1_members.ROW_SCORES):
        theirs = np.stack([case.scores[name] for case in cases])
        there = ~np.isnan(theirs) & ~(unlike & name.startswith("simple"))[:, None]
        found[f"scores {name}"] = int((there & (theirs != scores[name])).sum())
        found[f"compared {name}"] = int(there.sum())
    return found


def assert_identical(found: Counter[str]) -> None:
    assert not any(found[name] for name in gen1_members.NAMES), found
    for name in (*gen1_members.MOVE_SCORES, *gen1_members.ROW_SCORES):
        assert not found[f"scores {name}"] and found[f"compared {name}"] > found["decisions"] / 4, found
    others = [name for name in gen1_members.NAMES if name != "simple-heuristics"]
    assert not any(found[f"{name} where unlike"] for name in others), found


@pytest.fixture(scope="module")
def battles() -> list[records.Record]:
    return played(8, seed=1, by_members=True) + played(4, seed=2, by_members=False)


def test_scores_and_choices_are_the_bridges_to_the_last_bit(battles):
    found = compare([case for record in battles for case in gen1_members.cases(record)])
    assert found["decisions"] > 500
    assert_identical(found)


def test_damage_of_every_move_is_the_bridges_to_the_last_bit():
    """Random Pokemon at random stages, a level each; recorded battles seldom have all of it."""
    rng, species = np.random.default_rng(0), list(IDS["species"])[1:]
    moves = np.arange(1, NUM_MOVES + 1, dtype=np.int32)
    pairs = [[Pokemon(str(rng.choice(species))).row for _ in range(2)] for _ in range(100)]
    for level, pair in enumerate(pairs, 1):
        for row in pair:
            row[C["level"]], row[C["hp"]] = level, int(rng.integers(1, 1001))
            row[C["boost_atk"] : C["boost_eva"] + 1] = array("h", rng.integers(-6, 7, 6).tolist())
            row[C["status"]] = int(rng.integers(len(IDS["status"])))
            for name in ("reflect", "lightscreen", "focusenergy"):
                row[C[name]] = int(rng.integers(2))

    @jax.jit
    def ours(attackers, defenders):
        with exact():
            found = [expected_damage(attackers, defenders, moves[None], low=low) for low in (False, True)]
            return [jax.lax.bitcast_convert_type(one, jnp.uint32) for one in found]

    rows = np.array([[list(row) for row in pair] for pair in pairs], np.int32)
    for bits, low in zip(ours(rows[:, :1], rows[:, 1:]), (False, True)):
        found = np.asarray(bits).view(np.float64)[..., 0]
        wanted = [[damage.expected_damage(a, b, int(move), low=low) for move in moves] for a, b in pairs]
        assert np.array_equal(found, wanted), {int(moves[i]) for _, i in np.argwhere(found != wanted)}


def test_a_different_rule_is_noticed(battles):
    cases = [case for record in battles[:2] for case in gen1_members.cases(record)]
    one = cases[0]
    wrong = one._replace(choices=dict.fromkeys(one.choices, -1), scores=one.scores | {"threat": np.ones(6)})
    found = compare([wrong, *cases[1:]])
    assert found["grunt"] == 1 and found["scores threat"] == 6
    with pytest.raises(AssertionError):
        assert_identical(found)


def test_what_requests_say_can_be_told_from_the_state_at_the_start(battles):
    assert check_known(battles, decisions=1) == 2 * len(battles)


def check_known(battles: list[records.Record], decisions: int) -> int:
    """Compares `scripted.known` of the engine's states with the requests; how many there were."""
    told = {}
    for lane, record in enumerate(battles):
        told |= {(lane, *case.at): case.given for case in gen1_members.cases(record)}
    count = 0
    for t, both in zip(range(decisions), gen1_members.known_by_the_engine(battles)):
        for lane in range(len(battles)):
            for side in range(2):
                if (lane, t, side) in told:
                    count += 1
                    _, legal, theirs, _ = told[lane, t, side]
                    mine = jax.tree.map(lambda x, lane=lane: x[lane], both[side])
                    where = f"battle {lane}, decision {t}, side {side}"
                    rows = theirs.maxhp > 0
                    assert np.array_equal(mine.position[rows], theirs.position[rows]), where
                    alive = theirs.hp > 0
                    assert np.array_equal(mine.hp[rows], theirs.hp[rows]), where
                    assert np.array_equal(mine.maxhp[alive], theirs.maxhp[alive]), where
                    assert (mine.attack, mine.special) == (theirs.attack, theirs.special), where
                    if legal[:4].sum() > 1:
                        assert np.array_equal(mine.slot[legal[:4]], theirs.slot[legal[:4]]), where
    return count


def test_every_action_of_a_plan_is_as_likely():
    draws = Draw(jnp.zeros(WHICH), jnp.arange(WHICH))
    for actions in ([3], [0, 8], [1, 2, 5], list(range(7)), list(range(9))):
        mask = jnp.zeros(9, bool).at[jnp.array(actions)].set(True)
        plan = Plan(jnp.float32(0), mask, mask)
        shares = Counter(np.asarray(jax.vmap(lambda which, plan=plan: choose(plan, which))(draws)).tolist())
        assert shares == dict.fromkeys(actions, WHICH // len(actions))
    plan = Plan(jnp.float32(0.75), jnp.arange(9) == 4, jnp.arange(9) == 5)
    coins = Draw(jnp.array([0.0, 0.7499, 0.75, 0.99]), jnp.zeros(4, jnp.int32))
    assert jax.vmap(lambda coin: choose(plan, coin))(coins).tolist() == [4, 4, 5, 5]


def test_members_play_in_a_scan_by_what_they_see_or_by_the_state(battles):
    """A game that stands still at the first decision of battles."""
    assert list(MEMBERS) == list(BRIDGE)
    game = jn.games.gen1()._replace(init=lambda key, state: state, step=lambda key, state, actions: state)
    states = jax.tree.map(lambda x: x[:8], jax.device_get(gen1_members.first_states(battles)))
    run = scan_rollout(game, length=2, batch=8)
    trajectory = run(jax.random.key(0), (MEMBERS["grunt"], MEMBERS["simple-heuristics"]), states)
    action = np.asarray(trajectory.action)
    assert np.take_along_axis(np.asarray(trajectory.legal), action[..., None], axis=-1).all()
    for row, record in enumerate(battles[:8]):
        first = [case for case in gen1_members.cases(record) if case.at[0] == 0]
        wanted = [first[0].choices["grunt"], first[1].choices["simple-heuristics"]]
        assert action[:, row].tolist() == [wanted, wanted], "neither draws anything here"


@pytest.mark.slow
@pytest.mark.parametrize(("by_members", "battles", "seed"), [(True, 240, 5), (False, 120, 6)])
def test_scores_and_choices_are_the_bridges_at_many_decisions(by_members, battles, seed):
    found: Counter[str] = Counter()
    for part in range(0, battles, 40):
        recorded = played(40, seed=seed + 100 * part, by_members=by_members)
        found += compare([case for record in recorded for case in gen1_members.cases(record)])
    print({name: count for name, count in found.items() if count})
    assert found["decisions"] >= 10_000
    assert_identical(found)
    missed, decisions = found["simple-heuristics where unlike"], found["decisions"]
    print(f"simple-heuristics differs where poke-env errs: {missed}, {wilson(missed / decisions, decisions)}")
    assert missed <= decisions / 1000


@pytest.mark.slow
def test_what_requests_say_can_be_told_from_the_state():
    battles = played(60, seed=7, by_members=True) + played(60, seed=8, by_members=False)
    assert check_known(battles, decisions=1000) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [("grunt", "random"), ("simple-heuristics", "max-base-power")])
def test_the_better_rule_wins_in_a_scan(one, other):
    """Both teams of a row are drawn, and rows 2i and 2i + 1 play the same two with the teams exchanged."""
    batch, rng = 128, np.random.default_rng(0)
    pairs = [[TEAMS[i] for i in rng.choice(len(TEAMS), 2)] for _ in range(batch // 2)]
    setups = [setup(teams) for pair in pairs for teams in (pair, pair[::-1])]
    run = scan_rollout(jn.games.gen1(), length=200, batch=batch)
    seats = (MEMBERS[one], MEMBERS[other])
    trajectory = run(jax.random.key(0), seats, jax.tree.map(lambda *x: np.stack(x), *setups))
    ended, reward = (np.asarray(x)[..., 0] for x in (trajectory.terminated, trajectory.reward))
    first = [reward[np.argmax(ended[:, row]), row] for row in range(batch) if ended[:, row].any()]
    assert len(first) >= 0.95 * batch, "an episode of a row was cut"
    score = (np.array(first) + 1) / 2
    low, _ = wilson(score.mean(), len(first) // 2, 0.99)
    print(one, other, score.mean(), len(first), low)
    assert low > 0.5
