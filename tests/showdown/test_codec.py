"""The codec against hand-written scenes, columns worked out by reading the lines; the mapping of actions."""

from __future__ import annotations

import numpy as np
import pytest

from jaxnash.games.gen1 import generate, layout
from jaxnash.games.gen1.layout import (
    IDS,
    MOVE_TABLE,
    POKEMON_COLUMNS,
    SPECIES_TABLE,
    TYPE_CHART,
    VOCABULARIES,
)
from jaxnash.showdown import simulator
from jaxnash.showdown.battle import BattleRecord
from jaxnash.showdown.codec import action_of, observe, order
from tests.showdown.recorded import Scene, named, nonzero

TAUROS = "Tauros: Body Slam, Hyper Beam, Blizzard, Earthquake"
CHANSEY = "Chansey: Ice Beam, Soft-Boiled, Thunder Wave, Sing"
ALAKAZAM = "Alakazam: Psychic, Recover, Thunder Wave, Seismic Toss"


@pytest.fixture
def scene() -> Scene:
    """Tauros in front of Chansey and Alakazam, against Starmie."""
    return Scene(TAUROS, CHANSEY, ALAKAZAM).lines("""
        |switch|p1a: Tauros|Tauros|300/300
        |switch|p2a: Starmie|Starmie|100/100
        |turn|1""")


def after(scene: Scene, text: str, **asked) -> tuple[dict, dict]:
    """What is beyond the ordinary in both actives' rows after these lines."""
    scene.lines(text).ask("Tauros", **asked)
    moves = [name for name in scene.row(0) if name.startswith(("move", "pp"))]
    return nonzero(scene.row(0), "turns_in", *moves), nonzero(scene.row(6), "turns_in")


def test_the_data_file_is_what_the_package_says():
    package = simulator.install() / "pokemon-showdown"
    fresh = generate.generate(package=package, node=simulator.node_path())
    assert (generate.HERE / "data.json").read_text(encoding="utf-8") == fresh
    assert layout.PACKAGE_VERSION == "pokemon-showdown 0.11.11"


def test_tables_hold_gen_1_facts():
    assert {name: len(words) for name, words in VOCABULARIES.items()} == {
        "species": 1 + 151,
        "move": 1 + 165 + 2,
        "type": 1 + 15,
        "status": 1 + 6,
    }
    assert all(list(words) == sorted(words) for name, words in VOCABULARIES.items() if name != "move")
    assert len({column.name for column in POKEMON_COLUMNS}) == len(POKEMON_COLUMNS)

    def chart(attack: str, defence: str) -> float:
        return float(TYPE_CHART[IDS["type"][attack], IDS["type"][defence]])

    assert (chart("ghost", "psychic"), chart("poison", "bug"), chart("ice", "fire")) == (0, 2, 1)
    assert (TYPE_CHART[0] == 1).all() and (TYPE_CHART[:, 0] == 1).all()

    def move(id: str, *names: str) -> list[int]:
        return [int(MOVE_TABLE[name][IDS["move"][id]]) for name in names]

    assert move("bodyslam", "power", "accuracy", "pp", "category", "chance") == [85, 100, 24, 1, 30]
    assert move("growth", "pp", "category", "self_spc") == [61, 3, 1]  # 40 PP: 61 with PP Ups in Gen 1
    assert move("bite", "type") == [IDS["type"]["normal"]]
    assert move("swift", "accuracy") == [0] and move("quickattack", "priority") == [1]
    assert move("psychic", "foe_spc", "chance") == [-1, 33]
    assert move("bide", "type") == [0]  # typeless
    assert move("fight", *MOVE_TABLE) == [0] * len(MOVE_TABLE)
    mew = IDS["species"]["mew"]
    assert [int(SPECIES_TABLE[name][mew]) for name in ("hp", "atk", "def", "spc", "spe")] == [100] * 5


def test_the_first_observation(scene):
    obs = observe(scene.ask("Tauros").record)
    assert obs.pokemon.dtype == obs.field.dtype == np.int16
    assert obs.pokemon.shape == (12, len(layout.POKEMON_COLUMNS))
    assert obs.field.shape == (len(layout.FIELD_COLUMNS),)
    assert [named(obs, i)["species"] for i in range(12)] == [
        *("tauros", "alakazam", "chansey", "", "", ""),
        *("starmie", "", "", "", "", ""),
    ]
    assert not obs.pokemon[3:6].any() and not obs.pokemon[7:].any()
    own = named(obs, 0)
    assert [own[f"move{i}"] for i in (1, 2, 3, 4)] == ["blizzard", "bodyslam", "earthquake", "hyperbeam"]
    assert [own[f"pp{i}"] for i in (1, 2, 3, 4)] == [1000] * 4
    assert [own[f"stat_{name}"] for name in ("hp", "atk", "def", "spc", "spe")] == [300, 200, 201, 202, 203]
    assert (own["type1"], own["type2"], own["level"], own["revealed"]) == ("normal", "", 100, 1)
    assert named(obs, 1)["revealed"] == named(obs, 1)["active"] == 0
    other = named(obs, 6)
    # base 60/75/85/100/115, all DVs 15, full stat experience, level 100
    assert [other[f"stat_{n}"] for n in ("hp", "atk", "def", "spc", "spe")] == [323, 248, 268, 298, 328]
    assert (other["type1"], other["type2"], other["hp"], other["active"]) == ("water", "psychic", 1000, 1)
    assert nonzero(other) == {"turns_in": 1}
    field = dict(zip(layout.FIELD_INDEX, obs.field.tolist()))
    assert {name: value for name, value in field.items() if value} == {
        "turn": 1,
        "own_alive": 3,
        "opponent_alive": 6,
        "own_revealed": 1,
        "opponent_revealed": 1,
    }


def test_moves_hp_status_and_pp(scene):
    own, other = after(
        scene,
        """
        |move|p2a: Starmie|Thunder Wave|p1a: Tauros
        |-status|p1a: Tauros|par
        |move|p1a: Tauros|Body Slam|p2a: Starmie
        |-damage|p2a: Starmie|54/100
        |turn|2""",
        pp={"bodyslam": 23},
        hp={"Tauros": "101/300 par"},
    )
    assert own == {"status": "par", "last_move": "bodyslam"}
    assert scene.row(0)["hp"] == 337  # ceil(336.7)
    assert scene.row(0)["pp2"] == 958  # floor(1000 * 23 / 24)
    assert other == {"move1": "thunderwave", "pp1": 968, "last_move": "thunderwave"}
    assert scene.row(6)["hp"] == 540


def test_own_pp_follow_uses_where_the_request_has_none(scene):
    scene.ask("Tauros")
    after(
        scene, "|move|p1a: Tauros|Hyper Beam|p2a: Starmie\n|-mustrecharge|p1a: Tauros", offered=["recharge"]
    )
    assert scene.row(0)["pp4"] == 875 and scene.row(0)["recharge"] == 1
    scene.lines("|switch|p1a: Chansey|Chansey|300/300").ask("Chansey")
    assert [scene.row(i)["species"] for i in (0, 1, 2)] == ["chansey", "alakazam", "tauros"]
    assert scene.row(2)["pp4"] == 875 and scene.row(2)["recharge"] == 0


def test_boosts_and_haze(scene):
    boosts = """
        |-boost|p1a: Tauros|atk|2
        |-boost|p2a: Starmie|spa|2
        |-boost|p2a: Starmie|spd|2
        |-unboost|p2a: Starmie|accuracy|1
        |-boost|p2a: Starmie|evasion|6
        |-boost|p2a: Starmie|evasion|2
        |-start|p2a: Starmie|confusion
        |-start|p2a: Starmie|Reflect
        |-start|p2a: Starmie|move: Leech Seed
        |-status|p2a: Starmie|tox"""
    own, other = after(scene, boosts)
    assert own == {"boost_atk": 2}
    raised = {"boost_spc": 2, "boost_acc": -1, "boost_eva": 6}
    assert other == raised | {"confusion": 1, "reflect": 1, "leechseed": 1, "status": "tox"}
    haze = """
        |-activate|p2a: Starmie|move: Haze
        |-clearallboost|[silent]
        |-curestatus|p2a: Starmie|tox|[silent]
        |-end|p2a: Starmie|confusion|[silent]
        |-end|p2a: Starmie|move: Leech Seed|[silent]
        |-end|p2a: Starmie|Reflect|[silent]
        |-end|p2a: Starmie|Toxic counter|[silent]"""
    assert after(scene, haze) == ({}, {})


def test_substitute(scene):
    made = "|-start|p2a: Starmie|Substitute\n|-damage|p2a: Starmie|75/100"
    assert after(scene, made)[1] == {"substitute": 1}
    assert scene.row(6)["hp"] == 750
    assert after(scene, "|-activate|p2a: Starmie|Substitute|[damage]")[1] == {
        "substitute": 1,
        "substitute_hits": 1,
    }
    assert after(scene, "|-end|p2a: Starmie|Substitute")[1] == {}


def test_sleep_is_counted_kept_on_the_bench_and_told_from_rest(scene):
    slept = """
        |-status|p2a: Starmie|slp|[from] move: Sing
        |cant|p2a: Starmie|slp
        |turn|2
        |cant|p2a: Starmie|slp"""
    assert after(scene, slept)[1] == {"status": "slp", "sleep_turns": 2}
    assert scene.field("opponent_asleep") == 1
    scene.lines("|switch|p2a: Snorlax|Snorlax|60/100").ask("Tauros")
    assert scene.row(7)["species"] == "starmie" and scene.row(7)["sleep_turns"] == 2
    rest = """
        |move|p2a: Snorlax|Rest|p2a: Snorlax
        |-status|p2a: Snorlax|slp|[from] move: Rest
        |-heal|p2a: Snorlax|100/100 slp|[silent]"""
    other = after(scene, rest)[1]
    assert other["resting"] == 1 and "sleep_turns" not in other
    assert scene.field("opponent_asleep") == 1, "Rest does not count for the clause"
    woken = after(scene, "|-curestatus|p2a: Snorlax|slp|[msg]")[1]
    assert "status" not in woken and "resting" not in woken


def test_freeze(scene):
    assert after(scene, "|-status|p2a: Starmie|frz\n|cant|p2a: Starmie|frz")[1] == {"status": "frz"}
    assert scene.field("opponent_frozen") == 1
    frozen = {"Tauros": "300/300 frz"}
    assert after(scene, "|-status|p1a: Tauros|frz", hp=frozen, offered=["fight"])[0] == {"status": "frz"}
    assert scene.field("own_frozen") == 1 and scene.field("single") == 1


def test_partial_trapping(scene):
    wrap = """
        |move|p2a: Starmie|Wrap|p1a: Tauros
        |-damage|p1a: Tauros|280/300
        |cant|p1a: Tauros|partiallytrapped
        |turn|2"""
    own, other = after(scene, wrap, offered=["fight"])
    assert own == {"trapped": 1}
    assert other == {"trapping": 1, "lock_turns": 1, "move1": "wrap", "pp1": 968, "last_move": "wrap"}
    assert scene.record.legal == (True, *[False] * 3, True, True, *[False] * 3), "it may switch out"
    again = "|move|p2a: Starmie|Wrap|p1a: Tauros|[from] Wrap\n|turn|3"
    assert after(scene, again, offered=["fight"])[1]["lock_turns"] == 2
    assert scene.row(6)["pp1"] == 968, "going on costs no PP"
    own, other = after(scene, "|move|p2a: Starmie|Wrap|p1a: Tauros|[miss]")
    assert own == {} and "trapping" not in other and other["pp1"] == 937
    scene.lines("|move|p2a: Starmie|Wrap|p1a: Tauros\n|switch|p1a: Chansey|Chansey|300/300").ask("Chansey")
    assert scene.row(0)["trapped"] == scene.row(6)["trapping"] == 0


def test_recharge_thrash_rage_bide(scene):
    _, other = after(scene, "|move|p2a: Starmie|Hyper Beam|p1a: Tauros\n|-mustrecharge|p2a: Starmie")
    assert other["recharge"] == 1
    assert "recharge" not in after(scene, "|cant|p2a: Starmie|recharge")[1]
    other = after(scene, "|move|p2a: Starmie|Thrash|p1a: Tauros")[1]
    assert (other["locked"], other["lock_turns"]) == (1, 1)
    tired = "|move|p2a: Starmie|Thrash|p1a: Tauros|[from] Thrash\n|-start|p2a: Starmie|confusion|[silent]"
    other = after(scene, tired)[1]
    assert other["confusion"] == 1 and "locked" not in other
    hurt = "|-activate|p2a: Starmie|confusion\n|-damage|p2a: Starmie|90/100|[from] confusion"
    assert after(scene, hurt)[1]["confusion_turns"] == 1
    assert "rage" not in after(scene, "|move|p2a: Starmie|Rage|p1a: Tauros|[miss]")[1]
    assert after(scene, "|move|p2a: Starmie|Rage|p1a: Tauros")[1]["rage"] == 1
    scene.lines("|switch|p2a: Onix|Onix|100/100")
    assert after(scene, "|move|p2a: Onix|Bide|p2a: Onix\n|-start|p2a: Onix|Bide")[1]["bide"] == 1
    assert after(scene, "|-activate|p2a: Onix|Bide")[1]["lock_turns"] == 1
    assert "bide" not in after(scene, "|cant|p2a: Onix|par")[1]


def test_two_turn_moves(scene):
    up = "|move|p2a: Starmie|Dig||[still]\n|-prepare|p2a: Starmie|Dig"
    other = after(scene, up)[1]
    assert other == {"move1": "dig", "pp1": 1000, "last_move": "dig", "charging": 1, "invulnerable": 1}
    par = after(scene, "|cant|p2a: Starmie|par")[1]
    assert "charging" not in par and par["invulnerable"] == 1, "Gen 1: full paralysis leaves it underground"
    other = after(scene, up + "\n|move|p2a: Starmie|Dig|p1a: Tauros|[from] Dig")[1]
    assert other == {"move1": "dig", "pp1": 937, "last_move": "dig"}


def test_toxic_counter(scene):
    hurt = "|-damage|p2a: Starmie|94/100 tox|[from] psn"
    assert after(scene, f"|-status|p2a: Starmie|tox\n{hurt}\n{hurt}")[1]["toxic_turns"] == 2
    seeded = """
        |-start|p2a: Starmie|move: Leech Seed
        |-damage|p2a: Starmie|80/100 tox|[from] Leech Seed|[of] p1a: Tauros"""
    assert after(scene, seeded)[1]["toxic_turns"] == 3, "Leech Seed drives the counter too"
    back = """
        |switch|p2a: Snorlax|Snorlax|100/100
        |switch|p2a: Starmie|Starmie|80/100 tox
        |-status|p2a: Starmie|psn|[silent]
        |-damage|p2a: Starmie|74/100 psn|[from] psn"""
    assert after(scene, back)[1] == {"status": "psn"}


def test_called_moves_are_not_its_own(scene):
    called = """
        |move|p2a: Starmie|Metronome|p2a: Starmie
        |move|p2a: Starmie|Surf|p1a: Tauros|[from] Metronome"""
    assert after(scene, called)[1] == {"move1": "metronome", "pp1": 937, "last_move": "surf"}


def test_mimic_and_disable(scene):
    mimic = "|move|p2a: Starmie|Mimic|p1a: Tauros\n|-start|p2a: Starmie|Mimic|Earthquake"
    assert after(scene, mimic)[1] == {"move1": "earthquake", "pp1": 937, "last_move": "mimic"}  # 15 of 16
    disable = "|-start|p2a: Starmie|Disable|Surf\n|turn|2\n|turn|3"
    other = after(scene, disable)[1]
    assert (other["disabled"], other["disable_turns"], other["move2"]) == ("surf", 2, "surf")
    other = after(scene, "|-end|p2a: Starmie|Disable")[1]
    assert "disabled" not in other and "disable_turns" not in other
    scene.lines("|switch|p2a: Snorlax|Snorlax|100/100").ask("Tauros")
    assert [scene.row(7)[f"move{i}"] for i in (1, 2, 3)] == ["mimic", "surf", ""]
    assert scene.row(7)["pp1"] == 937, "the copied move shared Mimic's PP"


def test_transform_both_ways(scene):
    scene.lines("|-boost|p1a: Tauros|atk|1\n|switch|p2a: Ditto|Ditto|100/100").ask("Tauros")
    theirs = "|move|p2a: Ditto|Transform|p1a: Tauros\n|-transform|p2a: Ditto|p1a: Tauros"
    other = after(scene, theirs)[1]
    assert (scene.row(6)["species"], scene.row(6)["base_species"]) == ("tauros", "ditto")
    assert (scene.row(6)["type1"], other["boost_atk"], other["transformed"]) == ("normal", 1, 1)
    assert [other[f"move{i}"] for i in (1, 2, 3, 4)] == ["blizzard", "bodyslam", "earthquake", "hyperbeam"]
    assert [other[f"pp{i}"] for i in (1, 2, 3, 4)] == [625, 208, 312, 625]  # 5 of 8, 24, 16, 8
    assert [scene.row(6)[f"stat_{n}"] for n in ("atk", "spe")] == [200, 203], "ours, which we know"
    scene.lines("|switch|p2a: Starmie|Starmie|100/100").ask("Tauros")
    back = scene.row(7)
    assert (back["species"], back["move1"], back["move2"], back["pp1"]) == ("ditto", "transform", "", 937)

    ours = "|move|p1a: Tauros|Transform|p2a: Starmie|[from] Metronome\n|-transform|p1a: Tauros|p2a: Starmie"
    own = scene.lines(ours).ask("Tauros", moves=["surf", "recover"], pp={"surf": 5, "recover": 4}).row(0)
    assert (own["species"], own["type2"], own["move1"], own["move2"]) == (
        *("starmie", "psychic"),
        *("recover", "surf"),
    )
    assert (own["pp1"], own["pp2"], own["stat_spe"]) == (125, 208, 328)
    scene.team[0]["moves"] = ["bodyslam", "hyperbeam", "blizzard", "earthquake"]
    scene.lines("|switch|p1a: Chansey|Chansey|300/300").ask("Chansey")
    assert (scene.row(2)["species"], scene.row(2)["move4"], scene.row(2)["stat_spe"]) == (
        *("tauros", "hyperbeam"),
        203,
    )


def test_conversion(scene):
    change = "|-start|p1a: Tauros|typechange|Water/Psychic|[from] move: Conversion|[of] p2a: Starmie"
    after(scene, change)
    assert (scene.row(0)["type1"], scene.row(0)["type2"]) == ("water", "psychic")


def test_fainting_and_a_forced_switch(scene):
    scene.ask("Tauros")
    own, _ = after(
        scene,
        """
        |move|p1a: Tauros|Body Slam|p2a: Starmie
        |-boost|p1a: Tauros|atk|2
        |-damage|p1a: Tauros|0 fnt
        |faint|p1a: Tauros""",
        forceSwitch=[True],
        hp={"Tauros": "0 fnt", "Alakazam": "10/300 par"},
    )
    assert own == {"fainted": 1} and scene.row(0)["hp"] == 0
    assert scene.record.legal == (*[False] * 4, True, True, *[False] * 3)
    assert [order(scene.record, a) for a in (4, 5)] == ["switch 3", "switch 2"]
    assert [scene.field(n) for n in ("forced_switch", "own_alive", "cannot_switch")] == [1, 2, 0]
    scene.lines("|switch|p1a: Chansey|Chansey|300/300").ask("Chansey")
    assert scene.row(2)["fainted"] == 1 and scene.record.legal[4:6] == (True, False)


def test_waiting(scene):
    scene.ask("Tauros", wait=True)
    assert scene.record.waiting and scene.field("waiting") == 1
    assert scene.record.legal == (True, *[False] * 8)
    with pytest.raises(ValueError, match="not legal now"):
        order(scene.record, 0)


def test_actions_follow_names_and_orders_follow_slots(scene):
    record = scene.ask("Tauros", disabled=("blizzard",)).record
    assert record.legal == (False, True, True, True, True, True, *[False] * 3)
    assert [order(record, a) for a in (1, 2, 3)] == ["move 1", "move 4", "move 2"]
    assert [order(record, a) for a in (4, 5)] == ["switch 3", "switch 2"]
    for action, said in (
        (1, "/choose move bodyslam"),
        (2, "move Earthquake"),
        (0, "move 3"),
        (4, "switch Alakazam"),
    ):
        assert action_of(record, said) == action
    for wrong in ("move surf", "switch Tauros", "move 5", "/choose default", "switch 1"):
        with pytest.raises(ValueError, match="no action"):
            action_of(record, wrong)
    with pytest.raises(ValueError, match="not legal"):
        order(record, 0)
    scene.lines("|switch|p1a: Chansey|Chansey|300/300").ask("Chansey")
    assert [order(record, a) for a in (4, 5)] == ["switch 3", "switch 2"]
    assert action_of(record, "switch 2") == 5, "slot 2 is Tauros now"


@pytest.mark.parametrize("id", ["recharge", "struggle", "thrash"])
def test_a_move_that_is_not_chosen_is_action_0(scene, id):
    record = scene.ask("Tauros", offered=[id], trapped=True).record
    assert record.legal == (True, *[False] * 8)
    assert order(record, 0) == "move 1" and action_of(record, f"move {id}") == 0
    assert scene.field("single") == scene.field("cannot_switch") == 1


def test_a_move_held_twice_keeps_two_actions(scene):
    record = scene.ask("Tauros", moves=["surf", "recover", "surf", "psychic"]).record
    assert [order(record, a) for a in range(4)] == ["move 4", "move 2", "move 1", "move 3"]


def test_a_record_without_a_request_says_so():
    with pytest.raises(ValueError, match="no request"):
        observe(BattleRecord(0))
