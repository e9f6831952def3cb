"""Samplers: how many processes there are and which of them die does not show, and none is left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import jax
import numpy as np
import pytest

from jaxnash.learners.deep_cfr import ordered
from jaxnash.rollouts import sampling
from jaxnash.rollouts.sampling import Sampler, Taken, here, workers
from jaxnash.runs.deep_cfr import build, iterate, parts_of, start
from jaxnash.runs.deep_cfr_knobs import Knobs
from jaxnash.types import JaxnashError

KNOBS = Knobs(
    game="kuhn",
    algorithm="deep-cfr",
    iterations=4,
    trajectories=44,
    lanes=16,
    batch_size=16,
    steps=10,
    least_steps=10,
    memory=100,
    hidden=(16,),
)
ROOT = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    """Not yet a zombie, either."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))


def killing(sampler: Sampler, index: int, task: Callable[[], Any]) -> Any:
    """What `task` gives while the sampler's worker, which holds still, is killed before it answers."""
    pid, result = sampler.pids()[index], []
    os.kill(pid, signal.SIGSTOP)
    thread = Thread(target=lambda: result.append(task()))
    thread.start()
    time.sleep(0.3)  # by then the others work on what they were asked
    assert thread.is_alive()
    kill(pid)
    thread.join(120)
    assert pid not in sampler.pids()
    return result[0]


def assert_equal(one: Any, other: Any) -> None:
    for leaf, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, expected)


def assert_same_samples(one: Taken, other: Taken) -> None:
    """However they were cut and in which order they came."""
    assert one.nodes == other.nodes
    assert_equal(ordered(one.regrets), ordered(other.regrets))
    assert_equal(ordered(one.policies), ordered(other.policies))


@pytest.mark.parametrize(
    "number",
    [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)],
)
def test_workers_and_their_deaths_do_not_show(number):
    """Samples, memories and parameters, bit for bit. A worker dies in mid-work; of four an idle one too."""
    parts = parts_of(KNOBS)
    task = partial(build, parts.plan)
    alone, sampler = here(task), workers(task, number)
    assert alone.pids() == sampler.pids() == []
    begun = start(KNOBS, parts)
    params = (begun.sides[0].params, begun.sides[1].params)
    key = jax.random.key(3)
    try:
        expected = alone.take(key, 0, params, KNOBS.trajectories)
        assert_same_samples(sampler.take(key, 0, params, KNOBS.trajectories), expected)
        if number == 4:  # more workers than trajectories
            assert_same_samples(sampler.take(key, 1, params, 3), alone.take(key, 1, params, 3))
        one, other = start(KNOBS, parts), start(KNOBS, parts)
        for iteration in range(3):
            one = iterate(KNOBS, parts, alone, one)[0]
            again = partial(iterate, KNOBS, parts, sampler, other)
            if iteration == 2 and number == 4:
                kill(sampler.pids()[0])
            other = (killing(sampler, number - 1, again) if iteration == 1 else again())[0]
            assert_equal(other, one)
        assert int(one.sides[0].memory.seen) > KNOBS.memory
        pids = sampler.pids()
        assert len(pids) == number
    finally:
        sampler.close()
    assert sampler.pids() == [] and not any(map(alive, pids))


def test_a_critics_own_paths_are_not_in_the_regrets():
    """Regrets are those of the other paths, bit for bit; the critic is given all of its own and no more."""
    knobs = dataclasses.replace(KNOBS, algorithm="dream", critic_hidden=(8, 8), critic_trajectories=20)
    parts, key = parts_of(knobs), jax.random.key(3)
    state = start(knobs, parts)
    params = (state.sides[0].params, state.sides[1].params, state.critic[0].params)
    both = here(partial(build, parts.plan)).take(key, 0, params, 64)
    without = here(partial(build, parts.plan._replace(critic_from=None))).take(key, 0, params, 44)
    assert_equal(ordered(both.regrets), ordered(without.regrets))
    np.testing.assert_array_equal(
        np.unique(np.concatenate([steps.trajectory for steps in both.steps])), np.arange(44, 64)
    )
    assert both.nodes > without.nodes


def sleeping(path: str) -> Any:
    Path(path).touch()
    time.sleep(300)


PARENT = """
import sys
import time
from functools import partial
import jax
from jaxnash.rollouts.sampling import workers
from tests.rollouts.test_sampling import sleeping, wait_until
from threading import Thread
if __name__ == "__main__":
    sampler = workers(partial(sleeping, sys.argv[1]), 1)
    Thread(target=sampler.take, args=(jax.random.key(0), 0, ((), ()), 10), daemon=True).start()
    wait_until(sampler.pids)
    print(*sampler.pids(), flush=True)
    time.sleep(300)
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    """Though they are busy, and would be for minutes."""
    script, begun = tmp_path / "parent.py", tmp_path / "begun"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script, begun],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(begun.exists)
        assert alive(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not alive(pid), 30)


def failing() -> Any:
    raise ValueError("no such thing as a round square")


@pytest.mark.slow
def test_what_a_worker_fails_by_is_told():
    sampler = workers(failing, 2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="round square"):
            sampler.take(jax.random.key(0), 0, ((), ()), 4)
        assert sampler.pids() == []


def dying() -> Any:
    os._exit(7)


@pytest.mark.slow
def test_workers_that_keep_dying_are_not_replaced_for_ever(monkeypatch):
    monkeypatch.setattr(sampling, "REPLACEMENTS", 2)
    sampler = workers(dying, 1)
    with pytest.raises(JaxnashError, match="exit code 7"):
        sampler.take(jax.random.key(0), 0, ((), ()), 4)
    assert sampler.pids() == []


def test_children_get_their_share_of_threads(monkeypatch):
    for before in (None, "5"):
        monkeypatch.delenv("NPROC", raising=False)
        if before:
            monkeypatch.setenv("NPROC", before)
        with sampling._threads(3):
            assert os.environ["NPROC"] == "3"
        assert os.environ.get("NPROC") == before
