"""Who traverses: this process, or supervised worker processes that share an iteration's trajectories.

Every worker runs the same jitted traverser on its own trajectory ids; samples are functions of (key, id,
params), so who took them, how many workers there are and whether one died does not show in them.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.rollouts.traverse import Buffer, Samples, Traverser, traverse
from jaxnash.rollouts.walk import Steps, Walker, other_samples, own_samples, walks
from jaxnash.types import Array, JaxnashError, Key, Params, PyTree

REPLACEMENTS = 20  # workers that may die before the cause must be something else


class Taken(NamedTuple):
    """What one traversal of a player's trajectories brought, on the host."""

    regrets: list[Samples]
    policies: list[Samples]
    steps: list[Steps]  # of walks, all decisions, for a critic
    nodes: int  # decisions and ends visited
    rounds: int  # network calls, each on all lanes


Take = Callable[[Key, int, Any, Array], Taken]  # (key, player, params, trajectory ids i32[N])


class Sampler(NamedTuple):
    """`take(key, player, params, count)` traverses trajectories 0..count-1 of the player."""

    take: Callable[[Key, int, Any, int], Taken]
    pids: Callable[[], list[int]]  # of the workers, none where this process does the work
    close: Callable[[], None]


def traversing(walker: Traverser, setups: PyTree = None) -> Take:
    """External or robust sampling; `params` are the traverser's and the opponent's networks'."""

    def take(key: Key, player: int, params: tuple[Params, Params], ids: Array) -> Taken:
        parts = []
        for walk in traverse(walker, key, params, player, ids, setups=setups) if len(ids) else ():
            host = jax.device_get((walk.regrets, walk.policies, walk.nodes, walk.rounds))
            regrets, policies = ([_cut(buffer, ids)] for buffer in host[:2])
            parts.append(Taken(regrets, policies, [], int(host[2]), int(host[3])))
        return joined(parts)

    return take


def walking(
    walker: Walker,
    setups: PyTree = None,
    *,
    policies: bool = False,
    steps: bool = False,
    critic_from: int | None = None,
) -> Take:
    """Outcome sampling; `params` are the traverser's and the opponent's networks' and the critic's.

    `policies`: keep the opponent's strategies, for an average policy network. `steps`: keep all decisions.
    `critic_from`: keep decisions of trajectories from this number on, and nothing else of these.
    """

    def take(key: Key, player: int, params: tuple[Params, Params, Params], ids: Array) -> Taken:
        parts = []
        for walked in walks(walker, key, params[:2], params[2], player, ids, setups=setups):
            split = None if critic_from is None else np.searchsorted(walked.trajectory, critic_from)
            learnt, judged = (
                jax.tree.map(lambda leaf: leaf[part], walked)  # noqa: B023
                for part in (slice(0, split), slice(split or 0, None))
            )
            others = [other_samples(learnt, player)] if policies else []
            kept = [judged] if steps else []
            nodes = len(walked.node) + int(walked.last.sum())
            parts.append(
                Taken([own_samples(learnt, player)], others, kept, nodes, int(walked.node.max()) + 1)
            )
        return joined(parts)

    return take


def joined(parts: list[Taken]) -> Taken:
    """What several traversals brought together."""
    return Taken(
        [chunk for part in parts for chunk in part.regrets],
        [chunk for part in parts for chunk in part.policies],
        [chunk for part in parts for chunk in part.steps],
        sum(part.nodes for part in parts),
        sum(part.rounds for part in parts),
    )


def _cut(buffer: Buffer, ids: Array) -> Samples:
    rows = jax.tree.map(lambda leaf: leaf[int(buffer.first) : int(buffer.filled)], buffer.rows)
    weight = np.ones(len(rows.node), np.float32)
    return rows._replace(trajectory=np.asarray(ids)[rows.trajectory], weight=weight)


def here(build: Callable[[], Take]) -> Sampler:
    """A sampler in this process, which does what `build` makes."""
    take = build()

    def run(key: Key, player: int, params: Any, count: int) -> Taken:
        return take(key, player, params, np.arange(count, dtype=np.int32))

    return Sampler(run, list, lambda: None)


class _Worker(NamedTuple):
    process: Any
    pipe: Any


def workers(build: Callable[[], Take], number: int) -> Sampler:
    """A sampler of `number` processes; `build` is pickled and called in each of them.

    Each may use its share of the cores. A worker that dies is replaced and its trajectories are traversed
    again; all end with this process. Raises `JaxnashError` where workers keep dying.
    """
    context = multiprocessing.get_context("spawn")
    team: list[_Worker] = []
    replaced = 0

    def hire() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, build), daemon=True)
        with _threads(max(1, (os.cpu_count() or 1) // number)):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def ask(index: int, request: bytes) -> Any:
        """The answer to what was sent to a worker; it is replaced, and asked again, as often as it dies."""
        nonlocal replaced
        while True:
            try:
                answer = team[index].pipe.recv()
            except (EOFError, OSError):
                replaced += 1
                team[index].process.join()
                code = team[index].process.exitcode
                if replaced > REPLACEMENTS:
                    raise JaxnashError(
                        f"workers keep dying, the last with exit code {code}: see the log"
                    ) from None
                team[index] = hire()
                _send(team[index], request)
                continue
            if isinstance(answer, str):
                raise RuntimeError(f"a worker failed:\n{answer}")
            return answer

    def run(key: Key, player: int, params: Any, count: int) -> Taken:
        while len(team) < number:
            team.append(hire())
        data = (np.asarray(jax.random.key_data(key)), player, jax.device_get(params))
        shares = [np.arange(index, count, number, dtype=np.int32) for index in range(number)]
        requests = [pickle.dumps((*data, share)) for share in shares]
        for worker, request in zip(team, requests, strict=True):
            _send(worker, request)
        try:
            parts = [ask(index, request) for index, request in enumerate(requests)]
        except BaseException:
            close()  # answers that nobody has read would be taken for the next ones
            raise
        return joined(parts)

    def close() -> None:
        for worker in team:
            worker.pipe.close()
        for worker in team:
            worker.process.join(10)
            worker.process.kill()
            worker.process.join()
        team.clear()

    return Sampler(run, lambda: [worker.process.pid for worker in team], close)


def _send(worker: _Worker, request: bytes) -> None:
    with suppress(OSError):  # it has died, which `ask` finds out
        worker.pipe.send_bytes(request)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Children started within take this many threads for XLA's work."""
    before = os.environ.get("NPROC")
    os.environ["NPROC"] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ["NPROC"]
        else:
            os.environ["NPROC"] = before


def _serve(pipe: Any, build: Callable[[], Take]) -> None:
    """A worker's life: it ends when its pipe does, or its parent."""
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()
    take: Take | None = None
    while True:
        try:
            key, player, params, ids = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            take = take or build()
            answer: Any = take(jax.random.wrap_key_data(key), player, params, ids)
        except Exception:
            answer = traceback.format_exc()
        try:
            pipe.send(answer)
        except (BrokenPipeError, OSError):
            return


def _end_with_parent() -> None:
    """So that a worker whose parent was killed does not finish its share first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def timed(sampler: Sampler, *args: Any) -> tuple[Taken, float]:
    """What `sampler.take` gives, and its seconds."""
    began = time.perf_counter()
    return sampler.take(*args), time.perf_counter() - began
