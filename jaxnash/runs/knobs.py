"""The knobs of PSRO on Gen 1 OU; the command line is generated from them."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxnash.policies.spec import MODEL_SIZES
from jaxnash.runs.checkpoint import restore
from jaxnash.showdown.heuristics import MEMBERS
from jaxnash.types import JaxnashError, Member, Neural


@dataclass(frozen=True)
class Knobs:
    """PSRO on Gen 1 OU: a population grown against its own equilibrium on the real Pokémon Showdown."""

    iterations: int = 3
    """Best responses to train and add."""
    battles_per_matchup: int = 40
    """Battles of every pair of members (even: each pair of battles swaps seats and teams)."""
    collection_battles: int = 240
    """Battles an iteration between the population and draws from the mixture, for cloning."""
    oracle_epochs: int = 4
    """Passes of weighted cloning of the winners' seats, for a best response from scratch."""
    finetune_epochs: int = 1
    """Passes of cloning for one that starts from a trained policy."""
    oracle_updates: int = 10
    """PPO updates against the mixture, after the cloning."""
    oracle_battles: int = 256
    """Fresh battles of one PPO update (even); on the engine, about as many."""
    backend: Literal["engine", "showdown"] = "engine"
    """Where PPO plays: on the JAX engine or on Showdown. All that is measured is measured on Showdown."""
    batch_size: int = 512
    """Decisions in a minibatch, of cloning and of PPO."""
    learning_rate: float = 1.4e-3
    """Of cloning (Adam)."""
    oracle_learning_rate: float = 4e-4
    """Of PPO (Adam)."""
    collected_weight: float = 0.5
    """Share w of the cloned decisions that comes from this iteration's collection; 1 - w from earlier."""
    replay_battles: int = 900
    """How many earlier battles are kept in memory for cloning, the latest ones."""
    validate_every: int = 10
    """PPO updates between validations; the best validated parameters are the best response."""
    validation_battles: int = 160
    """Battles of one validation (even), the same ones for every candidate."""
    test_battles: int = 400
    """Fresh battles for the oracle gap (even)."""
    final_battles: int = 100
    """Battles of the last best response against each scripted member on the evaluation teams (even)."""
    parallel_battles: int = 64
    """Battles running at once; no result depends on it."""
    workers: int = 2
    """Simulator processes; no result depends on it."""
    battle_format: str = "gen1ou"
    """Showdown's name of the format."""
    team_set: str = "train"
    """Teams of tournament, collection and training: a built-in name or a folder of export texts."""
    eval_team_set: str = "eval"
    """Teams of the final evaluation."""
    turn_limit: int = 300
    """A battle that reaches this turn is a draw."""
    members: tuple[str, ...] = tuple(MEMBERS)
    """Scripted members of the first population."""
    add_member: tuple[str, ...] = ()
    """Checkpoints (folders) to add to the first population."""
    opponent: str | None = None
    """Train one best response to this member alone (a scripted name or a checkpoint), no tournament."""
    model_size: str = "tiny"
    """Size of a network that starts from scratch."""
    init_checkpoint: str | None = None
    """Checkpoint that the first best response starts from."""
    greedy: bool = False
    """Best responses play their most probable action instead of sampling."""
    save_every: int = 4
    """PPO updates between saves of the training state."""
    seed: int = 0
    """Every draw derives from it."""
    run_dir: str | None = None
    """Where the run is written; the next free runs/psro_gen1ou_<n> by default."""
    resume: bool = False
    """Continue the run in --run-dir (by default the latest), also after kill -9."""
    smoke: bool = False
    """One small iteration in two minutes: replaces the sizes above."""


def checked(knobs: Knobs) -> Knobs:
    """The same knobs, or `JaxnashError` naming the first that cannot be."""
    for kind in ("per_matchup", "oracle", "validation", "test", "final", "collection"):
        name = f"battles_{kind}" if kind == "per_matchup" else f"{kind}_battles"
        value = getattr(knobs, name)
        if value < 2 or value % 2:
            raise JaxnashError(f"--{name.replace('_', '-')} is {value}: pass an even number, at least 2")
    for name in ("workers", "parallel_battles", "batch_size", "validate_every", "save_every", "turn_limit"):
        if getattr(knobs, name) < 1:
            raise JaxnashError(f"--{name.replace('_', '-')} is {getattr(knobs, name)}: pass at least 1")
    for name in ("iterations", "oracle_epochs", "finetune_epochs", "oracle_updates", "replay_battles"):
        if getattr(knobs, name) < 0:
            raise JaxnashError(f"--{name.replace('_', '-')} is {getattr(knobs, name)}: pass 0 or more")
    if knobs.oracle_epochs + knobs.oracle_updates == 0 and knobs.iterations:
        raise JaxnashError(
            "--oracle-epochs and --oracle-updates are both 0: a best response needs one of them"
        )
    if not 0 <= knobs.collected_weight <= 1:
        raise JaxnashError(f"--collected-weight is {knobs.collected_weight}: pass a share from 0 to 1")
    if knobs.model_size not in MODEL_SIZES:
        raise JaxnashError(
            f"--model-size {knobs.model_size!r} is unknown: pass one of {', '.join(MODEL_SIZES)}"
        )
    for name in knobs.members:
        scripted(name)
    if not knobs.members and not knobs.add_member and not knobs.opponent:
        raise JaxnashError("the first population is empty: name --members or --add-member")
    return knobs


def trains_on_engine(knobs: Knobs) -> bool:
    """Whether there is PPO to play on the JAX engine."""
    return knobs.backend == "engine" and knobs.oracle_updates > 0 and bool(knobs.iterations or knobs.opponent)


def scripted(name: str) -> Member:
    """The scripted member of that name; `JaxnashError` lists the names there are."""
    if name not in MEMBERS:
        raise JaxnashError(f"no member is called {name!r}: there are {', '.join(MEMBERS)}")
    return MEMBERS[name]


def member_of(name_or_checkpoint: str) -> Member:
    """A scripted name or a checkpoint's folder."""
    if name_or_checkpoint in MEMBERS:
        return MEMBERS[name_or_checkpoint]
    if not Path(name_or_checkpoint).exists():
        raise JaxnashError(
            f"{name_or_checkpoint!r} is no scripted member ({', '.join(MEMBERS)}) and no checkpoint folder"
        )
    return restore(name_or_checkpoint)


def first_members(knobs: Knobs) -> tuple[str, ...]:
    """Scripted names and checkpoints of iteration 0, in the order of the population."""
    return (knobs.opponent,) if knobs.opponent else (*knobs.members, *knobs.add_member)


def first_population(knobs: Knobs) -> list[Member]:
    """The members of iteration 0; what comes from a checkpoint gets a name that is free in this run."""
    members: list[Member] = []
    for source in first_members(knobs):
        member = member_of(source)
        if isinstance(member, Neural):
            member = member._replace(name=free_name(member.name, {m.name for m in members}))
        members.append(member)
    return members


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, or one like it that is neither taken nor for a best response of this run (`br_<i>`)."""
    name = f"given_{name}" if name.startswith("br_") else name
    numbered = (f"{name}_{k}" for k in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
