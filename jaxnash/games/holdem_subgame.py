"""Heads-up no-limit hold'em from the turn or the river on, as public actions times private hands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jaxnash.games.cards import DECK, card_name, hand_name, hands, parse_cards
from jaxnash.games.game import CHANCE, TERMINAL, PublicGame, TreeError
from jaxnash.games.holdem_betting import Line, betting, rules_of
from jaxnash.games.holdem_values import terminals
from jaxnash.memory import available_memory
from jaxnash.types import Array

ARRAYS = 12  # of one number per node and hand, which a solver holds at once


def holdem_subgame(
    board: str | Iterable[int | str],
    pot: float,
    stacks: float | Sequence[float],
    bet_sizes: float | Sequence[float] | Sequence[Sequence[float]],
    ranges: Sequence[Array | str | None] | str | None = None,
    *,
    max_raises: int = 3,
    min_bet: float = 0.0,
    all_in_from: float = 2 / 3,
    deck: str | Iterable[int | str] | None = None,
    max_bytes: int | None = None,
) -> PublicGame:
    """A river (board of five cards) or a turn (four, then one more and a river) of heads-up no-limit hold'em.

    Args:
        board: "Ks7d2c9h3s", or a list of names or of integers (`jaxnash.games.cards`).
        pot: chips in the middle, half of them from each player.
        stacks: chips behind, one number or one per player. Play is for the smaller.
        bet_sizes: bets and raises as fractions of the pot (after calling); one list, or one per street.
            All-in is always among them.
        ranges: weights f[1326] of player 0's and of player 1's hands, in the order of `cards.hands(deck)`.
            None or "uniform" weighs all hands alike, for one player or for both. Hands that hold a board card
            do not count.
        max_raises: bets and raises allowed on a street, the opening bet included.
        min_bet: the least opening bet.
        all_in_from: a bet or raise of at least this share of the chips behind becomes all-in.
        deck: the cards in play, for small games; by default all 52.
        max_bytes: largest memory that a solver may need, by default half of what is available.

    Player 0 acts first on each street. Actions are 0 fold, 1 check or call, 2 and above bets and raises by
    size, the last all-in. A raise adds at least as much as the last bet or raise on that street, or is
    all-in; sizes below that are left out. An all-in can only be called or folded to. Nodes are named by their
    actions, such as "x b50 c | Qh | b75 r100 a": f fold, x check, c call, b and r with the size in percent of
    the pot, a all-in. Decisions and public cards come first, then the terminal nodes; the action that deals a
    public card is that card. A player's hands are those of positive weight that hold no board card.

    Payoffs are net chips, as if each player had paid half of the pot: the share of the final pot, less half
    of `pot`, less what was put in since. They sum to zero. A deal's weight is the product of the two hands'
    weights, 0 where they share a card; all deals together weigh one.

    Raises:
        TreeError: cards that are none or come twice, a board of another size, pot, stacks or sizes out of
            range, weights of the wrong shape, negative, NaN or without a possible deal, or a tree beyond
            `max_bytes`.
    """
    cards = DECK if deck is None else parse_cards(deck)
    board = _board(board, cards)
    rules = rules_of(pot, stacks, bet_sizes, max_raises, min_bet, all_in_from, streets=6 - len(board))
    left = tuple(sorted(set(cards) - set(board)))
    weights, pairs = _ranges(ranges, cards, board)

    lines = betting(rules)
    last_cards = left if len(board) == 4 else ()
    late = sum(line.late for line in lines)
    nodes = len(lines) - late + late * max(len(last_cards), 1)
    _check_memory(nodes, max(map(len, weights)), max_bytes)

    parent, action, player, names, ends = _nodes(lines, last_cards)
    early, folds, showdowns = ends
    values = terminals(
        board=board,
        last_cards=last_cards,
        left=left,
        pairs=pairs,
        weights=weights,
        early=_fold_payoffs(early),
        folds=_fold_payoffs(folds),
        showdowns=np.array([line.stake for line in showdowns]),
    )
    named = tuple(tuple(map(hand_name, side)) for side in pairs)
    return PublicGame(parent, action, player, names, (named[0], named[1]), values, rules.num_actions)


def _nodes(
    lines: list[Line], last_cards: tuple[int, ...]
) -> tuple[Array, Array, Array, tuple[str, ...], tuple[list[Line], list[Line], list[Line]]]:
    """Deal the last card into the betting tree: `PublicGame`'s columns, and the lines that end in folds
    before the card, in folds after it and in showdowns."""
    groups: list[list[int]] = [[], [], [], [], []]  # early, late, early folds, late folds, showdowns
    for i, line in enumerate(lines):
        ended = line.player == TERMINAL
        groups[(2 + line.late if line.loser >= 0 else 4) if ended else int(line.late)].append(i)
    early, late, early_folds, late_folds, showdowns = groups
    boards = max(len(last_cards), 1)

    # where each line's nodes begin, and how far apart two boards' nodes are
    first, stride = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
    start = 0
    for block, copies in (
        (early, 1),
        (late, boards),
        (early_folds, 1),
        (late_folds, boards),
        (showdowns, boards),
    ):
        first[block] = start + np.arange(len(block))
        stride[block] = len(block)
        start += len(block) * copies

    parent, action, player = np.full(start, -1, np.int32), np.zeros(start, np.int32), np.zeros(start, np.int8)
    names = [""] * start
    for i, line in enumerate(lines):
        copies = np.arange(boards if line.late else 1)
        at = first[i] + stride[i] * copies
        if line.parent >= 0:
            parent[at] = first[line.parent] + (stride[line.parent] * copies if lines[line.parent].late else 0)
        player[at] = line.player
        dealt = line.parent >= 0 and lines[line.parent].player == CHANCE
        action[at] = np.asarray(last_cards)[copies] if dealt else line.action
        for copy, node in enumerate(at):
            parts = (
                [line.before, card_name(last_cards[copy]), line.name]
                if line.late and last_cards
                else [line.name]
            )
            names[node] = " | ".join(part for part in parts if part)

    picked = tuple([lines[i] for i in group] for group in (early_folds, late_folds, showdowns))
    return parent, action, player, tuple(names), (picked[0], picked[1], picked[2])


def _fold_payoffs(lines: list[Line]) -> Array:
    """f[2, n]: what each player gets."""
    stakes = np.array([line.stake for line in lines])
    lost = np.array([line.loser for line in lines], int)
    return np.stack([np.where(lost == player, -stakes, stakes) for player in (0, 1)]).reshape(2, -1)


def _board(board: str | Iterable[int | str], deck: tuple[int, ...]) -> tuple[int, ...]:
    cards = parse_cards(board)
    if len(cards) not in (4, 5):
        raise TreeError(f"a board of {len(cards)} cards: a turn has 4 and a river 5")
    for card in cards:
        if card not in deck:
            raise TreeError(f"the board's {card_name(card)} is not in the deck")
    if len(deck) < 9:
        raise TreeError(f"a deck of {len(deck)} cards cannot deal two hands and a board of five")
    return cards


def _ranges(
    ranges: Sequence[Array | str | None] | str | None, deck: tuple[int, ...], board: tuple[int, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Each player's positive weights and their hands i32[H, 2]."""
    every = hands(deck)
    possible = ~np.isin(every, board).any(axis=1)
    both = (ranges, ranges) if ranges is None or isinstance(ranges, str) else tuple(ranges)
    if len(both) != 2:
        raise TreeError(f"ranges of {len(both)} players: hold'em subgames are for two")
    weights, pairs = [], []
    for player, given in enumerate(both):
        if given is None or (isinstance(given, str) and given == "uniform"):
            given = np.ones(len(every))
        elif isinstance(given, str):
            raise TreeError(f"player {player}'s range {given!r}: weights, None or 'uniform'")
        weight = np.asarray(given, np.float64)
        if weight.shape != (len(every),):
            raise TreeError(
                f"player {player}'s range has shape {weight.shape}: ({len(every)},) weights are needed"
            )
        if not np.isfinite(weight).all() or (weight < 0).any():
            worst = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))[0]
            raise TreeError(
                f"player {player}'s range gives {hand_name(every[worst])} the weight {weight[worst]}"
            )
        held = possible & (weight > 0)
        if not held.any():
            raise TreeError(
                f"player {player}'s range is empty beside the board {' '.join(map(card_name, board))}"
            )
        weights.append(weight[held])
        pairs.append(every[held])
    return (weights[0], weights[1]), (pairs[0], pairs[1])


def _check_memory(nodes: int, hand_count: int, max_bytes: int | None) -> None:
    limit = available_memory() // 2 if max_bytes is None else max_bytes
    needed = nodes * hand_count * 8 * ARRAYS
    if needed > limit:
        raise TreeError(
            f"{nodes:,} public nodes of {hand_count:,} hands need about {needed / 2**30:.3g} GiB to solve; "
            f"{limit / 2**30:.3g} GiB are allowed (max_bytes; by default half of the memory available)"
        )
