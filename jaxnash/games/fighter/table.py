"""Every number of the fighter that is a choice: movement, stage, timers and the table of attacks.

The rows of attacks and whatever its reference leaves open were made up here. Lengths are in units of the
stage (a fighter is 1.2 tall), y points down, speeds are units a second, times are frames of 1/30 s, angles
degrees. `digest()` names all of it; a checkpoint holds it, because a policy knows only the game it was
trained in.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import NamedTuple

FPS = 30
FRAMES = 90 * FPS  # of a match
STOCKS = 3
DAMAGE_MAX = 700.0  # damage stops here; percent, as players say

# Movement, units a second (speeds) and units a second squared
GRAVITY = 17.808
FALL = 12.0  # the fastest fall
WALK, RUN, DASH, JUMP = 6.75, 8.0, 10.0, 8.9
RUN_AFTER = 15  # frames of walking one way, then it is running
AIR_JUMPS, RECOVERIES = 2, 1  # until the next landing
GROUND_ACCELERATION, GROUND_FRICTION = 60.0, 45.0
AIR_ACCELERATION, AIR_FRICTION = 30.0, 6.0
STUN_FRICTION = 3.0  # while stunned, on the ground and in the air

# Frames
DASH_FRAMES = 8
DODGE_FRAMES = 10  # invulnerable, and nothing else can be done
GROUND_WAIT, AIR_WAIT = 30, 82  # from the start of a dodge or dash to the next
TAUNT_FRAMES = 30
TURN_FRAMES = 4  # how long a turn is shown; it can be left at any time
RESPAWN_FRAMES = 90
SAFE_FRAMES = 45  # invulnerable after a respawn
ALONE_FRAMES = 90  # a knock-out with no hit in so many frames before is one's own

# A body is a box above the feet (x, y); the stage touches only the feet
BODY_HALF_WIDTH, BODY_HEIGHT = 0.4, 1.2

# Knock-back = KNOCK_BACK (fixed + variable (X / 70 + X^2 / 12000)), X the damage after the hit
KNOCK_BACK, KNOCK_LINEAR, KNOCK_SQUARE = 0.096, 70.0, 12_000.0

# Weapons: 0 unarmed, 1 spear, 2 hammer
PICK_UP_REACH = (1.0, 1.0)  # |dx|, |dy| from the feet to the weapon
FIRST_WEAPONS = (60, 150, 240, 330)  # frames until a spawner's first weapon
WEAPON_EVERY = 450  # frames from a pick-up to the spawner's next weapon
THROW_REACH, THROW_HALF_HEIGHT = (
    3.0,
    0.6,
)  # what stands so far ahead at the height of a body's middle is struck
THROW_DAMAGE, THROW_FIXED, THROW_VARIABLE, THROW_ANGLE, THROW_STUN = 8.0, 30.0, 5.0, 30.0, 10

# The stage; the right ground is higher. Ground is solid down to the bottom.
GROUNDS = ((2.0, 7.0, 0.85), (-7.0, -2.0, 2.85))  # x from, x to, y
PLATFORM_ENDS = ((1.0, 0.0), (-1.0, 2.0))  # of its centre
PLATFORM_SIZE = (2.0, 1.0)  # width and height; one stands on its upper edge and passes from below
PLATFORM_FRAMES = 240  # there and back
SPAWN = (5.0, 0.0)  # |x| and y
SPAWN_JITTER = 0.5  # largest change of x at a match's start
PHASE_JITTER = 30  # most frames that the platform is ahead at a match's start
SPAWNERS = ((3.0, 0.85), (6.0, 0.85), (-3.0, 2.85), (-6.0, 2.85))  # where weapons lie
LIMIT = (14.0, 8.0)  # |x|, |y| beyond which one is knocked out

# States, as the observation names them
WALKING, STANDING, TURNING, AIR_TURNING, SPRINTING, STUNNED, IN_AIR, DODGING = range(8)
ATTACKING, DASHING, BACK_DASHING, KNOCKED_OUT, TAUNTING = range(8, 13)

# Buttons, in the order of the action
BUTTONS = ("w", "a", "s", "d", "space", "h", "l", "j", "k", "g")

# Scripted opponents
BACK_BEYOND = 5.335  # |x| from which Based goes back
LOW = 1.6  # y beyond which Based jumps
NEAR = 2.0  # distance at which Based attacks


class Attack(NamedTuple):
    """A row. The hit box is centred `forward` ahead of the feet and `up` above them."""

    weapon: str
    name: str
    startup: int  # frames before the box
    active: int  # frames with it
    recovery: int  # frames after it
    forward: float
    up: float
    half_width: float
    half_height: float
    damage: float
    fixed: float  # knock-back
    variable: float  # knock-back that grows with damage
    angle: float  # degrees above straight ahead, in which the one who is hit flies
    stun: int  # frames
    lunge: float = 0.0  # own speed ahead when the box appears; 0: unchanged
    rise: float = 0.0  # own speed upwards then; 0: unchanged


# A move's number is 1 + its place among a weapon's rows; 0 is none. Air has no heavy side attack of its own:
# heavy neutral and heavy side are the recovery.
MOVES = (
    *("ground light neutral", "ground light down", "ground light side"),
    *("ground heavy neutral", "ground heavy down", "ground heavy side"),
    *("air light neutral", "air light down", "air light side"),
    *("recovery", "ground pound"),
)
RECOVERY = 1 + MOVES.index("recovery")
WEAPONS = ("unarmed", "spear", "hammer")
ATTACKS = (
    Attack("unarmed", MOVES[0], 3, 3, 7, 0.7, 0.7, 0.5, 0.4, 6, 22, 6, 60, 14),
    Attack("unarmed", MOVES[1], 4, 3, 9, 0.7, 0.2, 0.6, 0.25, 7, 26, 8, 70, 15),
    Attack("unarmed", MOVES[2], 5, 4, 10, 0.8, 0.7, 0.6, 0.35, 9, 34, 14, 30, 13, 7.0),
    Attack("unarmed", MOVES[3], 9, 4, 14, 0.3, 1.5, 0.6, 0.6, 15, 45, 26, 85, 18),
    Attack("unarmed", MOVES[4], 8, 5, 15, 0.0, 0.2, 1.2, 0.3, 13, 42, 23, 55, 17),
    Attack("unarmed", MOVES[5], 10, 4, 15, 1.0, 0.7, 0.8, 0.4, 17, 48, 29, 35, 18, 6.0),
    Attack("unarmed", MOVES[6], 4, 5, 8, 0.2, 0.8, 0.8, 0.6, 7, 26, 9, 50, 13),
    Attack("unarmed", MOVES[7], 5, 5, 10, 0.3, 0.0, 0.5, 0.5, 8, 28, 10, -40, 14),
    Attack("unarmed", MOVES[8], 5, 4, 9, 0.8, 0.6, 0.6, 0.4, 9, 34, 14, 35, 13),
    Attack("unarmed", MOVES[9], 4, 6, 16, 0.3, 1.2, 0.5, 0.7, 10, 38, 16, 75, 15, 2.0, 9.5),
    Attack("unarmed", MOVES[10], 8, 12, 14, 0.0, 0.1, 0.6, 0.4, 14, 40, 22, -60, 17, 0.0, -12.0),
    Attack("spear", MOVES[0], 4, 3, 8, 1.1, 0.7, 0.8, 0.25, 7, 24, 7, 50, 14),
    Attack("spear", MOVES[1], 5, 3, 10, 1.1, 0.2, 0.8, 0.2, 8, 27, 8, 65, 15),
    Attack("spear", MOVES[2], 6, 4, 10, 1.4, 0.7, 0.9, 0.25, 10, 36, 15, 25, 13, 5.0),
    Attack("spear", MOVES[3], 10, 4, 15, 0.4, 1.9, 0.4, 0.9, 16, 46, 26, 85, 18),
    Attack("spear", MOVES[4], 9, 5, 15, 0.0, 0.3, 1.6, 0.25, 14, 43, 23, 50, 17),
    Attack("spear", MOVES[5], 11, 4, 16, 1.6, 0.7, 1.1, 0.3, 18, 50, 29, 30, 18, 4.0),
    Attack("spear", MOVES[6], 5, 5, 9, 0.8, 0.9, 0.9, 0.5, 8, 27, 10, 50, 13),
    Attack("spear", MOVES[7], 6, 5, 10, 0.5, -0.3, 0.4, 0.8, 9, 30, 11, -50, 14),
    Attack("spear", MOVES[8], 6, 4, 10, 1.3, 0.7, 0.9, 0.3, 10, 35, 15, 30, 13),
    Attack("spear", MOVES[9], 5, 6, 17, 0.5, 1.5, 0.5, 0.9, 11, 39, 17, 75, 15, 2.0, 9.5),
    Attack("spear", MOVES[10], 9, 12, 15, 0.2, -0.2, 0.4, 0.7, 15, 42, 23, -70, 17, 0.0, -12.0),
    Attack("hammer", MOVES[0], 5, 3, 10, 0.8, 0.8, 0.7, 0.6, 9, 28, 9, 60, 15),
    Attack("hammer", MOVES[1], 6, 3, 12, 0.9, 0.3, 0.7, 0.4, 10, 31, 11, 75, 16),
    Attack("hammer", MOVES[2], 8, 4, 13, 1.0, 0.7, 0.8, 0.6, 13, 40, 18, 35, 15, 4.0),
    Attack("hammer", MOVES[3], 13, 4, 18, 0.4, 1.7, 0.8, 0.8, 21, 54, 33, 85, 20),
    Attack("hammer", MOVES[4], 12, 5, 18, 0.0, 0.3, 1.5, 0.4, 19, 50, 29, 55, 19),
    Attack("hammer", MOVES[5], 14, 4, 20, 1.2, 0.8, 1.0, 0.7, 24, 58, 36, 40, 20, 4.0),
    Attack("hammer", MOVES[6], 6, 5, 11, 0.4, 0.9, 1.0, 0.8, 10, 31, 12, 55, 15),
    Attack("hammer", MOVES[7], 8, 5, 12, 0.4, 0.0, 0.6, 0.7, 12, 34, 14, -45, 16),
    Attack("hammer", MOVES[8], 7, 4, 12, 1.0, 0.7, 0.8, 0.6, 12, 38, 17, 40, 15),
    Attack("hammer", MOVES[9], 6, 6, 18, 0.4, 1.4, 0.7, 0.9, 14, 42, 20, 75, 16, 2.0, 9.0),
    Attack("hammer", MOVES[10], 11, 12, 17, 0.0, 0.1, 0.8, 0.5, 19, 47, 28, -60, 19, 0.0, -12.0),
)


def digest() -> str:
    """A name, 16 hexadecimal digits, for all numbers of this file."""
    numbers = {name: value for name, value in sorted(globals().items()) if name.isupper()}
    return sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]
