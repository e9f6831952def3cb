"""Write data.json, the Gen 1 facts of the pinned pokemon-showdown npm package.

`python -m jaxnash.games.gen1.generate [--package DIR] [--node PATH]`; a test compares the committed file with
a fresh generation, so a new version of the package cannot change the vocabularies unnoticed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def generate(*, package: Path, node: str) -> str:
    """The text of data.json: a line per species and per move, both in alphabetical order of id.

    `package`: the folder of pokemon-showdown. Raises `subprocess.CalledProcessError` when node fails.
    """
    command = [node, str(HERE / "generate.js"), str(package)]
    facts = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    order = sorted(range(len(facts["types"])), key=lambda i: facts["types"][i])
    facts["chart"] = [[facts["chart"][i][j] for j in order] for i in order]
    facts["types"] = [facts["types"][i] for i in order]
    for name in ("species", "moves"):
        facts[name] = dict(sorted((id, row[0] if len(row) == 1 else row) for id, *row in facts[name]))
    lines = []
    for name, value in facts.items():
        if name in ("species", "moves"):
            rows = ",\n".join(f"  {json.dumps(id)}: {json.dumps(row)}" for id, row in value.items())
            lines.append(f"{json.dumps(name)}: {{\n{rows}\n}}")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--package", type=Path, help="a pokemon-showdown folder (default: the bridge's own)")
    parser.add_argument("--node", help="a node program (default: the bridge's own)")
    args = parser.parse_args()
    if not (args.package and args.node):
        from jaxnash.showdown import simulator  # only the script looks up to the bridge, the library does not

        args.package = args.package or simulator.install() / "pokemon-showdown"
        args.node = args.node or simulator.node_path()
    (HERE / "data.json").write_text(generate(package=args.package, node=args.node), encoding="utf-8")


if __name__ == "__main__":
    main()
