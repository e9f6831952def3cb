"""The fighter's presets, and what cannot be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jaxnash.runs.fighter_knobs import (
    MAY_DIFFER,
    PRESETS,
    checked,
    differing,
    from_arguments,
    rollout_frames,
    rows_of,
    updates_of,
)
from jaxnash.types import JaxnashError

TEST, FULL, SMOKE = PRESETS["test"], PRESETS["full"], PRESETS["smoke"]


def test_test_and_full_share_all_but_what_may_differ():
    assert set(differing(TEST, FULL)) == MAY_DIFFER
    assert (TEST.frames, TEST.save_every) == (50_000, 5_000)
    assert (FULL.frames, FULL.save_every) == (10_000_000, 100_000)


def test_the_reference_sizes():
    sizes = {"layers": 6, "heads": 8, "width": 256, "mlp": 256, "span": 90, "core": 512, "hidden": (96, 96)}
    learning = {"epochs": 10, "minibatch": 128, "learning_rate": 2.5e-4, "shares": (0.8, 0.15, 0.05)}
    assert all(getattr(FULL, name) == value for name, value in (sizes | learning).items())


def test_a_test_run_is_ten_updates_and_none_is_longer_than_54000_frames():
    """39 matches of 128 frames are the 5,000 of a save interval; 420 are 54,000."""
    assert (rows_of(TEST), rollout_frames(TEST), updates_of(TEST)) == (39, 4_992, 10)
    assert (rows_of(FULL), rollout_frames(FULL), updates_of(FULL)) == (420, 53_760, 186)
    assert rows_of(SMOKE) == 512 and SMOKE.rewards == "sound"
    assert updates_of(replace(TEST, frames=1)) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_sound(name):
    assert checked(PRESETS[name]) is PRESETS[name] and PRESETS[name].preset == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": (0.8, 0.15, 0.1)}, r"--shares 0.8 0.15 0.1 \(snapshots, Based, Constant\) sum to 1.05"),
        ({"shares": (1.2, -0.1, -0.1)}, "at least 0 and sum to 1"),
        ({"shares": (1.0, 0.0, 0.0)}, "leave the scripts nothing"),
        ({"span": 2701}, "--span 2701 is longer than a match, which has 2700 frames"),
        ({"matches": 513}, "513 matches at once do not make 8 equal groups"),
        ({"save_every": 100, "matches": None}, "0 matches at once"),
        ({"latest": 1.5}, "--latest is 1.5"),
        ({"learning_rate_left": 1.5}, "--learning-rate-left is 1.5: 0 to 1 is needed"),
        ({"keep_snapshots": 0}, "--keep-snapshots is 0: at least 1"),
        ({"devices": 0}, "--devices is 0: at least 1"),
        (
            {"devices": 129, "minibatch": 4096},
            "--devices 129 cannot share minibatches of 4096 frames, which are 128 segments",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(JaxnashError, match=message):
        checked(replace(SMOKE, **changes))


def test_arguments_name_the_preset_and_a_run_to_resume():
    assert from_arguments(["--preset", "test", "--seed", "3"]) == (["--preset", "test", "--seed", "3"], TEST)
    assert from_arguments(["--preset=full"])[1] == FULL
    assert from_arguments(["--resume", "runs/x"]) == (["--resume", "--run-dir", "runs/x"], SMOKE)
    with pytest.raises(JaxnashError, match="no preset is called 'long': there are full, test, smoke"):
        from_arguments(["--preset", "long"])
