"""A policy that reads what its opponent has done: transformer over the last frames, cross-attention, LSTM.

A frame's token is the opponent's half of the observation. Tokens pass causal layers in which each sees the
`span` frames up to its own, of its own episode; learned queries pool what comes out into a few latents (what
the opponent is up to); the player's observation attends to those, with a residual, and an LSTM, an actor and
a critic follow. Positions are learned biases of how many frames ago.

Two ways to encode, `encoder`:

- `causal`: time goes in segments of `segment` frames. With the first of a segment the last `span` raw frames
  are encoded anew, then a token a frame, its keys and values kept. A learner's pass over span + segment raw
  frames does exactly that in one go, so behaviour and learner agree, and the gradient reaches the encoder.
- `window`: the last `span` frames are encoded anew in every frame, which costs a learner far more.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxnash.policies.networks import SMALL_HEAD
from jaxnash.types import Array, JaxnashError, Key, Params, Policy, Segments

NOTHING = -1e9  # an attention score that counts for nothing, finite as in `games.game`


class Memory(NamedTuple):
    """What a segment starts from. Leading axis [B]."""

    frames: Array  # f32[B, span, D], the opponent's last frames, the latest last
    episode: Array  # i32[B, span], of which episode each is; -1 none
    core: tuple[Array, Array]  # the LSTM's


class Carry(NamedTuple):
    """What a policy carries from frame to frame. Leading axis [B]; `N` is span + segment (`window`: span)."""

    frames: Array  # f32[B, N, D], those before the segment and those of it
    episode: Array  # i32[B, N]
    keys: tuple[
        tuple[Array, Array], ...
    ]  # keys and values f32[B, N, heads, d] of each layer, then the pool's
    time: Array  # i32[], frames played of the segment; `segment` at its end
    core: tuple[Array, Array]


class Layer(nn.Module):
    """A pre-norm transformer layer whose attention is by offset in time."""

    width: int
    heads: int
    mlp: int
    span: int

    def setup(self) -> None:
        self.before, self.after = nn.LayerNorm(), nn.LayerNorm()
        self.project = nn.Dense(3 * self.width, use_bias=False)
        self.mix, self.up, self.down = nn.Dense(self.width), nn.Dense(self.mlp), nn.Dense(self.width)
        self.bias = self.param("bias", nn.initializers.zeros, (self.heads, self.span))

    def read(self, x: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values f32[B, N, heads, d] of tokens f32[B, N, width]."""
        parts = self.project(self.before(x)).reshape(*x.shape[:2], 3 * self.heads, -1)
        q, k, v = jnp.split(parts, 3, axis=2)
        return q, k, v

    def write(self, x: Array, q: Array, k: Array, v: Array, sees: Sight) -> Array:
        """Tokens f32[B, N, width] after attention of their queries to keys f32[B, M, heads, d]."""
        mixed = attend(q, k, v, self.bias, sees)
        x = x + self.mix(mixed.reshape(*x.shape[:2], self.width))
        return x + self.down(nn.gelu(self.up(self.after(x))))


class Sight(NamedTuple):
    """Which of M tokens each of N sees, and how many frames ago each was."""

    sees: Array  # bool[B, N, M]
    ago: Array  # i32[N, M], read where seen


def sight(episode: Array, queries: Array, keys: Array, span: int) -> Sight:
    """Tokens at the places `queries` i32[N] of rows i32[B, L] of episodes see those at `keys` i32[M] of the
    same episode, not later, less than `span` frames ago; and themselves."""
    ago = queries[:, None] - keys[None, :]
    own, other = episode[:, queries], episode[:, keys]
    same = (own[:, :, None] == other[:, None, :]) & (other >= 0)[:, None, :]
    return Sight((same & (ago >= 0) & (ago < span)) | (ago == 0), jnp.clip(ago, 0, span - 1))


def attend(q: Array, k: Array, v: Array, bias: Array, sees: Sight) -> Array:
    """f32[B, N, heads, d] of queries f32[B, N, heads, d], keys and values f32[B, M, heads, d]."""
    return jnp.einsum("bhnm,bmhd->bnhd", weights(q, k, bias, sees), v)


def weights(q: Array, k: Array, bias: Array, sees: Sight) -> Array:
    """The attention f32[B, heads, N, M]; `bias` f32[heads, span] of how long ago."""
    scores = jnp.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5 + bias[:, sees.ago]
    return jax.nn.softmax(jnp.where(sees.sees[:, None], scores, NOTHING))


class HistoryNetwork(nn.Module):
    """The network's parts, each over a batch."""

    actions: int
    width: int
    layers: int
    heads: int
    mlp: int
    span: int
    latents: int
    core: int
    hidden: tuple[int, ...]
    pressed: tuple[float, ...] = (0.5,)

    def setup(self) -> None:
        self.token = nn.Dense(self.width)
        self.stack = [Layer(self.width, self.heads, self.mlp, self.span) for _ in range(self.layers)]
        self.outward = nn.LayerNorm()
        self.pool_read = nn.Dense(2 * self.width, use_bias=False)
        init = nn.initializers.normal(1.0)
        self.pool_query = self.param("pool_query", init, (self.latents, self.width))
        self.pool_bias = self.param("pool_bias", nn.initializers.zeros, (self.latents, self.span))
        self.sense = nn.Dense(self.width)
        self.sense_norm = nn.LayerNorm()
        self.ask = nn.Dense(self.width, use_bias=False)
        self.offer = nn.Dense(2 * self.width, use_bias=False)
        self.fuse = nn.Dense(self.width)
        self.cell = nn.OptimizedLSTMCell(self.core)
        orthogonal = nn.initializers.orthogonal
        self.actor = [nn.Dense(width, kernel_init=orthogonal(2**0.5)) for width in self.hidden]
        self.critic = [nn.Dense(width, kernel_init=orthogonal(2**0.5)) for width in self.hidden]
        down = [math.log(share / (1 - share)) for share in self.pressed]
        bias = lambda key, shape, dtype: jnp.broadcast_to(jnp.array(down, dtype), shape)  # noqa: E731
        self.logits = nn.Dense(self.actions, kernel_init=SMALL_HEAD, bias_init=bias)
        self.value = nn.Dense(1, kernel_init=orthogonal(1.0))

    def encode(self, frames: Array, sees: Sight) -> tuple[tuple[Array, Array], ...]:
        """Keys and values of each layer, then the pool's, of frames f32[B, N, D] that see each other so."""
        x, kept = self.token(frames), []
        for layer in self.stack:
            q, k, v = layer.read(x)
            kept.append((k, v))
            x = layer.write(x, q, k, v, sees)
        return (*kept, self._pooled(x))

    def extend(self, frame: Array, keys: Any, place: Array, start: Array, sees: Sight) -> Any:
        """The same with one more frame f32[B, D] at `place`, which sees `span` tokens from `start` on."""
        x, kept = self.token(frame)[:, None], []
        for layer, (held_k, held_v) in zip(self.stack, keys[:-1], strict=True):
            q, k, v = layer.read(x)
            held_k = jax.lax.dynamic_update_slice_in_dim(held_k, k, place, 1)
            held_v = jax.lax.dynamic_update_slice_in_dim(held_v, v, place, 1)
            kept.append((held_k, held_v))
            seen = [jax.lax.dynamic_slice_in_dim(held, start, self.span, 1) for held in (held_k, held_v)]
            x = layer.write(x, q, *seen, sees)
        new = self._pooled(x)
        pool = tuple(
            jax.lax.dynamic_update_slice_in_dim(held, one, place, 1)
            for held, one in zip(keys[-1], new, strict=True)
        )
        return (*kept, pool)

    def _pooled(self, x: Array) -> tuple[Array, Array]:
        """Keys f32[B, N, 1, width] and values of the pool: one head, which every latent asks."""
        k, v = jnp.split(self.pool_read(self.outward(x)), 2, axis=-1)
        return k[:, :, None], v[:, :, None]

    def attention(self, keys: Array, sees: Sight) -> Array:
        """What each latent looks at, f32[B, latents, N, M]."""
        return weights_of_pool(self.pool_query, self.pool_bias, keys, sees)

    def fused(self, obs: Array, pool: tuple[Array, Array], sees: Sight) -> Array:
        """f32[B, N, width] from observations f32[B, N, D] and the pool's keys and values [B, M, ...]."""
        k, v = pool
        looks = self.attention(k, sees)
        latents = jnp.einsum("blnm,bmw->bnlw", looks, v[:, :, 0])
        x = nn.gelu(self.sense(obs))
        query = self.ask(self.sense_norm(x)).reshape(*x.shape[:2], self.heads, -1)
        parts = self.offer(latents).reshape(*latents.shape[:3], 2 * self.heads, -1)
        key, value = jnp.split(parts, 2, axis=3)
        scores = jnp.einsum("bnhd,bnlhd->bnhl", query, key) * query.shape[-1] ** -0.5
        trusts = jax.nn.softmax(scores)
        mixed = jnp.einsum("bnhl,bnlhd->bnhd", trusts, value)
        self.sow("intermediates", "looks", looks)  # for whoever asks, see `attention` below
        self.sow("intermediates", "trusts", trusts)
        return x + self.fuse(mixed.reshape(x.shape))

    def step(self, core: Any, x: Array, reset: Array) -> tuple[Any, Array]:
        """The LSTM's next state and output f32[B, core]; `reset` bool[B] starts it anew."""
        core = jax.tree.map(lambda leaf: jnp.where(reset[:, None], 0, leaf), core)
        return self.cell(core, x)

    def decide(self, x: Array) -> tuple[Array, Array]:
        """Logits f32[..., A] and value f32[...] of the core's output f32[..., core]."""
        head, value = x, x
        for actor, critic in zip(self.actor, self.critic, strict=True):
            head, value = nn.tanh(actor(head)), nn.tanh(critic(value))
        return self.logits(head), self.value(value)[..., 0]

    def everything(self, obs: Array, frames: Array, sees: Sight) -> Array:
        """Touches every parameter, for `init`."""
        x = self.fused(obs, self.encode(frames, sees)[-1], sees)
        zero = jnp.zeros((x.shape[0], self.core))
        return self.decide(self.step((zero, zero), x[:, 0], jnp.zeros(x.shape[0], bool))[1])[0]


def _moved_in(frames: Array, new: Array, place: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(frames, new[:, None], place, 1)


def weights_of_pool(query: Array, bias: Array, keys: Array, sees: Sight) -> Array:
    """The attention f32[B, latents, N, M] of queries f32[latents, width], the same in every frame."""
    scores = jnp.einsum("lw,bmw->blm", query, keys[:, :, 0]) * query.shape[-1] ** -0.5
    scores = scores[:, :, None] + bias[:, sees.ago]
    return jax.nn.softmax(jnp.where(sees.sees[:, None], scores, NOTHING))


@lru_cache  # equal arguments give the identical Policy, so that jit compiles it once
def _history_policy(sizes: tuple[Any, ...], observation_size: int, segment: int, windows: bool) -> Policy:
    network = HistoryNetwork(*sizes)
    span, half = network.span, observation_size // 2
    total = span if windows else span + segment
    width = network.width // network.heads
    methods = HistoryNetwork

    def run(params: Params, method: Any, *inputs: Any) -> Any:
        return network.apply(params, *inputs, method=method)

    @jax.jit  # Flax initialises one operation at a time, which would compile each
    def init(key: Key) -> Params:
        places = jnp.arange(span)
        sees = sight(jnp.zeros((1, span), jnp.int32), places, places, span)
        inputs = (jnp.zeros((1, span, observation_size)), jnp.zeros((1, span, half)), sees)
        return network.init(key, *inputs, method=methods.everything)

    def initial_carry(batch: int) -> Carry:
        shape = (batch, total, network.heads, width)
        pool = (batch, total, 1, network.width)
        shapes = () if windows else (*[shape] * network.layers, pool)
        keys = tuple((jnp.zeros(one), jnp.zeros(one)) for one in shapes)
        zero = jnp.zeros((batch, network.core))
        frames, episode = jnp.zeros((batch, total, half)), jnp.full((batch, total), -1, jnp.int32)
        return Carry(frames, episode, keys, jnp.int32(segment), (zero, zero))

    def memory(carry: Carry) -> Memory:
        start = 0 if windows else carry.time
        frames, episode = (
            jax.lax.dynamic_slice_in_dim(leaf, start, span, 1) for leaf in (carry.frames, carry.episode)
        )
        return Memory(frames, episode, carry.core)

    def begin(params: Params, carry: Carry) -> Carry:
        last, places = memory(carry), jnp.arange(span)
        if windows:
            return carry._replace(time=jnp.int32(0))
        keys = run(params, methods.encode, last.frames, sight(last.episode, places, places, span))

        def put(held: Array, new: Array) -> Array:
            return jnp.zeros_like(held).at[:, :span].set(new)

        frames, episode = put(carry.frames, last.frames), carry.episode.at[:, :span].set(last.episode)
        return Carry(frames, episode, jax.tree.map(put, carry.keys, keys), jnp.int32(0), carry.core)

    def look(params: Params, obs: Array, carry: Carry, reset: Array) -> tuple[Carry, Array]:
        """The carry with this frame, but for the core, and what the core is given, f32[B, width]."""
        if windows:
            frames, episode = (jnp.roll(leaf, -1, axis=1) for leaf in (carry.frames, carry.episode))
            place = jnp.int32(span - 1)
        else:
            frames, episode, place = carry.frames, carry.episode, span + carry.time
        before = jax.lax.dynamic_index_in_dim(episode, place - 1, 1, keepdims=False)
        frames, episode = _moved_in(frames, obs[:, half:], place), _moved_in(episode, before + reset, place)
        start = place - span + 1
        queries, keys = place[None] - start, jnp.arange(span)
        sees = sight(jax.lax.dynamic_slice_in_dim(episode, start, span, 1), queries, keys, span)
        if windows:
            held = ()
            all_of_it = sight(episode, keys, keys, span)
            pool = run(params, methods.encode, frames, all_of_it)[-1]
        else:
            held = run(params, methods.extend, obs[:, half:], carry.keys, place, start, sees)
            pool = tuple(jax.lax.dynamic_slice_in_dim(leaf, start, span, 1) for leaf in held[-1])
        x = run(params, methods.fused, obs[:, None], pool, sees)[:, 0]
        return Carry(frames, episode, held, carry.time + 1, carry.core), x

    def frame(params: Params, obs: Array, legal: Array, carry: Carry, reset: Array) -> Any:
        del legal  # every button can always be pressed
        carry, x = look(params, obs, carry, reset)
        core, out = run(params, methods.step, carry.core, x, reset)
        return *run(params, methods.decide, out), carry._replace(core=core)

    def apply(params: Params, obs: Array, legal: Array, carry: Carry, reset: Array) -> Any:
        carry = jax.lax.cond(carry.time == segment, lambda: begin(params, carry), lambda: carry)
        return frame(params, obs, legal, carry, reset)

    def along(params: Params, obs: Array, start: Memory, reset: Array, read: Any) -> Any:
        """What `read(rows f32[B, n, D], pool, sees)` gives of obs f32[T, B, D], leaves [B, T, ...].

        It is called once with all frames, or, re-encoding windows, with each.
        """
        length = obs.shape[0]
        rows = jnp.swapaxes(obs, 0, 1)
        frames = jnp.concatenate([start.frames, rows[:, :, half:]], axis=1)
        episodes = start.episode[:, -1:] + jnp.cumsum(reset.T, axis=1)
        episode = jnp.concatenate([start.episode, episodes], axis=1)
        if not windows:
            places = jnp.arange(span + length)
            pool = run(params, methods.encode, frames, sight(episode, places, places, span))[-1]
            return read(rows, pool, sight(episode, places[span:], places, span))

        @jax.checkpoint  # or every frame's window would be kept for the gradient
        def one(time: Array) -> Any:
            now, then = (jax.lax.dynamic_slice_in_dim(leaf, time + 1, span, 1) for leaf in (frames, episode))
            places = jnp.arange(span)
            pool = run(params, methods.encode, now, sight(then, places, places, span))[-1]
            seen = jax.lax.dynamic_slice_in_dim(rows, time, 1, 1)
            return read(seen, pool, sight(then, places[-1:], places, span))

        found = jax.lax.map(one, jnp.arange(length))  # [T, B, 1, ...]
        return jax.tree.map(lambda leaf: jnp.swapaxes(leaf[:, :, 0], 0, 1), found)

    def unroll(params: Params, obs: Array, legal: Array, start: Memory, reset: Array) -> tuple[Array, Array]:
        del legal
        x = along(params, obs, start, reset, lambda *seen: run(params, methods.fused, *seen))
        x = jnp.swapaxes(x, 0, 1)

        def step(core: Any, now: tuple[Array, Array]) -> tuple[Any, Array]:
            return run(params, methods.step, core, *now)

        return run(params, methods.decide, jax.lax.scan(step, start.core, (x, reset))[1])

    def attention(params: Params, obs: Array, start: Memory, reset: Array) -> dict[str, Array]:
        """What `unroll` looks at, in shares that sum to 1.

        `pool` f32[T, B, latents, span]: each latent's of the opponent's frames, by how many frames ago; 0
        before the episode. `fuse` f32[T, B, heads, latents]: each head's of the latents.
        """

        def read(rows: Array, pool: Any, sees: Sight) -> dict[str, Array]:
            kept: Any = network.apply(
                params, rows, pool, sees, method=methods.fused, mutable=["intermediates"]
            )[1]
            found = {name: leaf[0] for name, leaf in kept["intermediates"].items()}
            looks = jnp.moveaxis(found["looks"], 1, 2)  # [B, n, latents, M]
            last = looks.shape[-1] - looks.shape[1] + jnp.arange(looks.shape[1])  # the place of each frame
            places = last[:, None] - jnp.arange(span)
            return {
                "pool": jnp.take_along_axis(looks, places[None, :, None], axis=-1),
                "fuse": found["trusts"],
            }

        return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), along(params, obs, start, reset, read))

    return Policy(init, initial_carry, apply, Segments(segment, begin, frame, memory, unroll, attention))


def history_policy(
    *,
    observation_size: int = 64,
    actions: int = 10,
    width: int = 256,
    layers: int = 6,
    heads: int = 8,
    mlp: int = 256,
    span: int = 90,
    segment: int = 128,
    latents: int = 4,
    core: int = 512,
    hidden: tuple[int, ...] = (96, 96),
    pressed: tuple[float, ...] = (0.5,),
    encoder: Literal["causal", "window"] = "causal",
) -> Policy:
    """A policy over f32[B, observation_size], whose second half is the opponent's side; see this file's head.

    `width`, `layers`, `heads`, `mlp`: the transformer's; `span`: frames of history; `segment`: frames from
    one encoding of the history to the next, which learners go through in one pass; `latents`: what is pooled;
    `core`: the LSTM's; `hidden`: of actor and critic; `pressed`: how often each button (or all) is down at
    first. Its value is unbounded. Raises `JaxnashError` for what cannot be.
    """
    if encoder not in ("causal", "window"):
        raise JaxnashError(f"unknown encoder {encoder!r}: choose causal or window")
    if width % heads:
        raise JaxnashError(f"a width of {width} cannot be shared by {heads} heads")
    if observation_size % 2:
        raise JaxnashError(f"observations of {observation_size} numbers have no opponent's half")
    sizes = dict(layers=layers, heads=heads, span=span, segment=segment, latents=latents, core=core)
    for name, size in sizes.items():
        if size < 1:
            raise JaxnashError(f"{name} is {size}, but at least 1 is needed")
    if len(pressed) not in (1, actions) or not all(0 < share < 1 for share in pressed):
        raise JaxnashError(f"pressed needs 1 or {actions} shares between 0 and 1, not {pressed}")
    network = (actions, width, layers, heads, mlp, span, latents, core, tuple(hidden), tuple(pressed))
    return _history_policy(network, observation_size, segment, encoder == "window")
