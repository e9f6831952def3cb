"""Flop hold'em played game by game: networks, and the best responses of `jaxnash.cfr.flop_holdem`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxnash.cfr import flop_holdem, flop_values
from jaxnash.cfr.flop_betting import Decision, after_flop, before_flop, rows_after, rows_before
from jaxnash.cfr.flop_cards import flop_deals
from jaxnash.games import holdem
from jaxnash.games.holdem import HoldemSetup, holdem_setup

MOST_ACTIONS = 11  # of a game: five before the flop, six on it


def choose(node, player, earned, made):
    """A best response's values from those at the ends by their actions; its choices go into `made`."""
    if not isinstance(node, Decision):
        return earned[node.actions]
    legal = [action for action, child in enumerate(node.children) if child is not None]
    below = jnp.stack([choose(node.children[action], player, earned, made) for action in legal])
    if node.player != player:
        return below.sum(axis=0)
    made[node.number] = jnp.array(legal)[below.argmax(axis=0)].astype(jnp.int8)
    return below.max(axis=0)


def record_choices(monkeypatch, apply, params, weights):
    """The result, and what each player's best response does: i8[C, 4] before the flop and i8[N, 35] on it."""
    deals = flop_deals()
    after = [np.full((len(deals.cards), 35), -1, np.int8) for _ in (0, 1)]
    before, at = [None, None], []
    blocks, values, before_values = flop_holdem.blocks, flop_holdem.values, flop_holdem._before_values

    @jax.jit
    def choices(hands, plans):
        def one(hands):
            earned, _ = flop_values.end_values(hands, plans)
            made = [{}, {}]
            for player in (0, 1):
                by_end = {end.actions: earned[player, i] for i, end in enumerate(flop_values.flop_ends())}
                choose(after_flop(), player, by_end, made[player])
            return [jnp.stack([side[k] for k in range(5)], axis=1).reshape(35, -1) for side in made]

        return jax.lax.map(one, hands)

    def recording_blocks(deals, start, stop, dtype):
        for block in blocks(deals, start, stop, dtype):
            at.append((deals.first[start], block.weight > 0))
            yield block

    def recording_values(hands, plans):
        origin, real = at[-1]
        for player, made in enumerate(choices(hands, plans)):
            after[player][(hands.row + origin)[real]] = np.moveaxis(np.asarray(made), 1, 2)[real]
        return values(hands, plans)

    def recording_before(deals, player, plan, flops):
        earned, made = before_values(deals, player, plan, flops), {}
        choose(before_flop(), player, earned, made)
        before[player] = np.stack([made[k] for k in range(4)], axis=1)
        return earned

    monkeypatch.setattr(flop_holdem, "blocks", recording_blocks)
    monkeypatch.setattr(flop_holdem, "values", recording_values)
    monkeypatch.setattr(flop_holdem, "_before_values", recording_before)
    found = flop_holdem.exploitability(apply, params, weights)
    assert min(side.min() for side in after) >= 0
    return found, (before, after)


def play(apply, params, weights, choices, responder, count, seed):
    """Rewards f64[count, 2] of random deals. A player draws one of its networks for each game; `responder`,
    None or a player, makes its recorded choices."""
    rng, game, key = np.random.default_rng(seed), holdem("flop"), jax.random.key(0)
    cards = np.argsort(rng.random((count, 52)), axis=1)[:, :9].astype(np.int32)
    axes = HoldemSetup(None, None, None, None, 0)
    start = jax.jit(jax.vmap(lambda setup: game.init(key, setup), in_axes=(axes,)))
    step = jax.jit(jax.vmap(lambda state, actions: game.step(key, state, actions)))
    observe = jax.jit(jax.vmap(game.observe))
    every = jax.jit(jax.vmap(apply, in_axes=(0, None, None)))
    drawn = [rng.choice(len(weights), size=count, p=weights) for _ in (0, 1)]

    state = start(holdem_setup("flop")._replace(cards=cards))
    for _ in range(MOST_ACTIONS):
        seen = jax.tree.map(np.asarray, observe(state))
        actions = np.zeros((count, 2), np.int32)
        for player in (0, 1):
            active = np.flatnonzero(seen.active[:, player])
            obs = jax.tree.map(lambda leaf, player=player: leaf[:, player], seen.obs)
            if player == responder:
                mine = jax.tree.map(lambda leaf, active=active: leaf[active], obs)
                actions[active, player] = respond(choices, player, mine)
            else:
                probs = every(params[player], obs, seen.legal[:, player])
                probs = np.asarray(probs, np.float64)[drawn[player], np.arange(count)]
                bounds = np.cumsum(probs, axis=1) / np.sum(probs, axis=1, keepdims=True)
                picked = np.sum(bounds <= rng.random((count, 1)), axis=1)
                actions[active, player] = picked[active]
        state = step(state, actions)
    seen = observe(state)
    assert np.all(seen.terminated)
    return np.asarray(seen.reward, np.float64)


def respond(choices, player, obs):
    """The recorded action at each observation."""
    deals, actions = flop_deals(), np.zeros(len(obs.cards), np.int32)
    for street, hands, rows in ((0, deals.before, rows_before(player)), (1, deals.cards, rows_after(player))):
        here = np.flatnonzero((obs.cards[:, 2] >= 0) == street)
        hand = find(hands[:, :5], obs.cards[here, :5])
        node = find(rows.bets.reshape(-1, 12), obs.bets[here].reshape(-1, 12))
        actions[here] = choices[street][player][hand, node]
    return actions


def find(table, rows):
    """Where each of `rows` i8[n, k] is in a table i8[m, k]; it must be there."""

    def key(rows):
        base = 64 if rows.shape[1] <= 5 else 4  # cards, or actions
        return (rows.astype(np.int64) + (base == 64)) @ base ** np.arange(rows.shape[1])

    order = np.argsort(key(table))
    found = order[np.searchsorted(key(table)[order], key(rows))]
    assert np.array_equal(table[found], rows)
    return found
