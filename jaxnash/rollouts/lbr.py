"""Local best response: a lower bound on how much a hold'em policy can lose.

Lisy and Bowling, "Equilibrium Approximation Quality of Current No-Limit Poker Bots" (2017), algorithm 1. The
best responder knows the policy, and so by Bayes' rule how likely each hand of the opponent is. At its turn it
takes the action that would earn most if both only checked and called from then on, counting what the opponent
would fold to each bet. No strategy earns more than a best response, so what this one earns against the policy
is, on average, at most what the policy can lose.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr.flop_holdem import mixture_weights
from jaxnash.games.cards import DECK, hands
from jaxnash.games.evaluator import hand_strength, tables
from jaxnash.games.game import Game
from jaxnash.games.holdem import CALL, FOLD, HoldemSetup, HoldemState, Observation, holdem_setup
from jaxnash.games.holdem_cards import canonical, unpack
from jaxnash.rollouts.matches import Score, score
from jaxnash.types import Array, JaxnashError, Key, Params, PyTree

KIND = "lower bound (LBR)"
HANDS = 1326
BATCH = 8  # hands dealt at once
TOLERANCE = 1e-3  # of probabilities that should add up to one

Strategy = Callable[[Params, PyTree, Array], Array]  # (params, obs[B], legal bool[B, A]) -> f32[B, A]


class Deck(NamedTuple):
    """What is looked up."""

    tables: Any  # the evaluator's
    holes: Array  # i32[1326, 2], every hand of two cards


class Deals(NamedTuple):
    """`M` hands before they are played."""

    state: HoldemState
    own: Array  # i32[M, 2], the responder's cards
    board: Array  # i32[M, 5]
    held: Array  # i32[M], the opponent's hand, a row of `Deck.holes`
    network: Array  # i32[M], what the opponent plays by
    key: Key  # [M], of its actions
    chance: Array  # f32[M, S, 1326]: to win a showdown, by what street it is; a tie is half
    worth: Array  # f32[M, S, 1326]: the same, where it is sampled from other boards


class Walk(NamedTuple):
    """`L` hands in play, of which each lane holds one and takes up the next when it is over."""

    state: HoldemState
    hand: Array  # i32[L], -1 where there is none left
    turn: Array  # i32[L]
    reach: Array  # f32[L, T, 1326]: of network and hand, by the opponent's actions, cards aside
    result: Array  # f32[M]
    upcoming: Array  # i32[]
    worst: Array  # f32[]: how far the strategy was from probabilities


class Moves(NamedTuple):
    """What happened in a round, in each lane whose turn it was."""

    answered: HoldemState  # after the opponent's action
    responded: HoldemState  # after the responder's
    values: Array  # f32[L, A]: what the responder thought of its actions, in chips


class Responder(NamedTuple):
    """The parts of a local best response, jitted; see `local_best_response`."""

    deal: Callable[..., Deals]
    start: Callable[..., Walk]
    turn: Callable[..., tuple[Walk, Moves]]  # the opponent acts, then the responder; what is over is counted


def local_best_response(
    game: Game,
    strategy: Strategy,
    *,
    pairs: int,
    lanes: int = 64,
    boards: int = 128,
    bets_from: int = 0,
    level: float = 0.95,
    bound: float | None = None,
) -> Callable[..., Score]:
    """A function `(key, params, weights=(1.0,), setup=None) -> Score` of what the responder earns, in chips a
    hand: a lower bound on the policy's exploitability (NashConv / 2), kind "lower bound (LBR)".

    The responder plays both seats of every pair of hands, with the seat's two cards and one board. The bound
    is for the game as it is played here, abstraction of bets included, and in expectation: what is certain to
    `level` is the score's `low`. Below 0 it shows no exploit.

    `params` are the policy's networks of seat 0 and of seat 1; leaves have a leading axis [T]. `weights` are
    the networks', f[T], or f[2, T] by seat. The policy is their mixture: one is drawn by weight for a whole
    hand (which is how the average of counterfactual regret minimisation plays), and the responder knows the
    weights but not which was drawn. `setup` is a `HoldemSetup` without cards, by default `holdem_setup()`.

    A hand's earnings are their expectation over the opponent's hands and the boards to come, given what
    happened; that is exact, needs no more than the responder's own range, and has less variance.

    Args:
        game: from `holdem(...)`, any kind.
        strategy: (params, `Observation` of leaves [B, ...], legal bool[B, A]) -> probabilities f32[B, A],
            B = lanes * 1326.
        pairs: fixed beforehand; the unit of the interval.
        lanes: hands in play at once. Memory is some 6 * lanes * 1326 * T * A floats, beside what `strategy`
            needs.
        boards: how many are drawn to estimate chances of winning with two or more cards to come; with one
            or none to come they are exact.
        bets_from: the street (0 pre-flop to 3 river) before which the responder only checks, calls and
            folds. Starting late can find more (Lisy and Bowling 2017, section 5): it keeps more hands in.
        level, bound: of the interval, see `matches.score`. `bound` is at most the smaller stack.

    Raises:
        JaxnashError: a setup with cards, networks or weights of the wrong number, weights that are negative
            or all zero, a strategy that gives no distributions over legal actions, or what `score` refuses.
    """
    responder = parts(game, strategy, boards, bets_from)
    lanes = max(1, min(lanes, pairs))
    size = BATCH * -(-min(8 * lanes, pairs) // BATCH)  # hands whose chances are held at once

    def responding(
        key: Key,
        params: tuple[Params, Params],
        weights: Array = (1.0,),
        setup: HoldemSetup | None = None,
    ) -> Score:
        mixed = mixture_weights(params, weights).astype(np.float32)
        setup = holdem_setup() if setup is None else setup
        if setup.cards is not None:
            raise JaxnashError("a setup with cards: local best response deals its own")
        setup = setup._replace(tables=tables() if setup.tables is None else setup.tables)
        deck = Deck(setup.tables, hands(DECK))
        payoffs = np.zeros((pairs, 2), np.float32)
        for start in range(0, pairs, size):
            numbers = np.minimum(np.arange(start, start + size), pairs - 1)
            count = min(size, pairs - start)
            for seat in (0, 1):
                given = np.int32(seat), params[1 - seat], mixed[1 - seat]
                deals = responder.deal(deck, key, numbers, given[0], given[2], setup)
                walk = responder.start(deals, np.int32(count), given[2], lanes)
                while bool(jnp.any(walk.hand >= 0)):
                    walk, _ = responder.turn(deck, deals, walk, np.int32(count), *given)
                if not float(walk.worst) < TOLERANCE:
                    raise JaxnashError(
                        f"the strategy's probabilities are off by {float(walk.worst):.3g}: it is to give "
                        "distributions over the legal actions"
                    )
                payoffs[start : start + count, seat] = np.asarray(walk.result)[:count]
        return score(payoffs, level=level, bound=bound, kind=KIND)

    return responding


@lru_cache(maxsize=16)  # the same arguments, the same programs
def parts(game: Game, strategy: Strategy, boards: int, bets_from: int) -> Responder:
    """The responder's steps. Hands `M`, lanes `L`, networks `T`."""
    actions = game.actions.n
    seen = jax.eval_shape(lambda key: game.observe(game.init(key, None)), jax.random.key(0)).obs
    if not isinstance(seen, Observation):
        raise JaxnashError("local best response is for hold'em: pass a game from holdem(...)")
    streets = seen.bets.shape[-2]
    final = 3 if streets == 2 else 5  # cards on the board at a showdown

    @jax.jit
    def deal(deck: Deck, key: Key, numbers: Array, seat: Array, weights: Array, setup: HoldemSetup) -> Deals:
        """The hands with numbers i32[M], in which the responder has seat i32[]."""

        def one(number: Array) -> Deals:
            keys = jax.random.split(jax.random.fold_in(key, number), 5)
            state = game.init(keys[0], setup)
            return dealt(deck, state, seat, weights, keys[1:])

        return jax.lax.map(one, numbers, batch_size=BATCH)

    def dealt(deck: Deck, state: HoldemState, seat: Array, weights: Array, keys: Key) -> Deals:
        holes, board = unpack(state.holes, 4), unpack(state.board, 5)
        own = jnp.where(seat == 0, holes[:2], holes[2:])
        other = jnp.where(seat == 0, holes[2:], holes[:2])
        held = jnp.argmax(jnp.all(deck.holes == jnp.sort(other), axis=1)).astype(jnp.int32)
        network = jax.random.categorical(keys[0], jnp.log(weights)).astype(jnp.int32)
        chance, worth = [], []
        for street in range(streets):
            shown = 0 if street == 0 else street + 2
            samples = jax.random.split(jax.random.fold_in(keys[1], street))
            given = [
                winning(deck, own, board, sample, shown=shown, final=final, boards=boards)
                for sample in samples[: 1 if final - shown < 2 else 2]
            ]
            chance.append(given[0])
            worth.append(given[-1])
        return Deals(state, own, board, held, network, keys[2], jnp.stack(chance), jnp.stack(worth))

    @partial(jax.jit, static_argnums=3)
    def start(deals: Deals, count: Array, weights: Array, lanes: int) -> Walk:
        first = jnp.arange(lanes, dtype=jnp.int32)
        return Walk(
            state=jax.tree.map(lambda leaf: leaf[:lanes], deals.state),
            hand=jnp.where(first < count, first, -1),
            turn=jnp.zeros(lanes, jnp.int32),
            reach=jnp.broadcast_to(weights[:, None], (lanes, len(weights), HANDS)),
            result=jnp.zeros(len(deals.own), jnp.float32),
            upcoming=jnp.int32(lanes),
            worst=jnp.float32(0),
        )

    def observe(deck: Deck, deals: Deals, walk: Walk, state: HoldemState, seat: Array) -> tuple:
        """What the opponent sees with each of its hands, [L * 1326], and whether it is to act bool[L]."""
        step = jax.vmap(game.observe)(state)
        obs, legal, active = jax.tree.map(
            lambda leaf: jnp.take(leaf, 1 - seat, axis=1), (step.obs, step.legal, step.active)
        )
        shown = jnp.where(jnp.arange(5) < _shown(state.street)[:, None], deals.board[walk.hand], -1)
        lanes = len(walk.hand)
        holes = [jnp.broadcast_to(deck.holes[:, i], (lanes, HANDS)) for i in (0, 1)]
        board = [jnp.broadcast_to(shown[:, i, None], (lanes, HANDS)) for i in range(5)]
        # laid out first: XLA fuses the broadcasts into every use otherwise, at 200 times the cost on a CPU
        holes, board = jax.lax.optimization_barrier((holes, board))
        cards = jnp.stack(canonical([*holes, *board]), axis=-1).astype(jnp.int8)
        rows = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf[:, None], (lanes, HANDS, *leaf.shape[1:])), (obs, legal)
        )
        rows = (rows[0]._replace(cards=cards), rows[1])
        flat = jax.tree.map(lambda leaf: leaf.reshape(lanes * HANDS, *leaf.shape[2:]), rows)
        return (*flat, active & (walk.hand >= 0))

    def probabilities(
        deck: Deck, deals: Deals, walk: Walk, state: HoldemState, seat: Array, params: Params
    ) -> tuple[Array, Array, Array]:
        """Of the opponent's actions at `state` with each network and hand, f32[L, T, 1326, A]; where it is to
        act bool[L]; how far they are off there f32[]."""
        obs, legal, acting = observe(deck, deals, walk, state, seat)
        given = jax.lax.map(lambda one: strategy(one, obs, legal).astype(jnp.float32), params)
        if given.shape[1:] != legal.shape:
            raise JaxnashError(
                f"strategy gave probabilities of shape {given.shape[1:]}: {legal.shape} is that of `legal`"
            )
        chosen = jnp.where(legal, given, 0)
        off = jnp.abs(jnp.sum(chosen, axis=-1) - 1) + jnp.sum(jnp.abs(given - chosen), axis=-1)
        off = jnp.maximum(off, -jnp.min(chosen, axis=-1)).reshape(len(given), -1, HANDS)
        worst = jnp.max(jnp.where(acting[:, None], off, 0))
        return jnp.moveaxis(chosen.reshape(len(given), -1, HANDS, actions), 0, 1), acting, worst

    def answer(deck: Deck, deals: Deals, walk: Walk, seat: Array, params: Params) -> Walk:
        chosen, acting, worst = probabilities(deck, deals, walk, walk.state, seat, params)
        lane = jnp.arange(len(walk.hand))
        played = chosen[lane, deals.network[walk.hand], deals.held[walk.hand]]
        keys = jax.vmap(jax.random.fold_in)(deals.key[walk.hand], walk.turn)
        action = jax.vmap(jax.random.categorical)(keys, jnp.log(played))
        reach = walk.reach * chosen[lane, :, :, action]
        reach = reach / jnp.maximum(jnp.max(reach, axis=(1, 2), keepdims=True), 1e-30)
        return walk._replace(
            state=_act(game, walk.state, action, acting),
            turn=walk.turn + 1,
            reach=jnp.where(acting[:, None, None], reach, walk.reach),
            worst=jnp.maximum(walk.worst, worst),
        )

    def respond(deck: Deck, deals: Deals, walk: Walk, seat: Array, params: Params) -> tuple[Walk, Array]:
        step = jax.vmap(game.observe)(walk.state)
        acting = jnp.take(step.active, seat, axis=1) & (walk.hand >= 0)
        legal = jnp.take(step.legal, seat, axis=1)
        late = (walk.state.street >= bets_from)[:, None]
        legal = legal & (late | (jnp.arange(actions) <= CALL))

        reach = weighed(deck, deals, walk)
        gain = 2 * deals.chance[walk.hand, walk.state.street] - 1
        own, other = _paid(walk.state, seat)
        shown_down = other * jnp.sum(reach * gain[:, None], axis=(1, 2))

        def bet(action: Array) -> tuple[Array, Array]:
            can = acting & jnp.take(legal, action, axis=1)
            nothing = jnp.full(len(walk.hand), -jnp.inf), jnp.float32(0)
            return jax.lax.cond(jnp.any(can), partial(worth_of, action), lambda can: nothing, can)

        def worth_of(action: Array, can: Array) -> tuple[Array, Array]:
            after = _act(game, walk.state, jnp.full(len(walk.hand), action), can)
            chosen, asked, worst = probabilities(deck, deals, walk, after, seat, params)
            stays = reach * (1 - chosen[..., FOLD])
            called = _paid(after, seat)[0] * jnp.sum(stays * gain[:, None], axis=(1, 2))
            value = other * jnp.sum(reach * chosen[..., FOLD], axis=(1, 2)) + called
            return jnp.where(can & asked, value, -jnp.inf), worst

        bets, worst = jax.lax.map(bet, jnp.arange(2, actions))
        values = jnp.concatenate([jnp.stack([-own.astype(jnp.float32), shown_down]), bets]).T
        values = jnp.where(legal, values, -jnp.inf)
        state = _act(game, walk.state, jnp.argmax(values, axis=1), acting)
        return walk._replace(state=state, worst=jnp.maximum(walk.worst, jnp.max(worst))), values

    def weighed(deck: Deck, deals: Deals, walk: Walk) -> Array:
        """How likely network and hand are, f32[L, T, 1326], given the actions and the known cards."""
        shown = jnp.arange(5) < _shown(walk.state.street)[:, None]
        known = jnp.concatenate([deals.own[walk.hand], jnp.where(shown, deals.board[walk.hand], -1)], axis=1)
        clash = jnp.any(deck.holes[None, :, :, None] == known[:, None, None], axis=(2, 3))
        reach = jnp.where(clash[:, None], 0, walk.reach)
        return reach / jnp.maximum(jnp.sum(reach, axis=(1, 2), keepdims=True), 1e-30)

    def finish(deck: Deck, deals: Deals, walk: Walk, seat: Array, weights: Array, count: Array) -> Walk:
        size = len(deals.own)
        over = (walk.hand >= 0) & walk.state.ended
        gain = 2 * deals.worth[walk.hand, walk.state.street] - 1
        stake = _paid(walk.state, seat)[0].astype(jnp.float32)
        shown_down = stake * jnp.sum(weighed(deck, deals, walk) * gain[:, None], axis=(1, 2))
        reward = jnp.take(jax.vmap(game.observe)(walk.state).reward, seat, axis=1)
        earned = jnp.where(walk.state.folded >= 0, reward, shown_down)
        order = walk.upcoming + jnp.cumsum(over, dtype=jnp.int32) - 1
        following = jnp.minimum(order, size - 1)
        return walk._replace(
            state=jax.tree.map(
                lambda fresh, now: jnp.where(over, fresh[following], now), deals.state, walk.state
            ),
            hand=jnp.where(over, jnp.where(order < count, order, -1), walk.hand),
            turn=jnp.where(over, 0, walk.turn),
            reach=jnp.where(over[:, None, None], weights[:, None], walk.reach),
            result=walk.result.at[jnp.where(over, walk.hand, size)].set(earned, mode="drop"),
            upcoming=walk.upcoming + jnp.sum(over, dtype=jnp.int32),
        )

    @jax.jit
    def turn(
        deck: Deck, deals: Deals, walk: Walk, count: Array, seat: Array, params: Params, weights: Array
    ) -> tuple[Walk, Moves]:
        answered = answer(deck, deals, walk, seat, params)
        responded, values = respond(deck, deals, answered, seat, params)
        moves = Moves(answered.state, responded.state, values)
        return finish(deck, deals, responded, seat, weights, count), moves

    return Responder(deal, start, turn)


def winning(deck: Deck, own: Array, board: Array, key: Key, *, shown: int, final: int, boards: int) -> Array:
    """The chance f32[1326] that `own` i32[2] beats each hand at a showdown, a tie being half, when the first
    `shown` cards of `board` i32[5] are known and `final` will be. Exact with one card to come at most, else
    by `boards` random ones. What shares a card with those known is meaningless."""
    known = jnp.concatenate([own, board[:shown]])
    free = jnp.all(jnp.arange(52)[:, None] != known, axis=1)
    if final - shown == 0:
        late = jnp.zeros((1, 0), jnp.int32)
        counts = jnp.ones(1, bool)
    elif final - shown == 1:
        late = jnp.arange(52, dtype=jnp.int32)[:, None]
        counts = free
    else:
        order = jnp.where(free, jax.random.uniform(key, (boards, 52)), -1)
        late = jax.lax.top_k(order, final - shown)[1].astype(jnp.int32)
        counts = jnp.ones(boards, bool)
    public = [jnp.broadcast_to(board[i], (len(late), 1)) for i in range(shown)]
    public += [late[:, i, None] for i in range(final - shown)]
    mine = hand_strength(deck.tables, [jnp.broadcast_to(own[i], (len(late), 1)) for i in (0, 1)] + public)
    theirs = [jnp.broadcast_to(deck.holes[:, i], (len(late), HANDS)) for i in (0, 1)]
    public = [jnp.broadcast_to(card, (len(late), HANDS)) for card in public]
    strength = hand_strength(deck.tables, theirs + public)
    clash = jnp.zeros((len(late), HANDS), bool)
    for card in public[shown:]:
        clash = clash | (theirs[0] == card) | (theirs[1] == card)
    weight = (counts[:, None] & ~clash).astype(jnp.float32)
    won = jnp.where(mine > strength, 1.0, jnp.where(mine == strength, 0.5, 0.0))
    return jnp.sum(weight * won, axis=0) / jnp.maximum(jnp.sum(weight, axis=0), 1)


def _shown(street: Array) -> Array:
    """Board cards that are known."""
    return jnp.where(street == 0, 0, street + 2)


def _paid(state: HoldemState, seat: Array) -> tuple[Array, Array]:
    """What the seat has put into the pot, and the other."""
    first = seat == 0
    return jnp.where(first, state.paid0, state.paid1), jnp.where(first, state.paid1, state.paid0)


def _act(game: Game, state: HoldemState, action: Array, which: Array) -> HoldemState:
    """The states after actions i32[L] where `which` bool[L]; hold'em reads only the mover's."""
    keys = jnp.zeros(len(action), jnp.int32)  # and no key
    after = jax.vmap(game.step)(keys, state, jnp.stack([action, action], axis=1))
    return jax.tree.map(lambda new, old: jnp.where(which, new, old), after, state)
