"""Exact best responses, exploitability and values, on device."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.sequence import (
    Arrays,
    Strategy,
    Tree,
    legal_mask,
    plan,
    reach,
    sweep,
    write,
)
from jaxnash.types import Array, JaxnashError

TOLERANCE = 1e-5  # of a row's sum, so that float32 policies pass


class BestResponse(NamedTuple):
    value: float  # the player's expected payoff
    policy: np.ndarray  # f[I, A]: the given policy with the player's rows replaced


def uniform_policy(tree: Tree) -> np.ndarray:
    """Every legal action alike, f[I, A]."""
    return tree.legal / tree.legal.sum(1, keepdims=True)


def exploitability(tree: Tree, policy: Array) -> float:
    """NashConv / 2 of a policy f[I, A], in the game's own unit: half of what the two best responses, over all
    strategies of the game, win beyond the policy's own payoffs. 0 exactly at equilibrium, else positive.

    Here and below, `JaxnashError` for a policy of another shape, with a row that does not sum to one, or
    with a negative or illegal probability, naming the infoset.
    """
    return nash_conv(tree, policy) / 2


def nash_conv(tree: Tree, policy: Array) -> float:
    """The sum of what both players could gain by a best response to a policy f[I, A]."""
    with jax.enable_x64(tree.dtype == np.float64):
        return float(_nash_conv(tree.arrays, _checked(tree, policy)))


def game_value(tree: Tree, policy: Array) -> float:
    """Player 0's expected payoff when both follow the policy f[I, A]."""
    with jax.enable_x64(tree.dtype == np.float64):
        return float(_value(tree.arrays, _checked(tree, policy)))


def best_response(tree: Tree, policy: Array, player: int) -> BestResponse:
    """A pure best response of `player` to the other player's rows of `policy` f[I, A]; ties go to the first
    action."""
    with jax.enable_x64(tree.dtype == np.float64):
        value, response = _best_response(tree.arrays, player, _checked(tree, policy))
        return BestResponse(float(value), np.asarray(response))


def best_response_value(arrays: Arrays, player: int, opponent: Array) -> Array:
    """What a best response earns against the opponent's reach f[S, *lanes]; a function of arrays, for jit."""
    side = arrays.sides[player]
    gradient = arrays.payoffs.gradient(player, opponent)

    def choose(level: int, index: int, q: Array) -> tuple[Array, None]:
        bucket = side.levels[level][index]
        return jnp.max(
            q if bucket.legal is None else jnp.where(legal_mask(side, bucket), q, -jnp.inf), axis=0
        ), None

    return arrays.unit * jnp.sum(sweep(side, gradient, choose)[0])


def expected_value(arrays: Arrays, first: Array, second: Array) -> Array:
    """Player 0's expected payoff for the reaches f[S, *lanes] of both."""
    return arrays.unit * jnp.sum(first * jnp.concatenate(arrays.payoffs.gradient(0, second)))


def _reach(arrays: Arrays, player: int, policy: Array) -> Array:
    return reach(arrays.sides[player], plan(arrays.sides[player], policy))


@jax.jit
def _nash_conv(arrays: Arrays, policy: Array) -> Array:
    reaches = [_reach(arrays, player, policy) for player in (0, 1)]
    return best_response_value(arrays, 0, reaches[1]) + best_response_value(arrays, 1, reaches[0])


@jax.jit
def _value(arrays: Arrays, policy: Array) -> Array:
    return expected_value(arrays, _reach(arrays, 0, policy), _reach(arrays, 1, policy))


def _best(arrays: Arrays, player: int, policy: Array) -> tuple[Array, Array]:
    side = arrays.sides[player]
    gradient = arrays.payoffs.gradient(player, _reach(arrays, 1 - player, policy))

    def choose(level: int, index: int, q: Array) -> tuple[Array, Array]:
        q = jnp.where(legal_mask(side, side.levels[level][index]), q, -jnp.inf)
        pure = jnp.arange(q.shape[0]).reshape(-1, *[1] * (q.ndim - 1)) == jnp.argmax(q, axis=0)
        return jnp.max(q, axis=0), pure.astype(q.dtype)

    value, response = sweep(side, gradient, choose)
    strategy: Strategy = response
    return arrays.unit * jnp.sum(value), write(side, policy, strategy)


_best_response: Any = jax.jit(_best, static_argnums=1)


def _checked(tree: Tree, policy: Array) -> np.ndarray:
    policy = np.asarray(policy, tree.dtype)
    if policy.shape != tree.legal.shape:
        raise JaxnashError(f"The policy has shape {policy.shape}; this game's is {tree.legal.shape}.")
    legal = np.einsum("ia,ia->i", policy, tree.legal)
    illegal = policy.sum(dtype=np.float64) - legal.sum(dtype=np.float64)
    if not (policy.min() >= 0 and np.abs(legal - 1).max() < TOLERANCE and illegal < TOLERANCE):
        wrong = (policy < 0).any(1) | ~(np.abs(legal - 1) < TOLERANCE) | (policy.sum(1) > 1 + TOLERANCE)
        row = int(np.argmax(wrong))
        if wrong[row]:
            name, found = tree.infosets[row], policy[row]
            raise JaxnashError(f"The policy is no distribution over the legal actions at {name!r}: {found}.")
    return policy
