"""Feed-forward policies. Linen lives inside; what leaves is a `Policy` of pure functions."""

from __future__ import annotations

from functools import lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.gen1 import layout
from jaxnash.policies.features import OPPONENT, OWN, features, move_facts, species_facts
from jaxnash.policies.masking import mask
from jaxnash.types import Array, Key, Params, Policy

SMALL_HEAD = nn.initializers.orthogonal(0.01)  # a fresh policy is nearly uniform over legal actions


def no_carry(batch: int) -> tuple[()]:
    """The carry of a feed-forward policy."""
    del batch
    return ()


class MLP(nn.Module):
    """Flat observations f32[B, D] -> logits f32[B, A], value f32[B]."""

    actions: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: Array) -> tuple[Array, Array]:
        x = obs
        for width in self.hidden:
            x = nn.tanh(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        logits = nn.Dense(self.actions, kernel_init=SMALL_HEAD)(x)
        value = nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(x)
        return logits, value[..., 0]


@lru_cache  # equal arguments give the identical Policy, so that jit compiles it once
def _mlp_policy(observation_size: int, actions: int, hidden: tuple[int, ...]) -> Policy:
    module = MLP(actions, hidden)

    @jax.jit  # Flax initialises one operation at a time, which would compile each
    def init(key: Key) -> Params:
        return module.init(key, jnp.zeros((1, observation_size), jnp.float32))

    def apply(params: Params, obs: Array, legal: Array, carry: tuple[()], reset: Array):
        del reset
        logits, value = module.apply(params, obs)
        return mask(logits, legal), value, carry

    return Policy(init, no_carry, apply)


def mlp_policy(*, observation_size: int, actions: int, hidden: tuple[int, ...] = (64, 64)) -> Policy:
    """A policy over flat observations f32[B, observation_size]; its value is unbounded."""
    return _mlp_policy(observation_size, actions, tuple(hidden))


class Block(nn.Module):
    """A pre-norm transformer block over f32[B, N, width]."""

    heads: int
    mlp: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, tokens, width = x.shape
        y = nn.Dense(3 * width, use_bias=False)(nn.LayerNorm()(x))
        q, k, v = jnp.split(y.reshape(batch, tokens, 3 * self.heads, -1), 3, axis=2)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // self.heads) ** -0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        x = x + nn.Dense(width)(mixed.reshape(batch, tokens, width))
        return x + nn.Dense(width)(nn.gelu(nn.Dense(self.mlp)(nn.LayerNorm()(x))))


class TokenNetwork(nn.Module):
    """`Observation` -> logits f32[B, 9], value f32[B] in (-1, 1).

    Twelve tokens of Pokemon and one of the field pass a transformer; actions point at what they use: moves
    at the move and the own active, switches at the Pokemon to come in. The bench has no order.
    """

    width: int
    layers: int
    heads: int
    mlp: int

    @nn.compact
    def __call__(self, obs: layout.Observation) -> tuple[Array, Array]:
        width, init = self.width, nn.initializers.normal(0.1)
        read = features(obs)

        def table(name: str, facts: np.ndarray) -> Array:
            own = self.param(name, init, (len(facts), width))
            return own + nn.Dense(width, use_bias=False, name=f"{name}_facts")(facts)

        moves, species = table("moves", move_facts()), table("species", species_facts())
        types, status = (
            self.param(name, init, (len(layout.VOCABULARIES[name[:-1] if name == "types" else name]), width))
            for name in ("types", "status")
        )
        rows = jnp.concatenate([read.known_moves, read.species, read.types, read.status], axis=-1)
        x = rows @ jnp.concatenate([moves, species, types, status]) + nn.Dense(width)(read.pokemon)
        roles = self.param("roles", init, (4, width))
        x = x + roles[np.array([0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3])]
        x = x.at[:, :: layout.TEAM].add(nn.Dense(width, use_bias=False)(read.active))
        x = jnp.concatenate([x, nn.Dense(width)(read.field)[:, None]], axis=1)
        for _ in range(self.layers):
            x = Block(self.heads, self.mlp)(x)
        x = nn.LayerNorm()(x)
        field, active = x[:, -1], x[:, OWN]
        use = jax.nn.one_hot(read.move_ids, len(moves)) @ moves
        use = nn.Dense(width)(jnp.concatenate([use, read.moves], axis=-1))
        use = nn.gelu(use + nn.Dense(width)(jnp.concatenate([active, field], axis=-1))[:, None])
        come = nn.gelu(nn.Dense(width)(x[:, OWN + 1 : OPPONENT]) + nn.Dense(width)(field)[:, None])
        head = [nn.Dense(1, kernel_init=SMALL_HEAD, use_bias=False)(part)[..., 0] for part in (use, come)]
        value = nn.Dense(1)(nn.gelu(nn.Dense(width)(field)))
        return jnp.concatenate(head, axis=-1), jnp.tanh(value[..., 0])


@lru_cache
def _token_policy(width: int, layers: int, heads: int, mlp: int) -> Policy:
    module = TokenNetwork(width, layers, heads, mlp)

    @jax.jit  # Flax initialises one operation at a time, which would compile each
    def init(key: Key) -> Params:
        pokemon = jnp.zeros((1, 2 * layout.TEAM, len(layout.POKEMON_COLUMNS)), jnp.int16)
        return module.init(
            key, layout.Observation(pokemon, jnp.zeros((1, len(layout.FIELD_COLUMNS)), jnp.int16))
        )

    def apply(params: Params, obs: layout.Observation, legal: Array, carry: tuple[()], reset: Array):
        del reset
        logits, value = module.apply(params, obs)
        return mask(logits, legal), value, carry

    return Policy(init, no_carry, apply)


def token_policy(*, width: int = 64, layers: int = 2, heads: int = 4, mlp: int | None = None) -> Policy:
    """A policy over `games.gen1.layout.Observation`s.

    `mlp` is the blocks' hidden width, 4 x width unless given. On a CPU a row of a batch of fixed shape has
    the same logits, bit for bit, wherever it stands and whatever the other rows hold.
    """
    return _token_policy(width, layers, heads, mlp or 4 * width)
