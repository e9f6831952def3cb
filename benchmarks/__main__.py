"""`python -m benchmarks [bridge]`: ratios to peers, as a table and JSON."""

from __future__ import annotations

import sys

import tyro

from benchmarks import bridge


def main() -> None:
    arguments = sys.argv[1:] or ["bridge"]  # all there is
    tyro.extras.subcommand_cli_from_dict(
        {"bridge": bridge.run_from_command_line}, prog="python -m benchmarks", args=arguments
    )


if __name__ == "__main__":
    main()
