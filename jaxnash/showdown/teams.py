"""Team sets: the distribution of teams that battles are drawn from.

A set is a folder with one team per file, in Showdown's export text. Showdown's own TeamValidator decides
what is legal and Showdown's own packer makes what the simulator is given; both answers are kept in the
user's cache folder, so that only the first load of a set starts node. Format and rules: docs/teams.md.
"""

from __future__ import annotations

import json
import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from jaxnash.keys import derive
from jaxnash.showdown import simulator
from jaxnash.types import JaxnashError

SETS = Path(__file__).parent / "team_sets"
SUFFIXES = (".txt", ".gen1ou_team")
FULL_EVS = "EVs: 252 HP / 252 Atk / 252 Def / 252 SpA / 252 SpD / 252 Spe"


class TeamSet(NamedTuple):
    """Legal teams in the order of their file names; every battle draws from them uniformly."""

    name: str  # "gen1ou/train", or the folder's own name
    names: tuple[str, ...]  # [n] file names without suffix
    packed: tuple[str, ...]  # [n] Showdown's packed format
    hash: str  # of `packed`: names the team distribution in every cell of a payoff table


def known_sets() -> tuple[str, ...]:
    """Names of the sets that come with the library, such as "gen1ou/train"."""
    return tuple(sorted(f"{path.parent.name}/{path.name}" for path in SETS.glob("*/*") if path.is_dir()))


def load_teams(name_or_folder: str | Path, *, battle_format: str = "gen1ou") -> TeamSet:
    """The set of that name ("train", "gen1ou/train"), else the teams of that folder.

    A built-in name wins over a folder of the same name; write "./train" for the folder.

    Raises:
      JaxnashError: unsupported format, no such set or folder, no team in it, text that cannot be read, or
        an illegal team (then with Showdown's words for every problem of every file).
    """
    simulator.check_format(battle_format)
    folder, name = _find(str(name_or_folder), battle_format)
    files = sorted((path for path in folder.iterdir() if path.suffix in SUFFIXES), key=lambda path: path.name)
    if not files:
        raise JaxnashError(f"team set {folder} holds no team: expected files named *{' or *'.join(SUFFIXES)}")
    names = tuple(path.stem for path in files)
    if len(set(names)) < len(names):
        twice = next(stem for stem in names if names.count(stem) > 1)
        raise JaxnashError(f"team set {folder} holds two teams named {twice!r}: rename one of the files")
    packed = _packed(files, tuple(map(_read, files)), battle_format)
    return TeamSet(name=name, names=names, packed=packed, hash=_digest(packed))


def draw_teams(team_set: TeamSet, key: int) -> tuple[int, int]:
    """Two indices into the set, independent and uniform (they may be equal), a function of the key alone.

    One key serves a whole pair of battles. Seat 0 plays the first team and seat 1 the second in both of them;
    between the two the members swap seats, and so teams.
    """
    count = len(team_set.packed)
    return derive(key, "team", 0) % count, derive(key, "team", 1) % count


def _find(wanted: str, battle_format: str) -> tuple[Path, str]:
    known = known_sets()
    for name in (wanted, f"{battle_format}/{wanted}"):
        if name in known:
            return SETS / name, name
    folder = Path(wanted).expanduser()
    if wanted and folder.is_dir():
        return folder, folder.resolve().name
    raise JaxnashError(f"unknown team set {wanted!r}: name a folder of team files or {' or '.join(known)}")


def _read(path: Path) -> str:
    """The file's export text with every Pokémon's EVs written out.

    In Generation 1 no EVs line means all of them, and that is how Showdown's team builder exports; the
    importer of the npm package reads none of them instead, which the validator then refuses.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        raise JaxnashError(f"cannot read team file {path} as UTF-8 text: {error}") from None
    lines = [line.strip() for line in text.splitlines()]
    if not any(line.startswith("-") and line != "---" for line in lines):
        raise JaxnashError(f"team file {path} is not Showdown export text: no line names a move ('- Surf')")
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line in ("", "---"):
            blocks.append([])
        elif not line.startswith("==="):  # the team builder's title
            blocks[-1].append(line)
    for block in blocks:
        if block and not any(line.startswith("EVs:") for line in block):
            block.insert(1, FULL_EVS)
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _packed(files: list[Path], texts: tuple[str, ...], battle_format: str) -> tuple[str, ...]:
    version = json.loads((simulator.NODE_DIR / "package.json").read_text())["dependencies"]
    packer = (simulator.NODE_DIR / "teams.js").read_text()
    cached = _cache_folder() / f"{_digest((json.dumps(version), packer, battle_format, *texts))}.json"
    try:
        packed = tuple(json.loads(cached.read_text(encoding="utf-8")))
        if len(packed) == len(texts):
            return packed
    except (OSError, ValueError, TypeError):
        pass  # absent or damaged: ask Showdown again
    problems = simulator.validate_teams(list(texts), battle_format)
    illegal = [f"{path.name}: {' '.join(said)}" for path, said in zip(files, problems) if said]
    if illegal:
        raise JaxnashError(f"not legal in {battle_format}, says Showdown: {' | '.join(illegal)}")
    packed = tuple(simulator.pack_teams(list(texts)))
    _write(cached, json.dumps(packed))
    return packed


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whoever else writes; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError:
        return
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(partial, path)
    except OSError:
        Path(partial).unlink(missing_ok=True)


def _cache_folder() -> Path:
    return simulator.cache_dir() / "teams"


def _digest(texts: tuple[str, ...]) -> str:
    return blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
