"""Run directories: atomic files, resume, locks, comparison, faults; and the edge of a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from jaxnash.runs.files import read_jsonl
from jaxnash.runs.run import (
    Stage,
    append_jsonl,
    close_run,
    compare_runs,
    logger,
    open_run,
    read_json,
    saver,
    update_summary,
    without_timing,
    write_bytes,
    write_json,
)
from jaxnash.types import JaxnashError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"iterations": 3, "team_set": "train", "learning_rate": 3e-4, "workers": 2, "members": ("a", "b")}


def start(path, *, resume=False, **changed):
    return open_run(path, config=CONFIG | changed, resume=resume, command=["x.py", "--seed", "7"], seed=7)


def python(code: str, **kwargs) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


# -- files ------------------------------------------------------------------------------------------------


def test_json_keeps_values_exactly_and_writes_nan_as_null(tmp_path):
    path = tmp_path / "deep" / "a.json"
    value = {"b": 0.1 + 0.2, "a": np.float32(0.1), "n": float("nan"), "i": -np.inf, "k": np.arange(3)}
    write_json(path, value | {"t": (1, True, None), "p": tmp_path, 3: "é"})
    found = read_json(path)
    assert found["b"] == 0.1 + 0.2 and found["a"] == float(np.float32(0.1))
    assert found["n"] is None and found["i"] is None and found["k"] == [0, 1, 2]
    assert found["t"] == [1, True, None] and found["p"] == str(tmp_path) and found["3"] == "é"
    assert list(found)[:2] == ["b", "a"]  # the order of a population is its own
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_unwritable_values_leave_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError, match="object cannot be written"):
        write_json(tmp_path / "a.json", {"new": object()})
    assert read_json(tmp_path / "a.json") == {"old": 1}


def test_reading_names_the_path(tmp_path):
    with pytest.raises(JaxnashError, match=r"none\.json"):
        read_json(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(JaxnashError, match=r"torn\.json is not valid JSON"):
        read_json(tmp_path / "torn.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxnashError, match="choose another --run-dir"):
        write_json(tmp_path / "file" / "a.json", {})


def test_jsonl_drops_a_torn_line_and_appends_after_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, {"step": 1, "loss": float("nan")})
    append_jsonl(path, {"step": 2})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "lo')
    assert read_jsonl(path) == [{"step": 1, "loss": None}, {"step": 2}]
    append_jsonl(path, {"step": 3})
    assert path.read_bytes() == whole + b'{"step": 3}\n'
    path.write_bytes(b'{"step": 1')
    append_jsonl(path, {"step": 1})
    assert read_jsonl(path) == [{"step": 1}]


def test_jsonl_with_lines_longer_than_the_window(tmp_path):
    path, long = tmp_path / "a.jsonl", "x" * 200_000
    for step in range(3):
        append_jsonl(path, {"step": step, "long": long}, key="step")
    path.write_bytes(path.read_bytes() + b"y" * 300_000)
    append_jsonl(path, {"step": 3}, key="step")
    assert [row["step"] for row in read_jsonl(path)] == [0, 1, 2, 3]


def test_jsonl_with_a_key_is_the_same_after_repeated_steps(tmp_path):
    unbroken, resumed = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for step in range(8):
        append_jsonl(unbroken, {"step": step, "x": step / 7}, key="step")
    for step in [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7]:  # killed after 4, the checkpoint was at 1
        append_jsonl(resumed, {"step": step, "x": step / 7}, key="step")
    assert resumed.read_bytes() == unbroken.read_bytes()


def test_jsonl_broken_inside_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(JaxnashError, match=r"a\.jsonl.*rubbish"):
        read_jsonl(path)


FULL = """
import resource, sys
from jaxnash.runs.cli import main
from jaxnash.runs.run import append_jsonl, write_json, logger
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
where = sys.argv[1]
def run():
    {call}
main(run)
"""


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("old.json", "write_json(where + '/old.json', list(range(5000)))"),
        ("old.jsonl", "append_jsonl(where + '/old.jsonl', {'row': list(range(5000))})"),
        ("training.log", "[logger(where).info('x' * 1000) for _ in range(9)]"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, name, call):
    write_json(tmp_path / "old.json", {"old": 1})
    append_jsonl(tmp_path / "old.jsonl", {"old": 1})
    code = FULL.replace("{call}", call).replace("sys.argv[1]", repr(str(tmp_path)))
    process = python(code)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2, errors
    assert errors.count("\n") == 1 and "File too large" in errors and "--resume" in errors
    assert str(tmp_path / name) in errors
    assert read_json(tmp_path / "old.json") == {"old": 1}
    assert (tmp_path / "old.jsonl").read_bytes() == b'{"old": 1}\n'
    assert not list(tmp_path.glob(".*.tmp"))


# -- run directories --------------------------------------------------------------------------------------


def test_open_run_writes_config_and_manifest(tmp_path):
    run_dir = start(tmp_path / "run")
    assert read_json(run_dir / "config.json") == CONFIG | {"members": ["a", "b"]}
    manifest = read_json(run_dir / "manifest.json")
    assert manifest["seed"] == 7 and manifest["command"] == ["x.py", "--seed", "7"]
    names = {"jaxnash", "jax", "jaxlib", "flax", "optax", "orbax", "numpy", "cvxpy", "poke-env", "node"}
    assert set(manifest["versions"]) == names | {"pokemon-showdown"}
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["device"]["platform"] and manifest["cores"] >= 1
    assert manifest["git"] is None or len(manifest["git"]["commit"]) == 40
    assert set(manifest["timing"]) == {"started"}


def test_manifest_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_json(start(tmp_path / "run") / "manifest.json")["git"] is None


def test_an_existing_directory_is_refused_untouched(tmp_path):
    run_dir = start(tmp_path / "run")
    before = {path: path.read_bytes() for path in run_dir.iterdir()}
    with pytest.raises(JaxnashError, match="exists; pass --resume or another --run-dir"):
        start(run_dir)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_text("x")
    for resume, words in ((False, "exists"), (True, "not a run directory")):
        with pytest.raises(JaxnashError, match=words):
            start(tmp_path / "other", resume=resume)
    with pytest.raises(JaxnashError, match="is a file"):
        start(tmp_path / "other" / "photo.jpg")
    with pytest.raises(JaxnashError, match="nothing to resume"):
        start(tmp_path / "none", resume=True)
    assert {path: path.read_bytes() for path in run_dir.iterdir()} == before
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["photo.jpg"]


def test_resume_compares_the_configuration(tmp_path):
    run_dir = start(tmp_path / "run")
    close_run(run_dir)
    before = {path: path.read_bytes() for path in run_dir.iterdir()}
    with pytest.raises(JaxnashError) as caught:
        start(run_dir, resume=True, team_set="eval", learning_rate=1e-3, greedy=True)
    text = str(caught.value)
    assert 'team_set ("train" there, "eval" now)' in text and "greedy (not set there, true now)" in text
    assert "learning_rate (0.0003 there, 0.001 now)" in text and "iterations" not in text
    assert {path: path.read_bytes() for path in run_dir.iterdir()} == before
    start(run_dir, resume=True, workers=1, parallel_battles=3, run_dir="elsewhere")
    assert read_json(run_dir / "config.json") == json.loads(before[run_dir / "config.json"])
    manifest = read_json(run_dir / "manifest.json")
    assert manifest["resumed"] == [{"command": ["x.py", "--seed", "7"], "changed": {}}]
    assert len(manifest["timing"]["resumed"]) == 1


def test_resume_after_a_kill_before_the_configuration_was_written(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").write_text("123\n")
    (tmp_path / "run" / ".config.json.tmp").write_text('{"iter')
    run_dir = start(tmp_path / "run", resume=True)
    assert sorted(path.name for path in run_dir.iterdir()) == ["config.json", "manifest.json", "run.lock"]


def test_two_processes_cannot_write_one_run_but_a_dead_one_does_not_block(tmp_path):
    code = f"""
        import sys
        from jaxnash.runs.run import open_run
        open_run({str(tmp_path / "run")!r}, config={CONFIG!r}, resume=False, command=[], seed=7)
        print("open", flush=True)
        sys.stdin.read()
    """
    process = python(code, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        with pytest.raises(JaxnashError, match=f"by process {process.pid}:"):
            start(tmp_path / "run", resume=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    start(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "run.lock").read_text() == f"{os.getpid()}\n"


def test_a_refused_second_call_keeps_the_lock_of_the_first(tmp_path):
    run_dir = start(tmp_path / "run")
    with pytest.raises(JaxnashError, match="exists"):
        start(run_dir)
    code = f"""
        from jaxnash.runs.cli import main
        from jaxnash.runs.run import open_run
        main(lambda: open_run({str(run_dir)!r}, config={CONFIG!r}, resume=True, command=[], seed=7))
    """
    process = python(code)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and f"by process {os.getpid()}:" in errors


# -- stages, summary, log ---------------------------------------------------------------------------------


def test_saver_repeats_no_finished_stage_and_returns_what_is_on_disk(tmp_path):
    calls = []
    stages = {
        "meta": Stage(
            lambda folder, value: write_json(folder / "meta.json", value),
            lambda folder: read_json(folder / "meta.json"),
        )
    }

    def compute():
        calls.append(1)
        return (0.1 + 0.2, float("nan"))

    first = saver(tmp_path, stages)(2, "meta", compute)
    second = saver(tmp_path, stages)(2, "meta", compute)
    assert first == second == [0.1 + 0.2, None] and len(calls) == 1
    ledger = read_json(tmp_path / "iteration_2" / "stages.json")
    assert ledger["done"] == ["meta"] and ledger["timing"]["meta"] >= 0

    def killed():
        write_json(tmp_path / "iteration_3" / "meta.json", [1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        saver(tmp_path, stages)(3, "meta", killed)
    assert saver(tmp_path, stages)(3, "meta", compute) == first and len(calls) == 2


def test_summary_keeps_the_best_and_never_a_nan(tmp_path):
    for step, gap in enumerate([float("nan"), 0.3, 0.1, 0.1, float("nan")]):
        append_jsonl(tmp_path / "metrics.jsonl", {"iteration": step, "gap": gap, "timing": {"seconds": 1}})
    update_summary(tmp_path, metric="gap", lower_is_better=True)
    summary = read_json(tmp_path / "summary.json")
    assert summary["best"] == {"iteration": 2, "gap": 0.1}
    assert summary["latest"] == {"iteration": 4, "gap": None} and summary["count"] == 5
    assert update_summary(tmp_path, metric="gap")["best"]["iteration"] == 1
    assert update_summary(tmp_path, metric="absent")["best"] is None


def test_logger_writes_timestamps_once(tmp_path):
    logger(tmp_path).info("first")
    logger(tmp_path).warning("second %d", 2)
    lines = (tmp_path / "training.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["INFO first", "WARNING second 2"]
    assert lines[0][4] == "-" and lines[0].split(" ")[0].endswith("Z")


# -- comparison -------------------------------------------------------------------------------------------


def test_without_timing():
    value = {"a": 1, "timing": {"s": 2}, "rows": [{"b": 3, "timing": {"s": 4}}]}
    assert without_timing(value) == {"a": 1, "rows": [{"b": 3}]}


def orbax(path, leaf):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(path) as manager:
        manager.save(3, args=ocp.args.StandardSave({"w": np.asarray(leaf, np.float32), "n": 4}))


def fill(path, *, seconds=1.0, workers=2, leaf=0.5):
    start(path, workers=workers, run_dir=str(path))
    write_json(path / "psro_summary.json", {"save_dir": str(path), "gap": 0.1, "timing": {"s": seconds}})
    append_jsonl(path / "metrics.jsonl", {"x": 1, "timing": {"s": seconds}})
    write_bytes(path / "iteration_0" / "matrix.csv", b"a,b\n")
    write_bytes(path / "report.html", str(seconds).encode())
    logger(path).info("%s", seconds)
    orbax(path / "iteration_0" / "br_training" / "br_1" / "checkpoint", [leaf] * 3)
    return path


def test_compare_runs_sets_aside_time_and_finds_every_real_difference(tmp_path):
    a = fill(tmp_path / "a")
    b = fill(tmp_path / "b", seconds=2.0, workers=1)
    assert compare_runs(a, b) == []

    write_json(b / "psro_summary.json", {"save_dir": str(b), "gap": 0.10000000000000002, "timing": {}})
    append_jsonl(b / "metrics.jsonl", {"x": 2})
    write_bytes(b / "iteration_0" / "matrix.csv", b"a;b\n")
    write_json(b / "config.json", read_json(a / "config.json") | {"iterations": 4})
    write_json(b / "extra.json", {})
    found = compare_runs(a, b)
    assert [line.split(":")[0] for line in found] == [
        "extra.json",
        "config.json",
        "iteration_0/matrix.csv",
        "metrics.jsonl",
        "psro_summary.json",
    ]
    assert "psro_summary.json: gap: 0.1 != 0.10000000000000002" in found


def test_compare_runs_compares_checkpoints_by_their_bits(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    orbax(a / "checkpoint", [0.0, 1.0])
    orbax(b / "checkpoint", [-0.0, 1.0])  # equal as numbers
    assert compare_runs(a, b) == ["checkpoint/3/default: ['w']: the leaf differs"]
    orbax(tmp_path / "c" / "checkpoint", [[0.0, 1.0]])
    assert compare_runs(a, tmp_path / "c") == ["checkpoint/3/default: ['w']: the leaf differs"]
    for data in (b / "checkpoint" / "3" / "default" / "d").iterdir():
        data.unlink()
    (line,) = compare_runs(a, b)
    assert line.startswith("checkpoint/3/default: cannot be read: ")


# -- the edge of a script ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("JaxnashError('no [gen9] format\\nhere')", 2, "error: no [gen9] format here\n"),
        ("OSError(28, 'No space left on device', '/x/y')", 2, "error: cannot write /x/y: No space left on"),
        ("KeyboardInterrupt()", 130, "--resume"),
        ("ValueError('a bug')", 1, "Traceback"),
    ],
)
def test_cli_turns_errors_into_exit_codes(raised, code, words, capsys):
    from jaxnash.runs.cli import main

    def run():
        raise eval(raised)

    if code == 1:
        with pytest.raises(ValueError, match="a bug"):
            main(run)
        return
    with pytest.raises(SystemExit) as caught:
        main(run)
    errors = capsys.readouterr().err
    assert caught.value.code == code and words in errors and errors.count("\n") == 1
