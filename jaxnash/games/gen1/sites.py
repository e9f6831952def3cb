"""The places where Gen 1 battles draw random numbers: a plain table that engine, tape and judge share.

A *site* is one call in Showdown's source that consumes a random number: the critical-hit check, the damage
roll, the shuffle that breaks a tie when the action queue is sorted. The judge (`tests/differential/`) finds
the site of every draw from the call stack and fails on a call that is not in this table. The engine asks for
a draw by its site, so a tape recorded from Showdown can be checked for site and bounds as it is replayed.

Bounds are [lo, hi), as the simulator's PRNG is asked: `random(n)` is (0, n), `randomChance(a, n)` is (0, n)
and succeeds where value < a, `sample(list)` is (0, len(list)) and gives an index, a tie of k entries that
begin at position i of a sorted list draws (i, i + k), then (i + 1, i + k), ...

Sites of `DROPPED` are ties whose outcome cannot be seen in the state of a battle; the tape leaves them off
and the engine never draws them. `tests/differential/test_redraw.py` draws them anew and requires every state
equal.
"""

from __future__ import annotations

from typing import NamedTuple


class Site(NamedTuple):
    """One place that draws: its name in records, and what the number decides."""

    name: str
    bounds: str  # [lo, hi) in words, where they are not always the same
    about: str


SITES: tuple[Site, ...] = (
    Site("order", "0, 2", "who acts first, when both actions have one priority and speed"),
    Site("insert", "0, 2", "where an action goes that is added in mid-turn to one of the same speed"),
    Site("accuracy", "0, 256", "hits where value < accuracy"),
    Site("crit", "0, 256", "critical where value < rate"),
    Site("roll", "217, 256", "damage * value // 255; only if damage > 1"),
    Site("paralysis", "0, 256", "fully paralysed where value < 63"),
    Site("confusion", "0, 256", "acts in spite of confusion where value < 128, else hits itself"),
    Site("confusion_turns", "2, 6", "counter of a new confusion"),
    Site("sleep_turns", "1, 8", "counter of a new sleep (drawn for Rest too, which then sets 2)"),
    Site("secondary", "0, 256", "secondary effect happens where value < chance"),
    Site("substitute_confusion", "0, 256", "the same for confusion of a target behind a substitute"),
    Site("multi_hit", "0, 8", "index into 2 2 2 3 3 3 4 5 hits"),
    Site("trap_turns", "0, 8", "index into 2 2 2 3 3 3 4 5 turns of Wrap, Bind, Clamp, Fire Spin"),
    Site("thrash_turns", "2, 4", "counter of Thrash and Petal Dance"),
    Site("bide_turns", "2, 4", "counter of Bide"),
    Site("disable_move", "0, moves with PP", "which of the target's moves with PP left, in slot order"),
    Site("disable_turns", "1, 9", "counter of Disable"),
    Site("mimic", "0, moves", "which of the target's moves, in slot order"),
    Site("metronome", "0, 163", "which move, by number, without Metronome and Struggle"),
    Site("psywave", "1, 3 * level // 2", "its damage"),
    Site("update", "0, 2", "order in which both actives run Update: it has no handlers"),
    Site("beforeturn", "0, 2", "order in which both actives run BeforeTurn: it has no handlers"),
    Site("setstatus", "0, 2", "order of Sleep Clause and Freeze Clause: they look at different statuses"),
    Site("residual", "lo, hi", "order in which durations count down at the end of a turn"),
    Site("disablemove", "lo, hi", "order of handlers that disable moves or hide a lock, of one Pokemon"),
)

DROPPED: tuple[str, ...] = ("update", "beforeturn", "setstatus", "residual", "disablemove")
SITE_IDS: dict[str, int] = {site.name: i for i, site in enumerate(SITES)}
