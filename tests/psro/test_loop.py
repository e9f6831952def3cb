"""The loop on a made-up game of levels: who has the higher level wins more often."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest

from jaxnash.keys import derive
from jaxnash.psro.loop import loop
from jaxnash.psro.meta_solvers import nash, uniform
from jaxnash.psro.tournament import cell_from_scores, payoffs
from jaxnash.types import JaxnashError

ITERATIONS = 3
STAGES = [(0, "tournament"), (0, "meta")] + [
    (i, stage) for i in range(1, ITERATIONS + 1) for stage in ("oracle", "tournament", "meta")
]


class Player(NamedTuple):
    name: str
    level: float


FIRST = (Player("a", 0.0), Player("b", 0.1), Player("c", -0.2))


class Crash(Exception):
    pass


class World:
    """`play` and `oracle` keyed by what happens; notes what was asked for; fails at one stage if told to."""

    def __init__(self, fail_at=None):
        self.fail_at, self.asked, self.done = fail_at, [], []

    def note(self, stage, detail):
        if stage == self.fail_at:
            raise Crash(stage)
        self.asked.append((stage, detail))

    def play(self, iteration, members, pairs):
        self.note((iteration, "tournament"), tuple(pairs))
        return {
            (i, j): cell_from_scores(
                [
                    [
                        float(
                            derive(members[i].name, members[j].name, pair, battle) / 2**64
                            < 0.5 + members[i].level - members[j].level
                        )
                        for battle in (0, 1)
                    ]
                    for pair in range(20)
                ]
            )
            for i, j in pairs
        }

    def oracle(self, iteration, members, mixture, table):
        assert len(members) == len(mixture) == len(table.names)
        self.note((iteration, "oracle"), tuple(table.names))
        level = float(np.dot(mixture, [member.level for member in members]))
        return Player(f"br-{iteration}", level + 0.05), {"against": mixture.tolist()}

    def solve(self, matrix):
        # the meta stage knows no iteration: three members are iteration 0
        self.note((len(matrix) - len(FIRST), "meta"), matrix.shape)
        return nash(matrix)

    def run(self, **options):
        options = {"members": FIRST, "iterations": ITERATIONS} | options
        after = lambda iteration, state: self.done.append(iteration)  # noqa: E731
        return loop(play=self.play, oracle=self.oracle, meta_solver=self.solve, after=after, **options)


def memoiser(store, crash_after=None):
    """Keeps results as bytes, as a disk would; can die right after one is safe."""

    def saved(iteration, stage, compute):
        if (iteration, stage) not in store:
            store[iteration, stage] = pickle.dumps(compute())
            if (iteration, stage) == crash_after:
                raise Crash
        return pickle.loads(store[iteration, stage])

    return saved


def bits(state):
    """Everything in a state, floats to the last bit."""
    solutions = [(s.row.tobytes(), s.col.tobytes(), s.value, s.gap) for s in state.solutions]
    return state._replace(solutions=tuple(solutions))  # floats compare exactly


def test_the_order_of_stages_and_what_each_is_asked_for():
    world = World()
    state = world.run()
    assert [stage for stage, _ in world.asked] == STAGES
    pairs = [detail for (_, stage), detail in world.asked if stage == "tournament"]
    assert pairs[0] == ((0, 1), (0, 2), (1, 2))
    assert pairs[1] == ((0, 3), (1, 3), (2, 3))  # only the newcomer's
    assert pairs[3] == tuple((i, 5) for i in range(5))
    assert state.names == ("a", "b", "c", "br-1", "br-2", "br-3")
    assert [len(mixture) for mixture in state.mixtures] == [3, 4, 5, 6]
    assert [metrics["against"] for metrics in state.oracle_metrics] == [
        m.tolist() for m in state.mixtures[:3]
    ]
    assert world.done == [0, 1, 2, 3]


def test_the_state_is_the_final_tables():
    state = World().run()
    matrix = payoffs(state.table)
    assert np.array_equal(state.mixtures[-1], nash(matrix).row)
    assert all(solution.value == 0.0 for solution in state.solutions)
    for gap, mixture in zip(state.hindsight_gaps, state.mixtures, strict=True):
        assert gap == pytest.approx((matrix[:, : len(mixture)] @ mixture).max(), abs=1e-15)
    assert state.hindsight_gaps[0] > 0.05 > abs(state.hindsight_gaps[-1])


@pytest.mark.parametrize("stage", STAGES)
def test_a_restart_after_a_failure_within_a_stage(stage):
    whole, store = World().run(), {}
    with pytest.raises(Crash):
        World(fail_at=stage).run(saved=memoiser(store))
    again = World()
    assert bits(again.run(saved=memoiser(store))) == bits(whole)
    assert [name for name, _ in again.asked] == STAGES[STAGES.index(stage) :]  # nothing done twice


@pytest.mark.parametrize("stage", STAGES)
def test_a_restart_after_a_failure_at_the_end_of_a_stage(stage):
    whole, store = World().run(), {}
    with pytest.raises(Crash):
        World().run(saved=memoiser(store, crash_after=stage))
    again = World()
    assert bits(again.run(saved=memoiser(store))) == bits(whole)
    assert [name for name, _ in again.asked] == STAGES[STAGES.index(stage) + 1 :]


def test_a_restart_at_every_stage_in_turn():
    whole, store = World().run(), {}
    for stage in STAGES:
        with pytest.raises(Crash):
            World().run(saved=memoiser(store, crash_after=stage))
    assert bits(World().run(saved=memoiser(store))) == bits(whole)


def test_a_longer_run_continues_a_shorter_one():
    store = {}
    World().run(saved=memoiser(store), iterations=1)
    again = World()
    assert bits(again.run(saved=memoiser(store))) == bits(World().run())
    assert again.asked[0][0] == (2, "oracle")


def test_only_what_was_saved_counts():
    def saved(iteration, stage, compute):
        result = compute()
        if stage == "oracle":
            return Player(f"restored-{iteration}", result[0].level), {}
        if stage == "tournament":
            return {pair: cell_from_scores([(0.5, 0.5)]) for pair in result}
        return result._replace(row=np.full(len(result.row), 1 / len(result.row)), value=0.125)

    state = World().run(saved=saved)
    assert state.names[3:] == ("restored-1", "restored-2", "restored-3")
    assert not payoffs(state.table).any() and state.oracle_metrics == ({}, {}, {})
    assert [solution.value for solution in state.solutions] == [0.125] * 4
    assert state.mixtures[-1] == pytest.approx(np.full(6, 1 / 6))


def test_a_population_of_one_needs_no_battle():
    state = World().run(members=FIRST[:1], iterations=0)
    assert state.mixtures[0].tolist() == [1.0] and state.table.cells == {} and state.hindsight_gaps == (0.0,)


def test_another_meta_solver():
    world = World()
    state = loop(members=FIRST, play=world.play, oracle=world.oracle, iterations=1, meta_solver=uniform)
    assert state.mixtures[1].tolist() == [0.25] * 4


def test_a_taken_name_is_refused():
    def oracle(iteration, members, mixture, table):
        return Player("a", 0.0), {}

    world = World()
    with pytest.raises(JaxnashError, match="'a' is taken"):
        loop(members=FIRST, play=world.play, oracle=oracle, iterations=1)
    with pytest.raises(JaxnashError, match="'a' is taken"):
        loop(members=(*FIRST, FIRST[0]), play=world.play, oracle=oracle, iterations=0)


@pytest.mark.parametrize("change", [{(0, 9): None}, {}])
def test_play_must_answer_exactly_what_it_was_asked(change):
    with pytest.raises(ValueError, match="asked for the pairs"):
        loop(members=FIRST, play=lambda *_: change, oracle=World().oracle, iterations=0)
