"""The policy with a memory: frame by frame, in one pass, and what its output depends on."""

from __future__ import annotations

from functools import cache
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnash.games.fighter import digest
from jaxnash.games.game import Buttons
from jaxnash.policies.history import Carry, HistoryNetwork, history_policy, sight
from jaxnash.policies.spec import build, history_spec
from jaxnash.types import JaxnashError, Policy

SPAN, SEGMENT, BATCH, TIME = 6, 8, 5, 24
SIZES = {"width": 32, "layers": 2, "heads": 4, "mlp": 32, "latents": 3, "core": 16, "hidden": (16,)}
both_encoders = pytest.mark.parametrize("encoder", ["causal", "window"])


@cache
def policy_of(encoder: str) -> Policy:
    return history_policy(span=SPAN, segment=SEGMENT, encoder=encoder, **SIZES)


@cache
def params_of(encoder: str):
    """Fresh parameters shaken, so that no head is small and no bias 0."""
    params = policy_of(encoder).init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    )


def frames(resets: bool = True):
    obs = np.array(jax.random.normal(jax.random.key(2), (TIME, BATCH, 64)))
    reset = np.array(jax.random.bernoulli(jax.random.key(3), 0.1, (TIME, BATCH))) & resets
    reset[0] = True
    return obs, reset


@cache
def jitted(encoder: str):
    """`(params, obs, reset) -> (heads [T, B, A], values [T, B], the carries before each frame)`."""
    policy, legal = policy_of(encoder), jnp.ones((BATCH, 10), bool)

    @jax.jit
    def play(params, obs, reset):
        def one(carry, now):
            head, value, after = policy.apply(params, now[0], legal, carry, now[1])
            return after, (head, value, carry)

        return jax.lax.scan(one, policy.initial_carry(BATCH), (obs, reset))[1]

    return play


def played(encoder: str, obs, reset) -> tuple[np.ndarray, np.ndarray, list[Carry]]:
    """Heads, values, and the carries before each segment."""
    heads, values, carries = jitted(encoder)(params_of(encoder), obs, reset)
    starts = jax.tree.map(lambda leaf: leaf[::SEGMENT], carries)
    return heads, values, [jax.tree.map(itemgetter(number), starts) for number in range(TIME // SEGMENT)]


@cache
def unroll_of(encoder: str):
    return jax.jit(policy_of(encoder).segments.unroll)


def unrolled(encoder: str, params, obs, reset, memory):
    return unroll_of(encoder)(params, obs, np.ones((*obs.shape[:2], 10), bool), memory, reset)


@both_encoders
def test_one_pass_is_the_frames_one_by_one(encoder):
    """Ratios of probabilities within 1e-4 of 1, over resets and from one segment to the next."""
    obs, reset = frames()
    heads, values, carries = played(encoder, obs, reset)
    buttons, key = Buttons(10), jax.random.key(4)
    for number, carry in enumerate(carries):
        now = slice(number * SEGMENT, (number + 1) * SEGMENT)
        memory = policy_of(encoder).segments.memory(carry)
        head, value = unrolled(encoder, params_of(encoder), obs[now], reset[now], memory)
        np.testing.assert_allclose(value, values[now], rtol=0, atol=2e-5)
        action = buttons.sample(key, heads[now])
        ratio = np.exp(buttons.log_prob(head, action) - buttons.log_prob(heads[now], action))
        assert np.max(np.abs(ratio - 1)) < 1e-4
    assert np.abs(heads).max() > 1 and np.std(heads) > 0.3


def test_a_segment_begins_and_goes_on_as_the_policy_does():
    obs, reset = frames()
    heads, values, carries = played("causal", obs, reset)
    policy, params, legal = policy_of("causal"), params_of("causal"), np.ones((BATCH, 10), bool)
    begin, frame = jax.jit(policy.segments.begin), jax.jit(policy.segments.frame)
    carry = begin(params, carries[1])
    for time in range(SEGMENT, 2 * SEGMENT):
        head, value, carry = frame(params, obs[time], legal, carry, reset[time])
        np.testing.assert_allclose(head, heads[time], rtol=0, atol=2e-5)
        np.testing.assert_allclose(value, values[time], rtol=0, atol=2e-5)
    assert policy.segments.length == SEGMENT and int(carry.time) == SEGMENT


@both_encoders
def test_every_parameter_has_a_gradient(encoder):
    """The encoder included; of one pass, with a history before it."""
    obs, reset = frames(resets=False)
    memory = policy_of(encoder).segments.memory(played(encoder, obs, reset)[2][1])
    now = slice(SEGMENT, 2 * SEGMENT)

    def total(params):
        head, value = unrolled(encoder, params, obs[now], reset[now], memory)
        return jnp.sum(head**2) + jnp.sum(value**2)

    gradient = jax.jit(jax.grad(total))(params_of(encoder))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)) and np.any(leaf), jax.tree_util.keystr(path)


@cache
def gradient_of(encoder: str):
    """`(obs, reset, time)` -> by how much the first row's head at `time` depends on obs [T, B, D] other than
    through the core."""
    policy, params, legal = policy_of(encoder), params_of(encoder), jnp.ones((BATCH, 10), bool)

    def size(obs, reset, time):
        def one(carry, now):
            zero = jax.tree.map(jnp.zeros_like, carry.core)
            head, _, carry = policy.apply(params, now[0], legal, carry._replace(core=zero), now[1])
            return carry, jnp.sum(head[0] ** 2)

        return jax.lax.scan(one, policy.initial_carry(BATCH), (obs, reset))[1][time]

    return jax.jit(jax.grad(size))


def seen_by(encoder: str, time: int, resets: bool = True) -> tuple[list[int], list[int]]:
    """The frames of the opponent's side, and of the player's own, which the first row's head depends on."""
    obs, reset = frames(resets)
    reset[:, 0] = False
    reset[0, 0], reset[12, 0] = True, resets
    gradient = np.abs(gradient_of(encoder)(jnp.asarray(obs), reset, time))[:, 0]
    other, own = gradient[:, 32:].max(axis=1), gradient[:, :32].max(axis=1)
    return np.flatnonzero(other).tolist(), np.flatnonzero(own).tolist()


def test_the_window_is_the_last_frames_of_the_episode():
    assert seen_by("window", 20) == (list(range(15, 21)), [20])
    assert seen_by("window", 14) == ([12, 13, 14], [14])  # an episode began with frame 12


def test_the_causal_encoder_reads_what_its_segment_began_with():
    """Two layers and the pool of six frames each reach sixteen frames, but not beyond the six before the
    segment, which began with frame 16."""
    assert seen_by("causal", 19, resets=False) == (list(range(10, 20)), [19])
    assert seen_by("causal", 23, resets=False) == (list(range(10, 24)), [23])
    assert seen_by("causal", 18) == (list(range(12, 19)), [18])


@both_encoders
def test_the_core_starts_anew_with_an_episode(encoder):
    obs, reset = frames(resets=False)
    reset[12] = True
    changed = obs.copy()
    changed[:12] = 0
    heads, others = played(encoder, obs, reset)[0], played(encoder, changed, reset)[0]
    np.testing.assert_allclose(heads[12:], others[12:], rtol=0, atol=2e-5)
    assert np.abs(heads[11] - others[11]).max() > 0.01


def in_one_pass(encoder: str, method, frames, episode):
    """The pool's values f32[T, B, span, width] of each frame of a pass, by how many frames ago."""
    network, params = network_of(), params_of(encoder)
    time, ago = np.arange(SEGMENT)[:, None], np.arange(SPAN)
    if encoder == "causal":
        places = jnp.arange(SPAN + SEGMENT)
        values = network.apply(params, frames, sight(episode, places, places, SPAN), method=method)[-1][1]
        return jnp.moveaxis(values[:, SPAN + time - ago, 0], 1, 0)
    windows = []
    for start in range(1, SEGMENT + 1):
        now, places = slice(start, start + SPAN), jnp.arange(SPAN)
        sees = sight(episode[:, now], places, places, SPAN)
        windows.append(network.apply(params, frames[:, now], sees, method=method)[-1][1][:, ::-1, 0])
    return jnp.stack(windows)


def network_of() -> HistoryNetwork:
    return HistoryNetwork(10, span=SPAN, **SIZES)


@both_encoders
def test_attention_is_what_a_pass_looks_at(encoder):
    """Shares, none of frames before the episode; and worked out again from them, the heads are the pass's."""
    obs, reset = frames()
    memory = policy_of(encoder).segments.memory(played(encoder, obs, reset)[2][1])
    now = slice(SEGMENT, 2 * SEGMENT)
    assert reset[now].any() and not reset[now].all()
    found = jax.jit(policy_of(encoder).segments.attention)(params_of(encoder), obs[now], memory, reset[now])
    pool, fuse = found["pool"], found["fuse"]
    assert pool.shape == (SEGMENT, BATCH, 3, SPAN) and fuse.shape == (SEGMENT, BATCH, 4, 3)
    np.testing.assert_allclose(pool.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(fuse.sum(axis=-1), 1, rtol=1e-5)
    frame = np.arange(TIME)[:, None]
    age = (frame - np.maximum.accumulate(np.where(reset, frame, 0), axis=0))[now]  # of the episode
    seen = np.arange(SPAN) <= age[:, :, None]
    assert np.all((np.asarray(pool) > 0) == seen[:, :, None]) and not seen.all()

    network, params = network_of(), params_of(encoder)
    rows = jnp.swapaxes(jnp.asarray(obs[now]), 0, 1)
    raw = jnp.concatenate([memory.frames, rows[:, :, 32:]], axis=1)
    episodes = memory.episode[:, -1:] + np.cumsum(reset[now].T, axis=1)
    episode = jnp.concatenate([memory.episode, episodes], axis=1)
    values = in_one_pass(encoder, HistoryNetwork.encode, raw, episode)
    latents = jnp.einsum("tbla,tbaw->tblw", pool, values)
    weight = params["params"]
    offered = (latents @ weight["offer"]["kernel"]).reshape(SEGMENT, BATCH, 3, 2, 4, 8)[:, :, :, 1]
    mixed = jnp.einsum("tbhl,tblhd->tbhd", fuse, offered).reshape(SEGMENT, BATCH, 32)
    x = jax.nn.gelu(obs[now] @ weight["sense"]["kernel"] + weight["sense"]["bias"])
    x += mixed @ weight["fuse"]["kernel"] + weight["fuse"]["bias"]

    @jax.jit
    def decided(x, reset):
        def step(core, now):
            return network.apply(params, core, *now, method=HistoryNetwork.step)

        out = jax.lax.scan(step, memory.core, (x, reset))[1]
        return network.apply(params, out, method=HistoryNetwork.decide)[0]

    head = unrolled(encoder, params, obs[now], reset[now], memory)[0]
    np.testing.assert_allclose(decided(x, reset[now]), head, rtol=0, atol=5e-5)


def test_a_spec_builds_it_and_names_the_rules():
    spec = history_spec(span=SPAN, segment=SEGMENT, **SIZES)
    assert build(spec) is policy_of("causal") or build(spec).segments is not None
    assert spec.layout == digest() and spec.actions == "buttons:10"
    with pytest.raises(JaxnashError, match="the policy reads observation layout 'other'"):
        build(spec._replace(layout="other"))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"encoder": "both"}, "unknown encoder 'both': choose causal or window"),
        ({"width": 30, "heads": 4}, "a width of 30 cannot be shared by 4 heads"),
        ({"observation_size": 63}, "observations of 63 numbers have no opponent's half"),
        ({"layers": 0}, "layers is 0, but at least 1 is needed"),
    ],
)
def test_sizes_that_cannot_be(sizes, message):
    with pytest.raises(JaxnashError, match=message):
        history_policy(**sizes)


def test_the_reference_has_the_known_size():
    """A layer of 256 with a feed-forward of 256: 4 x 256^2 + 256 of attention, 2 (256^2 + 256) after it, two
    norms, and the biases of 90 frames on 8 heads: 395,728."""
    shapes = jax.eval_shape(history_policy().init, jax.random.key(0))["params"]
    layers = [shapes[name] for name in shapes if name.startswith("stack")]
    assert [sum(leaf.size for leaf in jax.tree.leaves(layer)) for layer in layers] == [395_728] * 6
