"""`python -m benchmarks NAME`, or all of `COMMANDS`: ratios to peers, tables and JSON."""

from __future__ import annotations

import sys

import tyro

from benchmarks import bridge, cfr, deep_cfr, deep_cfr_knobs, engine, evaluator, leduc_floor, rollouts
from jaxnash.runs.cli import main as cli

COMMANDS = {
    "bridge": bridge.run_from_command_line,
    "cfr": cfr.run_from_command_line,
    "deep_cfr": deep_cfr.run_from_command_line,
    "deep_cfr_knobs": deep_cfr_knobs.run_from_command_line,
    "engine": engine.run_from_command_line,
    "evaluator": evaluator.run_from_command_line,
    "leduc_floor": leduc_floor.run_from_command_line,
    "rollouts": rollouts.run_from_command_line,
}


def main() -> None:
    for arguments in [sys.argv[1:]] if sys.argv[1:] else [[name] for name in COMMANDS]:  # none: all there are
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="python -m benchmarks", args=arguments)


if __name__ == "__main__":
    cli(main)
