"""What a self-play run of the fighter is asked for, and its presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from jaxnash.games.fighter import table
from jaxnash.types import JaxnashError

MOST = 54_000  # frames of a rollout, all matches together


@dataclass(frozen=True)
class Knobs:
    """Self-play by PPO, with an opponent model, on the platform fighter."""

    preset: Literal["smoke", "test", "full"] = "smoke"
    """smoke: small networks, minutes on two cores. test: 50,000 frames of what full does with 10 million."""
    seed: int = 0
    frames: int = 10_000_000
    """to play in all; a rollout's frames are min(54,000, save_every), in whole rows of a segment each."""
    save_every: int = 100_000
    """frames from one snapshot to the next: it is taken after the first update past each multiple."""
    keep_snapshots: int = 100
    """the last so many are opponents."""
    matches: int | None = None
    """played at once; by default as many as a rollout has segments."""
    groups: int = 3
    """of matches; in a rollout each meets one snapshot."""
    latest: float = 0.5
    """how often a snapshot to meet is the latest; else any."""
    pool: tuple[str, ...] = ()
    """policies, runs or folders of snapshots, by path or name, that are opponents from the first frame on."""
    shares: tuple[float, float, float] = (0.8, 0.15, 0.05)
    """of matches against snapshots, Based and Constant."""
    rewards: Literal["reference", "sound"] = "reference"
    guided: float = 0.0
    """the part of the run in which the learner is led, in its second half less and less: falls of its own are
    forgiven, and coming nearer is paid."""
    encoder: Literal["causal", "window"] = "causal"
    span: int = 90
    """frames of history."""
    segment: int = 128
    """frames that a learner goes through in one pass."""
    width: int = 256
    """of the history's encoder."""
    layers: int = 6
    heads: int = 8
    mlp: int = 256
    latents: int = 4
    core: int = 512
    """of the LSTM."""
    hidden: tuple[int, ...] = (96, 96)
    """of actor and critic."""
    pressed: tuple[float, ...] = (0.05, 0.25, 0.05, 0.25, 0.08, 0.02, 0.04, 0.06, 0.04, 0.01)
    """how often each button is down at first (w a s d space h l j k g). Who presses half of them is always in
    some attack or taunt, and learns to stay there because there it does not fall."""
    learning_rate: float = 2.5e-4
    learning_rate_left: float = 1.0
    """the part of the learning rate that is left at the end, falling by equal steps; 1 keeps it."""
    minibatch: int = 128
    epochs: int = 10
    clip_norm: float = 0.5
    entropy: float = 0.003
    gamma: float = 0.995
    gae_lambda: float = 0.95
    evaluate_every: int = 10_000
    """frames; 0 only at the end."""
    evaluate_pairs: int = 50
    """pairs of matches, one from each side, against Based and Constant each."""
    checkpoint_every: int = 10
    """updates."""
    keep: int = 3
    """checkpoints."""
    device: Literal["auto", "cuda", "metal", "cpu"] = "auto"
    """auto: CUDA, else Metal, else CPU."""
    devices: int = 1
    """that share the rows of each minibatch; a rollout is played on the first."""
    name: str = "full"
    debug: bool = False
    """more lines in training.log."""
    run_dir: str | None = None
    resume: bool = False


PRESETS: dict[str, Knobs] = {
    "full": Knobs(preset="full"),
    "test": Knobs(preset="test", frames=50_000, save_every=5_000, name="test", debug=True),
    "smoke": Knobs(
        preset="smoke",
        frames=6_000_000,
        save_every=4_500_000,
        keep_snapshots=20,
        matches=512,
        groups=8,
        rewards="sound",
        guided=0.5,
        span=30,
        segment=32,
        width=32,
        layers=2,
        heads=2,
        mlp=64,
        latents=2,
        core=64,
        hidden=(64,),
        learning_rate=3e-3,
        learning_rate_left=0.1,
        minibatch=2048,
        epochs=3,
        entropy=0.001,
        evaluate_every=3_000_000,
        name="smoke",
    ),
}
MAY_DIFFER = {"preset", "frames", "save_every", "name", "debug"}  # between test and full


def rows_of(knobs: Knobs) -> int:
    """Matches at once: as many as make a rollout of min(54,000, save_every) frames, in equal groups."""
    if knobs.matches is not None:
        return knobs.matches
    rows = min(MOST, knobs.save_every) // knobs.segment
    return rows // knobs.groups * knobs.groups


def rollout_frames(knobs: Knobs) -> int:
    return rows_of(knobs) * knobs.segment


def rows_of_minibatch(knobs: Knobs) -> int:
    """Whole segments of a minibatch, one at least."""
    return max(1, knobs.minibatch // knobs.segment)


def updates_of(knobs: Knobs) -> int:
    """How many rollouts come nearest to the frames asked for, but one at least."""
    return max(1, round(knobs.frames / rollout_frames(knobs)))


def steps_of(knobs: Knobs) -> int:
    """The optimiser's, of all updates."""
    return updates_of(knobs) * knobs.epochs * -(-rows_of(knobs) // rows_of_minibatch(knobs))


def differing(one: Knobs, other: Knobs) -> dict[str, tuple[Any, Any]]:
    """The knobs in which two differ, with their values."""
    pairs = {field.name: (getattr(one, field.name), getattr(other, field.name)) for field in fields(Knobs)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def checked(knobs: Knobs) -> Knobs:
    """The same knobs, or `JaxnashError` naming the first that cannot be."""
    least = {"frames": 1, "save_every": 1, "keep_snapshots": 1, "groups": 1, "epochs": 1, "minibatch": 1}
    least |= {"evaluate_every": 0, "evaluate_pairs": 1, "checkpoint_every": 1, "keep": 1, "devices": 1}
    for name, at_least in least.items():
        if getattr(knobs, name) < at_least:
            raise JaxnashError(f"--{name.replace('_', '-')} is {getattr(knobs, name)}: at least {at_least}")
    if not math.isclose(sum(knobs.shares), 1, abs_tol=1e-6) or min(knobs.shares) < 0:
        raise JaxnashError(
            f"--shares {' '.join(map(str, knobs.shares))} (snapshots, Based, Constant) sum to "
            f"{sum(knobs.shares):g}: they must be at least 0 and sum to 1"
        )
    if knobs.shares[0] == 1:
        raise JaxnashError("--shares leave the scripts nothing, who play alone before the first snapshot")
    if not 0 <= knobs.learning_rate_left <= 1:
        raise JaxnashError(f"--learning-rate-left is {knobs.learning_rate_left}: 0 to 1 is needed")
    if not 0 <= knobs.guided <= 1:
        raise JaxnashError(f"--guided is {knobs.guided}: 0 to 1 is needed")
    if not 0 <= knobs.latest <= 1:
        raise JaxnashError(f"--latest is {knobs.latest}: a probability is needed")
    if knobs.span > table.FRAMES:
        raise JaxnashError(f"--span {knobs.span} is longer than a match, which has {table.FRAMES} frames")
    if rows_of(knobs) < 1 or rows_of(knobs) % knobs.groups:
        raise JaxnashError(
            f"{rows_of(knobs)} matches at once do not make {knobs.groups} equal groups: take other --matches"
        )
    if knobs.devices > rows_of_minibatch(knobs):
        raise JaxnashError(
            f"--devices {knobs.devices} cannot share minibatches of {knobs.minibatch} frames, which are "
            f"{rows_of_minibatch(knobs)} segments: take --minibatch {knobs.devices * knobs.segment} or more"
        )
    return knobs


def from_arguments(arguments: list[str]) -> tuple[list[str], Knobs]:
    """The arguments, `--resume RUN` spelled out, and the preset's defaults.

    Raises `JaxnashError` for an unknown preset.
    """
    left, name = [], "smoke"
    for i, word in enumerate(arguments):
        bare = i > 0 and arguments[i - 1] == "--resume" and not word.startswith("--")
        left += ["--run-dir", word] if bare else [word]
        name = word if i and arguments[i - 1] == "--preset" else word.partition("--preset=")[2] or name
    if name not in PRESETS:
        raise JaxnashError(f"no preset is called {name!r}: there are {', '.join(PRESETS)}")
    return left, PRESETS[name]
