"""A polite stop: what SIGTERM does to a script, and that no stop changes a result."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxnash.runs import stop
from jaxnash.runs.run import compare_runs, read_jsonl
from tests.crash import at_call
from tests.experiments import test_psro_gen1ou as psro
from tests.experiments import test_solve_game as solving

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """The process's own way with SIGTERM, put back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    stop._asked.clear()


def python(code: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_is_noted_until_the_next_watch() -> None:
    stop.watch()
    assert not stop.requested()
    terminate()
    assert stop.requested() and stop.requested()
    stop.watch()
    assert not stop.requested()


@pytest.mark.parametrize(
    ("done", "told"), [(12, "stopped after iteration 12;"), ("the meta of iteration 3", "after the meta of")]
)
def test_leaving_is_one_line_and_exit_code_0(done: int | str, told: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        stop.leave(done)
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.count("\n") == 1
    assert told in said and said.endswith("; the same command with --resume continues\n")


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = "from jaxnash.runs import stop; import time; stop.watch(); print(1)\n"
    process = python(code + "while not stop.requested(): time.sleep(0.01)\nprint(2)\ntime.sleep(60)")
    assert process.stdout is not None
    for expected in (b"1\n", b"2\n"):
        assert process.stdout.readline() == expected
        process.terminate()
    _, said = process.communicate(timeout=20)
    assert process.returncode == stop.AT_ONCE == 143
    assert said.count(b"\n") == 1 and b"--resume" in said


def test_a_forked_process_is_not_held_back() -> None:
    """Else `multiprocessing`'s workers, which are ended by SIGTERM, would live on."""
    code = """
import os, signal, time
from jaxnash.runs import stop
stop.watch()
there, here = os.pipe()
child = os.fork()
if child == 0:
    os.write(here, b"!")
    time.sleep(60)
os.read(there, 1)
os.kill(child, signal.SIGTERM)
print(os.waitpid(child, 0)[1], stop.requested())
"""
    told, said = python(code).communicate(timeout=20)
    assert told.decode().split() == [str(int(signal.SIGTERM)), "False"], said


def test_solve_game_stopped_and_resumed_is_the_unbroken_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lazy = [*solving.KUHN[:-1], "1e9"]  # else it would be saved anyway
    with pytest.MonkeyPatch.context() as patch:  # asked to stop in its last iteration, it finishes
        at_call("jaxnash.runs.run:append_jsonl", 10, terminate, patch=patch.setattr)
        solving.run_here(*lazy, "--run-dir", str(tmp_path / "straight"))
    assert stop.requested() and "stopped after" not in capsys.readouterr().out
    run_dir = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        at_call("jaxnash.runs.run:append_jsonl", 3, terminate, patch=patch.setattr)
        solving.run_here(*lazy, "--run-dir", str(run_dir))
    assert left.value.code == 0
    assert "\nstopped after iteration 300; the same command with" in capsys.readouterr().out
    assert [row["iteration"] for row in read_jsonl(run_dir / "metrics.jsonl")] == [100, 200, 300]
    solving.run_here(*lazy, "--run-dir", str(run_dir), "--resume")
    assert compare_runs(tmp_path / "straight", run_dir) == ["exploitability.png: the bytes differ"]


@pytest.mark.slow
def test_psro_stopped_anywhere_and_resumed_is_the_unbroken_run(tmp_path: Path, capsys) -> None:
    """Stopped four times on its way: in the tournament, the cloning, PPO and the last tournament."""
    psro.run_here(*psro.TINY, "--run-dir", str(tmp_path / "straight"))
    arguments = [*psro.TINY, "--run-dir", str(tmp_path / "run")]
    moments = {
        "the tournament of iteration 0": ("jaxnash.showdown.matches:row_of", 7),
        "step 1 of the oracle of iteration 1": ("jaxnash.runs.gen1ou:save_state", 1),
        "step 4 of the oracle of iteration 1": ("jaxnash.showdown.rollout:pack", 2),
        "the tournament of iteration 1": ("jaxnash.showdown.matches:row_of", 8),
    }
    for k, (told, (where, count)) in enumerate(moments.items()):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
            at_call(where, count, terminate, patch=patch.setattr)
            psro.run_here(*arguments, *(["--resume"] if k else []))
        assert left.value.code == 0
        said = " ".join(capsys.readouterr().out.split())
        assert f"stopped after {told}; the same command with --resume continues" in said
        assert not (tmp_path / "run" / "psro_summary.json").exists()
    psro.run_here(*arguments, "--resume")
    assert compare_runs(tmp_path / "straight", tmp_path / "run") == []


def test_importing_the_experiments_installs_no_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    runpy.run_path(str(solving.SCRIPT))
    assert signal.getsignal(signal.SIGTERM) is before
