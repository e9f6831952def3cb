"""Outcome sampling of a `Game`: each trajectory is one path from the root to an end, and regrets from it.

Three estimates of the traverser's regrets can be made from the same path. Let `q` be the critic, `sigma` the
strategies, `xi` what the mover sampled with (the traverser: its strategy mixed with an even draw; the
opponent: its strategy) and `h` a decision on the path where action `a*` was drawn. `sampled_regrets` backs up

    u(h, a) = q(h, a) + [a = a*] (u(h a*) - q(h, a)) / xi(a*),     u(h) = sum_a sigma(a) u(h, a)

from the payoff at the end; the regret of `a` is u(h, a) - u(h) at the traverser's decisions. Without a critic
this is plain outcome sampling (Lanctot et al., "Monte Carlo Sampling for Regret Minimization in Extensive
Games", 2009). With one it is the control variate of Schmid et al., "Variance Reduction in Monte
Carlo Counterfactual Regret Minimization" (2019), which DREAM learns (Steinberger, Lerer and Brown, "DREAM:
Deep Regret minimization with Advantage baselines and Model-free learning", 2020); u(h, a) stays unbiased
whatever the critic says. `critic_regrets` is ESCHER's estimate q(h, a) - sum_a sigma(a) q(h, a), without
importance weights and as good as the critic (McAleer et al., "ESCHER: Eschewing Importance Sampling in Games
by Computing a History Value Function to Estimate Regret", 2022).

What a sample weighs. A path comes to a decision `h` of infoset `I` with probability r(I) c(h), `c` being the
reach of chance and the opponent and `r` that of the traverser's own sampling. Counterfactual regrets weigh by
`c` alone, and linear CFR by the iteration t. So a sample counts t * weight with

    weight = e(I) / r(I),

where `e` is the reach of even draws, which depends on the infoset only. A least-squares fit to the samples of
all iterations then gives e(I) sum_t t sum_h c(h) E[regret] over e(I) sum_t t sum_h c(h), which are linear
counterfactual regrets, up to a positive factor of each infoset. DREAM weighs so (its authors' code divides
the iteration by the product of sampling probabilities and numbers of actions). Even draws (epsilon 1) are the
same in all iterations and weigh 1, which is why ESCHER needs no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.game import Game
from jaxnash.rollouts.traverse import Samples, Strategy, _draw, _roots, of_mover
from jaxnash.types import Array, Key, Params, PyTree

Critic = Callable[[Params, PyTree], Array]  # (params, both players' observations [B, 2, ...]) -> f32[B, A]


class Path(NamedTuple):
    """One path as its traverser sees it; `T` decisions of both players, of which the first ones are used."""

    q: Array  # f32[T, A], the critic's, 0 without one
    strategy: Array  # f32[T, A], the mover's
    drawn: Array  # f32[T]: with which probability the action was drawn
    action: Array  # i32[T]
    used: Array  # bool[T]
    payoff: Array  # f32[], at the end


Regrets = Callable[[Path], Array]  # -> f32[T, A]; read at the traverser's decisions


class Walked(NamedTuple):
    """`L` paths of at most `T` decisions."""

    steps: Steps  # [T, L, ...]
    used: Array  # bool[T, L]
    ended: Array  # bool[L]: not cut off


class Steps(NamedTuple):
    """`M` decisions in the order (trajectory, node), so that a path's follow each other."""

    obs: PyTree  # [M, 2, ...], what each player knew
    legal: Array  # bool[M, A], the mover's
    mover: Array  # i32[M]
    action: Array  # i32[M]
    strategy: Array  # f32[M, A], the mover's; not what it sampled with
    target: Array  # f32[M, A]: sampled regrets at the traverser's decisions, 0 at the opponent's
    weight: Array  # f32[M]: even reach over the traverser's own sampling reach
    payoff: Array  # f32[M]: player 0's if the path ended after this decision, else 0
    last: Array  # bool[M]: it did
    trajectory: Array  # i32[M]
    node: Array  # i32[M]


class Walker(NamedTuple):
    """`walk(key, params, critic params, player, ids i32[L], setups) -> Walked`, jitted; see `walker`."""

    walk: Callable[..., Walked]
    lanes: int


def sampled_regrets(path: Path) -> Array:
    """The regrets f32[T, A] of outcome sampling, with `path.q` as control variate at all decisions."""

    def back(value: Array, step: Path) -> tuple[Array, Array]:
        at = jnp.arange(step.q.shape[0]) == step.action
        each = step.q + jnp.where(at, (value - step.q) / step.drawn, 0)
        estimate = jnp.sum(step.strategy * each)
        return jnp.where(step.used, estimate, value), each - estimate

    steps = path._replace(payoff=jnp.zeros_like(path.drawn))
    return jax.lax.scan(back, path.payoff, steps, reverse=True)[1]


def critic_regrets(path: Path) -> Array:
    """The regrets f32[T, A] that the critic sees; what happened does not count."""
    return path.q - jnp.sum(path.strategy * path.q, axis=-1, keepdims=True)


def walker(
    game: Game,
    strategy: Strategy,
    critic: Critic | None = None,
    *,
    lanes: int,
    length: int,
    epsilon: float,
    regrets: Regrets = sampled_regrets,
    critic_from: int | None = None,
) -> Walker:
    """A walker of `game` (sequential, two players, paid at the end), compiled once for both players.

        plain = walker(game, strategy, lanes=256, length=8, epsilon=0.5)
        dream = walker(game, strategy, critic, lanes=256, length=8, epsilon=0.5)
        escher = walker(game, strategy, critic, lanes=256, length=8, epsilon=1.0, regrets=critic_regrets)

    Args:
        strategy: both players' networks' policy, called with the mover's observations of all lanes.
        critic: what each action of the mover is worth to player 0 (negated for player 1), from both players'
            observations; None: 0.
        lanes: paths at once (`L`).
        length: the most decisions of both players on a path (`T`).
        epsilon: how often the traverser draws evenly instead of by its strategy. Everything must be sampled
            for regrets to be unbiased, so above 0; at 1 the sampling policy is the same in all iterations.
        regrets: the estimate, `sampled_regrets` or `critic_regrets`.
        critic_from: on trajectories from this number on the opponent too draws evenly half of the time: for
            a critic, who has to know what players do not do. None: on none.

    `walk` takes the params of the traverser and of the opponent, and trajectory ids, of which negative ones
    are skipped. Path `i` is a function of (key, i, params) alone. Raises `ValueError` for another epsilon, or
    for `critic_regrets` without a critic.
    """
    if not 0 < epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}: it must be above 0 and at most 1")
    if critic is None and regrets is critic_regrets:
        raise ValueError("critic_regrets needs a critic")

    @jax.jit
    def walk(
        key: Key,
        params: tuple[Params, Params],
        critic_params: Params,
        player: Array,
        ids: Array,
        setups: PyTree = None,
    ) -> Walked:
        keys, roots = _roots(game.init, key, ids, setups)
        widely = jnp.zeros(lanes, bool) if critic_from is None else ids >= critic_from

        def decide(node: Array, state: PyTree, weight: Array) -> tuple[PyTree, Array, Steps, Path]:
            """All lanes' next action, whether they have one or not."""
            step = jax.vmap(game.observe)(state)
            deciding = (ids >= 0) & ~step.terminated
            mover = step.active[:, 1].astype(jnp.int32)
            own = mover == player
            obs, legal = of_mover(mover == 1, (step.obs, step.legal))
            by_own, by_other = (strategy(side, obs, legal) for side in params)
            played = jnp.where(own[:, None], by_own, by_other)
            number = jnp.sum(legal, axis=-1)
            mixed = (1 - epsilon) * played + epsilon * legal / number[:, None]
            curious = (played + legal / number[:, None]) / 2
            theirs = jnp.where(widely[:, None], curious, played)
            sampling = jnp.where(own[:, None], mixed, theirs)
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, node)
            action = _draw(sampling, jax.vmap(jax.random.uniform)(here))
            drawn = jnp.take_along_axis(sampling, action[:, None], axis=-1)[:, 0]
            q = jnp.zeros_like(played)
            if critic is not None:
                q = jnp.where(legal, critic(critic_params, step.obs) * jnp.where(player == 0, 1.0, -1.0), 0)

            both = jnp.broadcast_to(action[:, None], (lanes, 2))
            after = jax.vmap(game.step)(jax.vmap(jax.random.fold_in, (0, None))(here, 1), state, both)
            state = jax.tree.map(
                lambda new, old: jnp.where(deciding.reshape(-1, *[1] * (old.ndim - 1)), new, old),
                after,
                state,
            )
            then = jax.vmap(game.observe)(state)
            payoff = jnp.where(deciding & then.terminated, then.reward[:, 0], 0)
            last = deciding & then.terminated
            place = jnp.full(lanes, node, jnp.int32)
            target = jnp.zeros_like(played)
            steps = Steps(step.obs, legal, mover, action, played, target, weight, payoff, last, ids, place)
            path = Path(q, played, drawn, action, deciding, jnp.zeros_like(drawn))
            weight = weight / jnp.where(own & deciding, number * drawn, 1)
            return state, weight, steps, path

        first = jnp.ones(lanes, jnp.float32)
        shapes = jax.eval_shape(lambda: decide(jnp.int32(0), roots, first)[2:])
        blank = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

        def going(carry: tuple) -> Array:
            node, state = carry[:2]
            ended = jax.vmap(game.observe)(state).terminated
            return (node < length) & jnp.any((ids >= 0) & ~ended)

        def forward(carry: tuple) -> tuple:
            node, state, weight, tape = carry
            state, weight, *met = decide(node, state, weight)
            tape = jax.tree.map(lambda all_, new: all_.at[node].set(new), tape, tuple(met))
            return node + 1, state, weight, tape

        start = (jnp.int32(0), roots, first, blank)
        _, state, _, (steps, path) = jax.lax.while_loop(going, forward, start)
        final = jax.vmap(game.observe)(state)
        path = path._replace(payoff=final.reward[:, player])
        across = Path(1, 1, 1, 1, 1, 0)
        found = jax.vmap(regrets, in_axes=(across,), out_axes=1)(path)
        own = (steps.mover == player) & path.used
        target = jnp.where(own[..., None] & steps.legal, found, 0)
        return Walked(steps._replace(target=target), path.used, final.terminated | (ids < 0))

    return Walker(walk, lanes)


def walks(
    walker: Walker,
    key: Key,
    params: tuple[Params, Params],
    critic_params: Params,
    player: int,
    trajectories: Array,
    *,
    setups: PyTree = None,
) -> Iterator[Steps]:
    """Walk the trajectories i32[N] of `player`, in order, and yield their decisions on the host, at most
    `lanes` paths at a time. Nodes visited are the decisions and one end for each path.

    Raises `ValueError` where a path has more than `length` decisions.
    """
    for start in range(0, len(trajectories), walker.lanes):
        ids = np.full(walker.lanes, -1, np.int32)
        some = np.asarray(trajectories)[start : start + walker.lanes]
        ids[: len(some)] = some
        walked = jax.device_get(walker.walk(key, params, critic_params, np.int32(player), ids, setups))
        if not walked.ended.all():
            raise ValueError(f"a path has more than {len(walked.used)} decisions: take a larger length")
        yield _in_order(walked)


def _in_order(walked: Walked) -> Steps:
    lane, node = np.nonzero(walked.used.T)
    return jax.tree.map(lambda leaf: leaf[node, lane], walked.steps)


def own_samples(steps: Steps, player: int) -> Samples:
    """The traverser's decisions and regrets, for its advantage network."""
    return _samples(steps, steps.mover == player, steps.target)


def other_samples(steps: Steps, player: int) -> Samples:
    """The opponent's decisions and strategies, for its average policy network: a path comes to them with the
    opponent's own reach times the traverser's sampling reach, which the same weight takes out again."""
    return _samples(steps, steps.mover != player, steps.strategy)


def _samples(steps: Steps, which: Array, target: Array) -> Samples:
    rows = np.flatnonzero(which)
    obs = jax.tree.map(lambda leaf: leaf[rows, steps.mover[rows]], steps.obs)
    rest = (leaf[rows] for leaf in (steps.legal, target, steps.trajectory, steps.node, steps.weight))
    return Samples(obs, *rest)
