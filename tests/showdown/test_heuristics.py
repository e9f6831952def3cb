"""The scripted members: damage against closed forms and the simulator, each rule in a scene, legality."""

from __future__ import annotations

import random

import pytest

from jaxnash.games.gen1.layout import IDS
from jaxnash.keys import derive
from jaxnash.showdown import heuristics
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import order
from jaxnash.showdown.damage import C, M, effectiveness, expected_damage, hit_chance, matchup, stat
from jaxnash.showdown.heuristics import MEMBERS
from jaxnash.showdown.pokemon import Pokemon
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.teams import load_teams
from tests.showdown.recorded import Scene, play, take
from tests.showdown.test_codec_battles import odd_team

MOVES = IDS["move"]


@pytest.fixture(scope="module")
def pool():
    with Pool(workers=1) as pool:
        yield pool


def draws(name: str, record: BattleRecord, n: int = 400) -> dict[str, float]:
    """How often a member gives each order."""
    said = [order(record, MEMBERS[name].choose(record, random.Random(i))) for i in range(n)]
    return {one: said.count(one) / n for one in set(said)}


# -- damage


def test_damage_closed_form():
    tauros, alakazam, rhydon = (Pokemon(name).row for name in ("Tauros", "Alakazam", "Rhydon"))
    slam = MOVES["bodyslam"]
    # (2*100//5 + 2) * 85 * (298//4) // (188//4) // 50 + 2 = 114, STAB 171
    assert expected_damage(tauros, alakazam, slam, low=True) == pytest.approx(171 * 217 / 255)
    assert (
        expected_damage(tauros, rhydon, slam, low=True)
        < expected_damage(tauros, alakazam, slam, low=True) / 3
    )
    critical = (200 * 2 // 5 + 2) * 85 * 74 // 47 // 50 + 2
    critical += critical // 2
    rate = (110 // 2) / 256
    mean = ((1 - rate) * 171 + rate * critical) * (217 + 255) / 510 * 255 / 256
    assert expected_damage(tauros, alakazam, slam) == pytest.approx(mean)
    alakazam[C["reflect"]] = 1  # 2 * 188 // 4 = 94: 42 * 85 * 74 // 94 // 50 + 2 = 58, STAB 87
    assert expected_damage(tauros, alakazam, slam, low=True) == pytest.approx(87 * 217 / 255)
    assert effectiveness(IDS["type"]["water"], rhydon) == 4
    assert expected_damage(alakazam, tauros, MOVES["seismictoss"]) == pytest.approx(100 * 255 / 256)
    assert expected_damage(alakazam, tauros, MOVES["recover"]) == 0
    assert hit_chance(tauros, alakazam, MOVES["swift"]) == 1
    tauros[C["status"]] = IDS["status"]["par"]
    assert (stat(tauros, "spe"), stat(tauros, "atk")) == (318 // 4, 298)
    assert matchup(Pokemon("Starmie").row, rhydon) == 4 - 1


def test_damage_is_the_simulators(pool):
    """First blows of 400 battles: what a hit did lies between the least and the greatest roll."""
    battles, seen = {}, 0
    for i in range(400):
        rng = random.Random(derive("blow", i))
        pool.start(50_000 + i, derive("blow", i), (odd_team(rng), odd_team(rng)))
        battles[50_000 + i] = (BattleRecord(0), BattleRecord(1)), rng
    first = set(battles)
    while battles:
        for update in pool.poll():
            records, rng = battles[update.battle_id]
            if update.battle_id in first:
                first.discard(update.battle_id)
                take(records, update)
                both = [order(r, rng.choice([a for a in range(4) if r.legal[a]])) for r in records]
                pool.choose(update.battle_id, (both[0], both[1]))
                continue
            del battles[update.battle_id]
            seen += first_blow(records, update)
    assert seen >= 100


def first_blow(records, update) -> int:
    """Checks the turn's first line if it is a plain hit; 1 if so."""
    lines = [line for line in update.lines[0] if len(line) > 1 and line[1]]
    attacker = int(lines[0][2][1]) - 1
    hit = [line[1] for line in lines[1:3]]
    if lines[0][1] != "move" or len(lines[0]) > 5 or "-damage" not in hit or "-crit" in hit:
        return 0
    at = 1 + hit.index("-damage")
    target = 1 - attacker
    exact = [line for line in update.lines[target] if len(line) > 1 and line[1]][at]
    move = MOVES["".join(c for c in lines[0][3].lower() if c.isalnum())]
    if int(exact[2][1]) - 1 != target or M["category"][move] == 3 or exact[3] == "0 fnt" or M["ohko"][move]:
        return 0
    if len(exact) > 4 or M["power"][move] == 1 or move == MOVES["bide"]:
        return 0
    own, other = records[attacker].view, records[target].view
    rows = own.active[attacker].row, other.active[target].row
    full = rows[1][C["stat_hp"]]
    done = full - int(exact[3].split("/")[0])
    least = int(expected_damage(*rows, move, low=True))
    assert least <= done <= round(expected_damage(*rows, move, low=True) * 255 / 217), (lines[:3], exact)
    return 1


# -- rules


@pytest.fixture
def scene() -> Scene:
    return Scene(
        "Tauros: Body Slam, Hyper Beam, Blizzard, Earthquake",
        "Chansey: Ice Beam, Soft-Boiled, Thunder Wave, Sing",
        "Zapdos: Thunderbolt, Drill Peck, Thunder Wave, Agility",
        "Snorlax: Body Slam, Amnesia, Rest, Self-Destruct",
    )


def meet(scene: Scene, own: str, other: str, more: str = "") -> Scene:
    return scene.lines(
        f"|switch|p1a: {own}|{own}|300/300\n|switch|p2a: {other}|{other}|100/100\n|turn|1\n{more}"
    )


def test_random_is_uniform_over_legal_actions(scene):
    record = meet(scene, "Tauros", "Starmie").ask("Tauros", disabled=("blizzard",)).record
    shares = draws("random", record, 1200)
    assert set(shares) == {"move 1", "move 2", "move 4", "switch 2", "switch 3", "switch 4"}
    assert all(abs(share - 1 / 6) < 0.05 for share in shares.values())


def test_max_base_power(scene):
    record = meet(scene, "Tauros", "Gengar").ask("Tauros").record
    assert draws("max-base-power", record, 20) == {"move 2": 1}, "Hyper Beam, though Gengar is immune"
    forced = scene.ask("Tauros", forceSwitch=[True], hp={"Tauros": "0 fnt"}).record
    assert set(draws("max-base-power", forced)) == {"switch 2", "switch 3", "switch 4"}


def test_grunt(scene):
    record = meet(scene, "Tauros", "Gengar").ask("Tauros").record
    assert draws("grunt", record, 20) == {"move 4": 1}, "Earthquake on a Ghost / Poison"
    scene.lines("|switch|p2a: Starmie|Starmie|100/100\n|faint|p1a: Tauros")
    forced = scene.ask("Tauros", forceSwitch=[True], hp={"Tauros": "0 fnt"}).record
    assert draws("grunt", forced, 20) == {"switch 3": 1}, "Zapdos against Starmie"
    scene.lines("|switch|p1a: Chansey|Chansey|300/300")
    powerless = scene.ask("Chansey", offered=["fight"]).record
    assert draws("grunt", powerless, 20) == {"move 1": 1}


def test_gym_leader_takes_the_surest_knock_out(scene):
    more = "|-damage|p2a: Chansey|8/100\n|turn|2\n|turn|3"
    record = meet(scene, "Tauros", "Chansey", more).ask("Tauros").record
    assert draws("gym-leader", record, 20) == {"move 1": 1}, (
        "Body Slam: as sure as Earthquake, before it by name"
    )
    assert draws("grunt", record, 20) == {"move 2": 1}


def test_gym_leader_boosts_first_and_heals_late(scene):
    record = meet(scene, "Snorlax", "Chansey").ask("Snorlax", hp={"Snorlax": "300/300"}).record
    shares = draws("gym-leader", record)
    assert set(shares) == {"move 2", "move 4"} and abs(shares["move 2"] - 0.5) < 0.1, "Amnesia half the time"
    scene.lines("|turn|2\n|turn|3").ask("Snorlax", hp={"Snorlax": "90/300"})
    shares = draws("gym-leader", scene.record)
    assert set(shares) == {"move 3", "move 4"} and abs(shares["move 3"] - 0.75) < 0.1, "Rest at 30 %"


def test_gym_leader_retreats_when_it_would_go_down_first(scene):
    more = "|-damage|p1a: Chansey|60/300\n|turn|2\n|turn|3"
    record = meet(scene, "Chansey", "Machamp", more).ask("Chansey", hp={"Chansey": "20/300"}).record
    assert draws("gym-leader", record, 20) == {"switch 3": 1}, "Zapdos resists Fighting"
    fresh = Scene("Chansey: Ice Beam, Sing", "Zapdos: Thunderbolt, Drill Peck")
    record = meet(fresh, "Chansey", "Machamp").ask("Chansey", hp={"Chansey": "20/300"}).record
    assert not any(said.startswith("switch") for said in draws("gym-leader", record, 20)), (
        "it has just come in"
    )
    poisoned = "|-status|p1a: Chansey|tox\n" + "|-damage|p1a: Chansey|250/300 tox|[from] psn\n" * 4
    record = meet(fresh, "Chansey", "Machamp", poisoned + "|turn|2\n|turn|3").ask(
        "Chansey", hp={"Chansey": "250/300 tox"}
    )
    assert draws("gym-leader", record.record, 20) == {"switch 2": 1}, "four turns of Toxic"


def test_boss(scene):
    record = meet(scene, "Chansey", "Starmie").ask("Chansey").record
    assert set(draws("gen1-boss-ai", record)) == {"move 1", "move 2", "move 3", "move 4"}, (
        "nothing stands out"
    )
    scene.lines("|-status|p2a: Starmie|par").ask("Chansey")
    assert set(draws("gen1-boss-ai", record)) == {"move 1", "move 2"}, "no second status"
    scene.lines("|switch|p1a: Zapdos|Zapdos|300/300\n|turn|2").ask("Zapdos")
    assert set(draws("gen1-boss-ai", record)) == {"move 1", "move 4"}, (
        "super-effective, or a first-turn boost"
    )
    scene.lines("|turn|3").ask("Zapdos")
    assert set(draws("gen1-boss-ai", record)) == {"move 1"}
    scene.ask("Zapdos", forceSwitch=[True], hp={"Zapdos": "0 fnt"})
    assert draws("gen1-boss-ai", record, 20) == {"switch 2": 1}, "the first left in the team's order"


def test_simple_heuristics_falls_back_on_a_legal_action(scene, monkeypatch):
    record = meet(scene, "Tauros", "Starmie").ask("Tauros", disabled=("blizzard",)).record
    assert draws("simple-heuristics", record, 5) and "fallbacks" not in record.extras
    state = random.getstate()
    MEMBERS["simple-heuristics"].choose(record, random.Random(1))
    assert random.getstate() == state, "the global generator is left as it was"

    class Order:
        message = "/choose move blizzard"

    for broken in (lambda battle: (Order(), 0), lambda battle: 1 / 0):
        monkeypatch.setattr(heuristics.SimpleHeuristicsPlayer, "choose_singles_move", staticmethod(broken))
        assert set(draws("simple-heuristics", record, 40)) <= {
            *("move 1", "move 2", "move 4", "switch 2", "switch 3", "switch 4")
        }
    assert record.extras["fallbacks"] == 80


# -- in battles


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_members_are_legal_always_and_the_same_for_the_same_rng(pool, name):
    """`order` raises where an action is not legal; the simulator counts what it refuses."""

    def choose(record, rng):
        return order(record, MEMBERS[name].choose(record, rng))

    for i in range(8):
        rng = random.Random(derive("members", name, i))
        teams = (odd_team(rng), odd_team(rng)) if i % 2 else tuple(rng.sample(load_teams("train").packed, 2))
        battle_id = 60_000 + 10 * sorted(MEMBERS).index(name) + i
        recorded = play(pool, battle_id=battle_id, seed=i, teams=teams, choose=(choose, choose))
        again = play(pool, battle_id=battle_id, seed=i, teams=teams, choose=(choose, choose))
        assert again.choices == recorded.choices
    assert pool.invalid == 0


def test_simple_heuristics_beats_random(pool):
    teams = load_teams("train").packed
    wins = fallbacks = 0
    for i in range(100):
        rng = random.Random(derive("versus", i))
        seat = i % 2
        names = ("simple-heuristics", "random") if seat == 0 else ("random", "simple-heuristics")
        kept = []

        def choose(record, rng, names=names, kept=kept):
            kept.append(record)
            return order(record, MEMBERS[names[record.side]].choose(record, rng))

        drawn = tuple(rng.choices(teams, k=2))
        recorded = play(pool, battle_id=70_000 + i, seed=derive("v", i), teams=drawn, choose=(choose, choose))
        wins += recorded.updates[-1].winner == seat
        fallbacks += max(record.extras.get("fallbacks", 0) for record in kept)
    assert wins >= 95 and fallbacks == 0
