"""What the bridge's scripted members see and do at decisions of recorded battles, and the JAX ones there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from poke_env.player import SimpleHeuristicsPlayer

from jaxnash.games.gen1 import expected, scripted
from jaxnash.games.gen1.layout import IDS, SPECIES_TABLE, STATS, TEAM
from jaxnash.games.gen1.scripted import WHICH, Draw, Known
from jaxnash.games.gen1.state import SLOTS
from jaxnash.keys import derive
from jaxnash.showdown import damage, heuristics
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import observe
from jaxnash.showdown.pokemon import to_id
from jaxnash.showdown.request import FIRST_SWITCH
from tests.differential import records, replay

NAMES = tuple(heuristics.MEMBERS)


class Case(NamedTuple):
    """One side's decision: what the JAX members are given, and what the bridge's work out and choose."""

    given: tuple[Any, ...]  # Observation, legal, Known, Draw
    choices: dict[str, int]  # by member
    scores: dict[str, np.ndarray]  # NaN where the bridge has none
    fallback: bool  # poke-env did not give a legal order
    unlike: bool  # poke-env takes an active Pokemon for another than the one that it is
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
            yield Case(given, choices, scores(seat, failed), failed, unlike(seat), (number, seat.side))


def known(record: BattleRecord) -> Known:
    """What the request says and the observation does not."""
    team = record.asked.data["side"]["pokemon"]
    places = {IDS["species"][to_id(one["details"].split(",")[0])]: i for i, one in enumerate(team)}
    position, slot = np.arange(TEAM, dtype=np.int32), np.arange(SLOTS, dtype=np.int32)
    hps, maxhps = np.zeros((2, TEAM), np.int32)
    for i, row in enumerate(record.view.rows()[0]):
        place = position[i] = places[row[damage.C["base_species"]]]
        hp = team[place]["condition"].split()[0].split("/")
        hps[i], maxhps[i] = int(hp[0]), int(hp[-1])
    slot[: len(record.asked.moves)] = record.asked.moves
    stats = team[0]["stats"]
    return Known(position, slot, hps, maxhps, np.int32(stats["atk"]), np.int32(stats["spa"]))


def unlike(record: BattleRecord) -> bool:
    """Whether an active Pokemon has other base stats or types in poke-env than in the observation: it takes
    who transforms into a transformed Pokemon, or one with new types, for what that one was before."""
    battle = heuristics._poke_env_battle(record)
    for (row, *_), mon in zip(record.view.rows(), battle.all_active_pokemons):
        species = row[damage.C["species"]]
        types = [row[damage.C[name]] for name in ("type1", "type2")]
        theirs = [IDS["type"][kind.name.lower()] for kind in mon.types]
        stats = [mon.base_stats[name] for name in ("atk", "def", "spa", "spe")]
        mine = [int(SPECIES_TABLE[name][species]) for name in STATS]
        if stats != mine or theirs != [kind for kind in types if kind]:
            return True
    return False


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
        parts.append(out)
    choices, found = jax.tree.map(lambda *xs: np.concatenate(xs)[: len(given)], *parts)
    wide = {
        name: np.ascontiguousarray(x).view(np.float64)[..., 0] if x.dtype == np.uint32 else x
        for name, x in found.items()
    }
    return choices, wide | {"matchup": wide["matchup"] / 4}


@jax.jit
def _known(states: Any) -> tuple[Known, Known]:
    return jax.vmap(lambda state: (scripted.known(state, 0), scripted.known(state, 1)))(states)


def first_states(battles: list[records.Record]) -> Any:
    """The engine's states at their first decision, [LANES, ...]."""
    padded = battles + [battles[0]] * (replay.LANES - len(battles))
    setups = [replay.setup_of(record) for record in padded]
    return replay._begin(jax.tree.map(lambda *xs: np.stack(xs), *setups))[0]


def known_by_the_engine(battles: list[records.Record]) -> Iterator[tuple[Known, Known]]:
    """What `scripted.known` makes of the engine's states at each decision, for both sides, [LANES, ...]."""
    padded = battles + [battles[0]] * (replay.LANES - len(battles))
    states = first_states(battles)
    for t in range(max(len(record["decisions"]) for record in battles)):
        yield jax.device_get(_known(states))
        states = replay._step(states, *replay.inputs(padded, t))[0]
