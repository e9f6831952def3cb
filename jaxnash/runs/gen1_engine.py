"""Rollouts of Gen 1 battles on the JAX engine for an oracle of PSRO, in place of Showdown's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1.game import gen1
from jaxnash.games.gen1.scripted import MEMBERS
from jaxnash.games.gen1.state import Setup
from jaxnash.games.gen1.teams import setup
from jaxnash.keys import derive
from jaxnash.psro.oracles import jax_key
from jaxnash.rollouts.scan import Mix, scan_rollout
from jaxnash.showdown.rollout import potential
from jaxnash.showdown.teams import TeamSet, draw_teams
from jaxnash.types import Array, JaxnashError, Member, Neural, Params, PolicySpec, Scripted, Trajectory

ROWS, CAPACITY = 64, 4  # battles at once; networks of a mixture, doubled until they fit


def engine_rollouts(
    learner: Neural,
    population: Sequence[Member],
    mixture: np.ndarray,
    teams: TeamSet,
    *,
    length: int,
    gamma: float,
    shaping: float,
    path: tuple[int | str, ...],
) -> Callable[[int, Params], tuple[Trajectory, dict[str, Any]]]:
    """`(update, params) -> (Trajectory [length, ROWS, 2], whom it met)`; the learner has seat 0 and id 0.

    Each row is played with a pair of teams drawn for it, against a member drawn from the mixture for each of
    its battles; a battle that does not end within the row goes on in the learner's value. `path` keys all
    draws. `shaping` is as in `showdown.rollout.pack`. Raises `JaxnashError` for a member that is neither
    scripted nor a network of the learner's spec.
    """
    mix, weights, names = opponents(learner, population, mixture)
    rollout = _rollout(length)
    packed = [one_team(team) for team in teams.packed]

    def play(update: int, params: Params) -> tuple[Trajectory, dict[str, Any]]:
        pairs = [draw_teams(teams, derive(*path, update, row, "teams")) for row in range(ROWS)]
        setups = Setup(
            *(np.stack([[packed[i][f], packed[j][f]] for i, j in pairs]) for f in range(len(Setup._fields)))
        )
        seats = (learner._replace(params=params), mix)
        key = jax_key(*path, update)
        trajectory = rollout(key, seats, setups, ids=(0, 1), mixtures=(None, weights))
        return shaped(trajectory, gamma=gamma, shaping=shaping), met(trajectory, names)

    return play


@lru_cache  # so that iterations share what was compiled
def _rollout(length: int) -> Callable[..., Trajectory]:
    return scan_rollout(gen1(), length=length, batch=ROWS)


def one_team(packed: str) -> tuple[np.ndarray, ...]:
    """A team's half of a `Setup`."""
    return tuple(np.asarray(field[0]) for field in setup([packed, packed]))


def check_members(members: Sequence[Member], spec: PolicySpec | None, *, greedy: bool) -> None:
    """That all can meet best responses of that spec here, which are greedy or not; else `JaxnashError`."""
    for member in members:
        if isinstance(member, Neural):
            if member.spec != spec:
                raise JaxnashError(
                    f"{member.name} is another network than the best responses; pass --backend showdown"
                )
            if member.greedy != greedy:
                raise JaxnashError(
                    f"{member.name} is {'not ' if greedy else ''}greedy, unlike the best responses; "
                    "pass --backend showdown"
                )
        elif not isinstance(member, Scripted) or member.name not in MEMBERS:
            raise JaxnashError(f"{member.name} does not play on the engine; pass --backend showdown")


def opponents(
    learner: Neural, population: Sequence[Member], mixture: np.ndarray
) -> tuple[Mix, Array, list[str]]:
    """The population as one seat: its members, the probability of each number, and their names."""
    nets = [member for member in population if isinstance(member, Neural)]
    check_members(population, learner.spec, greedy=nets[0].greedy if nets else False)
    room = CAPACITY
    while room < len(nets):
        room *= 2
    filled = [net.params for net in nets] + [learner.params] * (room - len(nets))  # none of those is drawn
    stacked = (nets or [learner])[0]._replace(params=jax.tree.map(lambda *leaves: jnp.stack(leaves), *filled))
    names = [net.name for net in nets] + [""] * (room - len(nets)) + list(MEMBERS)
    weights = np.zeros(len(names), np.float32)
    for member, probability in zip(population, mixture, strict=True):
        weights[names.index(member.name)] += probability
    return Mix(stacked, tuple(MEMBERS.values())), jnp.asarray(weights), names


def shaped(trajectory: Trajectory, *, gamma: float, shaping: float) -> Trajectory:
    """gamma * phi(s') - phi(s) added to each seat's decisions (Ng, Harada & Russell 1999).

    phi is 0 after the end. Where the row stops within a battle, nothing is added.
    """
    phi = shaping * jnp.asarray(potential(jax.tree.map(np.asarray, trajectory.obs)))

    def back(following: Array, at: Any) -> tuple[Array, Array]:
        phi, active, ended = at
        following = jnp.where(ended, 0.0, following)
        unknown = jnp.isnan(following)
        gain = jnp.where(active & ~unknown, gamma * following - phi, 0.0)
        return jnp.where(active, phi, following), gain

    first = jnp.full(phi.shape[1:], jnp.nan)
    ended = trajectory.terminated | trajectory.truncated
    _, gain = jax.lax.scan(back, first, (phi, trajectory.active, ended), reverse=True)
    return trajectory._replace(reward=trajectory.reward + gain)


def met(trajectory: Trajectory, names: list[str]) -> dict[str, Any]:
    """Battles that ended, and the learner's score in them by opponent."""
    ended, member, reward = (
        np.asarray(leaf) for leaf in (trajectory.terminated, trajectory.member, trajectory.reward)
    )
    over, who, score = ended[..., 0], member[..., 1] - 1, (1 + reward[..., 0]) / 2
    found = {}
    for number, name in enumerate(names):
        mine = over & (who == number)
        if mine.any():
            found[name] = {"battles": int(mine.sum()), "score": float(score[mine].mean())}
    return {"battles": int(over.sum()), "decisions": int(trajectory.active[..., 0].sum()), "against": found}
