"""`layout.Observation` from a state: exactly what the Showdown bridge's codec makes of the protocol."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxnash.games.gen1 import data
from jaxnash.games.gen1.layout import BOOSTS, FIELD_INDEX, POKEMON_COLUMNS, STATS, Observation
from jaxnash.games.gen1.state import SLOTS, TEAM, Active, Team
from jaxnash.games.gen1.turn import Request, bench_order
from jaxnash.types import Array

_VOLATILES = ("reflect", "lightscreen", "mist", "focusenergy", "leechseed", "transformed")


def observe(side: int, teams: tuple[Team, Team], actives: Any, asked: Request, turn: Array) -> Observation:
    """What `side` knows: int16 [12, F] and [G]."""
    team, foes = teams[side], teams[1 - side]
    me, foe = actives[side], actives[1 - side]
    foe_bench = _revealed_first(foes, bench_order(foes, foe.index))
    own = _rows(team, me, foe, asked.bench, foes=foes, own=True)
    other = _rows(foes, foe, me, foe_bench, foes=team, own=False)
    own_there = (team.species > 0)[_order(me, asked.bench)]
    other_there = foes.revealed[_order(foe, foe_bench)]
    pokemon = jnp.concatenate([_table(own, own_there), _table(other, other_there)])
    alive, foes_alive = (team.hp > 0) & (team.species > 0), (foes.hp > 0) & (foes.species > 0)
    natural = (team.status == data.SLP) & ~team.sleep_own & alive
    theirs = (foes.status == data.SLP) & ~foes.sleep_own & foes_alive
    field = {
        "turn": turn,
        "forced_switch": asked.kind == 2,
        "single": asked.single & (asked.kind == 1),
        "waiting": asked.kind == 0,
        "cannot_switch": ~asked.legal[SLOTS:].any(),
        "own_alive": alive.sum(),
        "opponent_alive": foes_alive.sum(),
        "own_revealed": team.revealed.sum(),
        "opponent_revealed": foes.revealed.sum(),
        "own_asleep": natural.sum(),
        "opponent_asleep": theirs.sum(),
        "own_frozen": (alive & (team.status == data.FRZ)).sum(),
        "opponent_frozen": (foes_alive & (foes.status == data.FRZ)).sum(),
    }
    return Observation(pokemon, jnp.stack([field[name].astype(jnp.int16) for name in FIELD_INDEX]))


def _order(active: Active, bench: Array) -> Array:
    return jnp.concatenate([active.index[None].astype(jnp.int32), bench])


def _revealed_first(team: Team, bench: Array) -> Array:
    """The bench, those revealed first, else in the same order."""
    seen = team.revealed[bench]
    rank = jnp.where(seen, jnp.cumsum(seen) - 1, seen.sum() + jnp.cumsum(~seen) - 1)
    return jnp.where(rank[None, :] == jnp.arange(TEAM - 1)[:, None], bench[None, :], 0).sum(axis=1)


def _table(columns: dict[str, Array], there: Array) -> Array:
    stacked = jnp.stack([columns[column.name].astype(jnp.int16) for column in POKEMON_COLUMNS], axis=-1)
    return jnp.where(there[:, None], stacked, 0)


def _rows(team: Team, a: Active, foe: Active, bench: Array, *, foes: Team, own: bool) -> dict[str, Array]:
    """The columns, [6] each: the active, then the bench."""
    order = _order(a, bench)
    first = jnp.arange(TEAM) == 0
    hp, maxhp = team.hp[order].astype(jnp.int32), team.maxhp[order].astype(jnp.int32)
    level, base = team.level[order].astype(jnp.int32), team.species[order].astype(jnp.int32)
    fainted = hp <= 0
    on = first & ~fainted  # where what `a` says holds
    status, sleep = team.status[order].astype(jnp.int32), team.sleep[order].astype(jnp.int32)
    asleep = (status == data.SLP) & ~fainted

    def here(value: Any, otherwise: Any = 0) -> Array:
        return jnp.where(on, jnp.asarray(value).astype(jnp.int32), otherwise)

    safe = jnp.maximum(maxhp, 1)
    if own:
        shown = -(-1000 * hp // safe)
        stats = jnp.concatenate([team.maxhp[order][:, None], team.stats[order]], axis=1).astype(jnp.int32)
    else:
        percent = jnp.minimum(-(-100 * hp // safe), jnp.where(hp == maxhp, 100, 99))
        shown = 10 * percent
        stats = _expected(base, level)
    form = a.form.astype(jnp.int32)
    ally = jnp.clip(form - 1 - TEAM, 0, TEAM - 1)
    enemy = jnp.clip(form - 1, 0, TEAM - 1)
    if own:  # a foe's are the expected ones
        copied = jnp.where(form > TEAM, team.stats[ally], _one_expected(foes, enemy)[1:])
    else:
        copied = jnp.where(form > TEAM, _one_expected(team, ally)[1:], foes.stats[enemy])
    moves = jnp.where(on[:, None], jnp.stack(a.moves).astype(jnp.int32), team.moves[order].astype(jnp.int32))
    kept_pp = (team.pp if own else team.seen_pp)[order].astype(jnp.int32)
    active_pp = jnp.stack(a.pp if own else a.seen_pp).astype(jnp.int32)
    moves, pp = _sorted(moves, jnp.where(on[:, None], active_pp, kept_pp), own=own)
    columns = {
        "species": here(a.species, base),
        "base_species": base,
        "status": jnp.where(fainted, 0, status),
        "hp": jnp.where(fainted, 0, shown),
        "level": level,
        "active": first,
        "revealed": team.revealed[order],
        "fainted": fainted,
        "last_move": here(a.shown),
        "disabled": here(jnp.where(a.disable_turns > 0, a.disable_move, 0)),
        "stat_hp": stats[:, 0],
        "substitute": here(a.sub > 0),
        "confusion": here(a.confusion > 0),
        "recharge": here(a.recharges),
        "trapped": here(foe.trapping),
        "trapping": here(a.trapping),
        "bide": here(a.bide_turns > 0),
        "rage": here(a.rage > 0),
        "locked": here(a.thrash_move > 0),
        "charging": here(a.charging > 0),
        "invulnerable": here(a.hidden),
        "sleep_turns": jnp.where(asleep, jnp.clip(team.sleep_start[order] - sleep, 0, 7), 0),
        "resting": asleep & team.sleep_own[order],
        "toxic_turns": here(jnp.clip(a.toxic.astype(jnp.int32) - 1, 0, 15)),
        "confusion_turns": here(jnp.where(a.confusion > 0, a.dizzy_turns, 0)),
        "disable_turns": here(jnp.where(a.disable_turns > 0, a.disabled_turns, 0)),
        "lock_turns": here(a.lock_uses),
        "substitute_hits": here(jnp.where(a.sub > 0, a.sub_hits, 0)),
        "turns_in": here(a.turns_in),
    }
    for name in _VOLATILES:
        columns[name] = here(getattr(a, name))
    for i, name in enumerate(BOOSTS):
        columns[f"boost_{name}"] = here(a.boosts[i])
    for i, name in enumerate(STATS):
        columns[f"stat_{name}"] = jnp.where(on & a.transformed, copied[i], stats[:, 1 + i])
    for i, name in enumerate(("type1", "type2")):
        columns[name] = here(a.types[i], jnp.asarray(data.SPECIES[name])[base])
    for i in range(SLOTS):
        columns[f"move{i + 1}"], columns[f"pp{i + 1}"] = moves[:, i], pp[:, i]
    return columns


def _expected(species: Array, level: Array) -> Array:
    """hp, atk, def, spc, spe [..., 5] with full DVs and stat experience."""
    names = ("hp", *STATS)
    base = jnp.stack([jnp.asarray(data.SPECIES[name])[species] for name in names], axis=-1)
    value = (2 * base + 93) * level[..., None] // 100
    return value + jnp.where(jnp.arange(5) == 0, level[..., None] + 10, 5)


def _one_expected(team: Team, index: Array) -> Array:
    return _expected(team.species[index].astype(jnp.int32), team.level[index].astype(jnp.int32))


def _sorted(moves: Array, pp: Array, *, own: bool) -> tuple[Array, Array]:
    """Known moves [6, 4] in ascending order, and what is left of them in 1000ths; blanks last.

    Two that are alike are in the order of their slots, a foe's in that of their PP.
    """
    known = moves > 0 if own else (moves > 0) & (pp >= 0)
    tie = jnp.arange(SLOTS) if own else jnp.clip(pp, 0, 63) * SLOTS + jnp.arange(SLOTS)
    keys = jnp.where(known, moves * 256 + tie, (1 << 20) + jnp.arange(SLOTS))
    rank = (keys[:, None, :] < keys[:, :, None]).sum(axis=2)
    left = jnp.minimum(1000 * pp // jnp.maximum(jnp.asarray(data.PP)[moves], 1), 1000)
    chosen = rank[:, None, :] == jnp.arange(SLOTS)[None, :, None]
    chosen &= known[:, None, :]
    return tuple(jnp.where(chosen, value[:, None, :], 0).sum(axis=2) for value in (moves, left))  # type: ignore[return-value]
