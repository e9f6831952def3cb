"""The fighter against values worked out by hand from `table`. A frame is 1/30 s, y points down."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnash as jn
from jaxnash.games.fighter import REWARDS, Weights, digest, stage, table, terms
from jaxnash.games.fighter.hits import row_of
from jaxnash.games.fighter.observe import NAMES, observations
from jaxnash.games.fighter.rewards import shaping_bound
from jaxnash.games.fighter.state import Spawner
from jaxnash.types import JaxnashError
from tests.games.arena import LEFT, RIGHT, arena, numbers, play

CLOSE = {"rtol": 0, "atol": 2e-5}  # float32 at distances of 14, summed over 100 frames
G = 17.808 / 30  # speed gained a frame


def test_a_jump_is_the_sum_of_its_frames():
    """After n frames the speed is -8.9 + n g / 30 and the way (-8.9 n + n (n + 1) g / 60) / 30."""
    states = play(arena(), ["space"] + [""] * 29)
    n = np.arange(1, 31)
    way = (-8.9 * n + G * n * (n + 1) / 2) / 30
    assert way[13] == pytest.approx(-2.07573, abs=1e-5) and np.argmin(way) == 13  # the top: 2.08 above
    np.testing.assert_allclose(numbers(states, "y")[:28], RIGHT + way[:28], **CLOSE)
    assert way[27] < 0 < way[28]  # -0.2732 and 0.0034: back on the ground in the 29th frame
    assert numbers(states, "standing").tolist() == [0] * 28 + [1] * 2
    assert np.all(numbers(states, "y")[28:] == np.float32(RIGHT))
    assert np.all(numbers(states, "vy")[28:] == 0)


def test_two_jumps_in_the_air_and_no_third():
    states = play(arena(), ["space", "", "space", "", "space", "", "space", ""])
    assert numbers(states, "jumps").tolist() == [2, 2, 1, 1, 0, 0, 0, 0]
    speed = numbers(states, "vy")
    np.testing.assert_allclose(speed[[0, 2, 4]], -8.9 + G, **CLOSE)
    np.testing.assert_allclose(speed[[6]], -8.9 + 3 * G, **CLOSE)  # falls on


def test_a_button_held_jumps_once():
    speed = numbers(play(arena(), ["space"] * 4), "vy")
    np.testing.assert_allclose(speed, -8.9 + G * np.arange(1, 5), **CLOSE)


def test_jumps_and_the_recovery_come_back_on_landing():
    state = arena({"y": RIGHT - 0.1, "standing": 0, "jumps": 0, "recoveries": 0})
    states = play(state, [""] * 10)
    landed = int(np.argmax(numbers(states, "standing") > 0))
    assert landed == 2  # ways of 0.0198, 0.0594, 0.1187: past 0.1 with the third frame
    assert numbers(states, "jumps")[landed - 1 : landed + 1].tolist() == [0, 2]
    assert numbers(states, "recoveries")[landed] == 1


def test_walking_then_running():
    """2 u/s more a frame up to 6.75; from the fifteenth frame of walking it is 8."""
    states = play(arena({"x": 2.5}), ["d"] * 16)
    speed = [2.0, 4.0, 6.0, *[6.75] * 11, 8.0, 8.0]
    np.testing.assert_allclose(numbers(states, "vx"), speed, **CLOSE)
    np.testing.assert_allclose(numbers(states, "x"), 2.5 + np.cumsum(speed) / 30, **CLOSE)
    shown = numbers(states, "state").tolist()
    assert shown == [table.WALKING] * 14 + [table.SPRINTING] * 2


def test_letting_go_stops_and_turning_is_shown():
    states = play(arena({"vx": 6.75, "x": 5.0}), ["", "", "a", "a", "a", "a", "a"])
    np.testing.assert_allclose(numbers(states, "vx")[:4], [5.25, 3.75, 1.75, -0.25], **CLOSE)
    assert numbers(states, "facing").tolist() == [1, 1, -1, -1, -1, -1, -1]
    assert numbers(states, "state").tolist()[2:] == [table.TURNING] * 4 + [table.WALKING]


@pytest.mark.parametrize(
    ("key", "x", "state", "speed"), [("d", 4.0, table.DASHING, 10), ("a", 5.5, table.BACK_DASHING, -10)]
)
def test_a_dash(key, x, state, speed):
    states = play(arena({"x": x}), [f"{key} l"] + [""] * 8)
    assert numbers(states, "state").tolist() == [state] * 8 + [table.STANDING]
    np.testing.assert_allclose(numbers(states, "vx")[:8], speed)
    np.testing.assert_allclose(numbers(states, "x")[7], x + 8 * speed / 30, **CLOSE)
    assert np.all(numbers(states, "facing") == 1)  # a dash backwards looks ahead


@pytest.mark.parametrize(("standing", "wait"), [(1, 30), (0, 82)])
def test_a_dodge_is_ten_frames_and_then_a_wait(standing, wait):
    """Taps of every other frame; the next dodge is the first tap after the wait."""
    limit = {"limit": (1000.0, 1000.0), "grounds": ((2.0, 7.0, RIGHT), (900.0, 901.0, 0.0))}
    state = arena({"y": RIGHT if standing else -900.0, "standing": standing})
    state = state._replace(stage=jax.tree.map(jnp.float32, state.stage._replace(**limit)))
    states = play(state, ["l", ""] * (wait // 2 + 1))
    shown = numbers(states, "state") == table.DODGING
    assert shown[:10].all() and not shown[10:wait].any() and shown[wait]
    assert numbers(states, "wait")[0] == wait


def test_a_dodge_lets_a_hit_pass():
    """The box is there from the fourth frame to the sixth; the dodge from the first to the tenth."""
    for answer, damage in (([""], 6.0), (["l"], 0.0)):
        states = play(arena(second={"x": 4.6, "y": RIGHT}), ["j"] + [""] * 12, answer)
        assert numbers(states, "damage", 1)[-1] == damage


def test_the_first_frame_of_a_hit_box():
    states = play(arena(second={"x": 4.6, "y": RIGHT}), ["j"] + [""] * 12)
    assert int(np.argmax(numbers(states, "damage", 1) > 0)) == 3  # three frames of startup
    shown = numbers(states, "state")
    assert np.all(shown[:13] == table.ATTACKING)
    assert numbers(play(states[-1], [""]), "state")[0] == table.STANDING  # 3 + 3 + 7 = 13


@pytest.mark.parametrize(("before", "speed"), [(0.0, 3.445872), (91.0, 6.304), (191.0, 11.584)])
def test_knock_back_at_a_damage(before, speed):
    """Unarmed ground light side: damage 9, fixed 34, variable 14, 30 degrees, 13 frames of stun.

    At X = 9: 34 + 14 (9 / 70 + 81 / 12000) = 35.8945, times 0.096 = 3.44587. At X = 100: 34 + 14 (1.428571 +
    0.833333) = 65.66667, 6.304. At X = 200: 34 + 14 (2.857143 + 3.333333) = 120.66667, 11.584.
    """
    state = arena({"x": 4.0}, {"x": 4.9, "y": RIGHT, "damage": before})
    states = play(state, ["d j"] + [""] * 20)
    hit = int(np.argmax(numbers(states, "damage", 1) > before))
    assert hit == 5
    assert numbers(states, "damage", 1)[hit] == before + 9
    along, up = speed * np.cos(np.pi / 6), speed * np.sin(np.pi / 6)
    np.testing.assert_allclose(numbers(states, "vx", 1)[hit], along, **CLOSE)
    np.testing.assert_allclose(numbers(states, "vy", 1)[hit], -up, **CLOSE)
    # a frame later: 3 u/s^2 of friction while stunned, and gravity
    np.testing.assert_allclose(numbers(states, "vx", 1)[hit + 1], along - 0.1, **CLOSE)
    np.testing.assert_allclose(numbers(states, "vy", 1)[hit + 1], -up + G, **CLOSE)
    np.testing.assert_allclose(numbers(states, "x", 1)[hit + 1], 4.9 + (along - 0.1) / 30, **CLOSE)
    assert numbers(states, "stun", 1)[hit : hit + 14].tolist() == list(range(13, -1, -1))


def test_a_hit_interrupts_and_both_may_hit_at_once():
    state = arena({"x": 4.0}, {"x": 4.8, "y": RIGHT, "facing": -1.0})
    states = play(state, ["j"] + [""] * 5, ["j"] + [""] * 5)
    assert numbers(states, "damage", 0)[3] == numbers(states, "damage", 1)[3] == 6
    assert numbers(states, "state", 0)[3] == numbers(states, "state", 1)[3] == table.STUNNED
    late = play(state, ["j"] + [""] * 8, ["", "", "j"] + [""] * 6)  # the second attack never comes to its box
    assert numbers(late, "damage", 0)[-1] == 0 and numbers(late, "damage", 1)[-1] == 6


def test_a_combo_pays_once_a_stun():
    state = arena({"x": 4.0}, {"x": 4.5, "y": RIGHT, "state": table.STUNNED, "stun": 40})
    jabs = (["j"] + [""] * 13) * 2
    states = play(state, jabs)
    hits = numbers(states, "taken", 1) > 0
    assert hits.sum() >= 1 and numbers(states, "combo").sum() == 1
    fresh = play(arena({"x": 4.0}, {"x": 4.5, "y": RIGHT}), ["j"] + [""] * 5)
    assert numbers(fresh, "taken", 1).sum() == 6 and not numbers(fresh, "combo").any()


def still(state, **change):
    """The match on a stage whose platform stays at (0, 0), its upper edge at y = -0.5."""
    flat = state.stage._replace(platform_from=(0.0, 0.0), platform_to=(0.0, 0.0), **change)
    return state._replace(stage=jax.tree.map(jnp.float32, flat))


def test_the_platform_lets_pass_from_below_and_holds_from_above():
    """From y = 0.5 a jump is back at -0.5 with the 25th frame, as free flight is, and held there."""
    state = still(arena({"x": 0.0, "y": 0.5, "vy": -8.9, "standing": 0}))
    states = play(state, [""] * 30)
    n = np.arange(1, 31)
    free = 0.5 + (-8.9 * n + G * n * (n + 1) / 2) / 30
    lands = int(np.argmax((free >= -0.5) & (n > 14)))
    assert lands == 24
    np.testing.assert_allclose(numbers(states, "y")[:lands], free[:lands], **CLOSE)
    assert np.all(numbers(states, "y")[lands:] == -0.5)
    assert numbers(states, "standing").tolist() == [0] * 24 + [2] * 6
    gone = play(states[-1], ["s", "s"])
    np.testing.assert_allclose(numbers(gone, "y"), [-0.5 + G / 30, -0.5 + 3 * G / 30], **CLOSE)


def test_the_platform_carries():
    """From (1, 0) to (-1, 2) in 120 frames: 1/60 left and 1/60 down a frame."""
    state = arena({"x": 1.2, "y": -0.5, "standing": 2})
    states = play(state, [""] * 125)
    np.testing.assert_allclose(numbers(states, "x")[:120], 1.2 - np.arange(1, 121) / 60, **CLOSE)
    np.testing.assert_allclose(numbers(states, "y")[:120], -0.5 + np.arange(1, 121) / 60, **CLOSE)
    np.testing.assert_allclose(numbers(states, "x")[124], -0.8 + 5 / 60, **CLOSE)  # on its way back
    assert np.all(numbers(states, "standing") == 2)


def test_ground_stops_from_the_side_and_ends():
    wall = play(arena({"x": 1.9, "y": 2.0, "vx": 6.0, "standing": 0}), ["d"] * 3)  # below the right ground
    assert np.all(numbers(wall, "x") == 2.0) and np.all(numbers(wall, "vx") == 0)
    edge = play(arena({"x": 6.95, "vx": 6.75}), ["d"] * 2)
    assert numbers(edge, "standing").tolist() == [0, 0]
    assert numbers(edge, "x")[0] > 7 and numbers(edge, "vy")[1] > 0


def test_the_fall_is_not_faster_than_its_limit():
    speed = numbers(play(arena({"y": -7.9, "standing": 0, "x": 0.5}), [""] * 25), "vy")
    np.testing.assert_allclose(speed, np.minimum(G * np.arange(1, 26), 12.0), **CLOSE)
    assert speed[-1] == 12


def test_out_and_back():
    """Beyond 14 in the first frame; 90 frames later at home with no damage, and safe for 45."""
    state = arena({"x": 13.9, "y": 0.0, "vx": 12.0, "damage": 80.0, "weapon": 2, "standing": 0})
    states = play(state, [""] * 140)
    assert numbers(states, "stocks").tolist() == [2] * 140
    assert numbers(states, "fell").tolist() == [True] + [False] * 139
    assert np.all(numbers(states, "state")[:90] == table.KNOCKED_OUT)
    assert numbers(states, "damage")[[89, 90]].tolist() == [80, 0]
    assert numbers(states, "weapon")[0] == 0
    assert (numbers(states, "x")[90], numbers(states, "y")[90]) == (5, 0)
    safe = numbers(states, "safe")
    assert safe[90] == 45 and safe[134] == 1 and safe[135] == 0
    below = play(arena({"x": 0.0, "y": 7.9, "vy": 12.0, "standing": 0}), [""])
    assert numbers(below, "fell")[0]


def paid(state, rewards):
    each = terms(state, REWARDS[rewards])._asdict()
    return {name: np.asarray(value).tolist() for name, value in each.items()}


def test_a_match_is_won_by_stocks_and_drawn_by_two_knock_outs_at_once():
    out = {"x": 13.9, "y": 0.0, "vx": 12.0, "stocks": 1, "standing": 0}
    game = jn.games.fighter(rewards="reference")
    won = play(arena(second=out), [""])[0]
    step = game.observe(won)
    assert step.terminated and not step.truncated
    assert paid(won, "reference")["win"] == [50, -50] and paid(won, "reference")["knock_out"] == [8, -8]
    assert step.reward.tolist() == [58, -58]
    drawn = play(arena(out, {**out, "x": -13.9, "vx": -12.0}), [""])[0]
    assert game.observe(drawn).terminated and game.observe(drawn).reward.tolist() == [0, 0]


@pytest.mark.parametrize(("stocks", "win"), [((3, 3), 0), ((2, 1), 50), ((1, 2), -50)])
def test_time_decides_by_stocks(stocks, win):
    state = arena({"stocks": stocks[0]}, {"stocks": stocks[1]}, frame=table.FRAMES - 2)
    states = play(state, ["", ""])
    game = jn.games.fighter(rewards="reference")
    assert [bool(game.observe(each).terminated) for each in states] == [False, True]
    assert [paid(each, "reference")["win"] for each in states] == [[0, 0], [win, -win]]


def test_weapons_come_are_taken_once_and_thrown_away():
    state = arena({"x": 3.0, "y": RIGHT})
    states = play(state, [""] * 59 + ["", "h", "", "h", "", "h", ""], [])
    lies = np.array([each.spawners[0].weapon for each in states])
    assert np.all(lies[:59] == 0) and lies[59] in (1, 2) and lies[60] == 0
    kind = int(lies[59])
    assert numbers(states, "weapon").tolist()[60:] == [kind, kind, 0, 0, 0, 0]
    assert numbers(states, "picked").tolist()[60:] == [kind, 0, 0, 0, 0, 0]
    assert numbers(states, "dropped").tolist()[60:] == [False, False, True, False, False, False]
    assert paid(states[60], "reference")["pick_up"] == [10.0 * kind, 0]
    assert paid(states[62], "reference")["drop"] == [-15, 0]
    assert states[60].spawners[0].timer == table.WEAPON_EVERY


def test_both_weapons_come():
    kinds = set()
    for luck in range(8):
        kinds |= {int(one.weapon) for one in play(arena(luck=luck, frame=0), [""] * 61)[-1].spawners}
    assert kinds == {0, 1, 2}


def test_the_nearer_takes_it_and_neither_if_both_are_as_near():
    lying = (Spawner(1, 0), *[Spawner(0, 100)] * 3)
    for first, second, owners in ((3.2, 3.4, [1, 0]), (3.25, 2.75, [0, 0]), (3.2, 2.9, [0, 1])):
        state = arena({"x": first}, {"x": second, "y": RIGHT}, spawners=lying)
        after = play(state, ["h"], ["h"])
        assert [int(numbers(after, "weapon", seat)[0]) for seat in (0, 1)] == owners
        assert int(after[0].spawners[0].weapon) == (0 if any(owners) else 1)


def test_a_thrown_weapon_strikes_what_is_ahead():
    """8 damage, fixed 30, variable 5, at 30 degrees: (30 + 5 (8 / 70 + 64 / 12000)) 0.096 = 2.937417."""
    state = arena({"weapon": 1}, {"x": 6.0, "y": RIGHT})
    after = play(state, ["h"])
    assert numbers(after, "damage", 1)[0] == 8 and numbers(after, "weapon")[0] == 0
    np.testing.assert_allclose(numbers(after, "vx", 1)[0], 2.937417 * np.cos(np.pi / 6), **CLOSE)
    behind = play(arena({"weapon": 1, "facing": -1.0}, {"x": 6.0, "y": RIGHT}), ["h"])
    assert numbers(behind, "damage", 1)[0] == 0


@pytest.mark.parametrize(
    ("keys", "standing", "move"),
    [
        ("j", 1, 1), ("j s", 1, 2), ("j d", 1, 3), ("k", 1, 4), ("k s", 1, 5), ("k a", 1, 6), ("j", 0, 7),
        ("j s", 0, 8), ("j d", 0, 9), ("k", 0, 10), ("k d", 0, 10), ("k s", 0, 11), ("j w", 1, 1),
        ("j k", 1, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("weapon", [0, 1, 2])
def test_which_attack_the_buttons_are(keys, standing, move, weapon):
    state = arena({"y": RIGHT if standing else -3.0, "standing": standing, "weapon": weapon})
    after = play(state, [keys])[0].fighters[0]
    assert int(after.move) == move and int(after.state) == table.ATTACKING
    row, attack = row_of(after), table.ATTACKS[weapon * 11 + move - 1]
    assert (attack.weapon, attack.name) == (table.WEAPONS[weapon], table.MOVES[move - 1])
    assert float(row.damage) == attack.damage and float(row.startup) == attack.startup
    np.testing.assert_allclose(float(row.upwards), np.sin(np.radians(attack.angle)), atol=1e-7)


def test_the_recovery_rises_once():
    """9.5 u/s upwards when the box appears, after 4 frames; again only after landing."""
    state = arena({"x": 0.0, "y": -3.0, "standing": 0})
    states = play(state, ["k"] + [""] * 29 + ["k", ""])
    np.testing.assert_allclose(numbers(states, "vy")[4], -9.5 + G, **CLOSE)
    assert numbers(states, "recoveries")[0] == 0
    assert numbers(states, "state")[30] != table.ATTACKING


def test_every_row_of_the_table_is_sound():
    assert len(table.ATTACKS) == 33 and len(set(table.MOVES)) == 11
    for weapon, name in enumerate(table.WEAPONS):
        rows = table.ATTACKS[weapon * 11 : weapon * 11 + 11]
        assert [row.weapon for row in rows] == [name] * 11
        assert [row.name for row in rows] == list(table.MOVES)
    for row in table.ATTACKS:
        assert min(row.startup, row.active, row.recovery, row.stun) >= 1
        assert min(row.damage, row.half_width, row.half_height, row.fixed, row.variable) > 0
        assert row.stun > row.active  # or one attack could meet its own stun again


def test_the_digest_names_every_number(monkeypatch):
    before = digest()
    assert before == digest() and len(before) == 16
    monkeypatch.setattr(table, "GRAVITY", 17.809)
    assert digest() != before
    monkeypatch.undo()
    monkeypatch.setattr(table, "ATTACKS", (table.ATTACKS[0]._replace(damage=7), *table.ATTACKS[1:]))
    assert digest() != before


def test_what_is_seen_by_hand():
    """Own side first; the stage is in both halves."""
    state = arena(
        {"x": 7.0, "y": RIGHT, "vx": 6.0, "damage": 70.0, "jumps": 1, "weapon": 2, "wait": 41},
        {"stocks": 1, "state": table.STUNNED, "stun": 5, "facing": -1.0, "move": 0},
    )
    seen = np.asarray(observations(state))
    first, second = (dict(zip(NAMES, row, strict=True)) for row in (seen[0, :32], seen[0, 32:]))
    assert seen.shape == (2, 64) and len(NAMES) == 32
    expected = {
        "x": 0.5, "y": RIGHT / 8, "vx": 0.5, "vy": 0, "facing": 1, "grounded": 1, "aerial": 0, "jumps": 0.5,
        "wait": 0.5, "damage": 0.1, "stocks": 1, "weapon": 1, "stun": 0, "platform x": 1 / 14,
        "platform y": 0,
        "spawner 0 x": 3 / 14, "spawner 2 y": 2.85 / 8, "spawner 0 weapon": 0, "platform vx": -0.5 / 12,
        "platform vy": 0.5 / 12, "recoveries": 1, "move": 0,
    }  # fmt: skip
    for name, value in expected.items():
        assert first[name] == pytest.approx(value, abs=1e-5), name
    assert second["x"] == pytest.approx(-4 / 14) and second["y"] == pytest.approx(LEFT / 8)
    assert second["stun"] == 0.25 and second["stocks"] == pytest.approx(1 / 3) and second["facing"] == -1
    assert second["state"] == pytest.approx(table.STUNNED / 12)
    assert np.array_equal(seen[1], np.concatenate([seen[0, 32:], seen[0, :32]]))


def test_what_a_frame_pays_by_hand():
    state = arena({"y": 4.2, "x": 0.0, "standing": 0}, {"x": -6.0})
    low = play(state, ["a d w s g"])[0]
    reference = paid(low, "reference")
    assert reference["danger"] == pytest.approx([-0.5 / 30, 0])
    assert reference["keys"] == pytest.approx([-0.01 / 30, 0])
    swings = play(arena(second={"x": 4.6, "y": RIGHT}), ["j"] + [""] * 3)
    assert paid(swings[0], "reference")["attacking"] == pytest.approx([-0.04 / 30, 0])
    assert paid(swings[3], "reference")["damage"] == pytest.approx([6 / 140, -6 / 140])
    late = play(arena(second={"x": 4.6, "y": RIGHT, "damage": 32.0}), ["j"] + [""] * 3)
    assert paid(late[3], "sound")["damage"] == pytest.approx([3 / 140, -3 / 140])  # 3 of the 6, up to 35


def test_sound_rewards_cannot_be_farmed():
    sound, reference = REWARDS["sound"], REWARDS["reference"]
    assert shaping_bound(sound) < sound.knock_out
    assert max(sound.spear, sound.hammer) + sound.drop < 0
    assert shaping_bound(reference) > reference.knock_out  # what went wrong with it
    assert reference.hammer + reference.drop > 0


def test_the_stage_is_data():
    game = jn.games.fighter()
    wide = stage()._replace(limit=(jnp.float32(20.0), jnp.float32(8.0)))
    for setup, falls in ((None, True), (wide, False)):
        state = game.init(jax.random.key(0), setup)
        first = state.fighters[0]._replace(x=jnp.float32(14.5))
        state = state._replace(fighters=(first, state.fighters[1]))
        assert numbers(play(state, [""]), "fell")[0] == falls


def test_starts_differ_by_their_key():
    game = jn.games.fighter()
    states = jax.vmap(lambda key: game.init(key, None))(jax.random.split(jax.random.key(1), 200))
    first, second = states.fighters
    assert np.all(first.home == -second.home) and set(np.unique(first.home)) == {-5, 5}
    shift = np.abs(np.asarray(first.x - first.home))
    assert shift.max() <= 0.5 and shift.max() > 0.4 and len(np.unique(shift)) > 190
    assert set(np.unique(states.phase)) == set(range(31))


def test_unknown_rewards_are_refused():
    with pytest.raises(JaxnashError, match="unknown rewards 'fair'; there are reference, sound"):
        jn.games.fighter(rewards="fair")
    assert jn.games.fighter(rewards=Weights(*[0.0] * 11)).num_players == 2
