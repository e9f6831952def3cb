"""The parts of a deep CFR run that a command line names, and its state on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnash.games import goofspiel, kuhn, leduc, liars_dice
from jaxnash.games.game import Game, TreeGame, sampled
from jaxnash.games.holdem import holdem, holdem_setup
from jaxnash.learners.critic import (
    CriticFit,
    CriticLearner,
    critic_learner,
    critic_network,
    extend,
    ring,
    transition_of,
)
from jaxnash.learners.deep_cfr import (
    Fit,
    Learner,
    Side,
    kept,
    learner,
    ordered,
    remember,
    row_of,
    side_of,
)
from jaxnash.learners.exact import Infosets, average_policy, infosets, policy_of
from jaxnash.policies.advantage import Network, network, network_spec, regret_matching, softmax
from jaxnash.rollouts.sampling import Sampler, Take, traversing, walking
from jaxnash.rollouts.traverse import traverser
from jaxnash.rollouts.walk import critic_regrets, sampled_regrets
from jaxnash.rollouts.walk import walker as outcome_walker
from jaxnash.runs.deep_cfr_knobs import CRITICS, Knobs, explored, outcome
from jaxnash.runs.named import made
from jaxnash.types import Array, JaxnashError, Key, Params, PolicySpec, PyTree

TREES: dict[str, Callable[..., TreeGame]] = {
    "kuhn": kuhn,
    "leduc": leduc,
    "liars_dice": liars_dice,
    "goofspiel": goofspiel,
}
HOLDEM = {"flop": "flop", "limit": "limit", "hunl": "no-limit"}  # our names and `holdem`'s
SCRATCH = 1 << 15  # samples that a traverser hands over at a time


class Played(NamedTuple):
    """A game that agents are trained for."""

    game: Game
    tree: TreeGame | None  # where it is written out, for exact exploitability
    setups: PyTree  # one setup, of every hand
    depth: int  # the most decisions of one player on a path
    unit: float  # chips that results are told in: the ante or the big blind
    unit_name: str


class Plan(NamedTuple):
    """What a worker needs to traverse; plain data, so that it can be sent to a process."""

    game: str
    bet_sizes: tuple[float, ...]
    spec: PolicySpec  # of the advantage network
    lanes: int
    explore: int | None
    policies: bool
    walks: str  # "" for traversals, else "plain", "dream" or "escher"
    epsilon: float
    critic_hidden: tuple[int, ...]
    critic_cosines: bool
    critic_from: int | None  # the first trajectory that is for the critic alone


def played(name: str, bet_sizes: tuple[float, ...] = ()) -> Played:
    """The game of that name: kuhn, leduc, "goofspiel(cards=4)", flop, limit or hunl (`bet_sizes`)."""
    if name in HOLDEM:
        kind = HOLDEM[name]
        game = holdem(kind, bet_sizes=bet_sizes) if bet_sizes else holdem(kind)
        setup = jax.tree.map(np.asarray, holdem_setup(kind))
        bets = jax.eval_shape(lambda key: game.observe(game.init(key, None)), jax.random.key(0)).obs.bets
        streets, longest = bets.shape[1:]
        return Played(game, None, setup, streets * ((longest + 1) // 2), float(setup.blinds[1]), "big blind")
    if name.partition("(")[0].strip() not in TREES:
        raise JaxnashError(f"no game is called {name!r}: there are {', '.join([*TREES, *HOLDEM])}")
    tree = made("game", name, TREES)
    return Played(sampled(tree), tree, None, _depth(tree), 1.0, "ante")


def _depth(tree: TreeGame) -> int:
    return len(infosets(tree).levels)


@cache  # the identical function each time, so that jit compiles it once
def advantage_strategy(net: Network) -> Callable[[Params, PyTree, Array], Array]:
    """What is played by a network of advantages."""
    return partial(_matched, net.apply)


@cache
def policy_strategy(net: Network) -> Callable[[Params, PyTree, Array], Array]:
    """What is played by an average policy network."""
    return partial(_softmax, net.apply)


def _matched(apply: Callable[..., Array], params: Params, obs: PyTree, legal: Array) -> Array:
    return regret_matching(apply(params, obs), legal)


def _softmax(apply: Callable[..., Array], params: Params, obs: PyTree, legal: Array) -> Array:
    return softmax(apply(params, obs), legal)


def build(plan: Plan) -> Take:
    """What takes the samples of a plan."""
    what = played(plan.game, plan.bet_sizes)
    strategy = advantage_strategy(network(plan.spec))
    if not plan.walks:
        walker = traverser(
            what.game,
            strategy,
            lanes=plan.lanes,
            capacity=max(SCRATCH, 4 * plan.lanes),
            depth=what.depth,
            explore=plan.explore,
            policies=plan.policies,
        )
        return traversing(walker, what.setups)
    critic = None if plan.walks == "plain" else critic_of(plan, what).q
    outcomes = outcome_walker(
        what.game,
        strategy,
        critic,
        lanes=plan.lanes,
        length=2 * what.depth,
        epsilon=1.0 if plan.walks == "escher" else plan.epsilon,
        regrets=critic_regrets if plan.walks == "escher" else sampled_regrets,
        critic_from=plan.critic_from,
    )
    kept = {"policies": plan.policies, "steps": critic is not None, "critic_from": plan.critic_from}
    return walking(outcomes, what.setups, **kept)


def critic_of(plan: Plan, what: Played, **fit: Any) -> CriticLearner:
    """The critic of a plan, of paths with `2 * what.depth` decisions at the most."""
    net = critic_network(what.game, plan.critic_hidden, cosines=plan.critic_cosines)
    knobs = CriticFit(sweeps=2 * what.depth, **fit)
    return critic_learner(net, advantage_strategy(network(plan.spec)), knobs)


class Parts(NamedTuple):
    """All functions of a run."""

    what: Played
    net: Network
    learner: Learner
    plan: Plan
    critic: CriticLearner | None


def parts_of(knobs: Knobs) -> Parts:
    """The game, network, learner and traversal that the knobs name."""
    what = played(knobs.game, knobs.bet_sizes)
    spec = network_spec(what.game, body=knobs.network, hidden=knobs.hidden, head="regret-matching")
    fit = Fit(
        knobs.batch_size,
        knobs.learning_rate,
        knobs.clip,
        knobs.scale,
        knobs.restart,
        knobs.head_rows,
        knobs.gram_rows,
    )
    policy = Fit(knobs.batch_size, knobs.policy_learning_rate, knobs.clip, 1.0, True)
    plan = Plan(
        knobs.game,
        knobs.bet_sizes,
        spec,
        knobs.lanes,
        explored(knobs.traversal),
        knobs.algorithm == "deep-cfr",
        (knobs.algorithm if knobs.algorithm in CRITICS else "plain") if outcome(knobs) else "",
        knobs.epsilon,
        knobs.critic_hidden,
        knobs.critic_features == "random",
        knobs.trajectories if knobs.algorithm in CRITICS and knobs.critic_trajectories else None,
    )
    critic = None
    if knobs.algorithm in CRITICS:
        steps = 0 if plan.critic_cosines else knobs.critic_steps
        sizes = {"steps": steps, "batch": knobs.batch_size, "rows": knobs.critic_rows}
        critic = critic_of(plan, what, scale=knobs.scale, **sizes)
    net = network(spec)
    return Parts(what, net, learner(net, fit, policy), plan, critic)


class State(NamedTuple):
    """All that a run carries from one iteration to the next, and that a checkpoint holds."""

    sides: tuple[Side, Side]
    iteration: Array  # i32[], iterations done
    counts: Array  # u32[4, 2] on the host: nodes, samples, gradient steps, trajectories; low word first
    critic: Any = ()  # dream, escher: the critic and the transitions it learns from


def start(knobs: Knobs, parts: Parts) -> State:
    """A run before its first iteration."""
    row = row_of(parts.what.game, parts.what.setups)
    sizes = sizes_of(knobs)
    key = jax.random.key(knobs.seed)
    sides = tuple(side_of(jax.random.fold_in(key, p), parts.net, row, **sizes) for p in (0, 1))
    critic: Any = ()
    if parts.critic is not None:
        transitions = ring(transition_of(parts.what.game, parts.what.setups), knobs.critic_memory)
        critic = parts.critic.init(jax.random.fold_in(key, 3)), transitions
    return State((sides[0], sides[1]), np.int32(0), np.zeros((4, 2), np.uint32), critic)


def counts_of(state: State) -> np.ndarray:
    """Nodes, samples, gradient steps and trajectories so far, i64[4]."""
    words = np.asarray(state.counts, np.int64)
    return words[:, 0] | words[:, 1] << 32


def steps_of(knobs: Knobs, iteration: int) -> int:
    """Gradient steps of a fit: they grow with the iterations, as what the strategies differ by shrinks."""
    return max(knobs.least_steps, round(knobs.steps * iteration / knobs.iterations))


def walked_by(knobs: Knobs) -> int:
    """Trajectories of each player an iteration, the critic's own included."""
    return knobs.trajectories + (knobs.critic_trajectories if knobs.algorithm in CRITICS else 0)


def sizes_of(knobs: Knobs) -> dict[str, int]:
    """What is remembered: regrets, past networks (all but deep-cfr), strategies (deep-cfr)."""
    single = knobs.algorithm != "deep-cfr"
    return {
        "capacity": knobs.memory,
        "iterations": knobs.iterations if single else 0,
        "policy_capacity": 0 if single else knobs.memory,
    }


def iterate(
    knobs: Knobs, parts: Parts, sampler: Sampler, state: State
) -> tuple[State, dict[str, Any], dict[str, float]]:
    """One iteration: each player in turn traverses, remembers and is fitted anew.

    Returns the state, the row's figures and the seconds of each phase. Every draw is keyed by (seed,
    iteration, player), so an iteration that is done again comes out the same.
    """
    t = int(state.iteration) + 1
    sides, counts, critic = list(state.sides), counts_of(state), state.critic
    seconds, losses = {"traverse": 0.0, "remember": 0.0, "fit": 0.0}, []
    for player in (0, 1):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(knobs.seed), t), player)
        own, other = sides[player], sides[1 - player]
        clock = time.perf_counter()
        networks: tuple[Params, ...] = (own.params, other.params)
        if parts.plan.walks:
            critic, judge = judged(
                parts, critic, jax.random.fold_in(key, 4), (sides[0].params, sides[1].params)
            )
            networks = (*networks, judge)
            if critic:
                seconds["critic"] = seconds.get("critic", 0.0) + (now := time.perf_counter()) - clock
                clock = now
        taken = sampler.take(jax.random.fold_in(key, 0), player, networks, walked_by(knobs))
        seconds["traverse"] += (now := time.perf_counter()) - clock
        if critic:
            walked, met = ordered(taken.steps)
            critic = critic[0], extend(critic[1], walked, count=met)

        samples, count = ordered(taken.regrets)
        memory = remember(jax.random.fold_in(key, 1), own.memory, samples, count=count, iteration=t)
        if parts.plan.policies:
            played_by_other, met = ordered(taken.policies)
            kept_key = jax.random.fold_in(key, 2)
            policies = remember(kept_key, other.policies, played_by_other, count=met, iteration=t)
            sides[1 - player] = other._replace(policies=policies)
        history = kept(own.history, own.params, np.int32(t)) if knobs.algorithm != "deep-cfr" else own.history
        jax.block_until_ready(memory.seen)
        seconds["remember"] += (clock := time.perf_counter()) - now

        steps = steps_of(knobs, t)
        fit_key = jax.random.fold_in(key, 3)
        params, loss = parts.learner.advantages(fit_key, own.params, memory, np.int32(steps))
        losses.append(float(loss) * knobs.scale**2)
        sides[player] = sides[player]._replace(params=params, memory=memory, history=history)
        seconds["fit"] += time.perf_counter() - clock
        counts += (taken.nodes, count, steps, walked_by(knobs))
    words = np.stack([counts & 0xFFFFFFFF, counts >> 32], axis=1).astype(np.uint32)
    state = State((sides[0], sides[1]), np.int32(t), words, critic)
    nodes, remembered, steps, trajectories = counts.tolist()
    figures = {
        "iteration": t,
        "value_loss": sum(losses) / 2,
        "policy_loss": None,
        "trajectories_generated": trajectories,
        "num_updates": steps,
        "nodes": nodes,
        "samples": remembered,
        "memory_fill": [min(1.0, int(side.memory.seen) / knobs.memory) for side in sides],
    }
    return state, figures, seconds


def judged(
    parts: Parts, critic: Any, key: Key, players: tuple[Params, Params]
) -> tuple[Any, Params | tuple[()]]:
    """The critic fitted to the players of now, and its params; before the first walk it knows nothing."""
    if not critic or parts.critic is None:
        return critic, ()
    state, transitions = critic
    if int(transitions.filled):
        state, _ = parts.critic.update(key, state, transitions, players)
        jax.block_until_ready(state.params)
    return (state, transitions), state.params


def average_networks(knobs: Knobs, parts: Parts, state: State) -> tuple[tuple[Params, Params], float]:
    """deep-cfr: both players' average policy networks, fitted to all strategies so far, and the mean loss."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(knobs.seed), int(state.iteration)), 2)
    fitted = [
        parts.learner.policy(
            jax.random.fold_in(key, player), side.params, side.policies, np.int32(knobs.policy_steps)
        )
        for player, side in enumerate(state.sides)
    ]
    return (fitted[0][0], fitted[1][0]), float(fitted[0][1] + fitted[1][1]) / 2


def weights_of(knobs: Knobs, iteration: int) -> np.ndarray:
    """What each kept network counts in the average after `iteration`, f64[T]: linear CFR's weights."""
    number = np.arange(1.0, knobs.iterations + 1)
    return np.where(number <= iteration, number, 0.0)


def exact_policy(
    knobs: Knobs, parts: Parts, table: Infosets, state: State
) -> tuple[np.ndarray, float | None]:
    """The average policy f64[I, A] of a written-out game, and the average networks' loss (deep-cfr)."""
    if knobs.algorithm == "deep-cfr":
        params, loss = average_networks(knobs, parts, state)
        return policy_of(table, policy_strategy(parts.net), params), loss
    histories = state.sides[0].history, state.sides[1].history
    weights = weights_of(knobs, int(state.iteration))
    return average_policy(table, advantage_strategy(parts.net), histories, weights), None
