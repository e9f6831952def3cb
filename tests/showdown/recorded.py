"""Battles on the real simulator, kept for tests: what each side was sent, and hand-written scenes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import orjson

from jaxnash.games.gen1.layout import (
    FIELD_INDEX,
    IDS,
    MOVE_TABLE,
    POKEMON_COLUMNS,
    POKEMON_INDEX,
    VOCABULARIES,
    Observation,
)
from jaxnash.keys import derive
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import observe
from jaxnash.showdown.pokemon import to_id
from jaxnash.showdown.pool import Pool, Update

Choose = Callable[[BattleRecord, random.Random], str]


class Recorded(NamedTuple):
    """One battle: every update of the pool, and the choices made at each but the last."""

    updates: tuple[Update, ...]
    choices: tuple[tuple[str | None, str | None], ...]


def play(
    pool: Pool, *, battle_id: int, seed: int, teams: tuple[str, str], choose: tuple[Choose, Choose]
) -> Recorded:
    """Plays one battle. `choose` gives Showdown orders; its rng is keyed by (seed, side, decision)."""
    records = BattleRecord(0), BattleRecord(1)
    updates, choices = [], []
    pool.start(battle_id, seed, teams)
    while True:
        (update,) = pool.poll()
        updates.append(update)
        if update.ended:
            return Recorded(tuple(updates), tuple(choices))
        take(records, update)
        made = [
            None if r.waiting else choose[r.side](r, random.Random(derive(seed, r.side, len(choices))))
            for r in records
        ]
        choices.append((made[0], made[1]))
        pool.choose(battle_id, choices[-1])


def take(records: tuple[BattleRecord, BattleRecord], update: Update) -> None:
    for record in records:
        record.feed(update.lines[record.side])
        raw = update.requests[record.side]
        if raw is not None:
            record.request(raw)


def replay(recorded: Recorded) -> Iterator[tuple[BattleRecord, BattleRecord]]:
    """Both sides' records at each decision point, in order (the same two objects, growing)."""
    records = BattleRecord(0), BattleRecord(1)
    for update in recorded.updates:
        if not update.ended:
            take(records, update)
            yield records


def packed(*sets: str) -> str:
    """A packed team of "Tauros: bodyslam, earthquake" strings; the simulator itself asks for no legality."""
    full = "252,252,252,252,252,252"
    members = []
    for text in sets:
        species, _, moves = text.partition(": ")
        members.append(f"{species}|||none|{','.join(map(to_id, moves.split(',')))}|Serious|{full}|N||||")
    return "]".join(members)


class Scene:
    """Side p1 of a hand-written battle: `lines` in Showdown's words, `ask` a request, look at columns."""

    def __init__(self, *team: str):
        self.record = BattleRecord(0)
        self.team = [self._shown(text) for text in team]
        self.pps: dict[str, int] = {}
        self.lines(f"""
            |player|p1|us|
            |player|p2|them|
            |teamsize|p1|{len(team)}
            |teamsize|p2|6
            |start""")

    @staticmethod
    def _shown(text: str) -> dict:
        species, _, moves = text.partition(": ")
        return {
            "ident": f"p1: {species}",
            "details": species,
            "condition": "300/300",
            "active": False,
            "stats": {"atk": 200, "def": 201, "spa": 202, "spd": 202, "spe": 203},
            "moves": [to_id(move) for move in moves.split(",")],
            "baseAbility": "none",
            "item": "",
        }

    def lines(self, text: str) -> Scene:
        self.record.feed([line.strip().split("|") for line in text.strip().splitlines()])
        return self

    def ask(self, active: str, *, hp: dict[str, str] | None = None, **asked) -> Scene:
        """A request with `active` in front; `hp` sets conditions by species; `asked` goes into the request.

        offered: move ids that replace the full list (a locked move, "fight"). pp: by id. disabled: ids.
        """
        front = next(i for i, one in enumerate(self.team) if one["details"] == active)
        self.team[0], self.team[front] = self.team[front], self.team[0]
        for i, one in enumerate(self.team):
            one["active"] = i == 0
            one["condition"] = (hp or {}).get(one["details"], one["condition"])
        if "moves" in asked:
            self.team[0]["moves"] = asked.pop("moves")
        self.pps |= asked.pop("pp", {})
        disabled, offered = asked.pop("disabled", ()), asked.pop("offered", None)
        if offered is not None:
            moves = [{"move": id, "id": id} for id in offered]
        else:
            moves = [self._slot(id, id in disabled) for id in self.team[0]["moves"]]
        shape = {"moves": moves} | {
            name: asked.pop(name) for name in ("trapped", "maybeLocked") if name in asked
        }
        body = asked if asked.get("wait") or asked.get("forceSwitch") else {"active": [shape], **asked}
        side = {"name": "us", "id": "p1", "pokemon": self.team}
        self.record.request(orjson.dumps({**body, "side": side}).decode())
        return self

    def _slot(self, id: str, disabled: bool) -> dict:
        most = int(MOVE_TABLE["pp"][IDS["move"][id]])
        return {"id": id, "move": id, "pp": self.pps.get(id, most), "maxpp": most, "disabled": disabled}

    def row(self, index: int) -> dict[str, int | str]:
        return named(observe(self.record), index)

    def field(self, name: str) -> int:
        return int(observe(self.record).field[FIELD_INDEX[name]])


def named(obs: Observation, index: int) -> dict[str, int | str]:
    """A row by column name, categories as words."""
    row = obs.pokemon[index]
    return {
        c.name: VOCABULARIES[c.vocabulary][value] if c.vocabulary else value
        for c, value in zip(POKEMON_COLUMNS, row.tolist())
    }


def nonzero(row: dict[str, int | str], *but: str) -> dict[str, int | str]:
    """What a row says beyond zeros and what every Pokémon has."""
    common = {"species", "base_species", "type1", "type2", "hp", "level", "active", "revealed", *but}
    stats = {name for name in POKEMON_INDEX if name.startswith("stat_")}
    return {name: value for name, value in row.items() if value and name not in common | stats}
