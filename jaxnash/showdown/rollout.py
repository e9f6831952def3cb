"""Battles between members on the simulator pool: outcomes in order of id, and `Trajectory` for learners.

What a battle does depends on its `seed` (the simulator's draws) and its `key` (the members' draws, by seat
and decision) alone. Inference runs at one fixed batch shape, so neither the number of workers nor the
number of battles running at once changes a single bit of the result.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.games.game import MASKED
from jaxnash.games.gen1.layout import FIELD_COLUMNS, NUM_ACTIONS, POKEMON_COLUMNS, POKEMON_INDEX, Observation
from jaxnash.keys import derive
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import observe, order
from jaxnash.showdown.pool import Pool, Update
from jaxnash.types import Member, Neural, Scripted, Trajectory

BATCH = 32  # the one shape inference is padded to; a batch costs what its rows cost, so small ones waste less


class Battle(NamedTuple):
    """One battle to be played. Ids ascend in the order in which outcomes are wanted."""

    battle_id: int
    seed: int  # 64 bit, the simulator's; common to the two battles of a pair
    key: int  # 64 bit, the members' draws derive from (key, seat, decision)
    seats: tuple[int, int]  # indices into the members
    teams: tuple[str, str]  # packed
    team_names: tuple[str, str]


class Trace(NamedTuple):
    """The recorded decisions of one battle, one row each, in order; `steps` decision points in all."""

    step: np.ndarray  # i32[N]
    seat: np.ndarray  # i8[N]
    obs: Observation  # i16[N, 12, F], i16[N, G]
    legal: np.ndarray  # bool[N, 9]
    action: np.ndarray  # i8[N]
    log_prob: np.ndarray  # f32[N]; 0 for scripted members
    value: np.ndarray  # f32[N]; 0 for scripted members


class Outcome(NamedTuple):
    battle: Battle
    winner: int | None  # seat; None is a draw
    turns: int
    truncated: bool  # a draw by the turn limit
    steps: int  # decision points
    decisions: tuple[int, int]  # by seat
    invalid: tuple[int, int]  # choices the simulator refused, by seat
    fault: str | None  # the simulator's words if it broke the battle off (then a draw)
    trace: Trace | None

    @property
    def score(self) -> float:
        """Seat 0's: 1 win, 1/2 draw, 0 loss."""
        return 0.5 if self.winner is None else float(self.winner == 0)


@functools.lru_cache(maxsize=256)
def actor(apply: Any):
    """`act(params, obs, legal, keys u32[B, 2], greedy) -> (action, log_prob, value)`, jitted once."""

    @jax.jit
    def act(params, obs, legal, keys, greedy):
        rows = legal.shape[0]
        logits, value, _ = apply(params, obs, legal, (), np.zeros(rows, bool))
        noise = jax.vmap(lambda k: jax.random.gumbel(jax.random.wrap_key_data(k), (NUM_ACTIONS,)))(keys)
        noisy = jax.numpy.where(legal, logits + jax.numpy.where(greedy, 0.0, noise), MASKED)
        action = jax.numpy.argmax(noisy, axis=-1)
        log_prob = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=-1)[:, 0]
        return action, log_prob, value

    return act


def padded(decisions: Sequence[tuple[Observation, Sequence[bool], int]]) -> tuple[Observation, Any, Any]:
    """Up to `BATCH` decisions (observation, legal, key) -> the obs, legal and keys that `actor` takes."""
    first = decisions[0][0]
    pokemon = np.zeros((BATCH, *first.pokemon.shape), np.int16)
    field = np.zeros((BATCH, *first.field.shape), np.int16)
    legal = np.zeros((BATCH, NUM_ACTIONS), bool)
    legal[:, 0] = True
    keys = np.zeros((BATCH,), np.uint64)
    for i, (obs, mask, key) in enumerate(decisions):
        pokemon[i], field[i] = obs
        legal[i] = mask
        keys[i] = key
    return Observation(pokemon, field), legal, keys.view(np.uint32).reshape(BATCH, 2)


class _Running:
    """A battle under way: two records, the choices of this decision point, what has been recorded."""

    __slots__ = ("battle", "choices", "count", "invalid", "keep", "missing", "records", "rows", "steps")

    def __init__(self, battle: Battle, keep: tuple[bool, bool]):
        self.battle = battle
        self.keep = keep
        self.records = (BattleRecord(0), BattleRecord(1))
        self.choices: list[str | None] = [None, None]
        self.missing = 0
        self.steps = -1
        self.count = [0, 0]
        self.invalid = [0, 0]
        self.rows: list[tuple] = []

    def finish(self, update: Update) -> Outcome:
        return Outcome(
            battle=self.battle,
            winner=update.winner,
            turns=update.turn,
            truncated=update.truncated,
            steps=self.steps + 1,
            decisions=(self.count[0], self.count[1]),
            invalid=(self.invalid[0], self.invalid[1]),
            fault=update.errors[0] or update.errors[1],
            trace=_trace(self.rows) if any(self.keep) else None,
        )


def _trace(rows: list[tuple]) -> Trace:
    # Scripted seats decide at once, neural ones when their batch is full: sort into the order of play.
    rows = sorted(rows, key=lambda row: row[:2])
    n = len(rows)
    pokemon = np.empty((n, 12, len(POKEMON_COLUMNS)), np.int16)
    field = np.empty((n, len(FIELD_COLUMNS)), np.int16)
    for i, row in enumerate(rows):
        pokemon[i], field[i] = row[2]
    return Trace(
        step=np.array([row[0] for row in rows], np.int32),
        seat=np.array([row[1] for row in rows], np.int8),
        obs=Observation(pokemon, field),
        legal=np.array([row[3] for row in rows], bool).reshape(n, NUM_ACTIONS),
        action=np.array([row[4] for row in rows], np.int8),
        log_prob=np.array([row[5] for row in rows], np.float32),
        value=np.array([row[6] for row in rows], np.float32),
    )


def play(
    pool: Pool,
    members: Sequence[Member],
    battles: Iterable[Battle],
    *,
    parallel: int = 64,
    record: Sequence[int] = (),
) -> Iterator[Outcome]:
    """Play battles, `parallel` at a time, and yield their outcomes in order of id.

    `record` names the members (indices) whose decisions are kept in `Outcome.trace`. Raises
    `SimulatorError` when the simulator cannot go on. Take all outcomes, or close the pool: battles that are
    broken off stay under way in it.
    """
    acts = {k: (actor(m.policy.apply), jax.device_put(m.params), m.greedy)
            for k, m in enumerate(members) if isinstance(m, Neural)}  # fmt: skip
    queues: dict[int, list] = {k: [] for k in acts}
    source = iter(battles)
    running: dict[int, _Running] = {}
    finished: dict[int, Outcome] = {}
    ids: deque[int] = deque()
    flying = 0  # battles the simulator is working on

    def choose(battle_id: int, choices: tuple[str | None, str | None]) -> None:
        nonlocal flying
        flying += 1
        pool.choose(battle_id, choices)

    def decided(state: _Running, seat: int, action: int, log_prob: float, value: float, obs) -> None:
        rec = state.records[seat]
        if state.keep[seat]:
            state.rows.append((state.steps, seat, obs, rec.legal, action, log_prob, value))
        state.choices[seat] = order(rec, action)
        state.missing -= 1
        if state.missing == 0:
            choose(state.battle.battle_id, (state.choices[0], state.choices[1]))

    def handle(update: Update) -> None:
        nonlocal flying
        flying -= 1
        state = running[update.battle_id]
        for seat, rec in enumerate(state.records):
            rec.feed(update.lines[seat])
        if update.ended:
            del running[update.battle_id]
            finished[update.battle_id] = state.finish(update)
            return
        if any(update.errors):
            # The mask allowed what the simulator refuses: counted, and Showdown's own default goes in.
            refused = [error is not None for error in update.errors]
            for seat in (0, 1):
                state.invalid[seat] += refused[seat]
            choose(update.battle_id, ("default" if refused[0] else None, "default" if refused[1] else None))
            return
        state.steps += 1
        todo = []
        for seat, rec in enumerate(state.records):
            rec.request(update.requests[seat] or '{"wait":true}')
            state.choices[seat] = None
            if not rec.waiting:
                todo.append(seat)
        state.missing = len(todo)
        for seat in todo:
            rec = state.records[seat]
            index = state.battle.seats[seat]
            member = members[index]
            key = derive(state.battle.key, seat, state.count[seat])
            state.count[seat] += 1
            if isinstance(member, Scripted):
                obs = observe(rec) if state.keep[seat] else None
                decided(state, seat, member.choose(rec, random.Random(key)), 0.0, 0.0, obs)
            else:
                queues[index].append((state, seat, observe(rec), rec.legal, key))

    def infer(index: int) -> tuple[list, Any]:
        """Hand one member's oldest decisions to XLA, which works on them while the simulator is served."""
        queue = queues[index]
        rows, queues[index] = queue[:BATCH], queue[BATCH:]
        act, params, greedy = acts[index]
        return rows, act(params, *padded([row[2:] for row in rows]), greedy)

    def finish(rows: list, out: Any) -> None:
        actions, log_probs, values = (np.asarray(x).tolist() for x in out)
        for (state, seat, obs, _, _), action, log_prob, value in zip(rows, actions, log_probs, values):
            decided(state, seat, action, log_prob, value, obs)

    kept = frozenset(record)
    inferring: tuple[list, Any] | None = None
    while True:
        while len(running) < parallel and (battle := next(source, None)) is not None:
            keep = (battle.seats[0] in kept, battle.seats[1] in kept)
            running[battle.battle_id] = _Running(battle, keep)
            ids.append(battle.battle_id)
            flying += 1
            pool.start(battle.battle_id, battle.seed, battle.teams)
        while ids and ids[0] in finished:
            yield finished.pop(ids.popleft())
        if not running:
            if not ids:
                return
            continue
        queued = sum(map(len, queues.values()))
        # Half of the running battles wait for us while the simulator works on the other half.
        enough = queued >= max(1, min(BATCH, len(running) // 2))
        if inferring is None and queued and (enough or flying == 0):
            inferring = infer(max(queues, key=lambda k: len(queues[k])))
        updates = pool.poll(timeout_s=None if inferring is None else 0.0)
        for update in updates:
            handle(update)
        if inferring is not None and (not updates or inferring[1][0].is_ready()):
            finish(*inferring)
            inferring = None


def potential(obs: Observation) -> np.ndarray:
    """f32[...] in [-1, 1]: the mean hp share of one's six less the opponent's, unseen ones counted whole."""
    hp, revealed = (obs.pokemon[..., POKEMON_INDEX[n]].astype(np.float32) for n in ("hp", "revealed"))
    own = hp[..., :6].mean(axis=-1) / 1000
    theirs = np.where(revealed[..., 6:] > 0, hp[..., 6:] / 1000, 1.0).mean(axis=-1)
    return own - theirs


def pack(
    outcomes: Sequence[Outcome], *, length: int, rows: int, gamma: float = 1.0, shaping: float = 0.0
) -> Trajectory:
    """Outcomes with traces -> `Trajectory` [length, rows, 2, ...], battle after battle in order of id.

    A battle's last recorded decision of each seat earns +1, 0 or -1. `shaping` adds the potential-based
    term gamma * phi(s') - phi(s) (Ng, Harada & Russell 1999), which leaves the optimal policy unchanged.
    A draw by the turn limit is part of the rules, hence terminated and worth 0. `rows` is doubled until
    all battles fit. Raises ValueError when one battle is longer than `length`.
    """
    places, row, at = [], 0, 0
    for outcome in outcomes:
        if outcome.steps > length:
            raise ValueError(f"battle {outcome.battle.battle_id} has {outcome.steps} steps, over {length}")
        if at + outcome.steps > length:
            row, at = row + 1, 0
        places.append((row, at))
        at += outcome.steps
    while rows <= row:
        rows *= 2

    def full(shape=(), dtype: Any = np.float32, fill: Any = 0):
        return np.full((length, rows, 2, *shape), fill, dtype)

    first = next(o.trace for o in outcomes if o.trace is not None)
    pokemon, field = full(first.obs.pokemon.shape[1:], np.int16), full(first.obs.field.shape[1:], np.int16)
    legal = full((NUM_ACTIONS,), bool)
    legal[..., 0] = True
    active, terminated, reset, valid = (full(dtype=bool) for _ in range(4))
    action, log_prob, value, reward = full(dtype=np.int32), full(), full(), full()
    member, episode = full(dtype=np.int32, fill=-1), full(dtype=np.int32, fill=-1)
    for outcome, (r, start) in zip(outcomes, places):
        end = start + outcome.steps
        valid[start:end, r] = True
        episode[start:end, r] = outcome.battle.battle_id
        member[start:end, r] = outcome.battle.seats
        reset[start, r] = True
        terminated[end - 1, r] = True
        trace = outcome.trace
        if trace is None:
            continue
        for seat in (0, 1):
            mine = np.flatnonzero(trace.seat == seat)
            if not len(mine):
                continue
            t = start + trace.step[mine]
            obs = Observation(trace.obs.pokemon[mine], trace.obs.field[mine])
            pokemon[t, r, seat], field[t, r, seat] = obs
            legal[t, r, seat] = trace.legal[mine]
            active[t, r, seat] = True
            action[t, r, seat] = trace.action[mine]
            log_prob[t, r, seat] = trace.log_prob[mine]
            value[t, r, seat] = trace.value[mine]
            if shaping:
                phi = shaping * potential(obs)
                reward[t, r, seat] = gamma * np.append(phi[1:], 0.0) - phi
            reward[t[-1], r, seat] += (
                0.0 if outcome.winner is None else (1.0 if outcome.winner == seat else -1.0)
            )
    return Trajectory(
        obs=Observation(pokemon, field),
        legal=legal,
        active=active,
        action=action,
        log_prob=log_prob,
        value=value,
        reward=reward,
        terminated=terminated,
        truncated=np.zeros_like(terminated),
        reset=reset,
        first_carry=(),
        bootstrap_value=np.zeros((rows, 2), np.float32),
        member=member,
        episode_id=episode,
        valid=valid,
    )


def showdown_rollout(
    pool: Pool,
    members: Sequence[Member],
    battles: Iterable[Battle],
    *,
    parallel: int = 64,
    record: Sequence[int] = (0,),
    length: int = 384,
    rows: int = 32,
    gamma: float = 1.0,
    shaping: float = 0.0,
) -> tuple[Trajectory, list[Outcome]]:
    """Play whole battles and return the same `Trajectory` that `rollouts.scan_rollout` fills."""
    outcomes = list(play(pool, members, battles, parallel=parallel, record=record))
    return pack(outcomes, length=length, rows=rows, gamma=gamma, shaping=shaping), outcomes
