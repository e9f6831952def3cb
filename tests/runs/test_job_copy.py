"""Copies of runs: what is complete, of one instant, and nothing else replaced."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from jaxnash.runs.job_copy import copy_run
from jaxnash.runs.run import read_jsonl, write_json
from jaxnash.types import JaxnashError


def fake_run(folder: Path, **config: int) -> Path:
    write_json(folder / "config.json", {"iterations": 3} | config)
    write_json(folder / "manifest.json", {"command": ["x.py"], "timing": {"started": "then"}})
    for name in ("checkpoints/7/_CHECKPOINT_METADATA", "checkpoints/7/state/d/ab", ".a.json.tmp", "run.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for name in ("checkpoints/9.orbax-checkpoint-tmp-5/state/d/x", "checkpoints/6/state/d/x"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("half")
    (folder / "metrics.jsonl").write_bytes(b'{"iteration": 1}\n{"iterat')
    return folder


def test_a_copy_holds_what_is_complete_and_only_that(tmp_path: Path) -> None:
    made = copy_run(fake_run(tmp_path / "run"), tmp_path / "copy")
    files = {
        path.relative_to(tmp_path / "copy").as_posix() for path in made.folder.rglob("*") if path.is_file()
    }
    wanted = {"config.json", "manifest.json", "metrics.jsonl"}
    assert files == wanted | {"checkpoints/7/_CHECKPOINT_METADATA", "checkpoints/7/state/d/ab"}
    assert made.steps == (7,) and made.files == 5
    assert (made.folder / "metrics.jsonl").read_bytes() == b'{"iteration": 1}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "run"]


def test_a_copy_is_brought_up_to_date_but_replaces_nothing_else(tmp_path: Path) -> None:
    run, other = fake_run(tmp_path / "run"), fake_run(tmp_path / "other", iterations=4)
    copy_run(run, tmp_path / "copy")
    (run / "metrics.jsonl").write_bytes(b'{"iteration": 1}\n{"iteration": 2}\n')
    copy_run(run, tmp_path / "copy")
    assert len(read_jsonl(tmp_path / "copy" / "metrics.jsonl")) == 2
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    (tmp_path / "file").write_text("")
    for source, target, told in [
        (other, "copy", "holds another run"),
        (run, "photos", "holds other files"),
        (run, "file", "is a file"),
        (run, "run/checkpoints", "overlap"),
        (run, ".", "overlap"),
    ]:
        with pytest.raises(JaxnashError, match=told):
            copy_run(source, tmp_path / target)
    resumed = {"command": ["x.py"], "timing": {"started": "then", "resumed": ["now"]}}
    write_json(tmp_path / "copy" / "manifest.json", resumed)
    with pytest.raises(JaxnashError, match="has been continued"):
        copy_run(run, tmp_path / "copy")
    assert len(read_jsonl(tmp_path / "copy" / "metrics.jsonl")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file", "other", "photos", "run"]


@pytest.mark.parametrize("pause", [0.15, 0.0])
def test_a_copy_is_of_one_instant(pause: float, tmp_path: Path) -> None:
    """Files written one after the other, again and again, which at any instant differ by 1 at most."""
    run = fake_run(tmp_path / "run")
    names = [f"{'zyx'[k % 3]}{k}.json" for k in range(300)]
    over, midway = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            for name in names:
                (run / ".tmp").write_text(str(number))
                os.replace(run / ".tmp", run / name)
                time.sleep(pause / 1000)
                if number > 1 and name is names[150]:
                    midway.set()
            time.sleep(pause)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert midway.wait(10)
        if not pause:
            with pytest.raises(JaxnashError, match="changes faster than it can be copied"):
                copy_run(run, tmp_path / "copy", patience=0.3)
            assert not (tmp_path / "copy").exists()
            return
        copy_run(run, tmp_path / "copy")
    finally:
        over.set()
        writer.join()
    found = [json.loads((tmp_path / "copy" / name).read_text()) for name in names]
    assert found == sorted(found, reverse=True) and found[0] - found[-1] <= 1
