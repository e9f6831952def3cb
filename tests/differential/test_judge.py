"""The judge itself: what it records of Showdown's battles can be relied on."""

from __future__ import annotations

import subprocess
from collections import Counter

import orjson
import pytest

from jaxnash.games.gen1.layout import POKEMON_INDEX
from jaxnash.games.gen1.sites import DROPPED, SITE_IDS
from jaxnash.showdown.codec import observe
from jaxnash.showdown.request import Request
from jaxnash.showdown.simulator import install, node_path
from tests.differential import coverage, records


@pytest.fixture(scope="module")
def battles() -> list[records.Record]:
    return list(records.play(records.jobs(16, seed=5, turns=60, lines=True, raw=True)))


def test_a_record_depends_on_its_job_alone(battles):
    jobs = list(records.jobs(16, seed=5, turns=60, lines=True, raw=True))
    again = list(records.play(reversed(jobs), workers=3))[::-1]
    assert [orjson.dumps(one) for one in again] == [orjson.dumps(one) for one in battles]
    assert len({one["seed"] for one in battles}) == len(battles)


def test_requests_are_what_the_bridge_makes_of_what_is_sent(battles):
    kinds = Counter()
    for decision in (decision for battle in battles for decision in battle["decisions"]):
        for side, raw, mine, action in zip(
            decision["state"]["sides"], decision["raw"], decision["requests"], decision["choices"]
        ):
            theirs = Request(raw)
            kinds[mine["kind"]] += 1
            assert mine["kind"] == ("wait" if theirs.waiting else "switch" if theirs.forced else "move")
            assert tuple(map(bool, mine["legal"])) == theirs.legal
            assert (mine["single"], tuple(mine["slots"])) == (theirs.single, theirs.moves)
            assert (action is None) == theirs.waiting
            if not theirs.waiting:
                assert theirs.legal[action]
                shown = [theirs.data["side"]["pokemon"][slot]["details"] for slot in theirs.switches]
                names = [side["pokemon"][i]["species"] for i in mine["switches"]]
                assert [to_id(one) for one in shown] == names
    assert min(kinds["wait"], kinds["switch"], kinds["move"]) > 20


def to_id(details: str) -> str:
    return "".join(char for char in details.split(",")[0].lower() if char.isalnum())


def test_draws_have_known_sites_and_the_state_follows_the_choices(battles):
    sites = Counter()
    for battle in battles:
        for decision in battle["decisions"]:
            for site, lo, hi, value in decision["draws"]:
                sites[site] += 1
                assert site in SITE_IDS and lo <= value < hi
        seen = [decision["state"]["turn"] for decision in battle["decisions"]]
        assert seen == sorted(seen) and battle["state"]["turn"] == battle["turns"]
    assert set(DROPPED[:3]) <= set(sites) and sites["roll"] > 300
    kept = [site for site, *_ in records.tape(battles[0]["decisions"][0]["draws"])]
    assert not set(kept) & set(DROPPED)


def node(code: str) -> subprocess.CompletedProcess:
    script = f"const {{load, DROPPED}} = require({str(records.HERE / 'draws.js')!r});{code}"
    return subprocess.run([node_path(), "-e", script, str(install())], capture_output=True, text=True)


def test_both_lists_of_dropped_sites_agree():
    assert orjson.loads(node("console.log(JSON.stringify(DROPPED))").stdout) == list(DROPPED)


def test_a_draw_at_an_unknown_site_stops_the_run():
    done = node("const {Prng} = load(process.argv[1]); new Prng('gen5,0000000000000001').random(256)")
    assert done.returncode and "JudgeError: a draw at an unknown site" in done.stderr


def test_first_difference_names_the_place():
    state = {"sides": [{"on": {"boosts": [0, 1]}}, {"on": None}], "turn": 3}
    other = {"sides": [{"on": {"boosts": [0, 2]}}, {"on": None}], "turn": 3}
    assert records.first_difference(state, state) is None
    assert records.first_difference(state, other) == "sides[0].on.boosts[1]: 2, not 1"
    assert records.first_difference(state, {"sides": []}) == "sides: [], not " + str(state["sides"])
    assert records.first_difference({"a": 1}, {}) == "a: missing"


def test_scripted_members_play_recorded_battles():
    jobs = list(records.jobs(2, seed=9, turns=8, mix=(("random", "random"),)))
    played = list(records.play_members(jobs, ("grunt", "max-base-power")))
    assert [one["seed"] for one in played] == [job["seed"] for job in jobs]
    assert all(len(one["decisions"]) >= 8 and len(one["policy"].split()) == 2 for one in played)
    given = {**jobs[0], "choices": [decision["choices"] for decision in played[0]["decisions"]]}
    (again,) = records.play([given])
    assert again["decisions"] == played[0]["decisions"]


def test_observations_are_the_bridge_s_and_follow_the_state(battles):
    hp = POKEMON_INDEX["hp"]
    for battle in battles[:4]:
        seen = [[observe(seat) for seat in both] for both in records.seats(battle)]
        assert len(seen) == len(battle["decisions"])
        for decision, both in zip(battle["decisions"], seen):
            for side, own in zip(decision["state"]["sides"], both):
                active = side["pokemon"][side["active"]]
                assert own.pokemon[0, hp] == -(-1000 * active["hp"] // active["maxhp"])


def test_abilities_are_left_at_home():
    team = "Tauros||||BodySlam||252,252,252,252,252,252|||||"  # the packed format's blank: that of today
    (played,) = records.play([{"seed": "0" * 16, "teams": [team, team], "turns": 2, "lines": True}])
    assert played["teams"] == [team.replace("Tauros||||", "Tauros|||NoAbility|")] * 2
    assert not any("ability" in line for lines in records.told(played) for line in lines)


def test_coverage_counts_rows_and_moves(battles):
    reached = sum((coverage.count(one) for one in battles), Counter())
    assert reached["draw: crit"] > 300 and reached["missed"] > 50 and reached["fainted"] > 20
    assert sum(reached[f"move: {move}"] for move in coverage.MOVES) > 800
    known = {*coverage.ROWS, *(f"move: {move}" for move in coverage.MOVES)}
    assert set(reached) <= known, set(reached) - known
    assert coverage.table(reached).count("\n") == len(coverage.ROWS) + len(coverage.MOVES) - 1
