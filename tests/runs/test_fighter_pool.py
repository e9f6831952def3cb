"""What a pool's names hold, whom it refuses, and snapshots that are met from the first frame on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxnash.policies.spec import build, mlp_spec
from jaxnash.runs.checkpoint import save
from jaxnash.runs.fighter import parts_of, spec_of, start
from jaxnash.runs.fighter_knobs import PRESETS
from jaxnash.runs.fighter_pool import pool, write_origins
from jaxnash.types import JaxnashError

SIZES = {"width": 8, "layers": 1, "heads": 2, "mlp": 8, "core": 8, "hidden": (8,), "span": 6, "segment": 8}
KNOBS = replace(PRESETS["smoke"], **SIZES, matches=64, groups=2, keep_snapshots=4)
SPEC = spec_of(KNOBS)


def params(seed: int, spec=SPEC):
    return build(spec).init(jax.random.key(seed))


def saved(path: Path, seed: int, spec=SPEC) -> Path:
    save(path, params=params(seed, spec), spec=spec, name=path.name)
    return path


def same(one, other) -> bool:
    return all(
        np.array_equal(*pair) for pair in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Snapshots whose order by name is not that by frames."""
    folder = tmp_path_factory.mktemp("pool") / "run"
    saved(folder / "snapshots" / "snapshot_9000", 1)
    saved(folder / "snapshots" / "snapshot_10000", 2)
    saved(folder / "policy", 3)
    return folder


def test_a_run_a_folder_and_a_policy(run, monkeypatch):
    names = ["snapshots/snapshot_9000", "snapshots/snapshot_10000", "policy"]
    found = pool((str(run),), SPEC, 4)
    assert [path for path, _ in found] == [run / name for name in names]
    assert all(same(member.params, params(seed)) for seed, (_, member) in enumerate(found, 1))
    assert [path for path, _ in pool((str(run / "snapshots"),), SPEC, 4)] == [
        run / name for name in names[:2]
    ]
    both = pool((str(run / "policy"), str(run / names[0])), SPEC, 4)
    assert [path for path, _ in both] == [run / "policy", run / names[0]]
    assert pool((), SPEC, 4) == []
    (run.parent / "runs").mkdir()
    (run.parent / "runs" / "mine").symlink_to(run)
    monkeypatch.chdir(run.parent)
    assert [str(path) for path, _ in pool(("mine",), SPEC, 4)] == [f"runs/mine/{name}" for name in names]


def test_a_last_policy_that_is_the_last_snapshot_counts_once(tmp_path):
    saved(tmp_path / "snapshots" / "snapshot_1", 1)
    saved(tmp_path / "policy", 1)
    assert len(pool((str(tmp_path),), SPEC, 4)) == 1


def test_who_does_not_fit_is_named_with_the_reason(run, tmp_path):
    wider = spec_of(replace(KNOBS, core=16, span=5))
    path = saved(tmp_path / "wider", 0, wider)
    told = (
        rf"--pool {path} has another architecture: core 16 there, 8 here, span 5 there, 6 here; name others"
    )
    with pytest.raises(JaxnashError, match=told):
        pool((str(run), str(path)), SPEC, 9)
    about = next(path.glob("*/about/spec.json"))
    old = json.loads(about.read_text())
    old["spec"]["layout"] = "0123456789ab"
    about.write_text(json.dumps(old))
    told = f"--pool {path} was trained under the rules and attack table 0123456789ab, this version has "
    with pytest.raises(JaxnashError, match=told + SPEC.layout):
        pool((str(path),), wider, 9)
    other = saved(tmp_path / "other", 0, mlp_spec(observation_size=6, actions=2))
    with pytest.raises(JaxnashError, match=f"--pool {other} is a policy 'mlp': this run needs 'history'"):
        pool((str(other),), SPEC, 9)


def test_what_is_there_is_checked(run, tmp_path):
    with pytest.raises(JaxnashError, match="--pool holds 6 policies, --keep-snapshots 4: name fewer"):
        pool((str(run), str(run)), SPEC, 4)
    with pytest.raises(JaxnashError, match="--pool nobody: there is no such folder, here or below runs/"):
        pool(("nobody",), SPEC, 4)
    with pytest.raises(JaxnashError, match="is neither a policy nor a run"):
        pool((str(tmp_path),), SPEC, 4)
    cut = saved(tmp_path / "cut", 0)
    for file in (cut / "0" / "params").rglob("*"):
        if file.is_file() and file.name != "_METADATA":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(JaxnashError, match=str(cut)):
        pool((str(cut),), SPEC, 4)


def test_matches_meet_a_pool_from_the_first_frame_on():
    parts = parts_of(KNOBS)
    alone = start(KNOBS, parts)
    assert int(alone.snapshots.taken) == 0 and 0 not in np.asarray(alone.matches.kind)
    members = [params(seed) for seed in (1, 2, 3)]
    begun = start(KNOBS, parts, members)
    assert int(begun.snapshots.taken) == 3
    assert np.count_nonzero(np.asarray(begun.matches.kind) == 0) > 32  # of 64, at 80 %
    for place, member in enumerate(members):
        assert same(jax.tree.map(lambda leaf, place=place: leaf[place], begun.snapshots.params), member)
    assert same(begun.learner, alone.learner)  # the learner begins alike


def test_origins_are_the_pools_and_the_rows(tmp_path):
    write_origins(tmp_path, [], [Path("a/policy"), Path("b")])
    rows = [
        {"snapshots": 2, "frames": 100, "snapshot_saved": False},
        {"snapshots": 3, "frames": 200, "snapshot_saved": True},
        {"snapshots": 4, "frames": 400, "snapshot_saved": True},
    ]
    write_origins(tmp_path, rows)
    wanted = [
        {"number": 0, "pool": "a/policy"},
        {"number": 1, "pool": "b"},
        {"number": 2, "frames": 200},
        {"number": 3, "frames": 400},
    ]
    assert json.loads((tmp_path / "snapshots.json").read_text()) == {"snapshots": wanted}
    write_origins(tmp_path, rows[:2])  # gone back to before the last
    assert json.loads((tmp_path / "snapshots.json").read_text()) == {"snapshots": wanted[:3]}
