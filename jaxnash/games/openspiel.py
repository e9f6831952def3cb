"""Any two-player zero-sum game of OpenSpiel as a tree. `pyspiel` is optional: only a call imports it."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxnash.games.game import CHANCE, TERMINAL, HistoryTree, TreeError
from jaxnash.memory import available_memory

STATE_BYTES = 1536  # of one pyspiel state; measured: 0.9 to 1.5 KiB
HISTORY_BYTES = 48  # of one history in the arrays
NAME_BYTES = 200  # of one infoset's name, beside its characters
DESCENTS = 256
ENDLESS = 1e18  # histories; a descent that has seen this many need not go on
NOT_ZERO_SUM = 1e-9  # how far from 0 two returns may add up to, relative to their size


def from_openspiel(game: Any, *, max_bytes: int | None = None) -> HistoryTree:
    """Writes out a pyspiel game: a name ("liars_dice"), a name with parameters
    ("goofspiel(num_cards=4,imp_info=True,points_order=descending)") or a `pyspiel.Game`.

    Simultaneous moves become moves in turn that the other player does not see. Actions keep pyspiel's
    numbers. An infoset's name is its player, a colon and pyspiel's information state string; where a game of
    perfect information has no such strings, the actions so far take their place. Histories are breadth first
    and children in the order of their actions; chance outcomes of probability 0 are left out.

    Raises `TreeError` (a ValueError) for a game that is not for two players, not zero-sum (declared, or by
    the returns of some history), that hides its chance probabilities or its information states, or that
    needs more than `max_bytes` (by default half of the memory that is available): by random descents before
    anything is made, and again before each level. Also where pyspiel is not installed or does not know the
    game. Imperfect recall is for `jaxnash.cfr` to find.
    """
    try:
        import pyspiel
    except ImportError as error:
        raise TreeError("OpenSpiel's games need pyspiel: `pip install open_spiel`.") from error
    try:
        game = _load(pyspiel, game) if isinstance(game, str) else game
        if not isinstance(game, pyspiel.Game):
            raise TreeError(f"A game is a name, a name with parameters or a pyspiel.Game; got {game!r}.")
        reason = _unsuitable(pyspiel, game)
        title = str(game).replace("\n", " ")
        if reason:
            raise TreeError(f"{title} cannot be solved: {reason}.")
        simultaneous = game.get_type().dynamics == pyspiel.GameType.Dynamics.SIMULTANEOUS
        names = game.get_type().provides_information_state_string
        turns = pyspiel.convert_to_turn_based(game) if simultaneous else game
        key = _information_state if names else _joint_history if simultaneous else _history
        return _written_out(turns, key, title, max_bytes)
    except pyspiel.SpielError as error:
        said = str(error).splitlines()[0].removesuffix(" Available games are:")
        raise TreeError(f"pyspiel refuses {str(game)!r}: {said}") from error


def _load(pyspiel: Any, text: str) -> Any:
    try:
        return pyspiel.load_game(text)
    except IndexError as error:  # of C++, where some games miss a parameter
        raise TreeError(f"pyspiel refuses {text!r}: a parameter is missing ({error}).") from error


def _unsuitable(pyspiel: Any, game: Any) -> str:
    """Why a game is beyond the exact core, as far as pyspiel declares it; empty where it is not."""
    kind, types = game.get_type(), pyspiel.GameType
    if kind.dynamics == types.Dynamics.MEAN_FIELD:
        return "it is a mean-field game"
    if game.num_players() != 2:
        return f"it is for {game.num_players()} player{'s'[: game.num_players() != 1]}, not two"
    if kind.utility != types.Utility.ZERO_SUM:
        return f"it is not zero-sum ({kind.utility.name.lower().replace('_', '-')} utilities)"
    if kind.chance_mode == types.ChanceMode.SAMPLED_STOCHASTIC:
        return "it samples its chance outcomes without giving their probabilities (sampled-stochastic)"
    if not (
        kind.provides_information_state_string or kind.information == types.Information.PERFECT_INFORMATION
    ):
        return "pyspiel gives no information state strings for it"
    return ""


def _information_state(state: Any) -> str:
    return state.information_state_string()


def _history(state: Any) -> str:
    return state.history_str()


def _joint_history(state: Any) -> str:
    """Without the move that the other player has made in the same turn."""
    return state.simultaneous_game_state().history_str()


def _written_out(game: Any, key: Callable[[Any], str], title: str, max_bytes: int | None) -> HistoryTree:
    limit = available_memory() // 2 if max_bytes is None else max_bytes
    _predict(game, title, limit)
    parent, action, player = array("i"), array("i"), array("b")
    chance, returns, infoset = array("d"), array("d"), array("i")
    infosets: dict[str, int] = {}
    named = 0  # bytes of the infosets' names
    waiting: list[tuple[int, Any, list[int], list[float]]] = []  # history, state, its moves, their chances

    def visit(state: Any, came_from: int, did: int, probability: float) -> None:
        nonlocal named
        mover, paid, own = state.current_player(), (0.0, 0.0), -1
        moves: list[int] = []
        odds: list[float] = []
        if mover >= 0:
            moves = state.legal_actions()
            name = f"{mover}:{key(state)}"
            own = infosets.setdefault(name, len(infosets))
            named += NAME_BYTES + len(name) if own == len(infosets) - 1 else 0
        elif mover == CHANCE:
            possible = [outcome for outcome in state.chance_outcomes() if outcome[1] != 0]
            moves, odds = [move for move, _ in possible], [p for _, p in possible]
        else:
            mover, paid = TERMINAL, state.returns()
            if not abs(paid[0] + paid[1]) <= NOT_ZERO_SUM * max(1.0, abs(paid[0])):  # nor is it with a NaN
                raise TreeError(f"{title} is not zero-sum: {_name(state)} pays {paid[0]} and {paid[1]}.")
        if moves:
            waiting.append((len(parent), state, moves, odds))
        elif mover != TERMINAL:
            raise TreeError(f"{title} has a history without a legal action: {_name(state)}.")
        parent.append(came_from)
        action.append(did)
        player.append(mover)
        chance.append(probability)
        returns.extend(paid)
        infoset.append(own)

    visit(game.new_initial_state(), -1, -1, 1.0)
    while waiting:
        level, waiting = waiting, []
        coming = sum(len(moves) for _, _, moves, _ in level)
        needed = (len(level) + coming) * STATE_BYTES + (len(parent) + coming) * HISTORY_BYTES + named
        if needed > limit:
            raise _too_large(title, f"at least {len(parent) + coming:,}", needed, limit)
        for index, state, moves, odds in level:
            for k, move in enumerate(moves):
                visit(state.child(move), index, move, odds[k] if odds else 1.0)
    return HistoryTree(
        parent=np.array(parent),
        action=np.array(action),
        player=np.array(player),
        chance=np.array(chance),
        returns=np.array(returns).reshape(-1, 2),
        infoset=np.array(infoset),
        infosets=tuple(infosets),
        num_actions=game.num_distinct_actions(),
    )


def _predict(game: Any, title: str, limit: int) -> None:
    """Raises where random descents show that the histories alone cannot fit.

    The product of the branchings above a descent's nodes, summed, estimates their number without bias (Knuth
    1975, "Estimating the Efficiency of Backtrack Programs"). Only a mean three standard errors above the
    limit counts.
    """
    draw, totals = random.Random(0), []
    for _ in range(DESCENTS):
        state, weight, total = game.new_initial_state(), 1.0, 1.0
        while not state.is_terminal() and total < ENDLESS:
            moves = state.legal_actions()
            weight *= len(moves)
            total += weight
            if not moves:
                break  # an error, which writing the tree out will name
            state.apply_action(draw.choice(moves))
        totals.append(total)
    mean, error = np.mean(totals), np.std(totals) / np.sqrt(DESCENTS)
    if (mean - 3 * error) * HISTORY_BYTES > limit:
        raise _too_large(title, f"about {mean:.4g}", float(mean) * HISTORY_BYTES, limit)


def _too_large(title: str, count: str, needed: float, limit: int) -> TreeError:
    return TreeError(
        f"{title} is too large to write out: it has {count} histories, which need {needed / 2**30:.3g} GiB; "
        f"{limit / 2**30:.3g} GiB are allowed (max_bytes; by default half of the memory available)."
    )


def _name(state: Any) -> str:
    """The actions from the root, in pyspiel's words."""
    at, words = state.get_game().new_initial_state(), []
    for action in state.history():
        words.append(at.action_to_string(action))
        at.apply_action(action)
    return " / ".join(words) or "the root"
