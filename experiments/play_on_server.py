"""Play a checkpoint (or a scripted member) against another member on a local Pokémon Showdown server.

python3 -m uv run experiments/play_on_server.py CHECKPOINT --opponent simple-heuristics --battles 100
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from jaxnash.psro.tournament import wilson
from jaxnash.runs.cli import main as cli
from jaxnash.runs.knobs import member_of
from jaxnash.showdown.player import battles_on_server
from jaxnash.showdown.server import Server
from jaxnash.showdown.teams import load_teams


@dataclass(frozen=True)
class Config:
    member: tyro.conf.Positional[str]
    """A checkpoint's folder or a scripted member's name."""
    opponent: str = "random"
    """Likewise."""
    battles: int = 100
    """How many battles."""
    team_set: str = "eval"
    """Teams of both sides: a built-in name or a folder of export texts."""
    port: int | None = None
    """The server's port; a free one by default."""
    seed: int = 0
    """Of teams and draws (the server's own dice are its own)."""


def run(config: Config) -> None:
    first, second = member_of(config.member), member_of(config.opponent)
    teams = load_teams(config.team_set)
    with Server(port=config.port) as server:
        print(f"Pokémon Showdown on 127.0.0.1:{server.port}")
        ours, theirs = battles_on_server(first, second, config.battles, server, teams, seed=config.seed)
    rate = (ours.n_won_battles + ours.n_tied_battles / 2) / config.battles
    low, high = wilson(rate, config.battles)
    print(f"{first.name} won {rate:.1%} [{low:.1%}, {high:.1%}] of {config.battles} against {second.name}")
    print(f"refused choices: {ours.invalid} of {first.name}, {theirs.invalid} of {second.name}")


if __name__ == "__main__":
    config = tyro.cli(Config, description=__doc__)
    cli(lambda: run(config))
