"""Each alert is raised when it should be and not when it should not, on rows made by hand."""

from __future__ import annotations

import json

import pytest

from jaxnash.games.fighter.rewards import REWARDS, Terms
from jaxnash.runs.fighter_alerts import Alert, Limits, alerts, news, weighted
from jaxnash.runs.files import plain

SOUND, REFERENCE = REWARDS["sound"], REWARDS["reference"]
LIMITS = Limits()


def healthy(update: int) -> dict:
    """All terms pay, all a little differently."""
    paid = {name: 0.5 * place + 0.01 * update for place, name in enumerate(Terms._fields, 1)}
    return {
        "update": update,
        "value_loss": 1.0 + 0.1 * (update % 3),
        "policy_loss": -0.01,
        "grad_norm": 0.5,
        "entropy": 6.9 - 0.05 * update,
        "ratio_deviation": 1e-6,
        "terms": paid,
        "signals": dict.fromkeys(Terms._fields, 3),
        "matches": [{}, {}],
    }


def rows(count: int, **last: object) -> list[dict]:
    """Healthy rows, the last with changes."""
    found = [healthy(update) for update in range(1, count + 1)]
    found[-1] |= last
    return [json.loads(json.dumps(plain(row))) for row in found]  # as they are read


def names(found: list[dict], weights=SOUND, limits: Limits = LIMITS) -> list[str]:
    return [alert.name for alert in alerts(found, weights, limits)]


def evaluated(*rates: float, pairs: int = 50) -> list[dict]:
    found = rows(len(rates))
    for row, rate in zip(found, rates):
        row["evaluation"] = {"based": {"win_rate": rate, "matches": 2 * pairs}, "constant": {"win_rate": 0}}
    return found


@pytest.mark.parametrize("weights", [SOUND, REFERENCE])
@pytest.mark.parametrize("count", [0, 1, 5, 19, 20, 60])
def test_a_healthy_run_raises_none(count, weights):
    assert names(rows(count) if count else [], weights) == []


def test_terms_with_a_weight_are_told_from_the_presets():
    assert weighted(REFERENCE) == set(Terms._fields)
    assert weighted(SOUND) == set(Terms._fields) - {"combo"}  # whose weight is 0
    assert "pick_up" in weighted(SOUND._replace(spear=0.0))
    assert "pick_up" not in weighted(SOUND._replace(spear=0.0, hammer=0.0))


def test_a_term_that_was_never_active():
    found = rows(25)
    for row in found:
        row["signals"] |= {"drop": 0, "combo": 0}
    assert names(found) == ["never active: drop"]
    assert names(found, REFERENCE) == ["never active: combo", "never active: drop"]
    assert names(found[:19]) == []  # too early to say
    found[5]["signals"]["drop"] = 1  # the first of the last 20
    assert names(found) == []
    assert names([*found, found[-1]]) == ["never active: drop"]


def test_a_reward_for_winning_is_not_blamed_where_no_match_has_ended():
    found = rows(20)
    for row in found:
        row["signals"]["win"] = 0
    assert names(found) == ["never active: win"]
    assert "in which 40 matches ended" in alerts(found, SOUND)[0].told
    for row in found:
        row["matches"] = []
    assert names(found) == []


def test_a_term_that_pays_the_same_in_every_update():
    found = rows(9)
    for row in found[-5:]:
        row["terms"]["keys"] = -0.25
    assert names(found) == ["stuck: keys"]
    assert names(found[:-1]) == []  # four are not five
    for row in found[-5:]:
        row["terms"]["keys"] = 0.0
    assert names(found) == []


def test_a_term_that_is_all_there_is():
    found = rows(20)
    for update, row in enumerate(found):
        row["terms"] = dict.fromkeys(Terms._fields, 0.0) | {"pick_up": 90.0 + update, "drop": -1.0 - update}
        row["signals"] |= {"win": 0, "knock_out": 0}
    nothing = ["never active: knock_out", "never active: win"]
    assert names(found) == nothing  # 90 % are not all
    for row in found:
        row["terms"]["drop"] /= 20
    assert names(found) == [*nothing, "all there is: pick_up"]
    found[3]["signals"]["knock_out"] = 1
    assert names(found) == ["never active: win"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["value_loss", "grad_norm", "policy_loss"])
def test_a_loss_that_is_not_finite(name, wrong):
    assert names(rows(1, **{name: wrong})) == ["not finite"]
    assert alerts(rows(8, **{name: wrong}), SOUND)[0].told == f"{name} not finite"


@pytest.mark.parametrize(("name", "usual"), [("value_loss", 1.1), ("grad_norm", 0.5)])
def test_a_loss_that_explodes(name, usual):
    assert names(rows(8, **{name: 10.1 * usual})) == [f"exploding: {name}"]
    assert names(rows(8, **{name: 9.9 * usual})) == []
    assert names(rows(5, **{name: 1000.0})) == []  # four before tell no median
    found = rows(30, **{name: 11 * usual})
    for row in found[5:-1]:
        row[name] = 5 * usual  # the median is of the last 20
    assert names(found) == []


def test_a_policy_that_collapses():
    assert names(rows(8, entropy=0.68)) == ["policy collapse"]
    assert names(rows(8, entropy=0.69)) == []


def test_behaviour_and_learner_that_disagree():
    assert names(rows(3, ratio_deviation=1.01e-4)) == ["ratio deviation"]
    assert names(rows(3, ratio_deviation=float("nan"))) == ["ratio deviation"]
    assert names(rows(3, ratio_deviation=1e-4)) == []


def test_no_improvement_is_told_by_intervals():
    flat = [0.5, 0.55, 0.45, 0.5, 0.5] * 2
    assert names(evaluated(*flat)) == ["no improvement"]
    assert names(evaluated(*flat[:-1])) == []  # blocks of five
    told = alerts(evaluated(*flat), SOUND)[0].told
    assert "0.500 [0.420, 0.580] in the last 5 evaluations" in told and "+0.000 [-0.114, +0.114]" in told
    higher = [*[0.4] * 5, *[0.5] * 5]  # by the points it has improved; 250 pairs each do not show it
    assert names(evaluated(*higher)) == ["no improvement"]
    assert names(evaluated(*higher, pairs=500)) == []
    assert names(evaluated(*[0.3] * 5, *[0.6] * 5)) == []
    assert names(evaluated(*[0.97] * 10)) == []  # there is hardly anything to gain
    assert names(evaluated(*[0.6] * 5, *[0.3] * 5)) == ["no improvement"]


def test_one_lucky_evaluation_hides_no_improvement():
    """After a 0.8 by chance among 0.5, points above the best so far would wait for another."""
    rising = [0.3, 0.3, 0.8, 0.3, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6]
    assert names(evaluated(*rising)) == []


def test_blocks_grow_with_the_run():
    slow = [0.2 + 0.6 * k / 119 for k in range(120)]
    assert names(evaluated(*slow)) == []
    assert names(evaluated(*slow[:20])) == ["no improvement"]  # too little to be shown in blocks of five


def test_news_are_told_once_as_long_as_they_stand():
    alert = Alert("policy collapse", "now 0.1")
    standing = {"alerts": [{"name": "policy collapse", "told": "then 0.2"}]}
    assert news([alert], []) == [alert]
    assert news([alert], [{}, standing]) == []
    assert news([alert], [standing, *[{"alerts": []}] * 19]) == []  # it comes and goes
    assert news([alert], [standing, *[{"alerts": []}] * 20]) == [alert]


def test_alerts_are_of_the_rows_alone():
    """So that a resumed run, which reads them, raises what an unbroken one does."""
    found = rows(30, value_loss=float("nan"), entropy=0.1)
    again = json.loads(json.dumps(found))
    assert alerts(found, SOUND) == alerts(again, SOUND) != []
