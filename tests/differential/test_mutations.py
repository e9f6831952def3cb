"""Twenty deliberate one-line faults in the engine, each of which the battles of CI must catch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.differential import records
from tests.differential.__main__ import teams_of
from tests.differential.test_replay import SEED

ROOT = Path(records.HERE).parents[1]
BATTLES = 150  # the first of CI's
FAULTS = (  # file of jaxnash/games/gen1, what it says, what it says instead
    ("damage.py", "damage // 50, 997) + 2", "damage // 50, 997) + 1"),
    ("damage.py", "jnp.where(code == 2, damage >> 1, damage)", "jnp.where(code == 2, damage, damage)"),
    ("damage.py", "jnp.where(critical, 2 * me.level, me.level) & 255", "me.level"),
    ("damage.py", "large = (attack >= 256) | (defence >= 256)", "large = (attack >= 256) & (defence >= 256)"),
    ("damage.py", "jnp.where(side.active.focusenergy, half >> 1,", "jnp.where(False, half >> 1,"),
    ("status.py", "PARALYSED, CONFUSED = 63, 128", "PARALYSED, CONFUSED = 64, 128"),
    ("status.py", "PARALYSED, CONFUSED = 63, 128", "PARALYSED, CONFUSED = 63, 127"),
    ("status.py", "part = jnp.maximum(me.maxhp >> 4, 1)", "part = jnp.maximum(me.maxhp >> 3, 1)"),
    ("status.py", "a = put(a, recharges, recharge=False)", "a = put(a, recharges, recharge=True)"),
    ("status.py", "mask = mask & ~capped", "mask = mask & ~bounced"),
    ("moves.py", "left = (pick(a.pp, a.slot) + by) & 63", "left = jnp.maximum(pick(a.pp, a.slot) + by, 0)"),
    ("moves.py", 'me = put(me, faints, hp=0)', "me = put(me, faints & (foe.hp > 0), hp=0)"),
    ("moves.py", "drained = jnp.maximum(given >> 1, 1)", "drained = given >> 1"),
    ("moves.py", "jnp.where(mirror, foe_last, id))", "jnp.where(mirror, foe.active.side_last, id))"),
    ("effects.py", "t = put(t, sleeps, recharge=False, ", "t = put(t, sleeps, recharge=t.recharge, "),
    ("effects.py", "3), hp=me.hp - quarter", "3), hp=me.hp - quarter - 1"),
    ("turn.py", "hurts & ((row.status == data.BRN)", "hurts & ((row.status == data.PAR)"),
    ("turn.py", "(jnp.where(switches, 4, priority)", "(jnp.where(switches, 0, priority)"),
    ("knowledge.py", "jnp.minimum(a.disabled_turns + 1, 7)", "jnp.minimum(a.disabled_turns, 7)"),
    ("observe.py", "percent = jnp.minimum(-(-100 * hp // safe)", "percent = jnp.minimum((100 * hp // safe)"),
)  # fmt: skip


def test_there_are_twenty_and_each_changes_one_line() -> None:
    assert len(set(FAULTS)) == 20
    for name, before, after in FAULTS:
        text = (ROOT / "jaxnash" / "games" / "gen1" / name).read_text(encoding="utf-8")
        assert text.count(before) == 1 and before != after, (name, before, text.count(before))


@pytest.mark.slow
def test_the_battles_of_ci_catch_each(tmp_path: Path) -> None:
    jobs = records.jobs(BATTLES, seed=SEED, teams=teams_of(""), lines=True, raw=True)
    played = tmp_path / "records.jsonl"
    with played.open("wb") as file:
        for record in records.play(jobs, workers=2):
            file.write(orjson.dumps(record) + b"\n")
    copy = tmp_path / "copy"
    for folder in ("jaxnash", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def divergences() -> int:
        command = [sys.executable, "-m", "tests.differential.replay", str(played)]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1].split(",")[-1].split()[0])

    assert divergences() == 0
    missed = []
    for name, before, after in FAULTS:
        file = copy / "jaxnash" / "games" / "gen1" / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(before, after), encoding="utf-8")
        count = divergences()
        file.write_text(text, encoding="utf-8")
        print(f"{name}: {after}: {count} of {BATTLES} battles diverge", flush=True)
        if not count:
            missed.append(after)
    assert not missed
