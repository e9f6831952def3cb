"""A solve on several devices is the solve on one, to rounding. Forced devices need a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import jax, numpy as np
import jaxnash as jn

assert jax.device_count() == 4
mesh = jax.make_mesh((4,), ("d",))
for game in (jn.games.leduc(), jn.cfr.public_form(jn.games.liars_dice(sides=3))):
    one = jn.cfr.compile_tree(game)
    split = jn.cfr.shard(jn.cfr.compile_tree(game, multiple=4), mesh)
    held = [b.parent.sharding.is_fully_replicated for s in split.arrays.sides for l in s.levels for b in l]
    assert not any(held), held
    a, b = (jn.cfr.solve(t, jn.cfr.cfr_plus(), iterations=30) for t in (one, split))
    assert not b.state.sides[0].strategy[-1][0].sharding.is_fully_replicated
    assert abs(a.exploitability - b.exploitability) < 1e-10, (a.exploitability, b.exploitability)
    assert np.abs(a.policy - b.policy).max() < 1e-6
    policy = jn.cfr.uniform_policy(one)
    assert abs(jn.cfr.nash_conv(one, policy) - jn.cfr.nash_conv(split, policy)) < 1e-12
print("same")
"""


def test_four_devices_agree_with_one():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "NPROC": "16", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | flags, capture_output=True, text=True, timeout=200
    )
    assert run.stdout.strip() == "same", run.stderr[-2000:]
