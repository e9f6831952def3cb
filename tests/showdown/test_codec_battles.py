"""The codec on battles of the real simulator: hidden facts, the two sides against each other, poke-env."""

from __future__ import annotations

import logging
import math
import random

import orjson
import pytest
from poke_env.battle import Battle

from jaxnash.games.gen1.layout import IDS, MOVE_TABLE, POKEMON_INDEX, VOCABULARIES
from jaxnash.keys import derive
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import action_of, observe, order
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.teams import load_teams
from tests.showdown.recorded import Recorded, named, packed, play, replay

CHOSEN = [id for id in VOCABULARIES["move"][1:166] if id != "struggle"]
ODD = [
    "mimic",
    "transform",
    "metronome",
    "mirrormove",
    "disable",
    "haze",
    "substitute",
    "bide",
    "wrap",
    "thrash",
]
ODD += [
    "rage",
    "hyperbeam",
    "conversion",
    "leechseed",
    "toxic",
    "rest",
    "dig",
    "fly",
    "solarbeam",
    "confuseray",
]
ODD += ["reflect", "lightscreen", "focusenergy", "mist", "spore", "firespin", "selfdestruct", "clamp"]


def any_action(record: BattleRecord, rng: random.Random) -> str:
    """Random, moves four times as likely as switches, so that battles get somewhere."""
    weights = [(4 if action < 4 else 1) * legal for action, legal in enumerate(record.legal)]
    return order(record, rng.choices(range(9), weights)[0])


def odd_team(rng: random.Random) -> str:
    """Six species, each with moves from all 165, half of them from those with odd rules."""
    species = rng.sample(VOCABULARIES["species"][1:], 6)
    return packed(*[f"{one}: {','.join(odd_moves(rng))}" for one in species])


def odd_moves(rng: random.Random) -> list[str]:
    moves: set[str] = set()
    while len(moves) < 4:
        moves.add(rng.choice(ODD if rng.random() < 0.5 else CHOSEN))
    return sorted(moves, key=lambda _: rng.random())


@pytest.fixture(scope="module")
def pool():
    with Pool(workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def battles(pool) -> list[Recorded]:
    """Random play: 24 battles with ordinary teams, 36 with odd ones."""
    recorded = []
    ordinary = load_teams("train").packed
    for i in range(60):
        rng = random.Random(derive("test codec", i))
        teams = tuple(rng.sample(ordinary, 2)) if i < 24 else (odd_team(rng), odd_team(rng))
        recorded.append(
            play(pool, battle_id=i, seed=derive("seed", i), teams=teams, choose=(any_action, any_action))
        )
    return recorded


def test_every_legal_action_is_accepted(battles, pool):
    assert pool.invalid == 0
    assert not [u.errors for r in battles for u in r.updates if any(u.errors)]
    seen = set()
    for recorded in battles:
        for records in replay(recorded):
            for record in records:
                for action, legal in enumerate(record.legal):
                    if legal and not record.waiting:
                        said = order(record, action)
                        assert action_of(record, said) == action
                        seen.add((record.asked.forced, record.asked.single, said))
    assert len(seen) >= 20, "moves and switches in every slot, locked and forced, were met"


def twice_held(record: BattleRecord) -> bool:
    """Whether the active holds a move twice, by Mimic: which of the two slots it uses is not announced."""
    moves = record.asked.data["side"]["pokemon"][0]["moves"]
    return len(set(moves)) < len(moves)


def test_both_sides_see_the_same_battle(battles):
    """What one side infers of the other's active is what the other itself is told by its own requests.

    PP are left out once a move was held twice, and after Transform: Mirror Move and Metronome then give a PP
    to a slot of the user's own moves, whose order the other side does not know.
    """
    exact = [
        name
        for name in POKEMON_INDEX
        if not name.startswith(("stat_", "move", "pp")) and name not in ("hp", "revealed")
    ]
    checked = shown = 0
    for recorded in battles:
        unsure = set()
        for records in replay(recorded):
            observations = [observe(record) for record in records]
            for side in (0, 1):
                mine, seen = named(observations[side], 0), named(observations[1 - side], 6)
                assert {n: mine[n] for n in exact} == {n: seen[n] for n in exact}
                now, _, rest = records[side].asked.data["side"]["pokemon"][0]["condition"].partition("/")
                full = int(rest.split()[0]) if rest else 1
                least = 99 if rest and int(now) < full else 100
                percent = min(math.ceil(100 * int(now) / full), least) if rest else 0
                assert seen["hp"] == 10 * percent
                checked += 1
                own = {mine[f"move{i}"]: mine[f"pp{i}"] for i in range(1, 5)}
                who = side, mine["base_species"]
                if mine["transformed"] or twice_held(records[side]):
                    unsure.add(who)
                if who not in unsure:
                    for i in range(1, 5):
                        if seen[f"move{i}"]:
                            assert own[seen[f"move{i}"]] == seen[f"pp{i}"]
                            shown += 1
    assert checked > 5000 and shown > 5000


def test_inferred_pp_meets_the_next_request(battles):
    """Own PP as inferred from the lines agree with the request that comes after them."""
    compared = 0
    for recorded in battles:
        records = BattleRecord(0), BattleRecord(1)
        for update in recorded.updates[:-1]:
            for record in records:
                raw = update.requests[record.side]
                record.feed(update.lines[record.side])
                active = record.view.active[record.side]
                offered = orjson.loads(raw).get("active", [{}])[0].get("moves", [])
                told = update is not recorded.updates[0] and offered and "pp" in offered[0]
                if told and not active.row[POKEMON_INDEX["transformed"]] and not twice_held(record):
                    assert active.pps == [move["pp"] for move in offered]
                    compared += 1
                record.request(raw)
    assert compared > 3000


# -- hidden information


def leave_hidden(kept: int, bench: bool):
    """Side 2: never its last move, nor (`bench`) its sixth Pokémon, unless nothing else is left."""

    def choose(record: BattleRecord, rng: random.Random) -> str:
        team = record.asked.data["side"]["pokemon"]
        last = {one["moves"][-1] for one in team if len(one["moves"]) == kept}
        orders = [order(record, action) for action, legal in enumerate(record.legal) if legal]

        def shown(said: str) -> bool:
            kind, slot = said.split()
            if kind == "move":
                offered = record.asked.offered[int(slot) - 1]
                return (
                    record.asked.single or offered["id"] not in last or offered["id"] != team[0]["moves"][-1]
                )
            return not bench or team[int(slot) - 1]["ident"] != hidden(record)

        return rng.choice([said for said in orders if shown(said)] or orders)

    return choose


def hidden(record: BattleRecord) -> str:
    """The Pokémon that was sixth at the start; which one it is may differ between the two battles."""
    first = next(line[2] for line in record.history if line[1] == "request")
    return orjson.loads(first)["side"]["pokemon"][5]["ident"]


def with_other_moves(team: str) -> str:
    """Every last move replaced by one the Pokémon does not have."""
    members = []
    for member in team.split("]"):
        fields = member.split("|")
        moves = fields[4].split(",")
        fields[4] = ",".join([*moves[:-1], next(id for id in ("leer", "growl") if id not in moves)])
        members.append("|".join(fields))
    return "]".join(members)


def with_another_sixth(team: str) -> str:
    members = team.split("]")
    names = {(fields := member.split("|"))[1] or fields[0] for member in members}
    other = next(name for name in ("Ditto", "Magikarp") if name not in names)
    return "]".join([*members[:5], packed(f"{other}: tackle, splash, leer, growl")])


@pytest.mark.parametrize("change", ["moves", "bench", "both"])
@pytest.mark.parametrize("case", range(5))
def test_hidden_facts_leave_no_trace(pool, case, change):
    """Two battles that differ only in what side 2 never shows give side 1 the same bytes while logs agree."""
    rng = random.Random(derive("hidden", case))
    ours, theirs = rng.sample(load_teams("train").packed, 2)
    other = theirs
    if change in ("moves", "both"):
        other = with_other_moves(other)
    if change in ("bench", "both"):
        other = with_another_sixth(other)
    choose = any_action, leave_hidden(4, change in ("bench", "both"))
    pair = []
    for i, team in enumerate((theirs, other)):
        battle_id = 1000 + 100 * case + 10 * ["moves", "bench", "both"].index(change) + i
        pair.append(
            play(pool, battle_id=battle_id, seed=derive("hidden", case), teams=(ours, team), choose=choose)
        )
    same = 0
    views = zip(*[replay(recorded) for recorded in pair])
    for (first, first_own), (second, second_own) in views:
        if first.history != second.history:
            break
        assert first_own.asked.data != second_own.asked.data, "side 2 itself does see the difference"
        for a, b in zip(observe(first), observe(second)):
            assert a.tobytes() == b.tobytes()
        assert first.legal == second.legal
        same += 1
    assert same >= 15, f"the logs agreed for {same} decisions only"


# -- poke-env as an outside oracle


def test_poke_env_agrees_on_both_actives(battles):
    """Species, hp, status and boosts of both actives at every decision, by poke-env's own Battle."""
    log = logging.getLogger("poke-env")
    log.disabled, before = True, log.disabled
    compared = 0
    for recorded in battles:
        oracles = [Battle("battle-gen1ou-1", f"p{side + 1}", log, gen=1) for side in (0, 1)]
        seen = [0, 0]
        for records in replay(recorded):
            for record, oracle in zip(records, oracles):
                oracle._player_role = f"p{record.side + 1}"
                for line in record.history[seen[record.side] :]:
                    if line[1] == "request":
                        oracle.parse_request(orjson.loads(line[2]))
                    else:
                        oracle.parse_message(line)
                seen[record.side] = len(record.history)
                obs = observe(record)
                for index, pokemon in ((0, oracle.active_pokemon), (6, oracle.opponent_active_pokemon)):
                    row = named(obs, index)
                    if row["fainted"]:  # poke-env has no active then
                        assert pokemon is None or pokemon.fainted
                        continue
                    assert row["base_species"] == pokemon.base_species
                    hp = pokemon.current_hp / pokemon.max_hp
                    assert row["hp"] == math.ceil(round(1000 * hp, 6))
                    status = pokemon.status.name.lower() if pokemon.status else ""
                    assert row["status"] == status
                    boosts = {"atk": "atk", "def": "def", "spc": "spa", "spe": "spe"}
                    boosts |= {"acc": "accuracy", "eva": "evasion"}
                    assert all(row[f"boost_{a}"] == pokemon.boosts[b] for a, b in boosts.items())
                    compared += 1
    log.disabled = before
    assert compared > 10_000


def test_the_moves_of_the_vocabulary_are_met(battles):
    """The odd teams reach most of the game: what is tested above is not a corner of it."""
    used = {
        line[3]
        for recorded in battles
        for update in recorded.updates
        for line in update.lines[0]
        if line[1:2] == ["move"]
    }
    assert len(used) >= 120 and int(MOVE_TABLE["power"][IDS["move"]["bodyslam"]]) == 85
