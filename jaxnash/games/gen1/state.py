"""What a battle consists of, as it is kept between decisions (small integers) and as a step works on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnash.games.gen1 import data
from jaxnash.types import Array

RUNNING, TIE = -1, 2  # winners besides 0 and 1
SLOTS = 4
TEAM = 6
Four = tuple[Array, Array, Array, Array]
Six = tuple[Array, Array, Array, Array, Array, Array]


class Setup(NamedTuple):
    """Two teams, in their order; empty places have species 0."""

    species: Array  # [2, 6] ids
    level: Array  # [2, 6]
    maxhp: Array  # [2, 6]
    stats: Array  # [2, 6, 4] atk def spc spe, unmodified
    moves: Array  # [2, 6, 4] ids, 0 none


class Team(NamedTuple):
    """A side's six, in the order of the team."""

    species: Array  # u8[6]
    order: Array  # i8[6]: places in the order of the species' names, empty ones last
    present: Array  # i8[6]: places in Showdown's present order; a switch exchanges two
    level: Array  # u8[6]
    maxhp: Array  # i16[6]
    stats: Array  # i16[6, 4]
    moves: Array  # u8[6, 4]
    hp: Array  # i16[6]
    status: Array  # i8[6], ids of layout's vocabulary
    sleep: Array  # i8[6], turns left
    sleep_start: Array  # i8[6], turns at first
    sleep_own: Array  # bool[6]: put to sleep by its own side
    sub_broke: Array  # bool[6]: its substitute broke since it was last the target of a move
    pp: Array  # i8[6, 4]
    revealed: Array  # bool[6]: the other side has seen it
    seen_pp: Array  # i8[6, 4]: as the other side infers it, -1 where it has not seen the move


class Active(NamedTuple):
    """A side's Pokemon on the field and what the side remembers. Turns of 0 and ids of 0: not there."""

    index: Array  # i8, its place in the team
    species: Array  # u8, as it is now (Transform)
    types: tuple[Array, Array]  # i8
    stored: Four  # i16, stats before stages
    now: Four  # i16, stats as modified
    boosts: Six  # i8
    moves: Four  # u8
    pp: Four  # i8
    virtual: Four  # bool: a slot of Mimic or Transform
    transformed: Array  # bool
    last_move: Array  # u8, what Mirror Move copies
    bide_turns: Array  # i8
    bide_damage: Array  # i32
    confusion: Array  # i8, turns left
    disable_turns: Array  # i8
    disable_move: Array  # u8
    disable_slot: Array  # i8
    fake_turns: Array  # i8, fakepartiallytrapped
    fake_partner: Array  # i8, index
    flinch: Array  # bool
    focusenergy: Array  # bool
    hidden: Array  # bool: by Dig or Fly
    leechseed: Array  # bool
    lightscreen: Array  # bool
    mist: Array  # bool
    reflect: Array  # bool
    recharge: Array  # bool
    thrash_move: Array  # u8
    thrash_turns: Array  # i8
    thrash_accuracy: Array  # u8
    rage: Array  # u8: its accuracy
    trapped_turns: Array  # i8, partiallytrapped
    trapped_by: Array  # i8, index
    trapped_maybe: Array  # bool: does not know whether it is still trapped
    lock_turns: Array  # i8, partialtrappinglock
    lock_total: Array  # i8
    lock_move: Array  # u8
    lock_damage: Array  # i16
    lock_target: Array  # i8, index
    toxic: Array  # u8: 1 + Toxic's counter
    sub: Array  # i16, the substitute's hp
    charging: Array  # u8, the move
    selected: Array  # u8, the side's last selected move
    slot: Array  # i8, its slot
    seen: Array  # u8, lastEnemySelectedMove
    side_last: Array  # u8, the side's last move used
    enemy_last: Array  # u8, lastEnemyMove
    fell: Array  # i8: 1 + index of who fainted in this turn
    # What only observations need (`knowledge`, `observe`)
    shown: Array  # u8, the move last announced since it came in
    shown_called: Array  # bool: by Metronome or Mirror Move, or after a thaw; or it goes on from one
    trapping: Array  # bool: as the protocol shows it
    recharges: Array  # bool: as the protocol shows it, which hides that a flinch took the recharge away
    form: Array  # i8: whose stats it took by Transform; 1 + index of a foe, 7 + index of an ally
    lock_uses: Array  # i8: layout's lock_turns
    dizzy_turns: Array  # i8: layout's confusion_turns
    disabled_turns: Array  # i8: layout's disable_turns
    sub_hits: Array  # i8
    turns_in: Array  # i8
    seen_pp: Four  # i8, as `Team.seen_pp`
    seen_slot: Array  # i8: 1 + the slot that the other side infers it chose last
    crossed: Array  # i8: 1 + 4 * slot + slot, which the other side takes for one another on the bench


_WIDE = {"bide_damage": jnp.int32}
_BYTES = (
    *("species", "moves", "last_move", "disable_move", "thrash_move", "thrash_accuracy", "rage", "lock_move"),
    *("toxic", "charging", "selected", "seen", "side_last", "enemy_last", "shown"),
)
_SHORTS = ("stored", "now", "sub", "lock_damage")
_FLAGS = (
    *("virtual", "transformed", "flinch", "focusenergy", "hidden", "leechseed", "lightscreen"),
    *("mist", "reflect", "recharge", "trapped_maybe", "shown_called", "trapping", "recharges"),
)


def _dtype(name: str) -> Any:
    if name in _FLAGS:
        return jnp.bool_
    if name in _BYTES:
        return jnp.uint8
    return _WIDE.get(name, jnp.int16 if name in _SHORTS else jnp.int8)


DTYPES = {name: _dtype(name) for name in Active._fields}


class State(NamedTuple):
    """A battle at a decision."""

    teams: tuple[Team, Team]
    actives: tuple[Active, Active]
    turn: Array  # i16
    last_damage: Array  # i32
    winner: Array  # i8: RUNNING, 0, 1 or TIE
    illegal: Array  # i16, actions that were not legal and were replaced by the first legal one


class Side(NamedTuple):
    """A side as a step works on it: i32 and bool, scalars all. `Active`, and its row of the `Team`."""

    active: Active
    hp: Array
    maxhp: Array
    level: Array
    base: Four  # stats, unmodified
    speed: Array  # base Speed of the species, for critical hits
    status: Array
    sleep: Array
    sleep_start: Array
    sleep_own: Array
    sub_broke: Array
    base_pp: Four
    base_seen: Four
    base_moves: Four  # those of its own
    todo: Array  # i32: the move to make in this turn, 0 none
    sleeper: Array  # bool: one on the bench sleeps, and not by its own side
    frozen: Array  # bool: one on the bench is frozen
    thawed: Array  # bool: by the foe's move in this step, so that it makes a move that it did not choose
    copied: Array  # bool: it transformed in this step


def put(tree: Any, mask: Array, **values: Any) -> Any:
    """`tree`, with the named fields replaced where `mask`."""
    new = {}
    for name, value in values.items():
        old = getattr(tree, name)
        if isinstance(old, tuple):
            new[name] = tuple(jnp.where(mask, v, o) for v, o in zip(value, old, strict=True))
        else:
            new[name] = jnp.where(mask, value, old)
    return tree._replace(**new)


def where(mask: Array, one: Any, other: Any) -> Any:
    """`one` where `mask`, else `other`, through whole trees."""
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b), one, other)


def pick(values: tuple[Array, ...], index: Array) -> Array:
    """`values[index]` of a tuple of scalars; the last one beyond it."""
    found = values[-1]
    for i, value in reversed(list(enumerate(values[:-1]))):
        found = jnp.where(index == i, value, found)
    return found


def put_at(values: tuple[Array, ...], index: Array, mask: Array, value: Array) -> tuple[Array, ...]:
    """`values` with `values[index]` replaced where `mask`."""
    return tuple(jnp.where(mask & (index == i), value, old) for i, old in enumerate(values))


def row(table: Array, index: Array) -> Array:
    """`table[index]`, i32."""
    return table.at[index].get(mode="promise_in_bounds").astype(jnp.int32)


def set_row(table: Array, index: Array, value: Array) -> Array:
    """`table` with row `index` replaced."""
    chosen = (jnp.arange(TEAM) == index).reshape((TEAM,) + (1,) * (table.ndim - 1))
    return jnp.where(chosen, jnp.asarray(value).astype(table.dtype), table)


def blank(active: Active, index: Array) -> Active:
    """Nothing on the field yet: `active` keeps what the side remembers, all else is 0."""
    kept = ("selected", "slot", "seen", "side_last", "enemy_last", "fell")
    cleared = jax.tree.map(jnp.zeros_like, active)
    return cleared._replace(index=index, **{name: getattr(active, name) for name in kept})


def brought(active: Active, *, index: Array, row: Any, mask: Array) -> Active:
    """`active` after Pokemon `index` came in where `mask`; `row` is the team's of it."""
    fresh = blank(active, index)._replace(
        species=row.species,
        types=tuple(jnp.asarray(data.SPECIES[name])[row.species] for name in ("type1", "type2")),
        stored=row.stats,
        now=dropped(row.stats, row.status),
        moves=row.moves,
        pp=row.pp,
        seen_pp=row.seen_pp,
    )
    return where(mask, fresh, active)


def dropped(stats: Four, status: Array) -> Four:
    """Stats with the drop of paralysis or burn."""
    atk, def_, spc, spe = stats
    atk = jnp.where(status == data.BRN, jnp.maximum(atk >> 1, 1), atk)
    spe = jnp.where(status == data.PAR, jnp.maximum(spe >> 2, 1), spe)
    return atk, def_, spc, spe


class Row(NamedTuple):
    """One Pokemon of a team, i32 scalars."""

    species: Array
    level: Array
    maxhp: Array
    stats: Four
    moves: Four
    hp: Array
    status: Array
    sleep: Array
    sleep_start: Array
    sleep_own: Array
    sub_broke: Array
    pp: Four
    seen_pp: Four


def row_of(team: Team, index: Array) -> Row:
    """Pokemon `index` of a team."""
    columns = {}
    for name in Row._fields:
        table = getattr(team, name)
        value = row(table, index)
        columns[name] = tuple(value[i] for i in range(SLOTS)) if value.ndim else value
    for name in ("sleep_own", "sub_broke"):
        columns[name] = columns[name] != 0
    return Row(**columns)


def side_of(active: Active, team: Team) -> Side:
    """A side to work on."""
    wide = jax.tree.map(lambda x: x if x.dtype == jnp.bool_ else x.astype(jnp.int32), active)
    return with_row(wide, row_of(team, wide.index))


def with_row(active: Active, row: Row) -> Side:
    """A side whose active is `row`."""
    no = jnp.bool_(False)
    return Side(
        active=active,
        hp=row.hp,
        maxhp=row.maxhp,
        level=row.level,
        base=row.stats,
        speed=jnp.asarray(data.SPECIES["spe"])[row.species],
        status=row.status,
        sleep=row.sleep,
        sleep_start=row.sleep_start,
        sleep_own=row.sleep_own,
        sub_broke=row.sub_broke,
        base_pp=row.pp,
        base_seen=row.seen_pp,
        base_moves=row.moves,
        todo=jnp.int32(0),
        sleeper=no,
        frozen=no,
        thawed=no,
        copied=no,
    )


def bench_of(team: Team, index: Array) -> dict[str, Array]:
    """`sleeper` and `frozen` of a side."""
    bench = (jnp.arange(TEAM) != index) & (team.hp > 0)
    return {
        "sleeper": (bench & (team.status == data.SLP) & ~team.sleep_own).any(),
        "frozen": (bench & (team.status == data.FRZ)).any(),
    }


def team_of(side: Side, team: Team) -> Team:
    """The team, with what its active has become."""
    index = side.active.index
    changed = {
        name: set_row(getattr(team, name), index, getattr(side, name))
        for name in ("hp", "status", "sleep", "sleep_start", "sleep_own", "sub_broke")
    }
    for name, slots in (("pp", side.base_pp), ("seen_pp", side.base_seen)):
        changed[name] = set_row(getattr(team, name), index, jnp.stack(slots))
    return team._replace(**changed)


def kept(active: Active) -> Active:
    """`active` in small integers."""
    fields = {}
    for name, dtype in DTYPES.items():
        value = getattr(active, name)
        fields[name] = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), value)
    return Active(**fields)


def start(setup: Setup) -> State:
    """The first decision: the first of each team are out, turn 1."""
    actives, teams = [], []
    for n in range(2):
        moves = jnp.asarray(setup.moves[n]).astype(jnp.uint8)
        maxhp = jnp.asarray(setup.maxhp[n]).astype(jnp.int16)
        none = jnp.zeros(TEAM, jnp.int8)
        species = jnp.asarray(setup.species[n]).astype(jnp.uint8)
        team = Team(
            species=species,
            order=jnp.argsort(jnp.where(species > 0, species, 255)).astype(jnp.int8),
            present=jnp.arange(TEAM, dtype=jnp.int8),
            level=jnp.asarray(setup.level[n]).astype(jnp.uint8),
            maxhp=maxhp,
            stats=jnp.asarray(setup.stats[n]).astype(jnp.int16),
            moves=moves,
            hp=maxhp,
            status=none,
            sleep=none,
            sleep_start=none,
            sleep_own=jnp.zeros(TEAM, bool),
            sub_broke=jnp.zeros(TEAM, bool),
            pp=jnp.asarray(data.PP)[moves].astype(jnp.int8),
            revealed=jnp.arange(TEAM) == 0,
            seen_pp=jnp.full((TEAM, SLOTS), -1, jnp.int8),
        )
        zero = {name: zeros(name) for name in Active._fields}
        nothing = Active(**zero)._replace(
            selected=jnp.int32(data.NOMOVE), seen=jnp.int32(data.NOMOVE), index=jnp.int32(0)
        )
        lead = brought(nothing, index=jnp.int32(0), row=row_of(team, jnp.int32(0)), mask=jnp.bool_(True))
        lead = lead._replace(turns_in=jnp.int32(1))
        teams.append(team)
        actives.append(kept(lead))
    return State(
        teams=(teams[0], teams[1]),
        actives=(actives[0], actives[1]),
        turn=jnp.int16(1),
        last_damage=jnp.int32(0),
        winner=jnp.int8(RUNNING),
        illegal=jnp.int16(0),
    )


def zeros(name: str) -> Any:
    zero = jnp.bool_(False) if DTYPES[name] == jnp.bool_ else jnp.int32(0)
    many = {
        "types": 2,
        "boosts": 6,
        **{n: SLOTS for n in ("stored", "now", "moves", "pp", "virtual", "seen_pp")},
    }
    return (zero,) * many[name] if name in many else zero
