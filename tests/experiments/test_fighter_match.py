"""The match runner from its command line."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tyro

from experiments import fighter_match
from jaxnash.games.fighter import digest
from jaxnash.policies.spec import build, history_spec, token_spec
from jaxnash.runs.checkpoint import save
from jaxnash.runs.cli import main as cli
from jaxnash.runs.fighter_match import player_of
from jaxnash.runs.files import write_json
from jaxnash.types import JaxnashError, PolicySpec

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "span": 6, "segment": 16, "latents": 2, "core": 8}
SIZES |= {"hidden": [8]}


def saved(path: Path, seed: int, spec: PolicySpec | None = None, told: PolicySpec | None = None) -> str:
    """A checkpoint that is not trained, described as `told`."""
    spec = spec or history_spec(**SIZES)
    params = build(spec).init(jax.random.key(seed))
    save(path, params=params, spec=told or spec, name=path.name)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run directory with two snapshots and a policy."""
    folder = tmp_path_factory.mktemp("fighter") / "run"
    for seed, name in enumerate(("snapshots/snapshot_900", "snapshots/snapshot_1000", "policy")):
        saved(folder / name, seed)
    write_json(folder / "config.json", {})
    return folder


def play(*arguments: str):
    return fighter_match.run(tyro.cli(fighter_match.Config, args=list(arguments)))


def refused(capsys, *arguments: str) -> str:
    """The one line of a command that leaves with exit code 2."""
    with pytest.raises(SystemExit) as left:
        cli(lambda: play(*arguments))
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and len(lines) == 1
    return lines[0]


def test_two_checkpoints_and_all_that_is_written(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    first, second = str(run / "snapshots/snapshot_900"), str(run)
    files = ["--gif", str(tmp_path / "a.gif"), "--video", str(tmp_path / "b.mp4")]
    files += ["--attention", str(tmp_path / "look.png")]
    found = play(first, second, "--pairs", "2", "--match", "1", "--seed", "5", *files)
    told = capsys.readouterr().out
    assert found["matches"] == 4 == found["wins"] + found["draws"] + found["losses"]
    for words in (
        f"snapshot_900 ({first}) against policy ({second}), seed 5, rules {digest()}",
        f"won {found['wins']}, drawn {found['draws']}, lost {found['losses']} of 4",
        "99 % interval on 2 pairs",
        "damage a match: dealt",
        "the opponent's own; knocked out",
        "a match lasts",
        "match 1: ",
        f"film: {tmp_path / 'b.gif'} (no ffmpeg on PATH: a GIF instead of the video)",
        "attention of snapshot_900: ",
    ):
        assert words in told
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.gif", "b.gif", "look.png", "look.npz"}


def test_the_other_way_round_wins_are_losses(capsys):
    one, two = play("based", "constant", "--pairs", "2"), play("constant", "based", "--pairs", "2")
    assert one["wins"] == two["losses"] == 4 and one["losses"] == two["wins"] == 0
    assert one["damage_dealt"] == two["damage_taken"] > 0 and one["knocked_out"] == two["knock_outs_alone"]
    again = play("based", "constant", "--pairs", "2", "--seed", "1")
    assert again["damage_dealt"] != one["damage_dealt"]


def test_greedy_players_do_not_draw(run):
    drawn, greedy = (play(str(run), "constant", "--pairs", "2", *more) for more in ((), ("--greedy",)))
    assert drawn != greedy == play(str(run), "constant", "--pairs", "2", "--greedy")


def test_who_plays(run, tmp_path):
    """A run's policy, else its last snapshot."""
    assert player_of("based").params == () and player_of(str(run)).name == "policy"
    for name in ("snapshots/snapshot_900", "snapshots/snapshot_1000"):
        saved(tmp_path / name, 1)
    write_json(tmp_path / "config.json", {})
    assert player_of(str(tmp_path)).name == "snapshot_1000"
    kept = player_of(str(run / "policy")).params
    wanted = build(history_spec(**SIZES)).init(jax.random.key(2))
    assert all(map(np.array_equal, jax.tree.leaves(kept), jax.tree.leaves(wanted)))


def test_who_cannot_play(run, tmp_path, capsys):
    spec = history_spec(**SIZES)
    token = saved(tmp_path / "token", 0, token_spec("nano"))
    old = saved(tmp_path / "old", 0, spec, spec._replace(layout="0123456789abcdef"))
    other = saved(tmp_path / "other", 0, spec, history_spec(**SIZES | {"core": 16}))
    wide = saved(tmp_path / "wide", 0, history_spec(**SIZES, observation_size=32))
    write_json(tmp_path / "empty" / "config.json", {})
    for first, words in {
        "nobody": ["'nobody' is no script (based, constant) and no folder"],
        token: [token, "holds a 'token' policy for categorical:9 actions"],
        old: [old, "'0123456789abcdef'", repr(digest()), "use the version that made it"],
        other: [other, "does not fit", "expected float32[16", "found float32[8"],
        wide: [wide, "reads 32 numbers and presses 10 buttons, but the fighter has 64 and 10"],
        str(tmp_path / "empty"): ["has no policy and no snapshot yet"],
        str(run / "snapshots"): ["no complete checkpoint in"],
    }.items():
        for names in ((first, "based"), ("based", first)):
            line = refused(capsys, *names, "--pairs", "1")
            assert all(word in line for word in words), line


def test_what_cannot_be_asked(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    for arguments, words in {
        ("based",): "who plays against based?",
        ("based", "constant", "--human"): "with --human you are one player: name only the other",
        ("based", "--human"): "--human needs pygame, which is not installed",
        ("based", "constant", "--pairs", "0"): "--pairs is 0: pass at least 1",
        ("based", "constant", "--match", "100"): "of 50 pairs there are matches 0 to 99",
        ("based", "constant", "--attention", "a.png"): "--attention needs a network",
    }.items():
        assert words in refused(capsys, *arguments)


def test_a_token_policy_is_named_in_python_too(tmp_path):
    with pytest.raises(JaxnashError, match="'token' policy"):
        player_of(saved(tmp_path / "token", 0, token_spec("nano")))
