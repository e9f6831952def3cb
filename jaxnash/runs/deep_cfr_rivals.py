"""What a deep CFR run's average policy earns from others, and what best responses earn from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.cfr.flop_holdem import FlopExploitability, exploitability
from jaxnash.games.game import Game
from jaxnash.learners.response import trained_response
from jaxnash.policies.spec import build as policy_of_spec
from jaxnash.rollouts.lbr import local_best_response
from jaxnash.rollouts.matches import Score, always_call, play, random_legal
from jaxnash.runs.deep_cfr import (
    HOLDEM,
    Parts,
    State,
    advantage_strategy,
    average_networks,
    policy_strategy,
    weights_of,
)
from jaxnash.runs.deep_cfr_knobs import Knobs
from jaxnash.types import Array, JaxnashError, Key, Neural, Params, Scripted


class Agent(NamedTuple):
    """An average policy as it plays: networks of each seat, of which one is drawn for a whole hand."""

    seats: tuple[Neural, Neural]  # params [T, ...]
    weights: Array  # f[T]
    strategy: Callable[..., Array]  # (params of one network, obs, legal) -> f32[B, A]


def agent(knobs: Knobs, parts: Parts, state: State, iteration: int | None = None) -> Agent:
    """The average policy now, or after an earlier `iteration`.

    Raises `JaxnashError` where deep-cfr, which keeps no past networks, is asked about an earlier one.
    """
    now = int(state.iteration)
    upto = now if iteration is None else iteration
    if not 1 <= upto <= now:
        raise JaxnashError(f"the run has done {now} iterations: pass one of 1 to {now}, not {upto}")
    spec = parts.plan.spec
    if knobs.algorithm == "deep-cfr":
        if upto != now:
            raise JaxnashError("deep-cfr keeps no past networks: only its last iteration can be measured")
        spec = spec._replace(kwargs=spec.kwargs | {"head": "softmax"})
        params, _ = average_networks(knobs, parts, state)
        stacked = jax.tree.map(lambda leaf: leaf[None], params)
        weights, strategy = np.ones(1), policy_strategy(parts.net)
    else:
        stacked = (state.sides[0].history, state.sides[1].history)
        weights, strategy = weights_of(knobs, upto), advantage_strategy(parts.net)
    policy = policy_of_spec(spec)
    seats = tuple(Neural(f"seat {seat}", policy, params) for seat, params in enumerate(stacked))
    return Agent((seats[0], seats[1]), weights, strategy)


@lru_cache  # so that a match is compiled once
def _match(game: Game, pairs: int, most_decisions: int) -> Callable[..., Score]:
    return play(game, pairs=pairs, most_decisions=most_decisions)


def match(parts: Parts, key: Key, one: Agent, other: Agent | Scripted, *, pairs: int) -> Score:
    """What the agent earns from another agent or member, in chips a hand."""
    rival, weights = (other.seats, other.weights) if isinstance(other, Agent) else (other, None)
    played = _match(parts.what.game, pairs, 2 * parts.what.depth)
    return played(key, (one.seats, rival), parts.what.setups, mixtures=(one.weights, weights))


def rivals(
    knobs: Knobs, parts: Parts, state: State, *, past: int | None = None
) -> dict[str, Agent | Scripted]:
    """Random, always-call where the game has a call, and the run's own average after `past` iterations."""
    found: dict[str, Agent | Scripted] = {"random": random_legal()}
    name = "holdem" if knobs.game in HOLDEM else knobs.game.partition("(")[0].strip()
    if name in ("holdem", "leduc", "kuhn"):
        found["always-call"] = always_call(name)
    if past is not None:
        found[f"iteration {past}"] = agent(knobs, parts, state, past)
    return found


def earned(knobs: Knobs, parts: Parts, state: State, *, pairs: int) -> dict[str, dict[str, Any]]:
    """Chips a hand, with intervals, against each of `rivals`; its past is that of half as many iterations."""
    one, half = agent(knobs, parts, state), int(state.iteration) // 2
    past = half if half and knobs.algorithm != "deep-cfr" else None
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(knobs.seed), int(state.iteration)), 3)
    scores = {
        name: match(parts, jax.random.fold_in(key, number), one, rival, pairs=pairs)
        for number, (name, rival) in enumerate(rivals(knobs, parts, state, past=past).items())
    }
    return {name: told(score) for name, score in scores.items()}


def told(score: Score) -> dict[str, Any]:
    """A score for a row, in chips a hand."""
    return {name: getattr(score, name) for name in ("mean", "low", "high", "pairs", "level", "kind")}


def local(knobs: Knobs, parts: Parts, key: Key, one: Agent, *, pairs: int) -> Score:
    """What a local best response earns: a lower bound, of hold'em only (`JaxnashError` else)."""
    if knobs.game not in HOLDEM:
        raise JaxnashError(f"local best response reads hold'em, not {knobs.game}: train a response")
    params, weights = _used(one)
    lanes = max(1, 64 // len(weights))  # memory and time go with networks x lanes
    respond = local_best_response(parts.what.game, one.strategy, pairs=pairs, lanes=lanes)
    return respond(key, params, weights, parts.what.setups)


def flop_exploitability(one: Agent, *, progress: Callable[..., Any] | None = None) -> FlopExploitability:
    """The exact exploitability of an agent of flop hold'em; it takes as long as its networks are many."""
    params, weights = _used(one)
    return exploitability(one.strategy, params, weights, progress=progress)


def _used(one: Agent) -> tuple[tuple[Params, Params], Array]:
    """The networks that have a weight, and their weights: others would be evaluated all the same."""
    used = np.flatnonzero(one.weights)
    first, second = (jax.tree.map(lambda leaf: leaf[used], seat.params) for seat in one.seats)
    return (first, second), one.weights[used]


def trained(
    parts: Parts, key: Key, one: Agent, *, on_update: Callable[[dict[str, Any]], None] = lambda row: None
) -> Score:
    """What a response trained by policy gradient earns on fresh hands: a lower bound."""
    return trained_response(
        key,
        parts.what.game,
        one.seats,
        most_decisions=2 * parts.what.depth,
        mixture=one.weights,
        setups=parts.what.setups,
        unit=parts.what.unit,
        on_update=on_update,
    )[1]
