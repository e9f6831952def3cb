"""Self-play on the fighter, from a run's knobs: what an update is and how good the learner has become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from jaxnash.games.fighter import SCRIPTS, Terms, fighter, table, terms
from jaxnash.games.fighter.observe import NAMES
from jaxnash.games.fighter.rewards import Weights, weights_of
from jaxnash.learners.ppo import ppo
from jaxnash.policies.spec import build, history_spec
from jaxnash.psro.tournament import wilson
from jaxnash.rollouts.fights import Fights, fights, noted
from jaxnash.rollouts.selfplay import Matches, SelfPlay, self_play
from jaxnash.rollouts.snapshots import Snapshots, add, drawn, none_yet, shares_of
from jaxnash.runs.fighter_knobs import Knobs, rollout_frames, rows_of, steps_of, updates_of
from jaxnash.types import Array, Learner, Neural, Params, Policy, PolicySpec, Trajectory

NEARER = 10.0  # units nearer, from one spawn to the other, that pay a led learner 1


class Parts(NamedTuple):
    """What a run is made of."""

    spec: PolicySpec
    policy: Policy
    learner: Learner
    arena: SelfPlay
    watch: Callable[[Any, Array], Frame]


class Frame(NamedTuple):
    """What is noted of a frame, or of a match's frames in sum, from the learner's side."""

    terms: Terms
    fight: Fights


class State(NamedTuple):
    """All that a run continues from."""

    learner: Any  # `learners.minibatches.State`
    matches: Matches
    snapshots: Snapshots
    tally: Frame  # leading axis [B]: what was noted of the matches under way
    update: Array  # i32[], updates made


def spec_of(knobs: Knobs) -> PolicySpec:
    """What rebuilds the run's policy."""
    sizes = ("encoder", "span", "segment", "width", "layers", "heads", "mlp", "latents", "core", "hidden")
    return history_spec(**{name: getattr(knobs, name) for name in (*sizes, "pressed")})


def parts_of(knobs: Knobs, mesh: Mesh | None = None) -> Parts:
    """The functions of a run, whose learner is on `mesh`; raises `JaxnashError` for sizes that cannot be."""
    spec, weights = spec_of(knobs), weights_of(knobs.rewards)
    policy, game = build(spec), fighter(rewards=knobs.rewards)
    last = knobs.learning_rate * knobs.learning_rate_left
    rate = optax.linear_schedule(knobs.learning_rate, last, steps_of(knobs))  # by the optimiser's own count
    optimizer = optax.chain(optax.clip_by_global_norm(knobs.clip_norm), optax.adam(rate))
    learner = ppo(
        policy,
        optimizer,
        actions=game.actions,
        capacity=rollout_frames(knobs),
        minibatch=knobs.minibatch,
        epochs=knobs.epochs,
        entropy=knobs.entropy,
        gamma=knobs.gamma,
        gae_lambda=knobs.gae_lambda,
        mesh=mesh,
    )

    def watch(state: Any, seat: Array) -> Frame:
        return Frame(jax.tree.map(lambda term: term[seat], terms(state, weights)), noted(state, seat))

    sizes = {"length": knobs.segment, "batch": rows_of(knobs), "groups": knobs.groups}
    arena = self_play(game, policy, tuple(SCRIPTS.values()), watch=watch, **sizes)
    return Parts(spec, policy, learner, arena, watch)


def start(knobs: Knobs, parts: Parts, pool: Sequence[Params] = ()) -> State:
    """Before the first update; `pool` are the first snapshots."""
    first, second = jax.random.split(jax.random.key(knobs.seed))
    learner = parts.learner.init(first)
    snapshots = none_yet(parts.learner.behaviour(learner), knobs.keep_snapshots)
    for params in pool:
        snapshots = add(snapshots, params)
    shares = shares_of(jnp.array(knobs.shares), snapshots)
    matches = parts.arena.start(second, None, shares)
    one = jax.eval_shape(jax.vmap(parts.watch), matches.state, matches.seat)
    tally = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one)
    return State(learner, matches, snapshots, tally, jnp.int32(0))


def iterate(knobs: Knobs, parts: Parts, state: State) -> tuple[State, dict[str, Any]]:
    """A rollout, an update and, where one is due, a snapshot; and the row's figures.

    Every draw is keyed by (seed, update), so an update that is made again comes out the same.
    """
    update, frames = int(state.update) + 1, rollout_frames(knobs)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(knobs.seed), update), 3)
    shares = shares_of(jnp.array(knobs.shares), state.snapshots)
    rivals, met = _drawn(keys[0], state.snapshots, knobs.groups, knobs.latest)
    params = parts.learner.behaviour(state.learner)
    matches, trajectory, frames_of = parts.arena.play(keys[1], params, rivals, state.matches, None, shares)
    lead = guidance(knobs, update)
    led = guided(trajectory, frames_of.fight, weights_of(knobs.rewards), lead) if lead else trajectory
    learner, metrics = parts.learner.update(keys[2], state.learner, led)
    snapshots = state.snapshots
    if saved := update * frames // knobs.save_every > (update - 1) * frames // knobs.save_every:
        snapshots = add(snapshots, parts.learner.behaviour(learner))
    figures = {name: float(value) for name, value in metrics.items()}
    ended = np.asarray(trajectory.terminated[..., 0])
    tally, sums = _sums(state.tally, frames_of, ended)
    row = {
        "update": update,
        "frames": update * frames,
        **figures,
        **breakdown(trajectory.reward, frames_of.terms),
        "guidance": lead,
        "matches": _matches(sums, ended),
        "snapshots_met": np.asarray(met).tolist(),
        "snapshots": int(snapshots.taken),
        "snapshot_saved": saved,
    }
    return State(learner, matches, snapshots, tally, jnp.int32(update)), row


def guidance(knobs: Knobs, update: int) -> float:
    """How much a learner is led in an update: 1 in the first half of the part that is `guided`, then less."""
    least = knobs.guided * updates_of(knobs)
    return min(1.0, max(0.0, 2 - 2 * (update - 1) / least)) if least else 0.0


@jax.jit
def guided(trajectory: Trajectory, fight: Fights, weights: Weights, lead: float) -> Trajectory:
    """The trajectory with the rewards of a learner that is led: a fall of its own, and a match lost by one,
    cost less by the part `lead`, and coming nearer sideways pays (going away costs as much): `lead` for
    `NEARER`. Who pays in full from the first frame never dares the gap between the grounds."""
    obs, reset, x = trajectory.obs, trajectory.reset[1:], NAMES.index("x")
    apart = jnp.abs(obs[..., x] - obs[..., len(NAMES) + x]) * table.LIMIT[0] / NEARER
    nearer = jnp.where(reset, 0, apart[:-1] - apart[1:])  # the last frame's is not known here
    lost = jnp.where(fight.result < 0, weights.win, 0)
    forgiven = jnp.where(fight.fell_alone > 0, weights.knock_out + lost, 0)
    paid = jnp.concatenate([nearer, jnp.zeros_like(nearer[:1])])
    return trajectory._replace(reward=trajectory.reward + lead * (forgiven[..., None] + paid))


@jax.jit
def _sums(tally: Frame, frames: Frame, ended: Array) -> tuple[Frame, Frame]:
    """The tally after frames [T, B], and the sums [T, B] of the matches up to each frame."""

    def add(tally: Frame, now: tuple[Frame, Array]) -> tuple[Frame, Frame]:
        total = jax.tree.map(jnp.add, tally, now[0])
        return jax.tree.map(lambda leaf: jnp.where(now[1], 0, leaf), total), total

    return jax.lax.scan(add, tally, (frames, ended))


def breakdown(reward: Array, paid: Terms) -> dict[str, Any]:
    """What was paid in all and by each term, summed in float64, and in how many frames each was not 0."""
    terms_of = {name: np.asarray(term, np.float64) for name, term in paid._asdict().items()}
    return {
        "reward": float(np.asarray(reward, np.float64).sum()),  # np.sum of a JAX array stays in float32
        "terms": {name: float(term.sum()) for name, term in terms_of.items()},
        "signals": {name: int(np.count_nonzero(term)) for name, term in terms_of.items()},
    }


def _matches(sums: Frame, ended: np.ndarray) -> list[dict[str, Any]]:
    """The matches that ended, in the order of their ends."""
    places = np.argwhere(ended)
    picked = jax.tree.map(lambda leaf: np.asarray(leaf)[tuple(places.T)], sums)
    reward = np.sum([np.float64(term) for term in picked.terms], axis=0)
    numbers = {"reward": reward, **picked.fight._asdict()}
    return [{name: leaf[i].item() for name, leaf in numbers.items()} for i in range(len(places))]


_drawn = jax.jit(drawn, static_argnames="groups")


def evaluated(knobs: Knobs, parts: Parts, params: Params, key: jax.Array) -> dict[str, Any]:
    """How the learner fares against each script, on fresh keys, from both sides."""
    play = _against_scripts(parts.policy, knobs.evaluate_pairs)
    played = jax.device_get(play(key, params, ((),) * len(SCRIPTS)))
    return {
        name: summary(jax.tree.map(itemgetter(number), played), knobs.evaluate_pairs)
        for number, name in enumerate(SCRIPTS)
    }


@lru_cache
def _against_scripts(policy: Policy, pairs: int) -> Callable[..., Fights]:
    return fights(Neural("learner", policy, ()), tuple(SCRIPTS.values()), pairs=pairs)


def summary(played: Fights, pairs: int) -> dict[str, Any]:
    """Rates with their 99 % interval over pairs (Wilson), and means a match; a draw is half a win."""
    score = (np.asarray(played.result) + 1) / 2
    rate = float(score.mean())
    dealt, taken = float(np.mean(played.dealt)), float(np.mean(played.taken))
    outs, alone = int(np.sum(played.knock_outs)), int(np.sum(played.opponent_alone))
    return {
        "matches": 2 * pairs,
        "wins": int(np.sum(np.asarray(played.result) > 0)),
        "draws": int(np.sum(np.asarray(played.result) == 0)),
        "losses": int(np.sum(np.asarray(played.result) < 0)),
        "win_rate": rate,
        "win_rate_interval": list(wilson(rate, pairs, 0.99)),
        "damage_dealt": dealt,
        "damage_taken": taken,
        "damage_ratio": dealt / taken if taken else None,
        "knock_outs_by_hit": outs - alone,
        "knock_outs_alone": alone,
        "knocked_out": int(np.sum(played.knocked_out)),
        "knocked_out_alone": int(np.sum(played.fell_alone)),
        "survival_seconds": float(np.mean(played.frames)) / 30,
    }
