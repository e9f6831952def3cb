"""An update on four devices is the update on one, to rounding. Forced devices need a process of their own.

Both start from the same rollout and key, so the order of minibatches is the same, and differ only in how sums
over a minibatch's rows are added up. Float64 rounds at 1e-16 and a difference grows over some 60 Adam steps:
1e-9 leaves room for that and for nothing else. Float32 rounds at 6e-8, which Adam would make as large as its
rate where a gradient is nearly 0, as it divides by the root of its square; an epsilon of 1e-5 keeps that
below 1e-5. An update that adds up wrongly is off by far more than either, which is shown here too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh
from jaxnash.games.game import Buttons
from jaxnash.learners import parallel, ppo as module
from jaxnash.policies.history import history_policy
from jaxnash.types import Trajectory

T, B, BUTTONS, D = 6, 24, 3, 8
POLICY = history_policy(
    observation_size=D, actions=BUTTONS, segment=T, width=8, layers=2, heads=2, mlp=8, span=4, latents=2,
    core=8, hidden=(8,),
)
ADAM = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))
assert jax.device_count() == 4


def mesh(count):
    return Mesh(np.array(jax.devices()[:count]), ("devices",))


def rollout(params, dtype):
    # a third of the frames do not count, so that devices' shares weigh differently
    draw = np.random.default_rng(0)
    obs = draw.normal(size=(T, B, 1, D)).astype(dtype)
    legal, action = np.ones((T, B, 1, BUTTONS), bool), draw.random((T, B, 1, BUTTONS)) < 0.5
    reset, ended = draw.random((T, B, 1)) < 0.2, draw.random((T, B, 1)) < 0.2
    memory = jax.tree.map(lambda x: x[:, None], POLICY.segments.memory(POLICY.initial_carry(B)))
    memory = jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, memory)
    one = jax.tree.map(lambda x: x[:, 0], memory)
    head, value = jax.jit(POLICY.segments.unroll)(params, obs[:, :, 0], legal[:, :, 0], one, reset[..., 0])
    log_prob = Buttons(BUTTONS).log_prob(head, action[:, :, 0])[..., None]
    return Trajectory(
        obs=obs, legal=legal, active=np.ones((T, B, 1), bool), action=action,
        log_prob=(log_prob + draw.normal(size=(T, B, 1), scale=0.1)).astype(dtype),
        value=value[..., None].astype(dtype), reward=draw.normal(size=(T, B, 1)).astype(dtype),
        terminated=ended, truncated=np.zeros((T, B, 1), bool), reset=reset, first_carry=memory,
        bootstrap_value=draw.normal(size=(B, 1)).astype(dtype), member=np.zeros((T, B, 1), np.int32),
        episode_id=np.zeros((T, B, 1), np.int32), valid=draw.random((T, B, 1)) < 2 / 3,
    )


def updated(dtype, rows, over):
    params = jax.tree.map(lambda x: x.astype(dtype) * 1.5, POLICY.init(jax.random.key(0)))
    learner = module.ppo(
        POLICY, ADAM, actions=Buttons(BUTTONS), capacity=T * B, minibatch=rows * T, epochs=10, mesh=over
    )
    state = module.start(params, ADAM)
    after, metrics = learner.update(jax.random.key(1), state, rollout(params, dtype))
    assert {x.dtype for x in jax.tree.leaves(after.params)} == {np.dtype(dtype)}
    return jax.device_get((state, after, metrics))


def apart(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.max(np.abs(np.float64(a) - np.float64(b)))) for a, b in pairs)


def compared(dtype, rows):
    before, one, figures = updated(dtype, rows, mesh(1))
    found = {"steps": int(one.steps), "moved": apart(before.params, one.params)}
    found["none"] = apart(one.params, updated(dtype, rows, None)[1].params)
    _, four, others = updated(dtype, rows, mesh(4))
    found["four"], found["metrics"] = apart(one.params, four.params), apart(figures, others)
    return found


def wrong(change, dtype, rows):
    real = module.over
    module.over = lambda mesh: change(real(mesh))
    try:
        _, after, figures = updated(dtype, rows, mesh(4))
    finally:
        module.over = real
    _, one, ones = updated(dtype, rows, mesh(1))
    return {"four": apart(one.params, after.params), "metrics": apart(ones, figures)}


def alone(devices):  # each device goes by its own rows
    return devices._replace(sum=lambda tree: tree)


def mean(devices):  # a quarter of the gradient
    return devices._replace(sum=lambda tree: jax.lax.pmean(tree, "devices") if isinstance(tree, tuple) else
                            devices.sum(tree))


def means(devices):  # the mean of the devices' means, whose shares weigh differently
    return devices._replace(sum=lambda tree: jax.lax.pmean(tree, "devices") if isinstance(tree, tuple) else tree)


def through(devices):  # what transposing a psum comes to: four times the gradient
    return devices._replace(sum=lambda tree: devices.sum(devices.sum(tree)) if isinstance(tree, tuple) else
                            devices.sum(tree))


found = {"float32": compared(np.float32, 4), "uneven float32": compared(np.float32, 5)}
with jax.enable_x64(True):
    found["float64"], found["uneven float64"] = compared(np.float64, 4), compared(np.float64, 5)
    for change in (alone, mean, means, through):
        found[change.__name__] = wrong(change, np.float64, 4)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "NPROC": "16", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | flags, capture_output=True, text=True, timeout=250
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", ["float32", "uneven float32", "float64", "uneven float64"])
def test_four_devices_agree_with_one(found, case):
    """`uneven`: minibatches of five rows and four, of which a device has two, one or none."""
    most, here = (1e-9 if "64" in case else 1e-5), found[case]
    assert here["steps"] == 10 * (5 if "uneven" in case else 6)
    assert here["moved"] > 1e-3
    assert here["four"] < most and here["none"] < most
    assert here["metrics"] < 10 * most  # of size 1


@pytest.mark.parametrize("case", ["alone", "mean", "means", "through"])
def test_what_adds_up_wrongly_is_told(found, case):
    """Adam hides a factor of the gradient almost wholly, the gradient's norm in the metrics does not."""
    assert found[case]["four"] > 1e-9 * 100
    assert found[case]["metrics"] > 1e-3
