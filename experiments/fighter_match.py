"""Matches of the fighter between any two players, in pairs that swap seats, and a film of one of them.

A player is a script (based, constant), a checkpoint's folder or a run's directory.

python3 -m uv run experiments/fighter_match.py runs/fighter_1 based --pairs 50 --gif match.gif
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tyro

from jaxnash.games.fighter import digest, table
from jaxnash.runs.cli import main as cli
from jaxnash.runs.fighter import summary
from jaxnash.runs.fighter_attention import attention_of, write_attention
from jaxnash.runs.fighter_film import write_gif, write_video
from jaxnash.runs.fighter_human import played_by_hand, window
from jaxnash.runs.fighter_match import Film, Player, played, player_of, said
from jaxnash.types import JaxnashError, Neural


@dataclass(frozen=True)
class Config:
    first: tyro.conf.Positional[str]
    """Whose side is counted; with --human the opponent."""
    second: tyro.conf.Positional[str | None] = None
    """The opponent; none with --human."""
    pairs: int = 50
    """Of matches that begin alike, one from each seat."""
    seed: int = 0
    """Every draw derives from it."""
    greedy: bool = False
    """Networks press the likelier buttons instead of drawing them."""
    match: int = 0
    """Which match is filmed, from 0; match i and match PAIRS + i begin alike, with seats swapped."""
    gif: str | None = None
    """Write the film of that match here."""
    video: str | None = None
    """Likewise by ffmpeg; without ffmpeg it becomes a GIF."""
    attention: str | None = None
    """Draw here (.png) what the first network looks at in that match; the numbers go beside it (.npz)."""
    human: bool = False
    """Play one match against FIRST yourself, in a window of pygame: keys w a s d, space, h l j k g."""


def run(config: Config) -> dict[str, Any]:
    """Play, print, film. Returns what `fighter.summary` says of the matches, nothing of a person's."""
    if config.human == (config.second is not None):
        raise JaxnashError(
            "with --human you are one player: name only the other"
            if config.human
            else f"who plays against {config.first}? name a second player (based, constant, a checkpoint)"
        )
    screen = window() if config.human else None
    players = [player_of(name, greedy=config.greedy) for name in (config.first, config.second) if name]
    networks = [(player.plays, place) for place, player in enumerate(players, config.human)]
    watched = [(plays, place) for plays, place in networks if isinstance(plays, Neural)]
    if config.attention and not watched:
        raise JaxnashError("--attention needs a network among the players: scripts attend to nothing")
    if screen is not None:
        counted, film = played_by_hand(players[0], screen, seed=config.seed)
        found = {}
        dealt, taken = counted.dealt.item(), counted.taken.item()
        print(f"you against {config.first}: {film.result}; damage dealt {dealt:.0f}, taken {taken:.0f}")
    else:
        found, film = matches(players, config)
    if config.gif:
        write_gif(config.gif, film)
        print(f"film: {config.gif}")
    if config.video:
        written = write_video(config.video, film)
        why = "" if str(written) == config.video else " (no ffmpeg on PATH: a GIF instead of the video)"
        print(f"film: {written}{why}")
    if config.attention:
        plays, place = watched[0]
        title = f"{film.names[place]} against {film.names[1 - place]}: what it looks at"
        files = write_attention(config.attention, attention_of(plays, film, place=place), title=title)
        print(f"attention of {film.names[place]}: {', '.join(map(str, files))}")
    return found


def matches(players: list[Player], config: Config) -> tuple[dict[str, Any], Film]:
    """What came of all matches, told in words, and the film of the one asked for."""
    first, second = players
    counted, film = played(first, second, pairs=config.pairs, seed=config.seed, match=config.match)
    print(
        f"{first.name} ({config.first}) against {second.name} ({config.second}), seed {config.seed}, "
        f"rules {digest()}"
    )
    found = summary(counted, config.pairs)
    for line in said(found, config.pairs):
        print(line)
    print(f"match {config.match}: {film.result} after {film.frames / table.FPS:.1f} s")
    return found, film


if __name__ == "__main__":
    config = tyro.cli(Config, description=__doc__)
    cli(lambda: run(config))
