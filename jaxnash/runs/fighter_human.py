"""A person at the keyboard against a player of the fighter, in a window of pygame, which is optional."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.games.fighter import over, table
from jaxnash.rollouts.fights import GAME, Fights, noted
from jaxnash.runs.fighter_film import BURST, HEIGHT, WIDTH, picture
from jaxnash.runs.fighter_match import Film, Player
from jaxnash.types import JaxnashError, Neural


class Screen(NamedTuple):
    """What a person sees and presses."""

    show: Callable[[Any], None]  # an image of Pillow; waits for the time of the next frame
    keys: Callable[[], np.ndarray | None]  # bool[10], the buttons that are down; None: the window was closed
    close: Callable[[], None]


def window(*, environment: Mapping[str, str] = os.environ) -> Screen:
    """A window whose keys w a s d, space, h l j k g are the buttons.

    Raises `JaxnashError` without pygame or a display.
    """
    try:
        import pygame  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise JaxnashError("--human needs pygame, which is not installed: uv pip install pygame") from None
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform == "linux" and not any(environment.get(name) for name in displays):
        raise JaxnashError("--human needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set")
    try:
        pygame.display.init()
        surface = pygame.display.set_mode((WIDTH, HEIGHT))
    except pygame.error as error:
        raise JaxnashError(f"--human needs a display: {error}") from error
    pygame.display.set_caption("jaxnash fighter")
    clock, codes = pygame.time.Clock(), [pygame.key.key_code(name) for name in table.BUTTONS]

    def show(image: Any) -> None:
        surface.blit(pygame.image.frombytes(image.tobytes(), image.size, "RGB"), (0, 0))
        pygame.display.flip()
        clock.tick(table.FPS)

    def keys() -> np.ndarray | None:
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            return None
        down = pygame.key.get_pressed()
        return np.array([bool(down[code]) for code in codes])

    return Screen(show, keys, pygame.display.quit)


def played_by_hand(opponent: Player, screen: Screen, *, seed: int) -> tuple[Fights, Film]:
    """A match of a person, in seat 0, counted from that side with leaves [1], and its film.

    Raises `JaxnashError` where the window is closed before the end.
    """
    key, rival = jax.random.key(seed), opponent.plays
    names = ("human", opponent.name)

    @jax.jit
    def frame(params: Any, state: Any, carry: Any, buttons: Any) -> Any:
        if isinstance(rival, Neural):
            seen = GAME.observe(state)
            inputs = seen.obs[1:], seen.legal[1:], carry, (state.frame == 0)[None]
            head, _, carry = rival.policy.apply(params, *inputs)
            drawn = GAME.actions.sample(jax.random.fold_in(key, state.frame), head[0])
            answer = GAME.actions.mode(head[0]) if rival.greedy else drawn
        else:
            answer = rival(state, 1)
        state = GAME.step(None, state, jnp.stack([buttons, answer.astype(bool)]))
        return state, carry, noted(state, jnp.int32(0))

    carry = rival.policy.initial_carry(1) if isinstance(rival, Neural) else ()
    state = jax.device_get(jax.jit(lambda key: GAME.init(key, None))(jax.random.fold_in(key, table.FRAMES)))
    frame(opponent.params, state, carry, np.zeros(len(table.BUTTONS), bool))  # compiled before time runs
    states, tallies = [state], []
    try:
        while not over(state):
            buttons = screen.keys()
            if buttons is None:
                raise JaxnashError("the window was closed before the match was over: nothing to count")
            state, carry, tally = frame(opponent.params, state, carry, buttons)
            state, tally = jax.device_get((state, tally))
            states.append(state)
            tallies.append(tally)
            now = _film(names, states[-BURST - 1 :])
            screen.show(picture(now, now.frames, now.result if over(state) else ""))
    finally:
        screen.close()
    counted = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0)[None], *tallies)
    return counted, _film(names, states)


def _film(names: tuple[str, str], states: list[Any]) -> Film:
    return Film(names, 0, jax.tree.map(lambda *leaves: np.stack(leaves), *states))
