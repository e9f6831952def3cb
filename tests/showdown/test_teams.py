"""Team sets: what ships is legal, distinct and apart; what a user gives is checked in Showdown's words."""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from scipy.stats import chisquare

from jaxnash.keys import derive
from jaxnash.showdown import simulator, teams
from jaxnash.showdown.teams import draw_teams, load_teams
from jaxnash.types import JaxnashError

SIZES = {"gen1ou/train": 20, "gen1ou/eval": 10}  # at least so many teams
TAUROS = "Tauros\n- Body Slam\n- Hyper Beam\n- Earthquake\n- Blizzard\n"
STARMIE = "Starmie\n- Surf\n- Thunderbolt\n- Thunder Wave\n- Recover\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for a user's teams, and a cache of its own."""
    monkeypatch.setattr(teams, "_cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


@pytest.fixture
def no_node(monkeypatch):
    """Makes any question to Showdown an error of the test."""

    def refuse():
        def asked(*_):
            raise AssertionError("asked Showdown again")

        monkeypatch.setattr(simulator, "validate_teams", asked)
        monkeypatch.setattr(simulator, "pack_teams", asked)

    return refuse


@cache
def shipped(name):
    """Per team: {species: its set of moves}, as packed."""
    return {
        title: {fields[0]: frozenset(fields[4].split(",")) for fields in _sets(packed)}
        for title, packed in zip(load_teams(name).names, load_teams(name).packed)
    }


def _sets(packed):
    return [one.split("|") for one in packed.split("]")]


def test_every_set_that_ships_is_tested():
    assert set(teams.known_sets()) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_shipped_teams_pass_showdowns_validator(name):
    texts = [path.read_text() for path in sorted((teams.SETS / name).iterdir())]
    assert len(texts) >= SIZES[name]
    assert simulator.validate_teams(texts) == [[]] * len(texts)
    # and as the simulator gets them
    assert simulator.validate_teams(list(load_teams(name).packed)) == [[]] * len(texts)


@pytest.mark.parametrize("name", SIZES)
def test_packed_teams_say_what_the_files_say(name):
    loaded = load_teams(name)
    files = sorted((teams.SETS / name).iterdir())
    assert loaded.names == tuple(path.stem for path in files)
    for packed, path in zip(loaded.packed, files):
        blocks = [block.splitlines() for block in path.read_text().split("\n\n")]
        assert [fields[0] for fields in _sets(packed)] == [block[0] for block in blocks]
        for fields, block in zip(_sets(packed), blocks):
            moves = [line[2:].replace(" ", "").replace("-", "") for line in block if line.startswith("- ")]
            assert fields[4].lower().split(",") == [move.lower() for move in moves]
            assert len(set(moves)) == 4
            assert fields[3] == "NoAbility"  # a gap would be filled with what the species can do today
            assert fields[6] == "252,252,252,252,252,252"
            assert fields[10] == ""  # level 100


def test_shipped_teams_are_distinct_and_evaluation_is_apart_from_training():
    everything = {f"{name}/{title}": team for name in SIZES for title, team in shipped(name).items()}
    assert all(len(team) == 6 for team in everything.values())
    assert len({frozenset(team) for team in everything.values()}) == len(everything), "six-somes repeat"
    for train, held_out in itertools.product(
        shipped("gen1ou/train").values(), shipped("gen1ou/eval").values()
    ):
        assert len(train.keys() & held_out.keys()) <= 4
        assert len(train.items() & held_out.items()) <= 2
    train_species = set().union(*shipped("gen1ou/train").values())
    assert sum(not team.keys() <= train_species for team in shipped("gen1ou/eval").values()) == 7


def test_short_names_and_folders_mean_the_same_teams(folder):
    for path in (teams.SETS / "gen1ou/train").iterdir():
        shutil.copy(path, folder)
    (folder / "notes.md").write_text("not a team")
    named, mine = load_teams("train"), load_teams(str(folder))
    assert named == load_teams("gen1ou/train")
    assert named.name == "gen1ou/train" and mine.name == "mine"
    assert named[1:] == mine[1:]
    (folder / f"{mine.names[0]}.txt").write_text(TAUROS)
    assert load_teams(folder).hash != mine.hash


def test_evs_default_to_all_of_them_and_what_is_given_stays(folder):
    given = TAUROS.replace("\n", "\nEVs: 4 HP / 8 Atk\n", 1)
    builder = "\ufeff=== [gen1ou] mine ===\n\n" + TAUROS  # as Windows saves it
    (folder / "builder.gen1ou_team").write_bytes(builder.replace("\n", "\r\n").encode())
    (folder / "given.txt").write_text(given + "\n" + STARMIE)
    builder, mixed = load_teams(folder).packed
    assert [fields[6] for fields in _sets(builder)] == ["252,252,252,252,252,252"]
    assert [fields[6] for fields in _sets(mixed)] == ["4,8,,,,", "252,252,252,252,252,252"]


@pytest.mark.parametrize(
    "text, words",
    [
        (TAUROS + "\nMewtwo\n- Psychic\n", ["Mewtwo is tagged Uber, which is banned."]),
        (
            TAUROS.replace("Blizzard", "Surf") + "\nStarmie\n- Dig\n",
            ["move Surf can't", "move Dig is banned"],
        ),
        ("\n".join([TAUROS, STARMIE] + [TAUROS] * 5), ["up to 6 Pokémon (your team has 7)"]),
        (TAUROS + "\n" + TAUROS, ["limited to one of each Pokémon by Species Clause"]),
        ("Missingo\n- Tackle\n", ['"missingo" does not exist.']),
    ],
)
def test_an_illegal_team_is_refused_in_the_validators_words(folder, text, words):
    (folder / "fine.txt").write_text(STARMIE)
    (folder / "wrong.txt").write_text(text)
    with pytest.raises(JaxnashError) as refused:
        load_teams(folder)
    message = str(refused.value)
    assert "wrong.txt: " in message and "fine.txt" not in message and "\n" not in message
    for expected in words:
        assert expected in message


def test_every_illegal_file_is_named_and_none_is_remembered_as_legal(folder):
    (folder / "a.txt").write_text("Mew\n- Psychic\n")
    (folder / "b.txt").write_text("Mewtwo\n- Psychic\n")
    for _ in range(2):
        with pytest.raises(JaxnashError, match=r"a\.txt: Mew is .*\| b\.txt: Mewtwo is "):
            load_teams(folder)


def test_sets_that_cannot_be_read(folder):
    with pytest.raises(JaxnashError, match=r"'nowhere'.*gen1ou/eval or gen1ou/train"):
        load_teams("nowhere")
    with pytest.raises(JaxnashError, match="no team"):
        load_teams(folder)
    (folder / "a.txt").write_bytes(b"Tauros\xff\xfe\n- Surf\n")
    with pytest.raises(JaxnashError, match=r"a\.txt as UTF-8"):
        load_teams(folder)
    for text in ("", "A letter to the editor.", "Tauros||||bodyslam||,,,,,|||||"):
        (folder / "a.txt").write_text(text)
        with pytest.raises(JaxnashError, match=r"a\.txt is not Showdown export text"):
            load_teams(folder)
    (folder / "a.txt").write_text(TAUROS)
    (folder / "a.gen1ou_team").write_text(STARMIE)
    with pytest.raises(JaxnashError, match="two teams named 'a'"):
        load_teams(folder)


def test_only_the_first_load_asks_showdown(folder, no_node):
    (folder / "a.txt").write_text(TAUROS)
    first = load_teams(folder)
    [cached] = (folder.parent / "cache").iterdir()
    cached.write_text('["Tauros|||')  # damaged: asked again, written again
    assert load_teams(folder) == first
    no_node()
    assert load_teams(folder) == first
    (folder / "a.txt").write_text(STARMIE)
    with pytest.raises(AssertionError, match="asked Showdown again"):
        load_teams(folder)


def test_loads_at_once_agree_and_leave_one_whole_file(folder, monkeypatch):
    (folder / "a.txt").write_text(TAUROS)
    monkeypatch.setattr(simulator, "validate_teams", lambda texts, _: [[] for _ in texts])
    monkeypatch.setattr(simulator, "pack_teams", lambda texts: [f"packed {text}" * 1000 for text in texts])
    with ThreadPoolExecutor(16) as threads:
        loaded = list(threads.map(lambda _: load_teams(folder), range(200)))
    assert len(set(loaded)) == 1
    assert len(list((folder.parent / "cache").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_error(folder, monkeypatch):
    (folder.parent / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(simulator, "validate_teams", lambda texts, _: [[] for _ in texts])
    monkeypatch.setattr(simulator, "pack_teams", lambda texts: ["packed"] * len(texts))
    (folder / "a.txt").write_text(TAUROS)
    assert load_teams(folder).packed == ("packed",)


def test_draws_are_uniform_independent_and_keyed():
    team_set = teams.TeamSet("five", tuple("abcde"), tuple("abcde"), "")
    draws = [draw_teams(team_set, derive(7, "pair", i)) for i in range(10_000)]
    assert draws == [draw_teams(team_set, derive(7, "pair", i)) for i in range(10_000)]
    counts = {pair: 0 for pair in itertools.product(range(5), repeat=2)}
    for pair in draws:
        counts[pair] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3  # all 25 ordered pairs alike
    skewed = [draw_teams(team_set, derive(7, "pair", i)) if i % 20 else (0, 0) for i in range(10_000)]
    assert chisquare([skewed.count(pair) for pair in counts]).pvalue < 1e-6  # the test has teeth
