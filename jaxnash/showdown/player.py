"""A poke-env `Player` that plays any member on a Showdown server."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Any

import jax
import orjson
from poke_env import AccountConfiguration, ServerConfiguration
from poke_env.concurrency import POKE_LOOP
from poke_env.player import Player
from poke_env.player.battle_order import BattleOrder
from poke_env.teambuilder import Teambuilder

from jaxnash.keys import derive
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import observe, order
from jaxnash.showdown.rollout import actor, padded
from jaxnash.showdown.server import Server
from jaxnash.showdown.teams import TeamSet
from jaxnash.types import External, Member, Neural


@dataclass
class _Choice(BattleOrder):
    text: str

    @property
    def message(self) -> str:
        return f"/choose {self.text}"


class _Room:
    """One battle on the server: what has arrived before the side is known, then the record."""

    def __init__(self) -> None:
        self.early: list[list[str]] = []
        self.record: BattleRecord | None = None
        self.decisions = 0

    def feed(self, line: list[str]) -> None:
        if line[1] == "request":
            raw = "|".join(line[2:])
            if not raw:
                return
            if self.record is None:
                self.record = BattleRecord(int(orjson.loads(raw)["side"]["id"][1]) - 1)
                self.record.feed(self.early)
            self.record.request(raw)
        elif self.record is None:
            self.early.append(line)
        else:
            self.record.feed([line])


class MemberPlayer(Player):
    """Plays `member`, drawing from keys by (seed, battle tag, seat, decision).

    `player.invalid` counts choices that the server refused. Raises ValueError for an `External` member.
    """

    def __init__(self, member: Member, *, seed: int = 0, **kwargs: Any):
        if isinstance(member, External):
            raise ValueError(f"{member.name} is played by {member.user_name}, not by us")
        super().__init__(**kwargs)
        self.member = member
        self.seed = seed
        self.invalid = 0
        self.rooms: dict[str, _Room] = {}

    async def _handle_battle_message(self, split_messages: list[list[str]]) -> None:
        tag = split_messages[0][0]
        if len(split_messages) > 1 and split_messages[1][1:2] == ["init"]:
            self.rooms[tag] = _Room()
        room = self.rooms.get(tag)  # None once the battle is over
        for line in split_messages[1:]:
            if room is None or len(line) < 2 or line[1] == "t:":
                continue
            if line[1] == "error":
                self.invalid += line[2].startswith(("[Invalid choice]", "[Unavailable choice]"))
            room.feed(line)
        await super()._handle_battle_message(split_messages)

    def _battle_finished_callback(self, battle: Any) -> None:
        self.rooms.pop(f">{battle.battle_tag}", None)

    def choose_move(self, battle: Any) -> BattleOrder:
        room = self.rooms[f">{battle.battle_tag}"]
        record = room.record
        assert record is not None, "a decision was asked for before any request"
        key = derive(self.seed, battle.battle_tag, record.side, room.decisions)
        room.decisions += 1
        if isinstance(self.member, Neural):
            action = neural_action(self.member, record, key)
        else:
            action = self.member.choose(record, random.Random(key))
        return _Choice(order(record, action))


def neural_action(member: Neural, record: BattleRecord, key: int) -> int:
    """One decision of a network: the bits that `rollout.play` would produce for the same record and key."""
    act = actor(member.policy.apply)
    actions, _, _ = act(member.params, *padded([(observe(record), record.legal, key)]), member.greedy)
    return int(jax.device_get(actions)[0])


class KeyedTeams(Teambuilder):
    """Gives team `derive(seed, n) % count` of the set to the n-th battle."""

    def __init__(self, teams: TeamSet, seed: int):
        self.teams, self.seed, self.given = teams, seed, 0

    def yield_team(self) -> str:
        self.given += 1
        return self.teams.packed[derive(self.seed, self.given) % len(self.teams.packed)]


def local_player(
    member: Member, server: Server, name: str, teams: TeamSet, *, seed: int = 0, parallel: int = 8
) -> MemberPlayer:
    """A `MemberPlayer` on our own server under the user name `name`, which has to be unique there."""
    return MemberPlayer(
        member,
        seed=seed,
        team=KeyedTeams(teams, derive(seed, "teams", name)),
        account_configuration=AccountConfiguration(name, None),
        server_configuration=ServerConfiguration(server.url, "http://127.0.0.1:1/action.php?"),
        battle_format="gen1ou",
        max_concurrent_battles=parallel,
        log_level=logging.ERROR,
    )


def battles_on_server(
    first: Member, second: Member, battles: int, server: Server, teams: TeamSet, *, seed: int = 0
) -> tuple[MemberPlayer, MemberPlayer]:
    """Play battles by challenge; the players' `n_won_battles` and `n_tied_battles` tell the result."""
    logging.getLogger("poke-env").setLevel(logging.ERROR)  # it warns of every Gen 1 screen
    names = [
        f"{member.name[:12]}{side}{derive(seed, server.port) % 10**4}"
        for side, member in enumerate((first, second))
    ]
    players = [local_player(m, server, name, teams, seed=seed) for m, name in zip((first, second), names)]

    async def play() -> None:
        await players[0].battle_against(players[1], n_battles=battles)

    try:
        asyncio.run_coroutine_threadsafe(play(), POKE_LOOP).result()
    finally:
        for player in players:
            asyncio.run_coroutine_threadsafe(player.ps_client.stop_listening(), POKE_LOOP).result()
    return players[0], players[1]
