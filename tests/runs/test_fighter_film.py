"""The film of a match, what it shows, and what a policy looked at in it."""

from __future__ import annotations

import os
import stat
import sys
from functools import cache

import jax
import numpy as np
import pytest
from PIL import Image

from jaxnash.games.fighter import SCRIPTS, table
from jaxnash.policies.history import history_policy
from jaxnash.policies.spec import build, history_spec
from jaxnash.rollouts.fights import GAME
from jaxnash.runs import fighter_film, fighter_human
from jaxnash.runs.fighter_attention import along, attention_of, write_attention
from jaxnash.runs.fighter_film import HEIGHT, HOLD, WIDTH, picture, write_gif, write_video
from jaxnash.runs.fighter_human import Screen, played_by_hand
from jaxnash.runs.fighter_match import Player, played
from jaxnash.types import JaxnashError, Neural

TINY = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "latents": 2, "core": 8, "hidden": (8,)}
BASED, CONSTANT = (Player(name, SCRIPTS[name]) for name in ("based", "constant"))


@cache
def network(encoder: str = "causal") -> Neural:
    policy = build(history_spec(span=6, segment=16, encoder=encoder, **TINY))
    return Neural("net", policy, policy.init(jax.random.key(0)))


@cache
def film_of(first: Player, second: Player, match: int):
    return played(first, second, pairs=2, seed=3, match=match)


@cache
def match_of_network():
    return played(Player("net", network()), BASED, pairs=2, seed=3, match=3)


def cut(film, frames: int):
    """Its first frames."""
    return film._replace(states=jax.tree.map(lambda leaf: leaf[: frames + 1], film.states))


@pytest.mark.parametrize("match", [0, 1, 2, 3])
def test_the_film_is_the_match_that_was_counted(match):
    counted, film = film_of(BASED, CONSTANT, match)
    own, other = film.stocks
    assert film.frames == counted.frames[match] == int(film.states.frame[-1])
    assert film.seat == match // 2 and np.sign(own - other) == counted.result[match] == 1
    assert table.STOCKS - own == counted.knocked_out[match]
    assert table.STOCKS - other == counted.knock_outs[match]
    mine, theirs = film.states.fighters[film.seat], film.states.fighters[1 - film.seat]
    assert theirs.taken.sum() == pytest.approx(counted.dealt[match])
    assert mine.taken.sum() == counted.taken[match]
    assert film.result == f"based wins {own} : {other}"
    assert np.array_equal(film.states.frame, np.arange(film.frames + 1))


def test_its_buttons_lead_from_each_state_to_the_next():
    """A network's match, stepped again by the buttons that were held."""
    counted, film = match_of_network()
    assert film.frames == counted.frames[3]
    own, other = film.stocks
    assert np.sign(own - other) == counted.result[3]
    bits = 1 << np.arange(len(table.BUTTONS))
    held = np.stack([fighter.held[1:, None] & bits > 0 for fighter in film.states.fighters], axis=1)
    before = jax.tree.map(lambda leaf: leaf[:-1], film.states)
    after = jax.jit(jax.vmap(lambda state, keys: GAME.step(None, state, keys)))(before, held)
    for one, two in zip(jax.tree.leaves(after), jax.tree.leaves(film.states), strict=True):
        np.testing.assert_allclose(one, two[1:], rtol=1e-5, atol=1e-5)
    assert held[:, film.seat].any(axis=0).sum() > 5  # a network that is not trained presses all of them


def test_a_match_that_is_not_there():
    with pytest.raises(JaxnashError, match="--match is 4: of 2 pairs there are matches 0 to 3"):
        played(BASED, CONSTANT, pairs=2, seed=0, match=4)
    with pytest.raises(JaxnashError, match="--pairs is 0"):
        played(BASED, CONSTANT, pairs=0, seed=0)


def colours(image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in image.getcolors(1 << 20)}


def test_a_picture_shows_both_wherever_they_sit():
    from PIL import ImageColor

    for match in (0, 2):
        film = film_of(BASED, CONSTANT, match)[1]
        image = np.asarray(picture(film, 0))
        for place, name in enumerate(fighter_film.PLAYERS):
            found = np.argwhere((image == ImageColor.getrgb(name)).all(axis=-1))
            fighter = film.states.fighters[film.seat if place == 0 else 1 - film.seat]
            middle = WIDTH / 2 + fighter_film.SCALE * float(fighter.x[0])
            assert len(found) > 100 and found[:, 1].mean() == pytest.approx(middle, abs=2)


def test_a_picture_shows_attacks_and_knock_outs():
    from PIL import ImageColor

    film, hit = film_of(BASED, CONSTANT, 0)[1], ImageColor.getrgb(fighter_film.HIT)
    own, other = film.states.fighters
    jab = table.ATTACKS[0]
    begins = np.flatnonzero((own.state == table.ATTACKING) & (own.clock == jab.startup) & (own.move == 1))
    idle = np.flatnonzero((own.state != table.ATTACKING) & (own.weapon == 0))
    assert hit in colours(picture(film, int(begins[0]))) and hit not in colours(picture(film, int(idle[0])))
    fell = int(np.flatnonzero(other.fell)[0])
    gone = ImageColor.getrgb(fighter_film.PLAYERS[1])
    assert gone in colours(picture(film, fell + 2))  # the burst
    assert gone not in colours(picture(film, fell + fighter_film.BURST + 1))  # nobody until the return


def test_a_gif_lasts_as_long_as_the_match_and_ends_with_the_result(tmp_path):
    film = cut(film_of(BASED, CONSTANT, 0)[1], 61)
    write_gif(tmp_path / "deep" / "match.gif", film)
    with Image.open(tmp_path / "deep" / "match.gif") as gif:
        assert gif.size == (WIDTH, HEIGHT) and gif.n_frames > 20
        lasts = []
        for number in range(gif.n_frames):
            gif.seek(number)
            lasts.append(gif.info["duration"])
        assert sum(lasts) / 1000 == pytest.approx(61 / table.FPS + HOLD, abs=0.1)
        last = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(last - np.asarray(picture(film, 61, film.result)).astype(int)).mean() < 1
    assert np.abs(last - np.asarray(picture(film, 61)).astype(int)).mean() > 2


def test_a_gif_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxnashError, match=r"cannot write .*match\.gif"):
        write_gif(tmp_path / "file" / "match.gif", cut(film_of(BASED, CONSTANT, 0)[1], 3))


def program(folder, body: str) -> None:
    path = folder / "ffmpeg"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_video_is_piped_to_ffmpeg_and_without_it_a_gif(tmp_path, monkeypatch):
    film, tools = cut(film_of(BASED, CONSTANT, 0)[1], 10), tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    assert write_video(tmp_path / "match.mp4", film) == tmp_path / "match.gif"
    assert (tmp_path / "match.gif").exists() and not (tmp_path / "match.mp4").exists()
    program(tools, "open(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())")
    assert write_video(tmp_path / "new" / "match.mp4", film) == tmp_path / "new" / "match.mp4"
    raw = (tmp_path / "new" / "match.mp4").read_bytes()
    frame = 3 * WIDTH * HEIGHT
    assert len(raw) == frame * (10 + 1 + HOLD * table.FPS)
    assert raw[:frame] == picture(film, 0).tobytes() and raw[-frame:] == raw[-2 * frame : -frame]
    program(tools, "sys.exit('no such codec')")
    with pytest.raises(JaxnashError, match=r"ffmpeg cannot write .*match\.mp4: no such codec"):
        write_video(tmp_path / "match.mp4", film)


@pytest.mark.parametrize("encoder", ["causal", "window"])
def test_attention_over_a_match_is_that_of_one_long_segment_by_segment(encoder):
    """Each frame's rows are shares of what was seen so far; the same match in one pass agrees in its first
    segment, and later too but for what the segments' encoding forgets (window: everywhere)."""
    net = network(encoder)
    obs = np.array(jax.random.normal(jax.random.key(5), (40, 64)))
    found = along(net.policy, net.params, obs)
    assert found["pool"].shape == (40, 2, 6) and found["fuse"].shape == (40, 2, 2)
    seen = np.arange(6) <= np.arange(40)[:, None]
    np.testing.assert_allclose(found["pool"].sum(axis=-1), 1, rtol=1e-5)
    assert np.all((found["pool"] > 0) == seen[:, None])
    long = history_policy(span=6, segment=40, encoder=encoder, **TINY)
    whole = along(long, net.params, obs)
    same = slice(None) if encoder == "window" else slice(16)
    for name in ("pool", "fuse"):
        np.testing.assert_allclose(found[name][same], whole[name][same], atol=1e-6)


@pytest.mark.filterwarnings("error::UserWarning")  # a layout that does not fit
def test_attention_is_written_and_drawn(tmp_path):
    net = network()
    film = cut(match_of_network()[1], 200)
    found = attention_of(net, film)
    opponent = film.states.fighters[1 - film.seat]
    turned = attention_of(net, film._replace(seat=1 - film.seat), place=1)
    assert all(np.array_equal(turned[name], found[name]) for name in found)
    assert found["attacks"].sum() == ((opponent.state == table.ATTACKING) & (opponent.clock == 0))[:200].sum()
    seen = jax.vmap(GAME.observe)(film.states).obs[:200, film.seat]
    np.testing.assert_array_equal(found["pool"], along(net.policy, net.params, seen)["pool"])
    nothing = {name: np.zeros(200, bool) for name in ("attacks", "hits")}
    write_attention(tmp_path / "quiet.png", found | nothing, title="a match without attacks")
    arrays, image = write_attention(tmp_path / "attention.png", found, title="a match")
    with np.load(arrays) as held:
        assert set(held) == {"pool", "fuse", "attacks", "hits"}
        assert all(np.array_equal(held[name], found[name]) for name in held)
    with Image.open(image) as drawn:
        assert drawn.width > 600 and len(colours(drawn.convert("RGB"))) > 100


def test_a_person_plays_by_keys(monkeypatch):
    """Someone who holds d walks off the right edge three times."""
    shown, right = [], np.array([name == "d" for name in table.BUTTONS])
    monkeypatch.setattr(fighter_human, "picture", lambda film, number, told: (film.frames, told))
    screen = Screen(shown.append, lambda: right, lambda: shown.append("closed"))
    counted, film = played_by_hand(CONSTANT, screen, seed=0)
    assert counted.result.item() == -1 and counted.fell_alone.item() == table.STOCKS
    assert film.stocks == (0, table.STOCKS) and film.frames == counted.frames.item()
    assert len(shown) == film.frames + 1 and shown[-1] == "closed"
    assert shown[-2][1] == film.result == "constant wins 3 : 0"


def test_a_closed_window_ends_it():
    closed = []
    screen = Screen(lambda image: None, lambda: None, lambda: closed.append(True))
    with pytest.raises(JaxnashError, match="the window was closed"):
        played_by_hand(CONSTANT, screen, seed=0)
    assert closed


def test_no_pygame_and_no_display(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(JaxnashError, match="--human needs pygame, which is not installed"):
        fighter_human.window()
    monkeypatch.setitem(sys.modules, "pygame", os)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(JaxnashError, match="--human needs a display, and neither DISPLAY"):
        fighter_human.window(environment={})
