"""How strong is a checkpoint? Battles in pairs against a member, or against the mixture of a run's iteration.

python3 -m uv run experiments/evaluate.py CHECKPOINT --opponent grunt --battles 1000
python3 -m uv run experiments/evaluate.py CHECKPOINT --opponent runs/psro_gen1ou_1/iteration_3
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.progress import track

from jaxnash.psro.members import Entry, draw_opponents, population_from_json
from jaxnash.psro.tournament import cell_from_scores, interval, winrate
from jaxnash.runs.checkpoint import restore
from jaxnash.runs.cli import main as cli
from jaxnash.runs.files import read_json
from jaxnash.runs.knobs import member_of
from jaxnash.showdown.matches import Pair, battles_of, pair_keys
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.rollout import play
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError, Member, Neural


@dataclass(frozen=True)
class Config:
    member: tyro.conf.Positional[str]
    """A checkpoint's folder or a scripted member's name."""
    opponent: str = "random"
    """Likewise, or the folder of a run's iteration, whose mixture is played."""
    battles: int = 1000
    """How many (even: each pair of battles swaps seats and teams)."""
    team_set: str = "eval"
    """Teams of both sides: a built-in name or a folder of export texts."""
    greedy: bool = False
    """The member plays its most probable action instead of sampling."""
    turn_limit: int = 300
    """A battle that reaches this turn is a draw."""
    parallel_battles: int = 64
    """Battles running at once; no result depends on it."""
    workers: int = 2
    """Simulator processes; no result depends on it."""
    seed: int = 0
    """Every draw derives from it."""


def opponents_of(name: str) -> tuple[list[Member], np.ndarray]:
    """The members to be met and their probabilities."""
    folder = Path(name)
    if not (folder / "meta_strategy.json").exists():
        return [member_of(name)], np.ones(1)
    mixture = read_json(folder / "meta_strategy.json")["meta_strategy"]
    entries = [e for e in population_from_json(read_json(folder / "population.json")) if mixture[e.name] > 0]
    members = [member_of_entry(entry, folder.parent) for entry in entries]
    return members, np.array([mixture[e.name] for e in entries])


def member_of_entry(entry: Entry, run_dir: Path) -> Member:
    """The member that plays as this one did in its run."""
    if entry.checkpoint is None:
        return member_of(entry.name)
    return restore(run_dir / entry.checkpoint)._replace(name=entry.name, greedy=entry.greedy)


def run(config: Config) -> None:
    if config.battles < 2 or config.battles % 2:
        raise JaxnashError(f"--battles is {config.battles}: pass an even number, at least 2")
    member = member_of(config.member)
    if isinstance(member, Neural):
        member = member._replace(greedy=config.greedy)
    opponents, mixture = opponents_of(config.opponent)
    teams = load_teams(config.team_set)
    drawn = draw_opponents(mixture, config.seed, "evaluate", "opponent", n=config.battles // 2)
    keys = pair_keys(0, 0, config.battles // 2, config.seed, "evaluate", member.name)
    battles = battles_of([Pair(0, 1 + int(k), pair.key) for k, pair in zip(drawn, keys)], teams)
    with Pool(workers=config.workers, turn_limit=config.turn_limit) as pool:
        played = play(pool, [member, *opponents], battles, parallel=config.parallel_battles)
        outcomes = list(track(played, description="battles", total=len(battles)))
    scores = [o.score for o in outcomes]
    cell = cell_from_scores([(a, 1 - b) for a, b in zip(scores[::2], scores[1::2])], teams=teams.hash)
    low, high = interval(cell)
    refused = sum(o.invalid[o.battle.seats.index(0)] for o in outcomes)
    met = ", ".join(f"{o.name} {p:.3f}" for o, p in zip(opponents, mixture))
    print(f"{member.name} against {met}, teams {teams.name}")
    print(f"{cell.wins} won, {cell.draws} drawn, {cell.losses} lost; refused choices {refused}")
    print(f"win rate {winrate(cell):.3f}, 95 % interval on {cell.pairs} pairs [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    config = tyro.cli(Config, description=__doc__)
    cli(lambda: run(config))
