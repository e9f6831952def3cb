"""Heads-up hold'em as a `Game`: no-limit, limit, and flop hold'em (limit, of two streets).

The state is a struct of scalars, and all of `step` and `observe` is integer arithmetic and selects: vmapped,
each leaf is one vector. What the cards alone decide (each player's view of them, who wins a showdown) is
computed at `init`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax, tree

from jaxnash.games.evaluator import hand_strength, tables
from jaxnash.games.game import Categorical, Game
from jaxnash.games.holdem_cards import CARD_BITS, canonical, draw, pack
from jaxnash.games.holdem_cards import canonical_cards as canonical_cards
from jaxnash.types import Array, JaxnashError, Key, TimeStep

FOLD, CALL = 0, 1  # 1 is check or call; 2 and above are bets and raises
STREETS = ("pre-flop", "flop", "turn", "river")
KINDS = ("no-limit", "limit", "flop")
MOST_CHIPS, MOST_SIZE = 10_000_000, 100  # so that a size of the pot fits i32, and a reward f32
MOST_SIZES = 120  # so that an action fits i8


class HoldemSetup(NamedTuple):
    """What `init` is given. Leaves may be NumPy or JAX arrays."""

    stacks: Array  # i32[2], chips of seat 0 and seat 1 before the blinds
    blinds: Array  # i32[2], small and big
    button: Array  # i32[], the seat that deals: it posts the small blind
    tables: Any = None  # the evaluator's, as data of the program; None: as its constants
    cards: Array | None = None  # i32[9]: seat 0's hole, seat 1's hole, the board; None: drawn


class Observation(NamedTuple):
    """What one player knows. In a `TimeStep` each leaf has a leading axis [P]."""

    cards: Array  # i8[7]: own hole (2, descending), flop (3, descending), turn, river; -1 where unknown
    bets: Array  # i8[S, N]: each street's actions in order of play, action + 1; 0 where none yet
    chips: Array  # f32[4]: pot, to call, own stack, opponent's stack, in big blinds
    dealer: Array  # i8[]: 1 for the player on the button


class HoldemState(NamedTuple):
    """Scalars, i32[] but for `ended` bool[]. Cards are packed in six bits each (`holdem_cards.unpack`)."""

    holes: Array  # seat 0's two cards, seat 1's two cards
    board: Array  # five cards, the undealt ones too
    view0: Array  # seat 0's canonical hole and flop, as card + 1 here and below
    view1: Array  # seat 1's
    late: Array  # seat 0's canonical turn and river, seat 1's
    better: Array  # 1 if seat 0 wins a showdown, -1 if seat 1, 0 if they split
    stack0: Array  # before the blinds
    stack1: Array
    big: Array  # the big blind
    button: Array
    street: Array
    actor: Array  # the seat to act
    paid0: Array  # chips put into the pot, never more than the smaller stack
    paid1: Array
    last_raise: Array  # the street's largest bet or raise, at least the big blind
    raises: Array  # bets and raises on this street
    acted: Array  # actions on this street
    folded: Array  # the seat that folded, or -1
    ended: Array
    bets: tuple[Array, ...]  # actions of each street, `_Rules.words` words a street


class _Rules(NamedTuple):
    """What is static."""

    streets: int
    sizes: tuple[tuple[Fraction, ...], ...] | None  # per street, ascending; None in limit games
    max_raises: tuple[int, ...]  # per street
    num_actions: int

    @property
    def longest(self) -> int:
        """The most actions of a street: one check or limp, the raises, and the call."""
        return max(self.max_raises) + 2

    @property
    def bits(self) -> int:
        return self.num_actions.bit_length()

    @property
    def per_word(self) -> int:
        return 31 // self.bits

    @property
    def words(self) -> int:
        return -(-self.longest // self.per_word)


def holdem(
    kind: str = "no-limit",
    *,
    bet_sizes: Sequence[float] | Sequence[Sequence[float]] = (0.5, 1.0, 2.0),
    max_raises: int | Sequence[int] | None = None,
) -> Game:
    """Heads-up hold'em; `init` takes a `HoldemSetup`, or None for `holdem_setup(kind)`. Chips are integers.

    Args:
        kind: "no-limit"; "limit" (bets of one big blind, two on turn and river); "flop" (limit, two streets,
            then the hands of 2 + 3 cards are shown).
        bet_sizes: of no-limit, bets and raises as fractions of the pot after calling: one list, or one per
            street. Kept in ascending order, as the nearest fraction with a denominator of at most 1000.
        max_raises: bets and raises allowed on a street, blinds not counted: one number, or one per street. By
            default 4, in limit games 3 before the flop (the blind is the first of four bets).

    Actions: 0 fold (legal against a bet only), 1 check or call, 2 and above bets and raises. Limit games
    have one; no-limit has one per size, then all-in as the last. A street with fewer sizes leaves the rest
    illegal. A size is rounded to chips, half up. A raise adds at least the street's last bet or raise and at
    least the big blind, or is all-in; sizes below that are illegal. Of actions that come to the same amount
    only the smallest index is legal. Legality is the caller's to keep: `step` takes a fold against no bet and
    a raise where none is allowed as check or call, and any size at its amount.

    Play is for the smaller of the two stacks: no bet, raise or blind is above it, so what could not be called
    stays with its owner, and what was not called returns with a fold. After an all-in, short ones included,
    the other player may call or fold only, and then the board is run out. A stack within the small blind ends
    the hand at `init`. Stepping a hand that has ended changes nothing.

    The button posts the small blind, acts first before the flop and last after it. Rewards are net chips,
    f32[2], with the last action; they sum to zero. At a showdown both players have paid the same, so the pot
    is even and a split leaves no odd chip.

    Observations: an `Observation` of `S` streets and N = max_raises + 2 actions each, the suits relabelled
    (`holdem_cards.canonical_cards`). They have perfect recall, up to suits.

    Raises:
        JaxnashError: an unknown kind, sizes below 0.001, above 100 or more than 120, a number of lists or
            limits other than the streets', or a negative limit.
    """
    rules = _rules(kind, bet_sizes, max_raises)
    streets = rules.streets

    def init(key: Key, setup: HoldemSetup | None) -> HoldemState:
        setup = holdem_setup(kind)._replace(tables=None) if setup is None else setup
        given = None if setup.cards is None else jnp.asarray(setup.cards, jnp.int32)
        cards = draw(key, 9) if given is None else [given[i] for i in range(9)]
        return _start(rules, setup, cards)

    def step(key: Key, state: HoldemState, actions: Array) -> HoldemState:
        del key
        s = state
        action = jnp.where(s.actor == 0, actions[0], actions[1]).astype(jnp.int32)
        most = jnp.minimum(s.stack0, s.stack1)
        own, other = _sides(s)

        going = ~s.ended
        raising = going & (action >= 2) & _may_raise(rules, s, other, most)
        folding = going & (action == FOLD) & (own < other)
        calling = going & ~raising & ~folding
        raised = _chosen(rules, s, action, other, most)
        paid = jnp.where(raising, raised, jnp.where(calling, other, own))

        closing = calling & ((s.acted >= 1) | (other == most))
        over = folding | (closing & ((other == most) | (s.street == streets - 1)))
        onward = closing & ~over
        word = jnp.where(raising, action + 1, jnp.where(folding, FOLD + 1, CALL + 1))
        stays = over | s.ended
        return s._replace(
            street=s.street + onward,
            actor=jnp.where(onward, 1 - s.button, jnp.where(stays, s.actor, 1 - s.actor)),
            paid0=jnp.where(s.actor == 0, paid, s.paid0),
            paid1=jnp.where(s.actor == 1, paid, s.paid1),
            last_raise=jnp.where(
                onward, s.big, jnp.where(raising, jnp.maximum(s.last_raise, raised - other), s.last_raise)
            ),
            raises=jnp.where(onward, 0, s.raises + raising),
            acted=jnp.where(onward, 0, s.acted + going),
            folded=jnp.where(folding, s.actor, s.folded),
            ended=s.ended | over,
            bets=_record(rules, s, jnp.where(going, word, 0)),
        )

    def observe(state: HoldemState) -> TimeStep:
        s = state
        seats = np.arange(2)
        most = jnp.minimum(s.stack0, s.stack1)
        active = (seats == s.actor) & ~s.ended
        waiting = np.arange(rules.num_actions) == 0
        won = jnp.where(s.folded == 0, -s.paid0, jnp.where(s.folded == 1, s.paid1, s.better * s.paid0))
        won = jnp.where(s.ended, won, 0).astype(jnp.float32)
        return TimeStep(
            obs=_observation(rules, s),
            legal=jnp.where(active[:, None], _legal(rules, s, most), waiting),
            active=active,
            reward=jnp.where(seats == 0, won, -won),
            terminated=s.ended,
            truncated=jnp.zeros((), bool),
        )

    return Game(init, step, observe, 2, Categorical(rules.num_actions))


def holdem_setup(
    kind: str = "no-limit",
    *,
    stacks: int | Sequence[int] = 20_000,
    blinds: Sequence[int] = (50, 100),
    button: int = 0,
) -> HoldemSetup:
    """Stacks (one number or one per seat), blinds and button as data for `holdem(kind)`'s `init`.

    `tables` are the evaluator's NumPy arrays, 0.2 MB: pass the setup as an argument of what is jitted, with
    `in_axes=(0, None)`, or `HoldemSetup(0, 0, 0, None)` for setups with a leading axis.

    Raises:
        JaxnashError: an unknown kind, stacks, blinds or button out of range.
    """
    _check_kind(kind)
    if np.shape(stacks) not in ((), (2,)) or not _whole(stacks, 1):
        raise JaxnashError(
            f"stacks {stacks}: one whole number from 1 to {MOST_CHIPS:,}, or one for each seat"
        )
    if np.shape(blinds) != (2,) or not _whole(blinds, 0) or blinds[0] > blinds[1] or blinds[1] < 1:
        raise JaxnashError(
            f"blinds {blinds}: small and big in whole chips, the small one not above the big one"
        )
    if button not in (0, 1):
        raise JaxnashError(f"button {button}: seat 0 or seat 1")
    chips = np.broadcast_to(np.asarray(stacks, np.int32), 2)
    return HoldemSetup(chips, np.asarray(blinds, np.int32), np.int32(button), tables())


def _whole(chips: Any, least: int) -> bool:
    chips = np.asarray(chips)
    return bool(np.all((chips >= least) & (chips <= MOST_CHIPS)) and np.all(chips == chips.astype(np.int64)))


def _start(rules: _Rules, setup: HoldemSetup, cards: list[Array]) -> HoldemState:
    holes, board = (cards[:2], cards[2:4]), cards[4:]
    shown = board[: 3 if rules.streets == 2 else 5]
    table = tree.map(jnp.asarray, tables() if setup.tables is None else setup.tables)
    strength = [hand_strength(table, [*hole, *shown]) for hole in holes]
    views = [canonical([*hole, *board]) for hole in holes]

    stacks, blinds = jnp.asarray(setup.stacks, jnp.int32), jnp.asarray(setup.blinds, jnp.int32)
    button = jnp.asarray(setup.button, jnp.int32)
    most = jnp.minimum(stacks[0], stacks[1])
    small, big = jnp.minimum(blinds[0], most), jnp.minimum(blinds[1], most)
    zero = jnp.zeros((), jnp.int32)
    return HoldemState(
        holes=pack(cards[:4]),
        board=pack(board),
        view0=pack([card + 1 for card in views[0][:5]]),
        view1=pack([card + 1 for card in views[1][:5]]),
        late=pack([card + 1 for view in views for card in view[5:]]),
        better=jnp.sign(strength[0] - strength[1]).astype(jnp.int32),
        stack0=stacks[0],
        stack1=stacks[1],
        big=blinds[1],
        button=button,
        street=zero,
        actor=button,
        paid0=jnp.where(button == 0, small, big),
        paid1=jnp.where(button == 0, big, small),
        last_raise=blinds[1],
        raises=zero,
        acted=zero,
        folded=zero - 1,
        ended=small == most,
        bets=(zero,) * (rules.streets * rules.words),
    )


def _sides(s: HoldemState) -> tuple[Array, Array]:
    """What the actor has paid, and what the other has."""
    first = s.actor == 0
    return jnp.where(first, s.paid0, s.paid1), jnp.where(first, s.paid1, s.paid0)


def _by_street(street: Array, values: Sequence[Any]) -> Any:
    """values[street], without a gather."""
    chosen = values[-1]
    for i in range(len(values) - 1):
        chosen = jnp.where(street == i, values[i], chosen)
    return chosen


def _may_raise(rules: _Rules, s: HoldemState, other: Array, most: Array) -> Array:
    return (s.raises < _by_street(s.street, rules.max_raises)) & (other < most)


def _fraction(size: Fraction, pot: Array) -> Array:
    """size * pot, half rounded up, without leaving i32."""
    top, bottom = size.numerator, size.denominator
    if bottom == 1:
        return top * pot
    whole = lax.div(pot, jnp.int32(bottom))
    rest = pot - whole * bottom
    return whole * top + lax.div(2 * top * rest + bottom, jnp.int32(2 * bottom))


def _amounts(rules: _Rules, s: HoldemState, other: Array) -> list[Array]:
    """What each bet or raise adds to a call, all-in apart; 0 where the street has no such size."""
    if rules.sizes is None:
        return [jnp.where(s.street < 2, s.big, 2 * s.big) if rules.streets > 2 else s.big]
    amounts = []
    for i in range(rules.num_actions - 3):
        sizes = [sizes[i] if i < len(sizes) else Fraction(0) for sizes in rules.sizes]
        added = {size: _fraction(size, 2 * other) for size in set(sizes)}
        amounts.append(
            added[sizes[0]] if len(added) == 1 else _by_street(s.street, [added[z] for z in sizes])
        )
    return amounts


def _chosen(rules: _Rules, s: HoldemState, action: Array, other: Array, most: Array) -> Array:
    """What the actor will have paid after bet or raise `action`."""
    to = most
    for i, added in enumerate(_amounts(rules, s, other)):
        to = jnp.where(action == 2 + i, jnp.minimum(other + added, most), to)
    return to


def _legal(rules: _Rules, s: HoldemState, most: Array) -> Array:
    own, other = _sides(s)
    raising = _may_raise(rules, s, other, most)
    legal = [own < other, jnp.ones((), bool)]
    if rules.sizes is None:
        legal.append(raising)
    else:
        below = other
        for added in _amounts(rules, s, other):
            to = jnp.minimum(other + added, most)
            legal.append(raising & (to > below) & ((added >= s.last_raise) | (to == most)))
            below = jnp.maximum(below, to)
        legal.append(raising & (below < most))
    return jnp.stack(legal)


def _record(rules: _Rules, s: HoldemState, code: Array) -> tuple[Array, ...]:
    words = []
    for i, word in enumerate(s.bets):
        street, part = divmod(i, rules.words)
        place = s.acted - part * rules.per_word
        here = (s.street == street) & (place >= 0) & (place < rules.per_word)
        words.append(word | jnp.where(here, code << (rules.bits * place), 0))
    return tuple(words)


def _observation(rules: _Rules, s: HoldemState) -> Observation:
    seats = np.arange(2)
    place = np.arange(7)
    early = jnp.where(seats == 0, s.view0, s.view1)[:, None]
    word = jnp.where(place < 5, early, s.late >> (12 * seats)[:, None])
    known = place < jnp.where(s.street == 0, 2, s.street + 4)
    shifts = CARD_BITS * np.where(place < 5, place, place - 5)
    cards = jnp.where(known, (word >> shifts) & 63, 0) - 1

    rows = []
    for street in range(rules.streets):
        order = np.arange(rules.longest)
        row = jnp.zeros((), jnp.int32)
        for part in range(rules.words):
            row = jnp.where(order // rules.per_word == part, s.bets[street * rules.words + part], row)
        rows.append((row >> (rules.bits * (order % rules.per_word))) & ((1 << rules.bits) - 1))
    bets = jnp.stack(rows).astype(jnp.int8)

    pot = s.paid0 + s.paid1
    behind = s.paid1 - s.paid0
    left0, left1 = s.stack0 - s.paid0, s.stack1 - s.paid1
    chips = jnp.stack(
        [
            jnp.stack([pot, jnp.maximum(behind, 0), left0, left1]),
            jnp.stack([pot, jnp.maximum(-behind, 0), left1, left0]),
        ]
    )
    return Observation(
        cards=cards.astype(jnp.int8),
        bets=jnp.broadcast_to(bets, (2, *bets.shape)),
        chips=chips.astype(jnp.float32) / s.big,
        dealer=(seats == s.button).astype(jnp.int8),
    )


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise JaxnashError(f"hold'em of kind {kind!r}: one of {', '.join(KINDS)}")


def _rules(kind: str, bet_sizes: Any, max_raises: int | Sequence[int] | None) -> _Rules:
    _check_kind(kind)
    streets = 2 if kind == "flop" else 4
    if max_raises is None:
        max_raises = 4 if kind == "no-limit" else (3, *[4] * (streets - 1))
    limits = tuple(map(int, np.ravel(max_raises))) * (1 if np.ndim(max_raises) else streets)
    if len(limits) != streets or min(limits) < 0:
        raise JaxnashError(
            f"max_raises {max_raises}: one number from 0, or one for each of {streets} streets"
        )
    if kind != "no-limit":
        return _Rules(streets, None, limits, 3)
    given = list(bet_sizes)
    lists = [list(sizes) for sizes in given] if given and np.ndim(given[0]) else [given] * streets
    if len(lists) != streets:
        raise JaxnashError(
            f"bet_sizes of {len(lists)} streets: one list, or one for each of {streets} streets"
        )
    for size in (size for sizes in lists for size in sizes):
        if not 1e-3 <= size <= MOST_SIZE:
            raise JaxnashError(f"bet size {size}: fractions of the pot from 0.001 to {MOST_SIZE}")
    sizes = tuple(tuple(sorted({Fraction(size).limit_denominator(1000) for size in one})) for one in lists)
    if max(map(len, sizes)) > MOST_SIZES:
        raise JaxnashError(f"{max(map(len, sizes))} bet sizes: at most {MOST_SIZES} a street")
    return _Rules(streets, sizes, limits, 3 + max(map(len, sizes)))
