"""The knobs of deep CFR; the command line is generated from them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from jaxnash.runs.directory import knobs_of
from jaxnash.types import JaxnashError


@dataclass(frozen=True)
class Knobs:
    """Deep CFR: agents for poker, from sampled regrets, and how exploitable they are."""

    preset: Literal["kuhn-ci", "leduc", "fhp-small", "fhp-paper", "hunl"] = "leduc"
    """Values for all that is not given."""
    game: str = "leduc(suits=0)"
    """kuhn, leduc, "liars_dice(dice=1,sides=6)", "goofspiel(cards=4)", flop, limit, hunl. Leduc's suits
    decide nothing: "leduc(suits=0)" hides them from the networks, as hold'em's are relabelled."""
    bet_sizes: tuple[float, ...] = ()
    """Of hunl: bets and raises as fractions of the pot; all-in is always allowed."""
    algorithm: Literal["sd-cfr", "deep-cfr", "dream", "escher"] = "sd-cfr"
    """sd-cfr keeps all past networks and averages them exactly, deep-cfr fits a network to the average; dream
    and escher average as sd-cfr does, walk single paths and learn what actions are worth at a history (a
    critic): dream as the baseline of its regrets, escher as the regrets themselves."""
    traversal: str = "external"
    """external; robust:k (k actions of each decision); outcome (one path: always so for dream and escher)."""
    iterations: int = 700
    """Iterations in all; each updates one player, then the other."""
    trajectories: int = 414
    """Traversals of each player an iteration."""
    workers: int = 1
    """Processes that traverse; 1: this one. No result depends on it."""
    epsilon: float = 0.5
    """outcome: how often the traverser draws evenly instead of by its strategy (escher: always)."""
    critic_memory: int = 400_000
    """dream, escher: transitions that the critic learns from, the latest ones."""
    critic_trajectories: int = 0
    """dream, escher: further paths of each player an iteration, for the critic alone, on which the opponent
    too draws evenly half of the time; 0: the critic learns from the paths that regrets come from."""
    critic_features: Literal["trained", "random"] = "trained"
    """dream, escher: what the critic's last layer is given. random: cosines in random directions, others
    with each update; they need about as many as there are histories to tell apart."""
    critic_steps: int = 500
    """dream, escher: gradient steps of the critic before each player's walks."""
    critic_rows: int = 65_536
    """dream, escher: transitions from which the critic's last layer is solved for."""
    critic_hidden: tuple[int, ...] = (64, 64, 64)
    """dream, escher: widths of what the critic makes of each player's observation, then of its layers."""
    lanes: int = 256
    """Traversals at once in each process, so rows of each network call."""
    batch_size: int = 256
    """Remembered decisions of one gradient step."""
    steps: int = 4500
    """Gradient steps of the last iteration's fits; those of iteration t are t / iterations of it."""
    least_steps: int = 500
    """But at least this many."""
    learning_rate: float = 5e-3
    """Adam's, falling to 0 within each fit."""
    clip: float = 1.0
    """Norm of the gradient."""
    restart: bool = True
    """Fit each network from fresh parameters."""
    head_rows: int = 0
    """Remembered decisions from which each network's last layer is solved for after the gradient steps, by
    least squares; 0: it is not."""
    gram_rows: int = 32768
    """Of those, so many make the matrix of the least squares."""
    scale: float = 10.0
    """Chips that count as 1 for the networks."""
    memory: int = 2_000_000
    """Decisions each player remembers."""
    network: Literal["mlp", "cards", "residual"] = "mlp"
    """cards: seven layers in two branches (hold'em only)."""
    hidden: tuple[int, ...] = ()
    """Widths of the layers; by default 64 64 64 (mlp), 64 (cards), six of 512 (residual)."""
    policy_steps: int = 6000
    """deep-cfr: gradient steps of the average policy network."""
    policy_learning_rate: float = 3e-3
    """deep-cfr: Adam's, for the average policy network."""
    evaluate_every: int = 100
    """Iterations between measurements of exploitability."""
    match_pairs: int = 2000
    """Pairs of hands then played against random, always-call and the run's own average of half as many
    iterations; 0: none."""
    lbr_pairs: int = 200
    """Of hold'em, pairs of hands then played by a local best response (a lower bound); 0: none."""
    checkpoint_every: int = 100
    """Iterations between checkpoints."""
    keep: int = 2
    """Checkpoints that stay."""
    max_hours: float = 24.0
    """Save and end after this time, also within a resumed run."""
    max_nodes: float | None = None
    """End with the iteration that reaches this many visited nodes."""
    seed: int = 0
    """Every draw derives from it."""
    run_dir: str | None = None
    """Where the run is written; the next free runs/deep_cfr_<n> by default."""
    resume: bool = False
    """Continue a run: --resume (the latest or --run-dir's), --resume RUN or --resume RUN@500."""
    at: int | None = None
    """With --resume: the checkpoint to continue from; the last by default."""


PRESETS: dict[str, Knobs] = {
    "leduc": Knobs(hidden=(192,), steps=300, least_steps=300, head_rows=10_000_000),
    "kuhn-ci": Knobs(
        preset="kuhn-ci",
        game="kuhn",
        iterations=100,
        trajectories=300,
        lanes=128,
        steps=50,
        least_steps=50,
        head_rows=1_000_000,
        memory=200_000,
        scale=2.0,
        hidden=(32,),
        evaluate_every=50,
        match_pairs=500,
        checkpoint_every=50,
    ),
    "fhp-small": Knobs(
        preset="fhp-small",
        game="flop",
        iterations=60,
        trajectories=40_000,
        lanes=2048,
        batch_size=2048,
        steps=1500,
        least_steps=1500,
        head_rows=800_000,
        memory=4_000_000,
        scale=300.0,
        evaluate_every=0,
        checkpoint_every=10,
        max_hours=10 / 60,
    ),
    "fhp-paper": Knobs(
        preset="fhp-paper",
        game="flop",
        algorithm="deep-cfr",
        iterations=450,
        trajectories=10_000,
        lanes=2048,
        batch_size=10_000,
        steps=4000,
        least_steps=4000,
        learning_rate=1e-3,
        memory=40_000_000,
        scale=300.0,
        network="cards",
        hidden=(88,),
        policy_steps=20_000,
        policy_learning_rate=1e-3,
        evaluate_every=0,
        checkpoint_every=10,
        max_hours=240.0,
    ),
    "hunl": Knobs(
        preset="hunl",
        game="hunl",
        bet_sizes=(
            0.25,
            0.33,
            0.5,
            0.66,
            0.75,
            1.0,
            1.25,
            1.5,
            1.75,
            2.0,
            2.5,
            3.0,
            4.0,
            5.0,
            6.0,
            8.0,
            10.0,
        ),
        algorithm="deep-cfr",
        traversal="robust:3",
        trajectories=10_000,
        lanes=2048,
        batch_size=4096,
        steps=500,
        least_steps=500,
        learning_rate=1e-3,
        memory=2_000_000,
        scale=2000.0,
        network="residual",
        policy_steps=4000,
        policy_learning_rate=1e-3,
        evaluate_every=0,
        checkpoint_every=10,
    ),
}


# what another algorithm than the preset's own needs
VARIANTS: dict[tuple[str, str], dict[str, Any]] = {
    ("leduc", "dream"): {"iterations": 300, "trajectories": 2250, "lanes": 2250},
    ("leduc", "escher"): {
        "iterations": 150,
        "trajectories": 4500,
        "lanes": 4500,
        "critic_trajectories": 9000,
        "critic_features": "random",
        "critic_hidden": (64, 1024),
        "critic_memory": 131_072,
        "critic_rows": 131_072,
        "gram_rows": 262_144,
    },
}


def checked(knobs: Knobs) -> Knobs:
    """The same knobs, or `JaxnashError` naming the first that cannot be."""
    least = {
        "iterations": 1,
        "trajectories": 1,
        "workers": 1,
        "lanes": 1,
        "batch_size": 1,
        "steps": 1,
        "least_steps": 1,
    }
    least |= {"memory": 1, "policy_steps": 1, "checkpoint_every": 1, "keep": 1, "evaluate_every": 0}
    least |= {
        "match_pairs": 0,
        "lbr_pairs": 0,
        "head_rows": 0,
        "gram_rows": 1,
        "critic_memory": 1,
        "critic_trajectories": 0,
        "critic_steps": 1,
        "critic_rows": 1,
    }
    for name, low in least.items():
        if getattr(knobs, name) < low:
            raise JaxnashError(f"--{name.replace('_', '-')} is {getattr(knobs, name)}: pass at least {low}")
    for name in ("match_pairs", "lbr_pairs"):
        if getattr(knobs, name) == 1:
            raise JaxnashError(
                f"--{name.replace('_', '-')} is 1: one pair has no interval, pass 0 or 2 and more"
            )
    for name in ("learning_rate", "policy_learning_rate", "clip", "scale", "max_hours"):
        if not getattr(knobs, name) > 0:
            raise JaxnashError(
                f"--{name.replace('_', '-')} is {getattr(knobs, name)}: pass a positive number"
            )
    if knobs.batch_size > knobs.memory:
        raise JaxnashError(
            f"--batch-size {knobs.batch_size} is larger than --memory {knobs.memory}: "
            "take a smaller batch or a larger memory"
        )
    if knobs.bet_sizes and knobs.game != "hunl":
        raise JaxnashError("--bet-sizes goes with --game hunl: leave it out")
    if knobs.at is not None and not knobs.resume:
        raise JaxnashError("--at names a checkpoint to continue from: pass --resume too")
    explored(knobs.traversal)
    if outcome(knobs) and not 0 < knobs.epsilon <= 1:
        raise JaxnashError(f"--epsilon is {knobs.epsilon}: pass a number above 0, at most 1")
    if not all(width > 0 for width in knobs.critic_hidden or (0,)):
        raise JaxnashError("--critic-hidden names one width or more, all above 0: such as 64 64 64")
    if knobs.algorithm in CRITICS and knobs.traversal.startswith("robust"):
        raise JaxnashError(f"--algorithm {knobs.algorithm} walks single paths: leave --traversal out")
    return knobs


CRITICS = ("dream", "escher")


def outcome(knobs: Knobs) -> bool:
    """Whether single paths are walked."""
    return knobs.algorithm in CRITICS or knobs.traversal == "outcome"


def explored(traversal: str) -> int | None:
    """How many actions of a decision are tried: None for all. `JaxnashError` for another word."""
    found = re.fullmatch(r"robust:([1-9]\d*)", traversal)
    if traversal not in ("external", "outcome") and found is None:
        raise JaxnashError(
            f"--traversal {traversal!r} is unknown: pass external, outcome, or robust:k such as robust:3"
        )
    return int(found[1]) if found else None


def from_arguments(arguments: list[str]) -> tuple[list[str], Knobs]:
    """What is left for the parser once `--resume RUN@500` is spelled out, and the preset's defaults.

    Raises `JaxnashError` for an unknown preset.
    """
    left: list[str] = []
    for i, word in enumerate(arguments):
        if i and arguments[i - 1] == "--resume" and not word.startswith("--"):
            run, _, step = word.partition("@")
            left += ["--run-dir", run] + (["--at", step] if step else [])
        else:
            left.append(word)
    name = _given(left, "--preset", "leduc")
    if name not in PRESETS:
        raise JaxnashError(f"no preset is called {name!r}: there are {', '.join(PRESETS)}")
    algorithm = _given(left, "--algorithm", PRESETS[name].algorithm)
    return left, dataclasses.replace(PRESETS[name], **VARIANTS.get((name, algorithm), {}))


def _given(arguments: list[str], option: str, default: str) -> str:
    """What follows an option, as a word of its own or after =."""
    found = next((b for a, b in pairwise(arguments) if a == option), default)
    return next((word.partition("=")[2] for word in arguments if word.startswith(f"{option}=")), found)


def config_of(knobs: Knobs) -> dict:
    """What config.json holds."""
    return dataclasses.asdict(knobs)


def knobs_from(config: dict) -> Knobs:
    """The knobs that config.json holds. Raises `JaxnashError` for a run of another kind."""
    if not set(config) >= {"game", "algorithm", "traversal", "memory"}:
        raise JaxnashError("this is no deep CFR run: its config.json has other knobs")
    return knobs_of(Knobs, config)
