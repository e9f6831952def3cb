"""Regret minimisers, averagers and recipes: a recipe is one expression over parts.

A minimiser acts on one row f[A] of one infoset; trailing axes are further infosets, written after the actions
because sums over a leading axis are sums of contiguous vectors (vmap would transpose). `t` counts iterations
from 1, a scalar of the regrets' type. Illegal actions are False in `legal` bool[A, ...]; their regret is 0
and they are never played.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp

from jaxnash.types import Array

LARGE = 100_000  # elements, some caches' worth

Schedule = Callable[[Array], Array]  # t -> a parameter
Transform = Callable[[Array, Array], Array]  # (regrets f[A], t) -> regrets f[A]


class RegretMinimizer(NamedTuple):
    """What one infoset does with its regrets."""

    init: Callable[[Array], Any]  # (legal bool[A]) -> state
    update: Callable[[Any, Array, Array], Any]  # (state, instantaneous regrets f[A], t) -> state
    strategy: Callable[[Any, Array, Array], Array]  # (state, legal bool[A], t) -> f[A], for iteration t


def normalised(weights: Array, legal: Array) -> Array:
    """Weights f[A, ...] as probabilities; uniform over the legal actions where all are 0."""
    total = sum_first(weights)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), legal / jnp.sum(legal, axis=0))


def sum_first(values: Array) -> Array:
    """The sum over the first axis; of large arrays written out, because XLA on a CPU then streams them."""
    return sum(values[1:], values[0]) if values.size > LARGE else jnp.sum(values, axis=0)


class Averager(NamedTuple):
    """Weights of the average: the sum so far is multiplied by decay(t), then iteration t is added."""

    decay: Schedule


class CFR(NamedTuple):
    """A recipe. Alternating: player 1 answers player 0's new strategy within an iteration."""

    minimizer: RegretMinimizer
    averaging: Averager
    alternating: bool = True


Factory = TypeVar("Factory", bound=Callable[..., Any])


def _same_when_equal(factory: Factory) -> Factory:
    """Equal arguments give the identical object, so that jit, which compares functions by identity, compiles
    a recipe once. Traced arguments (parameters under vmap) are not kept."""
    cached = lru_cache(maxsize=None)(factory)

    @wraps(factory)
    def make(*args: Any, **kwargs: Any) -> Any:
        plain = all(not hasattr(value, "aval") for value in (*args, *kwargs.values()))
        return (cached if plain else factory)(*args, **kwargs)

    return make  # type: ignore[return-value]


# Parts


def floor_at_zero(regrets: Array, t: Array) -> Array:
    """Regret matching+: what is below zero is forgotten (Tammelin 2014)."""
    del t
    return jnp.maximum(regrets, 0)


@_same_when_equal
def discount(
    alpha: float | Schedule, beta: float | Schedule | None = None, *, offset: float = 1.0
) -> Transform:
    """Positive regrets times s^alpha / (s^alpha + offset), the others times s^beta / (s^beta + offset).

    s = t - 1 (Brown & Sandholm 2019, section 3; DCFR+ has offset 1.5: Xu et al. 2022). Without beta, every
    regret is treated as positive. Either may be a schedule."""

    def factor(exponent: float | Schedule, t: Array) -> Array:
        power = jnp.power(t - 1, exponent(t) if callable(exponent) else exponent)
        # beta -> -inf as s -> 0: an infinite power is a factor of one on regrets that are still 0
        return jnp.where(jnp.isinf(power), 1, power / (power + offset))

    def transform(regrets: Array, t: Array) -> Array:
        positive = factor(alpha, t)
        return regrets * (positive if beta is None else jnp.where(regrets > 0, positive, factor(beta, t)))

    return transform


@_same_when_equal
def regret_matching(*, before: Transform | None = None, after: Transform | None = None) -> RegretMinimizer:
    """Plays in proportion to positive regrets, uniformly where there are none (Hart & Mas-Colell 2000).

    `before` acts on the cumulative regrets before the new ones are added, `after` on the sum.
    """

    def init(legal: Array) -> Array:
        return jnp.zeros(legal.shape)

    def update(regrets: Array, new: Array, t: Array) -> Array:
        regrets = new + (regrets if before is None else before(regrets, t))
        return regrets if after is None else after(regrets, t)

    def strategy(regrets: Array, legal: Array, t: Array) -> Array:
        del t
        positive = jnp.where(legal, jnp.maximum(regrets, 0), 0)
        return normalised(positive, legal)

    return RegretMinimizer(init, update, strategy)


@_same_when_equal
def predictive(base: RegretMinimizer, *, step: float = 1.0) -> RegretMinimizer:
    """Plays what `base` would play after it had seen the last regrets, times `step`, once more
    (Farina, Kroer & Sandholm 2021, algorithm 5)."""

    def init(legal: Array) -> Any:
        return base.init(legal), jnp.zeros(legal.shape)

    def update(state: Any, new: Array, t: Array) -> Any:
        return base.update(state[0], new, t), new

    def strategy(state: Any, legal: Array, t: Array) -> Array:
        expected = base.update(state[0], step * state[1], t)
        return base.strategy(expected, legal, t)

    return RegretMinimizer(init, update, strategy)


@_same_when_equal
def hyperbolic(start: float, change: float, *, horizon: int) -> Schedule:
    """start + change * t / horizon, the exponents of hyperparameter schedules (Zhang et al. 2024)."""
    return lambda t: start + change * t / horizon


# Averagers


@_same_when_equal
def power(gamma: float | Schedule) -> Averager:
    """Iteration t weighs t^gamma: the sum is multiplied by ((t - 1) / t)^gamma. gamma may be a schedule."""
    return Averager(lambda t: jnp.power((t - 1) / t, gamma(t) if callable(gamma) else gamma))


@_same_when_equal
def uniform() -> Averager:
    """Every iteration alike."""
    return Averager(lambda t: jnp.ones_like(t))


@_same_when_equal
def linear() -> Averager:
    """Iteration t weighs t."""
    return power(1.0)


@_same_when_equal
def last_iterate() -> Averager:
    """No average: the last iteration's strategy alone."""
    return Averager(lambda t: jnp.zeros_like(t))


# Recipes


def cfr() -> CFR:
    """Zinkevich et al. 2007."""
    return CFR(regret_matching(), uniform())


def cfr_plus() -> CFR:
    """Tammelin 2014."""
    return CFR(regret_matching(after=floor_at_zero), linear())


def linear_cfr() -> CFR:
    """Brown & Sandholm 2019."""
    return CFR(regret_matching(before=discount(1.0)), linear())


def dcfr(alpha: float = 1.5, beta: float = 0.0, gamma: float = 2.0) -> CFR:
    """Brown & Sandholm 2019."""
    return CFR(regret_matching(before=discount(alpha, beta)), power(gamma))


def dcfr_plus(alpha: float = 1.5, gamma: float = 4.0) -> CFR:
    """Xu et al. 2022."""
    return CFR(regret_matching(before=discount(alpha, offset=1.5), after=floor_at_zero), power(gamma))


def pcfr_plus() -> CFR:
    """Farina, Kroer & Sandholm 2021."""
    return CFR(predictive(regret_matching(after=floor_at_zero)), power(2.0))


def sapcfr_plus() -> CFR:
    """PCFR+ that trusts its prediction by a third (Meng et al. 2025)."""
    return CFR(predictive(regret_matching(after=floor_at_zero), step=1 / 3), power(2.0))


def pdcfr_plus(alpha: float = 2.3, gamma: float = 5.0) -> CFR:
    """Xu et al. 2024."""
    return CFR(predictive(regret_matching(before=discount(alpha), after=floor_at_zero)), power(gamma))


def hs_dcfr(horizon: int) -> CFR:
    """DCFR whose exponents are scheduled over `horizon` iterations (Zhang et al. 2024)."""
    alpha, beta = hyperbolic(1.0, 3.0, horizon=horizon), hyperbolic(-1.0, -2.0, horizon=horizon)
    gamma = hyperbolic(30.0, -5.0, horizon=horizon)
    return CFR(regret_matching(before=discount(alpha, beta)), power(gamma))


def hs_pcfr_plus(horizon: int) -> CFR:
    """PCFR+ whose average is scheduled over `horizon` iterations (Zhang et al. 2024)."""
    gamma = hyperbolic(30.0, -5.0, horizon=horizon)
    return CFR(predictive(regret_matching(after=floor_at_zero)), power(gamma))


RECIPES: dict[str, Callable[..., CFR]] = {
    "cfr": cfr,
    "cfr+": cfr_plus,
    "linear-cfr": linear_cfr,
    "dcfr": dcfr,
    "dcfr+": dcfr_plus,
    "pcfr+": pcfr_plus,
    "sapcfr+": sapcfr_plus,
    "pdcfr+": pdcfr_plus,
    "hs-dcfr": hs_dcfr,
    "hs-pcfr+": hs_pcfr_plus,
}
