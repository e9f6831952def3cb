"""Jobs from end to end: a terminal that closes, stop and resume, kills, copies, and what status says."""

from __future__ import annotations

import os
import pty
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxnash.runs import job_cli, job_process, jobs
from jaxnash.runs.checkpoint import restore_state
from jaxnash.runs.run import compare_runs, read_json, read_jsonl, write_json

ROOT = Path(__file__).resolve().parents[2]
SOLVE = ROOT / "experiments" / "solve_game.py"
KUHN = ["--game", "kuhn", "--iterations", "1000000", "--evaluate-every", "10000"]  # a second
ROWS = 16

# An experiment of the smallest kind: its state is one array, which every iteration changes.
TOY = """
import argparse, sys, time
from pathlib import Path
import numpy as np
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore_state, save_state
from jaxnash.runs.cli import main
from jaxnash.runs.run import append_jsonl, logger, now, open_run

def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-dir"); parser.add_argument("--resume", action="store_true")
    parser.add_argument("--iterations", type=int); parser.add_argument("--workers", type=float, default=0)
    knobs = parser.parse_args()
    stop.watch()
    run_dir = open_run(knobs.run_dir, config=vars(knobs), resume=knobs.resume, command=sys.argv, seed=0)
    state, first = {"x": np.ones(1000)}, 1
    if (run_dir / "checkpoints").exists():
        done, state = restore_state(run_dir / "checkpoints", state)
        first = done + 1
    for iteration in range(first, knobs.iterations + 1):
        time.sleep(knobs.workers)  # the one knob that may differ on resume
        while iteration > 12 and Path("hold").exists() and not stop.requested():
            time.sleep(0.01)
        state = {"x": np.sin(state["x"]) + iteration}
        row = {"iteration": iteration, "value_loss": 1 / iteration, "exploitability": None}
        row |= {"sum": state["x"].sum()}
        row |= {"timing": {"timestamp": now(), "seconds": 0.25, "phases": {"sleep": 0.25}}}
        append_jsonl(run_dir / "metrics.jsonl", row, key="iteration")
        save_state(run_dir / "checkpoints", iteration, state, keep=2)
        logger(run_dir).info("iteration %d", iteration)
        if stop.requested() and iteration < knobs.iterations:
            stop.leave(iteration)

if __name__ == "__main__":
    main(run)
"""

# A script without JAX or a run directory: it says where it stands and waits.
LIGHT = """
import os, signal, sys, time
from pathlib import Path
from jaxnash.runs import stop
print("tty", [os.isatty(k) for k in range(3)], "session", os.getsid(0), flush=True)
try:
    open("/dev/tty")
    print("a terminal", flush=True)
except OSError:
    print("no terminal", flush=True)
how, seconds = sys.argv[1], float(sys.argv[2])
if how == "deaf":
    stop.watch()
if how == "lock":  # as `open_run` does
    from jaxnash.runs.run import _lock, write_json
    folder = Path(sys.argv[4])
    _lock(folder)
    write_json(folder / "config.json", {})
    write_json(folder / "manifest.json", {"command": sys.argv})
time.sleep(seconds) if how != "deaf" else [time.sleep(0.01) for _ in range(int(100 * seconds))]
if how == "fail":
    print("error: the game is lost", file=sys.stderr)
    sys.exit(2)
if how == "bug":
    raise ValueError("a bug")
print("the end")
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two experiments, where all jobs of these tests run; none outlives them."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "toy.py").write_text(TOY)
    (folder / "light.py").write_text(LIGHT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        yield folder
        for job in jobs.jobs():
            for attempt in jobs.read_attempts(job.state):
                for who in ("supervisor", "child"):
                    if (pid := job_process.alive(attempt, who)) is not None:
                        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every test stands in the folder."""


def jaxnash(*arguments: str, code: int = 0) -> None:
    """The console script, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["jaxnash", *arguments])
        patch.setenv("COLUMNS", "200")
        try:
            job_cli.main()
            left = 0
        except SystemExit as stop:
            left = stop.code or 0
    assert left == code


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    jaxnash(*arguments, code=2)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def wait(until: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def state(name: str) -> str:
    return jobs.BACKENDS["local"].poll(jobs.find(name), None).state


def ended(name: str) -> jobs.Poll:
    wait(lambda: state(name) != "running")
    return jobs.BACKENDS["local"].poll(jobs.find(name), None)


def rows(name: str) -> int:
    path = Path("runs", name, "metrics.jsonl")
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run_here(script: Path | str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *arguments])
        before = signal.getsignal(signal.SIGTERM)
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            signal.signal(signal.SIGTERM, before)


def value(iteration: int) -> np.ndarray:
    x = np.ones(1000)
    for k in range(1, iteration + 1):
        x = np.sin(x) + k
    return x


# -- the whole way ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(here: Path) -> None:
    """A real run, which imports JAX while the quicker tests go on."""
    toy = ["--", "--iterations", str(ROWS), "--workers", "0.1"]
    Path("hold").touch()  # it does not finish before it is asked to stop
    jaxnash("submit", "--name", "toy", "--price-per-hour", "3.6", "toy.py", *toy)


def test_a_job_outlives_the_terminal_it_came_from(begun: None, here: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh"])
    line = f"{sys.executable} -m jaxnash submit --name night light.py -- wait 1.5\n"
    os.write(terminal, line.encode())
    told = b""
    while b"submitted" not in told:
        told += os.read(terminal, 1000)
    assert state("night") == "running"
    os.close(terminal)  # the window is closed: the shell and all that is its own hang up
    shell = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(shell) or os.WIFEXITED(shell)
    assert state("night") == "running"
    assert ended("night").state == "finished"
    log = jobs.find("night").log.read_text()
    assert "tty [False, False, False]" in log and "no terminal" in log and log.endswith("the end\n")
    supervisor = jobs.find("night")
    attempt = jobs.read_attempts(supervisor.state)[0]
    assert f"session {attempt['supervisor']['pid']}\n" in log and str(pid) not in log.split()


@pytest.mark.slow
def test_solve_game_as_a_job_stopped_and_resumed(here: Path, capsys) -> None:
    name = "solve_game_1"
    jaxnash("submit", str(SOLVE), "--", *KUHN)
    wait(lambda: rows(name) >= 3)
    jaxnash("stop", name)
    assert f"{name} stopped: after iteration {10000 * rows(name)}\n" in capsys.readouterr().out
    assert rows(name) < 100
    jaxnash("resume", name)
    run_here(SOLVE, *KUHN, "--run-dir", "solved")
    assert ended(name).state == "finished"
    assert compare_runs("solved", f"runs/{name}") == ["exploitability.png: the bytes differ"]
    capsys.readouterr()
    jaxnash("status", name)
    told = capsys.readouterr().out
    assert "1,000,000 of 1,000,000" in told and "(exact), at iteration 1,000,000" in told
    assert jobs.free_name(here / "runs", "solve_game") == "solve_game_2"


def test_status_and_its_kin_import_no_jax(begun: None) -> None:
    code = """
        import sys
        from jaxnash.runs.job_cli import main
        sys.argv = ["jaxnash", *sys.argv[1:]]
        main()
        print(sorted({"jax", "numpy", "matplotlib", "orbax"} & set(sys.modules)))
    """
    for arguments in (["status"], ["status", "toy"], ["logs", "toy"], ["copy", "toy", "light copy"]):
        command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if arguments[0] == "copy" and done.returncode == 2:  # it has hardly begun
            assert "has written nothing yet" in done.stderr
        else:
            assert done.returncode == 0 and done.stdout.endswith("[]\n"), done.stderr


def test_copy_while_it_runs_then_stop_then_resume(begun: None, here: Path, capsys) -> None:
    wait(lambda: rows("toy") >= 4)
    jaxnash("copy", "toy", "copied")
    assert state("toy") == "running" and rows("toy") < ROWS
    step, tree = restore_state(here / "copied" / "checkpoints", {"x": np.ones(1000)})
    assert tree["x"].tobytes() == value(step).tobytes()
    assert read_jsonl(here / "copied" / "metrics.jsonl")[-1]["iteration"] in (step, step + 1)

    capsys.readouterr()
    jaxnash("status", "toy")
    told = capsys.readouterr().out
    assert "running: process" in told and f" of {ROWS}" in told
    assert "not measured; the value loss," in told and "says nothing of convergence" in told
    assert "250 ms an iteration, the median of the last" in told and "at 3.6 an hour" in told
    assert "is running" in refused(capsys, "resume", "toy")
    jaxnash("metrics", "toy", "--rows", "2")
    told = capsys.readouterr().out
    assert "value loss" in told and "runs/toy/metrics.png" in told
    assert Path("runs/toy/metrics.png").read_bytes().startswith(b"\x89PNG")
    Path("runs/toy/metrics.png").unlink()

    jaxnash("stop", "toy")
    assert "toy stopped: after iteration " in capsys.readouterr().out
    at = rows("toy")
    assert at < ROWS and restore_state("runs/toy/checkpoints", {"x": np.ones(1000)})[0] == at
    assert "toy is not running (stopped: after iteration" in refused(capsys, "stop", "toy")
    Path("hold").unlink()
    jaxnash("resume", "toy", "--", "--workers", "0")
    jaxnash("logs", "toy", "--follow", "--lines", "3")
    assert state("toy") == "finished"  # --follow ends with the job
    followed = capsys.readouterr().out
    assert f"INFO iteration {ROWS}\n" in followed and f"INFO iteration {at + 1}\n" in followed
    assert "==> runs/.jobs/toy.log <==" in followed and "==> runs/toy/training.log <==" in followed

    run_here("toy.py", "--iterations", str(ROWS), "--run-dir", "unbroken")
    assert compare_runs("unbroken", "runs/toy") == []
    run_here("toy.py", "--iterations", str(ROWS), "--run-dir", "copied", "--resume")
    assert compare_runs("unbroken", "copied") == []  # the copy goes on by itself
    assert "has been continued" in refused(capsys, "copy", "toy", "copied")
    told = read_json("runs/.jobs/toy.state.json")["attempts"]
    assert [entry["exit_code"] for entry in told] == [0, 0]
    assert told[1]["command"][-3:] == ["--run-dir", "runs/toy", "--resume"]


# -- ends -------------------------------------------------------------------------------------------------


def test_how_jobs_end(here: Path, capsys) -> None:
    for how in ("wait", "fail", "bug", "kill", "lose"):
        seconds = "60" if how in ("kill", "lose") else "0"
        jaxnash("submit", "--name", how, "light.py", "--", how, seconds)
    assert capsys.readouterr().out.split() == ["wait", "fail", "bug", "kill", "lose"]
    wait(lambda: all("no terminal" in jobs.find(name).log.read_text() for name in ("kill", "lose")))
    processes = jobs.read_attempts(jobs.find("lose").state)[0]
    os.kill(jobs.read_attempts(jobs.find("kill").state)[0]["child"]["pid"], signal.SIGKILL)
    os.kill(processes["supervisor"]["pid"], signal.SIGKILL)
    wait(lambda: job_process.alive(processes, "supervisor") is None)
    assert state("lose") == "running"  # the script itself goes on
    os.kill(processes["child"]["pid"], signal.SIGKILL)
    for name, (expected, detail) in {
        "wait": ("finished", "exit code 0"),
        "fail": ("failed", "exit code 2: error: the game is lost"),
        "bug": ("failed", "exit code 1: ValueError: a bug"),
        "kill": ("failed", "killed by SIGKILL; its last line: no terminal"),
        "lose": ("lost", "the process is gone without a record; its last line: no terminal"),
    }.items():
        polled = ended(name)
        assert (polled.state, polled.detail) == (expected, detail)
    jaxnash("status")
    told = capsys.readouterr().out
    assert "fail: exit code 2: error: the game is lost" in told and "lose: the process is gone" in told


def test_a_script_that_reaches_no_safe_point(here: Path, capsys) -> None:
    jaxnash("submit", "--name", "deaf", "light.py", "--", "deaf", "60")
    wait(lambda: "no terminal" in jobs.find("deaf").log.read_text())
    time.sleep(0.2)  # to `watch`
    for _ in range(2):  # to ask twice is no second signal
        jaxnash("stop", "deaf", "--timeout", "0.1", code=1)
        assert "still finishes its update" in capsys.readouterr().out
    jaxnash("stop", "deaf", "--now")
    assert "deaf stopped: at once" in capsys.readouterr().out
    assert jobs.read_attempts(jobs.find("deaf").state)[0]["exit_code"] == 143


def test_a_stop_before_the_run_directory_is_there(here: Path, capsys) -> None:
    """Then a resume starts afresh, without --resume, which the script would refuse."""
    jaxnash("submit", "--name", "early", "light.py", "--", "wait", "60")
    jaxnash("stop", "early")
    assert "early stopped: at once" in capsys.readouterr().out
    assert "--resume" not in jobs.command(jobs.find("early"))
    jaxnash("resume", "early", "--", "more")
    line = jobs.read_attempts(jobs.find("early").state)[1]["command"]
    assert line == ["light.py", "wait", "60", "more", "--run-dir", "runs/early"]
    jaxnash("stop", "early")


def test_another_process_of_the_same_id_is_not_the_job(here: Path, capsys) -> None:
    jaxnash("submit", "--name", "reused", "light.py", "--", "wait", "0")
    ended("reused")
    job = jobs.find("reused")
    attempt = dict(jobs.read_attempts(job.state)[0])
    wait(lambda: job_process.alive(attempt, "supervisor") is None)  # it has written its last, but may linger
    for key in ("ended", "exit_code"):
        del attempt[key]
    own = {"pid": os.getpid(), "born": job_process.born(os.getpid())}
    write_json(job.state, {"attempts": [attempt | {"child": own}]})
    assert state("reused") == "running"
    write_json(job.state, {"attempts": [attempt | {"child": own | {"born": "another boot 1"}}]})
    assert state("reused") == "lost"
    assert "not running (lost" in refused(capsys, "stop", "reused")  # and we live on


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps, which systems without /proc have")
def test_processes_are_told_apart_also_without_proc() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for ask in (job_process.born, job_process._born_by_ps):
            assert ask(os.getpid()) == ask(os.getpid()) is not None
        assert job_process.born(sleeper.pid) not in (None, job_process.born(os.getpid()))
        sleeper.kill()
        wait(lambda: job_process.born(sleeper.pid) is None)  # a zombie, of which nothing runs
        assert job_process._born_by_ps(sleeper.pid) is None
    finally:
        sleeper.kill()
        sleeper.wait()
    assert job_process.born(sleeper.pid) is None and job_process._born_by_ps(sleeper.pid) is None


def test_a_job_whose_run_goes_on_by_hand_is_not_resumed(here: Path, capsys) -> None:
    jaxnash("submit", "--name", "twice", "light.py", "--", "wait", "0")
    ended("twice")
    process = subprocess.Popen([sys.executable, "light.py", "lock", "60", "--run-dir", "runs/twice"])
    try:
        wait(lambda: job_process.writer(Path("runs/twice")) == process.pid)
        assert f"twice is being written by process {process.pid}" in refused(capsys, "resume", "twice")
    finally:
        process.kill()
        process.wait()
    assert len(jobs.read_attempts(jobs.find("twice").state)) == 1


def test_a_run_started_by_hand_has_a_state_too(here: Path, capsys) -> None:
    line = [sys.executable, "light.py", "lock", "60", "--run-dir", "by_hand"]
    process = subprocess.Popen(line)
    try:
        wait(lambda: job_process.writer(Path("by_hand")) == process.pid)
        wait(lambda: Path("by_hand/manifest.json").exists())
        jaxnash("status", "by_hand")
        assert f"running: process {process.pid}, not submitted" in capsys.readouterr().out
        jaxnash("stop", "by_hand")
        assert "by_hand not running" in capsys.readouterr().out
        assert process.wait(timeout=10) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    again = "python light.py lock 60 --run-dir by_hand --resume"
    assert refused(capsys, "resume", "by_hand").endswith(f"{again}\n")


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("submit nowhere.py", "no script at nowhere.py"),
        ("submit light.py --backend modal", "no backend is called 'modal': there is local"),
        ("submit light.py --name a/b", "--name 'a/b'"),
        ("submit light.py --price-per-hour -1", "--price-per-hour is -1.0"),
        ("submit light.py -- --run-dir x", "--run-dir among the arguments: the run goes to runs/NAME"),
        ("submit light.py -- --run_dir=x", "--run_dir=x among the arguments"),
        ("submit light.py --name taken", "the name taken is in use by a job"),
        ("submit light.py --name occupied", "in use by the run runs/occupied"),
        ("stop taken", "taken is not running (finished: exit code 0): nothing to stop"),
        ("status nobody", "no run is called 'nobody': there are "),
        ("metrics taken", "taken has no metrics yet"),
        ("copy taken somewhere", "has written nothing yet"),
        ("status taken -- --x", "go with submit and resume only"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_trace(arguments: str, told: str, here: Path, capsys) -> None:
    if not Path("runs/.jobs/taken.json").exists():
        jaxnash("submit", "--name", "taken", "light.py", "--", "wait", "0")
        Path("runs/occupied").mkdir()
        ended("taken")
    before = sorted(here.rglob("taken*")), len(list(Path("runs/.jobs").iterdir()))
    assert told in refused(capsys, *arguments.split())
    assert (sorted(here.rglob("taken*")), len(list(Path("runs/.jobs").iterdir()))) == before
    assert not Path("somewhere").exists()
