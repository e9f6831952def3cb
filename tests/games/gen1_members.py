"""What the bridge's scripted members see and do at the decisions of recorded battles, and the JAX ones there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from poke_env.player import SimpleHeuristicsPlayer

from jaxnash.games.gen1 import expected, scripted
from jaxnash.games.gen1.layout import IDS, TEAM
from jaxnash.games.gen1.scripted import WHICH, Draw, Known
from jaxnash.games.gen1.state import SLOTS
from jaxnash.keys import derive
from jaxnash.showdown import damage, heuristics
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import observe
from jaxnash.showdown.pokemon import to_id
from jaxnash.showdown.request import FIRST_SWITCH
from tests.differential import records

NAMES = tuple(heuristics.MEMBERS)


class Case(NamedTuple):
    """One side's decision: what the JAX members are given, and what the bridge's work out and choose."""

    given: tuple[Any, ...]  # Observation, legal, Known, Draw
    choices: dict[str, int]  # by member
    scores: dict[str, np.ndarray]  # NaN where the bridge has none
    fallback: bool  # poke-env did not give a legal order
    at: tuple[int, int]  # decision, side


class Drawn(random.Random):
    """Gives the numbers of a `Draw` to the bridge's members."""

    def __new__(cls, drawn: Draw) -> Drawn:
        return super().__new__(cls)

    def __init__(self, drawn: Draw):
        self.drawn = drawn

    def random(self) -> float:
        return float(self.drawn.coin)

    def getrandbits(self, k: int) -> int:
        return 0

    def choice(self, seq: Any) -> Any:
        return seq[int(self.drawn.which) % len(seq)]


def cases(record: records.Record) -> Iterator[Case]:
    """Every decision that a side had, of a record with `lines` and `raw`."""
    seats = [BattleRecord(0), BattleRecord(1)]
    for number, (lines, decision) in enumerate(zip(records.told(record), record["decisions"])):
        for seat in seats:
            records._feed(seat, {"lines": lines, "raw": decision["raw"]})
            if seat.waiting:
                continue
            rng = np.random.default_rng(derive(record["seed"], number, seat.side))
            drawn = Draw(np.float32(rng.random(dtype=np.float32)), np.int32(rng.integers(WHICH)))
            before = seat.extras.get("fallbacks", 0)
            choices = {name: m.choose(seat, Drawn(drawn)) for name, m in heuristics.MEMBERS.items()}
            failed = seat.extras.get("fallbacks", 0) > before
            given = (observe(seat), np.array(seat.legal), known(seat), drawn)
            yield Case(given, choices, scores(seat, failed), failed, (number, seat.side))


def known(record: BattleRecord) -> Known:
    """What the request says and the observation does not."""
    team = record.asked.data["side"]["pokemon"]
    places = {IDS["species"][to_id(one["details"].split(",")[0])]: i for i, one in enumerate(team)}
    found = Known(np.zeros(TEAM, np.int32), np.arange(SLOTS), *np.zeros((2, TEAM), np.int32), 0, 0)
    found.position[:] = np.arange(TEAM)
    for i, row in enumerate(record.view.rows()[0]):
        place = found.position[i] = places[row[damage.C["base_species"]]]
        hp = team[place]["condition"].split()[0].split("/")
        found.hp[i], found.maxhp[i] = int(hp[0]), int(hp[-1])
    found.slot[: len(record.asked.moves)] = record.asked.moves
    stats = team[0]["stats"]
    return found._replace(
        slot=found.slot.astype(np.int32), attack=np.int32(stats["atk"]), special=np.int32(stats["spa"])
    )


def scores(record: BattleRecord, failed: bool) -> dict[str, np.ndarray]:
    """The bridge's numbers by which its members choose."""
    own, others = record.view.rows()
    other, asked = others[0], record.asked
    found = {name: np.full(SLOTS, np.nan) for name in MOVE_SCORES}
    if not asked.forced and not asked.single:
        for action, move in heuristics._legal_moves(record).items():
            found["damage"][action] = damage.expected_damage(own[0], other, move)
            found["low"][action] = damage.expected_damage(own[0], other, move, low=True)
            found["chance"][action] = damage.hit_chance(own[0], other, move)
            found["power"][action] = damage.M["power"][move]
        for action, score in heuristics.boss_scores(record).items():
            found["boss"][action] = score
    found |= {name: np.full(TEAM, np.nan) for name in ROW_SCORES}
    for i, row in enumerate(own):
        found["threat"][i] = heuristics._threat(row, other)
        found["left"][i] = damage.hp_left(row)
        found["matchup"][i] = damage.matchup(row, other)
    if failed:
        return found
    battle = heuristics._poke_env_battle(record)
    team = {IDS["species"][mon.species]: mon for mon in battle.team.values()}
    for i, row in enumerate(own):
        mon = team[row[damage.C["base_species"]]]
        if mon.active or not mon.fainted:
            found["simple_matchup"][i] = SimpleHeuristicsPlayer._estimate_matchup(
                mon, battle.opponent_active_pokemon
            )
    if not asked.forced and not asked.single:
        order, score = SimpleHeuristicsPlayer.choose_singles_move(battle)
        action = heuristics.action_of(record, order.message)
        if action < FIRST_SWITCH:
            found["simple_damage"][action] = score
    return found


MOVE_SCORES = ("damage", "low", "chance", "power", "boss", "simple_damage")
ROW_SCORES = ("threat", "left", "matchup", "simple_matchup")


def _evaluate(obs: Any, legal: Any, more: Known, drawn: Draw) -> tuple[dict[str, Any], dict[str, Any]]:
    now = scripted.seen(obs, legal)
    choices = {name: scripted.choose(plan(now, more), drawn) for name, plan in scripted.PLANS.items()}
    own, other, ids = now.own[:1], now.other[:1], scripted._ids(now)
    found = {
        "power": expected.fact("power", ids),
        "boss": scripted.boss_scores(now),
        "matchup": expected.matchup(now.own, now.other[0]),
    }
    with expected.exact():
        exact = {
            "damage": scripted.move_damage(now),
            "low": scripted.move_damage(now, low=True),
            "chance": expected.hit_chance(own, other, ids),
            "simple_damage": scripted.simple_damage(now),
            "threat": scripted.threat(now.own, now.other[0]),
            "left": expected.hp_left(now.own),
            "simple_matchup": scripted.simple_matchups(now, more),
        }
        bits = {name: jax.lax.bitcast_convert_type(value, jnp.uint32) for name, value in exact.items()}
    return choices, found | bits


_jitted = jax.jit(jax.vmap(_evaluate))
LANES = 256


def evaluate(given: list[tuple[Any, ...]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Choices i32[N] by member and scores [N, 4 or 6], f64 where they are not whole."""
    parts = []
    for first in range(0, len(given), LANES):
        part = given[first : first + LANES]
        padded = part + [part[0]] * (LANES - len(part))
        out = jax.device_get(_jitted(*jax.tree.map(lambda *xs: np.stack(xs), *padded)))
        parts.append(jax.tree.map(lambda x, n=len(part): x[:n], out))
    choices, found = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    wide = {
        name: np.ascontiguousarray(x).view(np.float64)[..., 0] if x.dtype == np.uint32 else x
        for name, x in found.items()
    }
    return choices, wide | {"matchup": wide["matchup"] / 4}
