"""Checkpoints: bit-equal after a restore, whole or absent after a kill, and errors that name things."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnash
from jaxnash.games.gen1 import layout
from jaxnash.learners.ppo import start
from jaxnash.policies.spec import build, mlp_spec, token_spec
from jaxnash.runs.checkpoint import describe, restore, restore_state, save, save_state
from jaxnash.types import JaxnashError

SPEC = mlp_spec(observation_size=11, actions=2, hidden=(16,))


def fresh(seed: int):
    return build(SPEC).init(jax.random.key(seed))


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_policy_restores_itself_bit_by_bit(tmp_path):
    spec = token_spec("tiny")
    params = build(spec).init(jax.random.key(0))
    save(tmp_path / "br", params=params, spec=spec, name="br-1", extra={"iteration": 1})
    member = jaxnash.restore(tmp_path / "br")
    assert (member.name, member.spec, member.greedy) == ("br-1", spec, False)
    assert member.policy is build(spec)
    assert_same(member.params, params)
    assert describe(tmp_path / "br")["extra"] == {"iteration": 1}
    assert list((tmp_path / "br").rglob("spec.json"))


def test_it_restores_without_the_script_that_made_it(tmp_path):
    params = fresh(1)
    save(tmp_path, params=params, spec=SPEC, name="clone")
    script = (
        "import jaxnash, jax, sys; m = jaxnash.restore(sys.argv[1]);"
        "print(m.name, sum(float(abs(x).sum()) for x in jax.tree.leaves(m.params)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    name, total = out.stdout.split()
    assert name == "clone"
    assert float(total) == pytest.approx(sum(float(abs(x).sum()) for x in jax.tree.leaves(params)))
    assert out.stderr == ""  # Orbax keeps quiet


def test_saving_again_changes_nothing_and_saving_another_replaces(tmp_path):
    save(tmp_path, params=fresh(1), spec=SPEC, name="a")
    before = files(tmp_path)
    save(tmp_path, params=fresh(1), spec=SPEC, name="a")
    assert files(tmp_path) == before
    save(tmp_path, params=fresh(2), spec=SPEC, name="a")
    assert_same(restore(tmp_path).params, fresh(2))
    save(tmp_path, params=fresh(2), spec=SPEC, name="b")
    assert restore(tmp_path).name == "b"


def state(seed: int):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.linear_schedule(1e-3, 0, 10)))
    return {
        "learner": start(fresh(seed), optimizer),
        "key": jax.random.key(seed),
        "iteration": seed,
        "rate": 0.1,
        "half": jnp.ones(3, jnp.bfloat16),
        "seen": np.arange(4, dtype=np.int64),
        "flag": np.bool_(True),
        "nothing": (),
    }


def test_a_state_resumes_exactly(tmp_path):
    saved = state(7)
    save_state(tmp_path, 3, saved)
    save_state(tmp_path, 5, state(8))
    step, read = restore_state(tmp_path, state(0))
    assert step == 5 and read["iteration"] == 8
    save_state(tmp_path / "kept", 3, saved)
    template = state(0) | {"learner": jax.eval_shape(lambda: state(0)["learner"])}
    template["key"] = jax.eval_shape(lambda: jax.random.key(0))
    _, read = restore_state(tmp_path / "kept", template, step=3)
    _, concrete = restore_state(tmp_path / "kept", state(0))
    assert_same(read["learner"], saved["learner"])
    for ours in (read, concrete):
        assert_same(jax.random.split(ours["key"]), jax.random.split(saved["key"]))
        np.testing.assert_array_equal(jax.random.key_data(ours["key"]), jax.random.key_data(saved["key"]))
        assert (int(ours["iteration"]), bool(ours["flag"]), ours["nothing"]) == (7, True, ())
        assert float(ours["rate"]) == pytest.approx(0.1)
        assert_same(ours["half"], saved["half"])
    assert concrete["rate"] == 0.1 and type(concrete["iteration"]) is int
    assert_same(concrete["seen"], saved["seen"])
    assert {path.name for path in tmp_path.iterdir()} == {"5", "kept"}  # only the last is kept


KILLED = """
import os, signal, sys, jax
import orbax.checkpoint as ocp
from jaxnash.runs.checkpoint import save_state
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
ocp.StandardCheckpointHandler.finalize = die  # all is written, nothing is committed
save_state(sys.argv[1], 2, {"params": jax.numpy.ones(1000)})
"""


def test_a_save_that_is_killed_leaves_the_last_complete_step(tmp_path):
    save_state(tmp_path, 1, {"params": jnp.full(1000, 1.0)})
    whole = files(tmp_path)
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True)
    assert child.returncode == -signal.SIGKILL
    assert files(tmp_path) > whole  # it was in the middle of it
    template = {"params": jnp.zeros(1000)}
    step, tree = restore_state(tmp_path, template)
    assert (step, float(tree["params"][0])) == (1, 1.0)
    save_state(tmp_path, 2, {"params": jnp.full(1000, 2.0)})
    step, tree = restore_state(tmp_path, template)
    assert (step, float(tree["params"][0])) == (2, 2.0)
    assert {path.name for path in tmp_path.iterdir()} == {"2"}  # and the half-written one is gone


FULL = """
import resource, sys, jax
import orbax.checkpoint
from jaxnash.runs.checkpoint import save_state
from jaxnash.types import JaxnashError
noise = jax.random.normal(jax.random.key(0), (100_000,))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_state(sys.argv[1], 2, {"params": noise})
except JaxnashError as error:
    print(error)
"""


def test_a_full_disk_is_an_error_of_one_line_and_keeps_the_old_step(tmp_path):
    save_state(tmp_path, 1, {"params": jnp.ones(100_000)})
    out = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert f"cannot write the checkpoint {tmp_path}: " in out.stdout
    assert len(out.stdout.splitlines()) == 1
    step, tree = restore_state(tmp_path, {"params": jnp.zeros(100_000)})
    assert step == 1 and float(tree["params"].min()) == 1


def test_a_missing_checkpoint_names_the_path(tmp_path):
    with pytest.raises(JaxnashError, match=f"no checkpoint at {tmp_path}/nowhere"):
        restore(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(JaxnashError, match=f"no complete checkpoint in {tmp_path}"):
        restore(tmp_path)
    save_state(tmp_path, 1, {"x": jnp.ones(2)})
    with pytest.raises(JaxnashError, match=f"{tmp_path} holds no policy"):
        restore(tmp_path)
    with pytest.raises(JaxnashError, match="no complete checkpoint of step 4"):
        restore_state(tmp_path, {"x": jnp.ones(2)}, step=4)


def test_a_mismatched_checkpoint_names_parameters_and_shapes(tmp_path):
    params = fresh(0)
    kernel = params["params"]["Dense_0"].pop("kernel")
    params["params"]["Dense_0"]["bias"] = jnp.zeros(7)
    params["params"]["extra"] = kernel
    save(tmp_path, params=params, spec=SPEC, name="odd")
    with pytest.raises(JaxnashError) as error:
        restore(tmp_path)
    words = str(error.value)
    assert str(tmp_path) in words
    assert "params/Dense_0/bias: expected float32[16], found float32[7]" in words
    assert "params/Dense_0/kernel: expected float32[11, 16], found nothing" in words
    assert "params/extra: expected nothing, found float32[11, 16]" in words


def test_another_layout_is_named(tmp_path):
    spec = token_spec("tiny")
    save(tmp_path, params=fresh(0), spec=spec._replace(layout="0123456789abcdef"), name="old")
    with pytest.raises(JaxnashError, match=f"0123456789abcdef.*{layout.LAYOUT_HASH}"):
        restore(tmp_path)


def test_a_damaged_checkpoint_is_named_not_a_traceback(tmp_path):
    save(tmp_path, params=fresh(0), spec=SPEC, name="a")
    for path in (tmp_path / "0" / "params").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.unlink()
    with pytest.raises(JaxnashError, match=str(tmp_path)):
        restore(tmp_path)
    save(tmp_path, params=fresh(0), spec=SPEC, name="a")
    assert_same(restore(tmp_path).params, fresh(0))


def test_importing_jaxnash_is_cheap_and_names_resolve():
    script = (
        "import sys, jaxnash; assert 'jax' not in sys.modules;"
        "assert jaxnash.JaxnashError.__name__ == 'JaxnashError';"
        "assert jaxnash.games.kuhn().num_actions == 2;"
        "assert not hasattr(jaxnash, 'nonsense') and not hasattr(jaxnash.games, 'nonsense')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_changed_byte_is_told(tmp_path):
    """In the middle of the largest data file, where no format notices."""
    tree = {"a": np.random.default_rng(0).normal(size=(400, 100)), "b": np.arange(3)}
    for step in (1, 2):
        save_state(tmp_path / "state", step, tree, keep=2)
    files = [file for file in (tmp_path / "state" / "2").rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(JaxnashError, match=r"damaged: a of step 2|cannot read"):
        restore_state(tmp_path / "state", tree)
    step, same = restore_state(tmp_path / "state", tree, step=1)
    assert step == 1
    jax.tree.map(np.testing.assert_array_equal, same, tree)
