"""A match of the fighter as pictures: drawn with Pillow, written as a GIF, or by ffmpeg as a video."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax

from jaxnash.games.fighter import Fighter, State, table
from jaxnash.games.fighter.state import platform_at
from jaxnash.runs.fighter_match import Film
from jaxnash.runs.files import disk_error, first_line, write_bytes
from jaxnash.types import JaxnashError

WIDTH, HEIGHT, TOP = 640, 400, 48  # pixels; the figures' strip is on top
SCALE = 22.0  # pixels of a unit of the stage
HOLD = 2.0  # seconds for which the result stays
BURST = 12  # frames for which a knock-out is shown
SKY, STRIP, GROUND, EDGE, PLATFORM = "#eef2f7", "#1f2933", "#6b7785", "#3e4c59", "#9aa5b1"
WHITE, GREY, HIT, SPEAR, HAMMER = "#ffffff", "#9aa5b1", "#d62828", "#8a6d1f", "#5b3a8c"
PLAYERS = ("#0072b2", "#d55e00")
BRIGHT = ("#56b4e9", "#f4a261")  # the same on the dark strip
SAFE, STUN, SHOW = "#2fb8ac", "#f0c419", "#cc79a7"  # outlines of bodies, as HIT
BRIGHT_HIT = "#ff6b6b"
STATES = (  # in the order of `table`'s numbers; None: as usual
    *(("walking", None), ("standing", None), ("turning", None), ("turning", None), ("running", None)),
    *(("stunned", STUN), ("in the air", None), ("dodging", SAFE), ("attacking", HIT)),
    *(("dashing", SAFE), ("dashing back", SAFE), ("knocked out", None), ("taunting", SHOW)),
)
WEAPON_COLOURS = (GREY, SPEAR, HAMMER)


def write_gif(path: str | Path, film: Film) -> None:
    """The film at 15 frames a second, in real time, with its result at the end.

    Raises `JaxnashError` where it cannot be written.
    """
    palette, every, out = _palette(), 2, io.BytesIO()
    pictures = (one.quantize(palette=palette, dither=0) for one in pictures_of(film, every=every))
    # A GIF counts in 10 ms: 70, 70 and 60 are three frames of 15 a second
    lasts = [(70, 70, 60)[i % 3] for i in range(len(range(0, film.frames, every)))]
    next(pictures).save(
        out, "GIF", save_all=True, append_images=pictures, duration=[*lasts, int(1000 * HOLD)], loop=0
    )
    write_bytes(path, out.getvalue())


def write_video(path: str | Path, film: Film) -> Path:
    """The film at 30 frames a second by the ffmpeg on PATH; without one a GIF beside it. Returns which.

    Raises `JaxnashError` where it cannot be written.
    """
    program, path = shutil.which("ffmpeg"), Path(path)
    if program is None:
        write_gif(path.with_suffix(".gif"), film)
        return path.with_suffix(".gif")
    command = [program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{WIDTH}x{HEIGHT}", "-r", str(table.FPS), "-i", "-", "-pix_fmt", "yuv420p", str(path)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, stdout=subprocess.DEVNULL)
        try:
            assert process.stdin is not None
            for picture in pictures_of(film):
                process.stdin.write(picture.tobytes())
            for _ in range(int(HOLD * table.FPS)):
                process.stdin.write(picture.tobytes())
            process.stdin.close()
        except BrokenPipeError:  # it says why below
            pass
        finally:
            code = process.wait()
        if code:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip() or f"exit code {code}"
            raise JaxnashError(f"ffmpeg cannot write {path}: {first_line(ValueError(text))}")
    return path


def pictures_of(film: Film, *, every: int = 1) -> Iterator[Any]:
    """Each `every`th state, and at the end the last with the result, as RGB images of Pillow."""
    last = film.frames
    for number in range(0, last, every):
        yield picture(film, number)
    yield picture(film, last, film.result)


def picture(film: Film, number: int, told: str = "") -> Any:
    """The state after `number` frames, and what is `told` of it, as an RGB image of Pillow."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), SKY)
    draw = ImageDraw.Draw(image)
    state = _at(film.states, number)
    _stage(draw, state)
    for place in (1, 0):
        seat = film.seat if place == 0 else 1 - film.seat
        fighter = state.fighters[seat]
        _burst(draw, film, number, seat, place)
        if int(fighter.state) != table.KNOCKED_OUT:
            _body(draw, fighter, PLAYERS[place], _recent(film, number, seat, "dropped", 2) is not None)
    draw.rectangle((0, 0, WIDTH, TOP - 1), fill=STRIP)
    for place in (0, 1):
        seat = film.seat if place == 0 else 1 - film.seat
        _figures(draw, film.names[place], state.fighters[seat], place)
    left = (table.FRAMES - int(state.frame)) / table.FPS
    _text(draw, (WIDTH / 2, TOP / 2), f"{left:.0f}", 20, WHITE, "mm")
    if told:
        half = 24 + draw.textlength(told, font=_font(22)) / 2
        box = (WIDTH / 2 - half, TOP + 60, WIDTH / 2 + half, TOP + 104)
        draw.rounded_rectangle(box, 8, fill=STRIP)
        _text(draw, (WIDTH / 2, TOP + 82), told, 22, WHITE, "mm")
    return image


def _at(states: Any, number: int) -> State:
    return jax.tree.map(itemgetter(number), states)


def _place(x: Any, y: Any) -> tuple[float, float]:
    """The pixel of a point of the stage."""
    return WIDTH / 2 + SCALE * float(x), TOP + (HEIGHT - TOP) / 2 + SCALE * float(y)


def _box(x: Any, y: Any, half_width: float, half_height: float) -> tuple[float, float, float, float]:
    return *_place(x - half_width, y - half_height), *_place(x + half_width, y + half_height)


def _stage(draw: Any, state: State) -> None:
    for left, right, surface in state.stage.grounds:
        box = (*_place(left, surface), _place(right, surface)[0], HEIGHT)
        draw.rectangle(box, fill=GROUND)
        draw.line((box[0], box[1], box[2], box[1]), fill=EDGE, width=3)
    half_width, half_height = (float(half) for half in state.stage.platform_half)
    x, y = platform_at(state.stage, state.frame + state.phase)
    box = _box(x, y, half_width, half_height)
    draw.rectangle(box, fill=PLATFORM)
    draw.line((box[0], box[1], box[2], box[1]), fill=EDGE, width=3)
    for spawner, (x, y) in zip(state.spawners, state.stage.spawners, strict=True):
        if int(spawner.weapon):
            _weapon(draw, int(spawner.weapon), float(x) - 0.5, float(y) - 0.25, 1)


def _weapon(draw: Any, weapon: int, x: float, y: float, way: float) -> None:
    """A weapon whose grip is at (x, y), pointing `way`."""
    long = 1.7 if weapon == 1 else 1.0
    end = x + way * long
    draw.line((*_place(x - way * 0.3, y), *_place(end, y)), fill=WEAPON_COLOURS[weapon], width=4)
    if weapon == 1:
        tip = [_place(end, y - 0.22), _place(end + way * 0.5, y), _place(end, y + 0.22)]
        draw.polygon(tip, fill=WEAPON_COLOURS[weapon])
    else:
        draw.rectangle(_box(end, y, 0.2, 0.4), fill=WEAPON_COLOURS[weapon])


def _body(draw: Any, fighter: Fighter, colour: str, threw: bool) -> None:
    """A fighter, what it holds, and where it strikes."""
    x, y, facing = float(fighter.x), float(fighter.y), float(fighter.facing)
    outline = SAFE if int(fighter.safe) else STATES[int(fighter.state)][1] or STRIP
    half, height = table.BODY_HALF_WIDTH, table.BODY_HEIGHT
    draw.rounded_rectangle(
        _box(x, y - height / 2, half, height / 2), 5, colour, outline, 1 if outline == STRIP else 3
    )
    eye = x + 0.18 * facing
    draw.rectangle(_box(eye, y - 0.85 * height, 0.08, 0.1), fill=WHITE)
    if int(fighter.weapon):
        _weapon(draw, int(fighter.weapon), x + 0.4 * facing, y - 0.55 * height, facing)
    if threw:
        ahead = x + facing * table.THROW_REACH / 2
        box = _box(ahead, y - height / 2, table.THROW_REACH / 2, table.THROW_HALF_HEIGHT)
        draw.rectangle(box, outline=HIT, width=2)
    if int(fighter.state) == table.ATTACKING and int(fighter.move):
        attack = table.ATTACKS[int(fighter.weapon) * len(table.MOVES) + int(fighter.move) - 1]
        if attack.startup <= int(fighter.clock) < attack.startup + attack.active:
            box = _box(x + facing * attack.forward, y - attack.up, attack.half_width, attack.half_height)
            draw.rectangle(box, outline=HIT, width=3 if bool(fighter.struck) else 2)


def _recent(film: Film, number: int, seat: int, event: str, frames: int) -> int | None:
    """The last of so many frames up to this one in which something happened to a fighter."""
    happened = getattr(film.states.fighters[seat], event)
    for frame in range(number, max(0, number - frames), -1):
        if happened[frame]:
            return frame
    return None


def _burst(draw: Any, film: Film, number: int, seat: int, place: int) -> None:
    """Rays where a fighter has just left the stage."""
    fell = _recent(film, number, seat, "fell", BURST)
    if fell is None:
        return
    before = film.states.fighters[seat]
    x, y = _place(before.x[fell - 1], before.y[fell - 1])
    x, y = min(max(x, 10), WIDTH - 10), min(max(y, TOP + 10), HEIGHT - 10)
    long = 20 + 8 * (number - fell)
    for across, down in (
        (1, 0),
        (0.7, 0.7),
        (0, 1),
        (-0.7, 0.7),
        (-1, 0),
        (-0.7, -0.7),
        (0, -1),
        (0.7, -0.7),
    ):
        ray = (x + across * long / 2, y + down * long / 2, x + across * long, y + down * long)
        draw.line(ray, fill=PLAYERS[place], width=4)


def _figures(draw: Any, name: str, fighter: Fighter, place: int) -> None:
    """Name and state, damage and stocks: the first player's at the left, the second's at the right."""
    side, way = (12, 1) if place == 0 else (WIDTH - 12, -1)
    anchor = "lm" if place == 0 else "rm"
    ink = STATES[int(fighter.state)][1] or GREY
    ink = BRIGHT_HIT if ink == HIT else ink
    shown = name if len(name) <= 20 else f"{name[:19]}…"
    _text(draw, (side, 14), shown, 15, BRIGHT[place], anchor)
    _text(draw, (side, 35), _doing(fighter), 12, ink, anchor)
    _text(draw, (WIDTH / 2 - way * 62, 17), f"{float(fighter.damage):.0f} %", 20, WHITE, "mm")
    for stock in range(int(fighter.stocks)):
        x = WIDTH / 2 - way * 62 + 14 * (stock - 1)
        draw.ellipse((x - 4, 33, x + 4, 41), fill=BRIGHT[place])


def _doing(fighter: Fighter) -> str:
    state, move = int(fighter.state), int(fighter.move)
    if state == table.ATTACKING and move:
        weapon = table.WEAPONS[int(fighter.weapon)]
        return f"{table.MOVES[move - 1]}, {weapon}"
    if state == table.KNOCKED_OUT and int(fighter.stocks):
        return f"back in {-(-(table.RESPAWN_FRAMES - int(fighter.clock)) // table.FPS)} s"
    return STATES[state][0]


@lru_cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _text(draw: Any, at: tuple[float, float], text: str, size: int, ink: str, anchor: str) -> None:
    draw.text(at, text, fill=ink, font=_font(size), anchor=anchor)


@lru_cache
def _palette() -> Any:
    """All colours, and those between each and the strip, for the edges of letters."""
    from PIL import Image, ImageColor

    inks = (WHITE, GREY, BRIGHT_HIT, SAFE, STUN, SHOW, *BRIGHT)
    names = (SKY, STRIP, GROUND, EDGE, PLATFORM, SPEAR, HAMMER, HIT, *PLAYERS, *inks)
    colours, strip = [ImageColor.getrgb(name) for name in names], ImageColor.getrgb(STRIP)
    for ink in inks:
        rgb = ImageColor.getrgb(ink)
        colours += [
            tuple(round(a + (b - a) * share / 8) for a, b in zip(strip, rgb)) for share in range(1, 8)
        ]
    image = Image.new("P", (1, 1))
    image.putpalette([part for colour in colours for part in colour])
    return image
