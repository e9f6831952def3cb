"""What a fighter's policy looks at in its opponent's last frames, over a match: arrays and a picture."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.fighter import table
from jaxnash.policies.history import Memory
from jaxnash.rollouts.fights import GAME
from jaxnash.runs.fighter_match import Film
from jaxnash.runs.figures import COLOURS, INK, STYLE
from jaxnash.runs.files import write_bytes
from jaxnash.types import Array, JaxnashError, Neural, Params, Policy


def attention_of(member: Neural, film: Film, *, place: int = 0) -> dict[str, np.ndarray]:
    """A policy's attention as the film's first player (`place` 0) or second, in each of its T frames.

    `pool` f32[T, latents, span]: what each latent takes of the opponent's frames, by how many frames ago.
    `fuse` f32[T, heads, latents]: what each head of the observation takes of the latents. `attacks`
    and `hits` bool[T]: that the opponent's last frame began an attack, or hit. Raises `JaxnashError` for a
    policy that has no such attention.
    """
    segments = member.policy.segments
    if segments is None or segments.attention is None:
        raise JaxnashError(f"the policy of {member.name} attends to no history: nothing can be drawn")
    seat = film.seat if place == 0 else 1 - film.seat
    states = jax.tree.map(lambda leaf: jnp.asarray(leaf[:-1]), film.states)
    obs = jax.vmap(lambda state: GAME.observe(state).obs[seat])(states)
    found = along(member.policy, member.params, obs)
    opponent = film.states.fighters[1 - seat]
    begins = (opponent.state == table.ATTACKING) & (opponent.clock == 0)
    own = film.states.fighters[seat]
    marks = {"attacks": begins[:-1], "hits": own.taken[:-1] > 0}
    return {**{name: np.asarray(leaf) for name, leaf in found.items()}, **marks}


def along(policy: Policy, params: Params, obs: Array) -> dict[str, Array]:
    """`Segments.attention` in every frame of a match's obs f32[T, D], segment by segment as it was played."""
    segments = policy.segments
    assert segments is not None
    length, frames = segments.length, len(obs)
    padded = jnp.pad(obs, ((0, -frames % length), (0, 0))).reshape(-1, length, 1, obs.shape[-1])
    reset = jnp.zeros((len(padded), length, 1), bool).at[0, 0].set(True)
    found = _along(policy, params, segments.memory(policy.initial_carry(1)), padded, reset)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[:frames], found)


@partial(jax.jit, static_argnums=0)
def _along(policy: Policy, params: Params, start: Memory, obs: Array, reset: Array) -> dict[str, Array]:
    segments = policy.segments
    assert segments is not None and segments.attention is not None
    attention, span = segments.attention, start.frames.shape[1]

    def one(memory: Memory, now: tuple[Array, Array]) -> tuple[Memory, dict[str, Array]]:
        """A segment, and what the next one remembers."""
        rows, begun = (jnp.swapaxes(leaf, 0, 1) for leaf in now)
        frames = jnp.concatenate([memory.frames, rows[..., rows.shape[-1] // 2 :]], axis=1)
        episode = memory.episode[:, -1:] + jnp.cumsum(begun, axis=1)
        episodes = jnp.concatenate([memory.episode, episode], axis=1)
        after = Memory(frames[:, -span:], episodes[:, -span:], memory.core)
        return after, attention(params, now[0], memory, now[1])

    return jax.lax.scan(one, start, (obs, reset))[1]


def write_attention(path: str | Path, found: dict[str, np.ndarray], *, title: str) -> tuple[Path, Path]:
    """The arrays as PATH.npz and their picture as PATH.png, whatever the suffix was; returns both.

    Raises `JaxnashError` where they cannot be written.
    """
    path, out = Path(path), io.BytesIO()
    arrays, image = path.with_suffix(".npz"), path.with_suffix(".png")
    np.savez_compressed(out, **found)  # pyright: ignore[reportArgumentType]
    write_bytes(arrays, out.getvalue())
    write_bytes(image, drawn(found, title=title))
    return arrays, image


def drawn(found: dict[str, np.ndarray], *, title: str) -> bytes:
    """A PNG: each latent's attention by time and frames ago, above it the opponent's attacks and hits, below
    it what the observation takes of each latent."""
    import matplotlib
    from matplotlib.figure import Figure

    pool, fuse = found["pool"], found["fuse"]
    frames, latents, span = pool.shape
    seconds = frames / table.FPS
    most = max(float(np.quantile(pool, 0.995)), 1 / span)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.4 + 1.4 * latents), layout="constrained", dpi=110)
        axes = figure.subplots(
            latents + 2, 1, sharex=True, height_ratios=[0.45, *[1] * latents, 0.9], squeeze=False
        )[:, 0]
        figure.suptitle(title, fontsize=11, color=INK)
        _marks(axes[0], found)
        for latent, panel in enumerate(axes[1:-1]):
            image = panel.imshow(
                pool[:, latent].T,
                aspect="auto",
                origin="lower",
                extent=(0, seconds, -0.5, span - 0.5),
                cmap="magma",
                vmin=0,
                vmax=most,
                interpolation="antialiased",
            )
            panel.grid(visible=False)
            panel.set_ylabel(f"latent {latent + 1}\nframes ago")
        bar = figure.colorbar(image, ax=list(axes[1:-1]), pad=0.01, extend="max")
        bar.set_label(f"attention; evenly spread it is {1 / span:.3g}")
        time = (np.arange(frames) + 0.5) / table.FPS
        shares = _smooth(fuse.mean(axis=1))
        axes[-1].stackplot(
            time, shares.T, colors=COLOURS[:latents], labels=[f"latent {n + 1}" for n in range(latents)]
        )
        axes[-1].set_ylim(0, 1)
        axes[-1].set_xlim(0, seconds)
        axes[-1].set_ylabel("share of each\nlatent, 1 s mean")
        axes[-1].set_xlabel("seconds of the match")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def _marks(panel: Any, found: dict[str, np.ndarray]) -> None:
    for row, (name, mark, colour) in enumerate((("hits", "x", COLOURS[5]), ("attacks", "v", COLOURS[0]))):
        time = np.flatnonzero(found[name]) / table.FPS
        if len(time):  # what is empty and not clipped has no box that a layout could read
            panel.plot(time, np.full(len(time), row), mark, color=colour, markersize=5, clip_on=False)
    panel.set_ylim(-0.6, 1.6)
    panel.set_yticks([0, 1], ["it hits", "opponent attacks"])
    panel.grid(visible=False)
    panel.spines["left"].set_visible(False)
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(bottom=False, left=False)


def _smooth(rows: np.ndarray) -> np.ndarray:
    """The running mean over a second of rows [T, n], over what there is of it at the ends."""
    window = np.ones(min(table.FPS, len(rows)))
    weight = np.convolve(np.ones(len(rows)), window, "same")
    return np.stack([np.convolve(row, window, "same") / weight for row in rows.T], axis=1)
