"""Were the opponents of a run drawn from its mixtures? Counts who was met in the collections, by chi-square.

python3 -m uv run experiments/audit_draws.py runs/psro_gen1ou_1
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from jax.scipy.special import gammaincc
from rich.console import Console
from rich.table import Table

from jaxnash.runs.cli import main as cli
from jaxnash.runs.files import read_json
from jaxnash.showdown.matches import read_rows
from jaxnash.types import JaxnashError


@dataclass(frozen=True)
class Config:
    run_dir: tyro.conf.Positional[Path]
    """A run of experiments/psro_gen1ou.py."""
    level: float = 1e-4
    """A smaller p-value fails the audit."""


def chi_square(met: Counter[str], mixture: dict[str, float]) -> tuple[int, float]:
    """Pairs counted and the p-value of Pearson's test; 0 if somebody outside the mixture was met."""
    n = sum(met.values())
    expected = {name: n * p for name, p in mixture.items() if p > 0}
    if set(met) - set(expected):
        return n, 0.0
    statistic = sum((met[name] - e) ** 2 / e for name, e in expected.items())
    freedom = len(expected) - 1
    return n, float(gammaincc(freedom / 2, statistic / 2)) if freedom else 1.0


def run(config: Config) -> None:
    table = Table("iteration", "pairs", "met", "mixture", "p", title="Opponents drawn for the collections")
    worst = 1.0
    for folder in sorted(config.run_dir.glob("iteration_*/br_trajectories/*")):
        iteration = int(folder.parents[1].name.removeprefix("iteration_"))
        before = config.run_dir / f"iteration_{iteration - 1}" / "meta_strategy.json"
        mixture = read_json(before)["meta_strategy"]
        met = Counter(row["members"][1] for row in read_rows(folder)[::2])  # the first battle of each pair
        n, p = chi_square(met, mixture)
        worst = min(worst, p)
        seen = ", ".join(f"{name} {met[name]}" for name in mixture if met[name])
        drawn = ", ".join(f"{name} {q:.3f}" for name, q in mixture.items() if q > 0)
        table.add_row(str(iteration), str(n), seen, drawn, f"{p:.3g}")
    if not table.row_count:
        raise JaxnashError(f"{config.run_dir} holds no collections: is it a run of psro_gen1ou.py?")
    Console().print(table)
    if worst < config.level:
        raise JaxnashError(f"the draws do not fit the mixture: p = {worst:.2g}, below {config.level:g}")


if __name__ == "__main__":
    config = tyro.cli(Config, description=__doc__)
    cli(lambda: run(config))
