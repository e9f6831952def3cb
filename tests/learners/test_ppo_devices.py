"""An update on four devices is the update on one, to rounding. Forced devices need a process of their own.

Both start from the same rollout and key, so the order of minibatches is the same, and differ only in how sums
over a minibatch's rows are added up. Float64 rounds at 1e-16, float32 at 6e-8, which Adam would make as large
as its rate where a gradient is nearly 0, as it divides by the root of its square: hence the epsilon of 1e-5.
Measured over 50 to 60 steps that move parameters by 0.04: 1e-15 and 4e-7. So 1e-9 and 1e-5 leave room for
other machines, and updates that add up wrongly are off by far more, which is shown too. Gradients have a norm
of about 2; a tighter clip than 5 would hide a wrong factor from the parameters altogether.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(600)  # seconds of compiling, minutes beside other work

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
    observation_size=D, actions=BUTTONS, segment=T, width=8, layers=1, heads=2, mlp=8, span=4, latents=2,
    core=8, hidden=(8,),
)
ADAM = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(1e-3, eps=1e-5))
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


def compared(one, dtype, rows, mesh):
    before, alone, figures = one
    _, after, others = updated(dtype, rows, mesh)
    found = {"apart": apart(alone.params, after.params), "metrics": apart(figures, others)}
    return found | {"steps": int(alone.steps), "moved": apart(before.params, alone.params)}


def wrong(change, one):
    real = module.over
    module.over = lambda mesh: change(real(mesh))
    try:
        return compared(one, np.float64, 4, mesh(4))
    finally:
        module.over = real


def alone(devices):  # each device goes by its own rows
    return devices._replace(sum=lambda tree: tree)


def means(devices):  # the mean of the devices' means, whose shares weigh differently
    mean = lambda tree: jax.lax.pmean(tree, "devices")
    return devices._replace(sum=lambda tree: mean(tree) if isinstance(tree, tuple) else tree)


def through(devices):  # what transposing a psum comes to: four times the gradient
    return devices._replace(sum=lambda tree: devices.sum(devices.sum(tree)) if isinstance(tree, tuple) else
                            devices.sum(tree))


one = updated(np.float32, 5, mesh(1))
found = {"float32, uneven": compared(one, np.float32, 5, mesh(4))}
with jax.enable_x64(True):
    one = updated(np.float64, 4, mesh(1))
    found["float64"] = compared(one, np.float64, 4, mesh(4))
    found["float64, no mesh"] = compared(one, np.float64, 4, None)
    for change in (alone, means, through):
        found[change.__name__] = wrong(change, one)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    quick = "--xla_backend_optimization_level=0"  # compiling is what takes long
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {quick}", "NPROC": "16"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | flags | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", ["float32, uneven", "float64", "float64, no mesh"])
def test_four_devices_agree_with_one(found, case):
    """`uneven`: minibatches of five rows and four, of which a device has two, one or none."""
    most, here = (1e-9 if "64" in case else 1e-5), found[case]
    assert here["steps"] == 10 * (5 if "uneven" in case else 6)
    assert here["moved"] > 1e-3
    assert here["apart"] < most
    assert here["metrics"] < 10 * most  # of size 1


@pytest.mark.parametrize("case", ["alone", "means", "through"])
def test_what_adds_up_wrongly_is_told(found, case):
    """The last, a wrong factor of the gradient, is what Adam and the clip all but hide."""
    assert found[case]["apart"] > 1e-5
    assert found[case]["metrics"] > 1e-3
