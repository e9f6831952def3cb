"""Networks for counterfactual regret: one number per action, and the strategies matched to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxnash.games.game import Game
from jaxnash.games.holdem import Observation
from jaxnash.policies.masking import mask
from jaxnash.policies.networks import no_carry
from jaxnash.policies.poker import GROUP, part_sizes, parts
from jaxnash.types import Array, JaxnashError, Key, Params, Policy, PolicySpec, PyTree

HIDDEN = {"mlp": (64, 64, 64), "cards": (64,), "residual": (512,) * 6}  # widths where none are given


class Network(NamedTuple):
    """A network of one output per action, as pure functions."""

    init: Callable[[Key], Params]  # every output is 0, so that all legal actions are alike
    apply: Callable[[Params, PyTree], Array]  # (params, observations [B]) -> f32[B, A]
    features: Callable[[Params, PyTree], Array]  # (the same) -> f32[B, H], what the last layer reads


def regret_matching(advantages: Array, legal: Array) -> Array:
    """The strategy f32[..., A] in proportion to the positive advantages of legal actions; where none is
    positive, the legal actions of the largest advantage alike (Brown et al. 2019, section 5.1)."""
    positive = jnp.where(legal, jnp.maximum(advantages, 0), 0)
    total = jnp.sum(positive, axis=-1, keepdims=True)
    known = jnp.where(legal, advantages, -jnp.inf)
    best = legal & (known == jnp.max(known, axis=-1, keepdims=True))
    alone = best / jnp.maximum(jnp.sum(best, axis=-1, keepdims=True), 1)
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1), alone)


def softmax(logits: Array, legal: Array) -> Array:
    """The strategy f32[..., A] of an average policy network."""
    return jax.nn.softmax(mask(logits, legal), axis=-1)


HEADS = {"regret-matching": regret_matching, "softmax": softmax}


class Mlp(nn.Module):
    """Dense layers with ReLU; with `residual`, layers of equal width add to what they read.

    Where `x` is of several parts, the first layer adds up a dense layer of each.
    """

    actions: int
    hidden: tuple[int, ...]
    residual: bool = False

    @nn.compact
    def __call__(self, x: tuple[Array, ...], *, features: bool = False) -> Array:
        for width in self.hidden:
            dense = partial(nn.Dense, width, kernel_init=nn.initializers.he_normal())
            y = nn.relu(sum(dense(use_bias=i == 0)(part) for i, part in enumerate(x)))
            adds = self.residual and len(x) == 1 and y.shape == x[0].shape
            x = (x[0] + y if adds else y,)
        return x[0] if features else head(self.actions)(x[0])


class Cards(nn.Module):
    """Seven layers in two branches, cards and betting (Brown et al. 2019, appendix C).

    `x` is `policies.poker.parts`; of each group of cards the first layer adds up learned vectors of rank,
    suit and card, as a product with the multi-hot features does.
    """

    actions: int
    width: int
    streets: int

    @nn.compact
    def __call__(self, x: tuple[Array, Array], *, features: bool = False) -> Array:
        layer = partial(nn.Dense, self.width, kernel_init=nn.initializers.he_normal())
        shown, bets = x
        groups = [shown[..., i * GROUP : (i + 1) * GROUP] for i in range(self.streets)]
        cards = nn.relu(jnp.concatenate([layer()(part) for part in groups], axis=-1))
        for _ in range(3):
            cards = nn.relu(layer()(cards))
        bets = nn.relu(layer()(jnp.concatenate([shown[..., self.streets * GROUP :], bets], axis=-1)))
        bets = nn.relu(layer()(bets) + bets)
        both = nn.relu(layer()(jnp.concatenate([cards, bets], axis=-1)))
        for _ in range(2):
            both = nn.relu(layer()(both) + both)
        both = nn.LayerNorm()(both)
        return both if features else head(self.actions)(both)


def head(actions: int) -> nn.Dense:
    """The last layer, which `learners.head` finds by its name. Outputs begin as 0."""
    return nn.Dense(actions, kernel_init=nn.initializers.zeros, name="head")


def with_head(params: Params, change: Callable[[Array, Array], tuple[Array, Array]]) -> Params:
    """The params with another kernel f32[H, A] and bias f32[A] of the last layer."""
    head = params["params"]["head"]
    kernel, bias = change(head["kernel"], head["bias"])
    return params | {"params": params["params"] | {"head": {"kernel": kernel, "bias": bias}}}


def network_spec(game: Game, *, body: str = "mlp", hidden: tuple[int, ...] = (), head: str) -> PolicySpec:
    """The spec of a network for a game's observations: flat numbers f32[D] or hold'em's `Observation`.

    `body` is mlp, residual (both take `hidden` widths) or cards (hold'em only; one width). `head` says how a
    policy is made of the outputs: "regret-matching" or "softmax". Raises `JaxnashError` for other names.
    """
    if body not in HIDDEN:
        raise JaxnashError(f"no network is called {body!r}: there are {', '.join(HIDDEN)}")
    if head not in HEADS:
        raise JaxnashError(f"no head is called {head!r}: there are {', '.join(HEADS)}")
    step = jax.eval_shape(lambda key: game.observe(game.init(key, None)), jax.random.key(0))
    obs, actions = step.obs, game.actions.n
    if isinstance(obs, Observation):
        shape = [*obs.bets.shape[1:], actions]
    elif body == "cards":
        raise JaxnashError("the network 'cards' reads hold'em: take mlp or residual for this game")
    else:
        shape = [obs.shape[-1]]
    kwargs = {"observation": shape, "actions": actions, "body": body, "hidden": list(hidden or HIDDEN[body])}
    return PolicySpec("counterfactual", kwargs | {"head": head}, "", f"categorical:{actions}")


@lru_cache  # equal arguments give the identical functions, so that jit compiles them once
def _network(observation: tuple[int, ...], actions: int, body: str, hidden: tuple[int, ...]) -> Network:
    read, sizes = (lambda obs: (obs,)), observation[:1]
    if len(observation) == 3:
        streets, longest, moves = observation
        shapes = Observation(
            *(jax.ShapeDtypeStruct(s, jnp.int8) for s in ((7,), (streets, longest), (4,), ()))
        )
        read, sizes = (lambda obs: parts(obs, moves)), part_sizes(shapes, moves)
    if body == "cards":
        module: nn.Module = Cards(actions, hidden[0], observation[0])
    else:
        module = Mlp(actions, hidden, residual=body == "residual")
    return network_of(module, read, lambda: tuple(jnp.zeros((1, size), jnp.float32) for size in sizes))


def network_of(module: nn.Module, read: Callable[[PyTree], PyTree], example: Callable[[], PyTree]) -> Network:
    """The `Network` of a module that takes `read(observations)`, such as what `example` makes, and gives the
    features of its last layer where it is called with `features=True`."""

    @jax.jit
    def init(key: Key) -> Params:
        return module.init(key, example())

    def apply(params: Params, obs: PyTree) -> Array:
        return module.apply(params, read(obs))

    def last(params: Params, obs: PyTree) -> Array:
        return module.apply(params, read(obs), features=True)

    return Network(init, apply, last)


def network(spec: PolicySpec) -> Network:
    """The network that a spec of `network_spec` describes."""
    shape, actions, body, hidden = (
        spec.kwargs[name] for name in ("observation", "actions", "body", "hidden")
    )
    return _network(tuple(shape), actions, body, tuple(hidden))


@lru_cache
def _policy(
    observation: tuple[int, ...], actions: int, body: str, hidden: tuple[int, ...], head: str
) -> Policy:
    net = _network(observation, actions, body, hidden)
    strategy = HEADS[head]

    def apply(params: Params, obs: PyTree, legal: Array, carry: tuple[()], reset: Array):
        del reset
        played = strategy(net.apply(params, obs), legal)
        return jnp.log(jnp.maximum(played, 1e-30)), jnp.zeros(legal.shape[0], jnp.float32), carry

    return Policy(net.init, no_carry, apply)


def counterfactual_policy(
    *, observation: list[int], actions: int, body: str, hidden: list[int], head: str
) -> Policy:
    """The policy of a `network_spec`; its head is the logarithm of the strategy, its value 0."""
    return _policy(tuple(observation), actions, body, tuple(hidden), head)
