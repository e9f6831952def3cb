"""The knobs of a population of deep CFR agents, their hyperparameters and how these are inherited.

Population-based training (Jaderberg et al. 2017, "Population Based Training of Neural Networks") with deep
CFR as the learner. The better half goes on as it is. Each of the others is replaced by a mutated copy of a
survivor, which inherits the survivor's state: remembered regrets and strategies are estimates for the game
and the iterations before, whoever fits them next, so all agents of a generation have as many iterations done.
What cannot be inherited are the past networks of single deep CFR by other widths: with those an agent starts
from scratch, and first makes up for the iterations that the others have.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxnash.keys import derive
from jaxnash.policies.advantage import HIDDEN
from jaxnash.psro.members import Entry, population_to_json
from jaxnash.runs.deep_cfr import played
from jaxnash.runs.deep_cfr_knobs import PRESETS, Knobs, checked
from jaxnash.types import Array, JaxnashError

SCALES = ("learning_rate", "steps", "batch_size", "trajectories")  # drawn evenly on a logarithmic scale
HYPERPARAMETERS = (*SCALES, "hidden")
FACTORS = (0.8, 1.25)  # of a mutation


@dataclass(frozen=True, kw_only=True)
class PopulationKnobs:
    """A population of deep CFR agents: trained, matched, selected and mutated, generation by generation."""

    preset: Literal["kuhn-ci", "leduc", "fhp-small", "fhp-paper", "hunl"]
    """Of deep_cfr.py: values for all that is not given; the ranges lie around them."""
    game: str
    """As for deep_cfr.py."""
    bet_sizes: tuple[float, ...]
    """As for deep_cfr.py."""
    algorithm: Literal["sd-cfr", "deep-cfr"]
    """As for deep_cfr.py."""
    traversal: str
    """As for deep_cfr.py."""
    agents: int = 6
    """Agents in the population."""
    generations: int = 5
    """Rounds of training and matches; the worse half is replaced between them."""
    iterations: int
    """Iterations that each agent has behind it at the end; a generation is an equal part of them."""
    learning_rate: tuple[float, float]
    """Least and largest; the same twice fixes it, as for the following."""
    steps: tuple[int, int]
    """Gradient steps of the last iteration's fits, which grow as in the preset."""
    batch_size: tuple[int, int]
    """Remembered decisions of one gradient step."""
    trajectories: tuple[int, int]
    """Traversals of each player an iteration."""
    hidden: tuple[str, ...]
    """Choices of the layers' widths."""
    resample: float = 0.2
    """Probability with which a mutation draws a hyperparameter anew, instead of times 0.8 or 1.25."""
    payoffs: Literal["auto", "exact", "match"] = "auto"
    """Expected payoffs, where the game is written out, or matches; auto: exact where it can be."""
    pairs: int = 2000
    """Pairs of hands of a match: the same cards with seats changed."""
    select: Literal["payoff", "exploitability"] = "payoff"
    """Who goes on: by the equilibrium of the payoffs and the mean payoff, or by exact exploitability."""
    memory: int
    """Decisions each player of each agent remembers."""
    lanes: int
    """Traversals at once."""
    workers: int
    """Processes that traverse. No result depends on it."""
    checkpoint_every: int
    """Iterations between an agent's checkpoints."""
    keep_checkpoints: bool = False
    """Keep the memories of earlier generations too; what they play is always kept."""
    max_hours: float = 24.0
    """Save and end after this time, also within a resumed run."""
    seed: int = 0
    """Every draw derives from it."""
    run_dir: str | None = None
    """Where the run is written; the next free runs/deep_cfr_population_<n> by default."""
    resume: bool = False
    """Continue a run: --resume (the latest or --run-dir's) or --resume RUN."""

    @property
    def each(self) -> int:
        """Iterations of a generation."""
        return self.iterations // self.generations


class Agent(NamedTuple):
    """What an agent of one generation is; `generation_<g>/<name>` is its run directory."""

    name: str  # agent_<slot>
    learning_rate: float
    steps: int
    batch_size: int
    trajectories: int
    hidden: tuple[int, ...]
    seed: int
    parent: str | None = None  # in the generation before; a survivor's is itself
    inherits: bool = False  # the parent's state; else it starts from scratch


# -- knobs ------------------------------------------------------------------------------------------------


def defaults(preset: str) -> PopulationKnobs:
    """Knobs for a preset of deep_cfr.py, its hyperparameters within the ranges."""
    base = PRESETS[preset]
    widths = base.hidden or HIDDEN[base.network]
    same = ("game", "bet_sizes", "algorithm", "traversal", "iterations", "memory", "lanes", "workers")
    return PopulationKnobs(
        preset=base.preset,
        learning_rate=(base.learning_rate / 4, base.learning_rate * 4),
        steps=(base.steps // 4, base.steps),
        batch_size=(base.batch_size // 4, base.batch_size * 2),
        trajectories=(base.trajectories // 2, base.trajectories * 2),
        hidden=tuple(
            ",".join(map(str, choice)) for choice in (widths, tuple(max(1, width // 2) for width in widths))
        ),
        checkpoint_every=base.checkpoint_every,
        **{name: getattr(base, name) for name in same},
    )


def checked_population(knobs: PopulationKnobs) -> PopulationKnobs:
    """The same knobs, or `JaxnashError` naming the first that cannot be."""
    for name, low in {"agents": 2, "generations": 1, "pairs": 2, "checkpoint_every": 1}.items():
        if getattr(knobs, name) < low:
            raise JaxnashError(f"--{name.replace('_', '-')} is {getattr(knobs, name)}: pass at least {low}")
    if knobs.iterations < 1 or knobs.iterations % knobs.generations:
        raise JaxnashError(
            f"--iterations {knobs.iterations} is no multiple of --generations {knobs.generations}: "
            "each generation trains an equal part of them"
        )
    if not 0 <= knobs.resample <= 1:
        raise JaxnashError(f"--resample is {knobs.resample}: pass a probability from 0 to 1")
    for name in SCALES:
        low, high = getattr(knobs, name)
        if not 0 < low <= high:
            raise JaxnashError(
                f"--{name.replace('_', '-')} is {low} {high}: pass the least, above 0, then the largest"
            )
    if not knobs.hidden:
        raise JaxnashError("--hidden names no widths: pass one choice or more, such as 64,64 32,32")
    tree = played(knobs.game, knobs.bet_sizes).tree
    for name in ("payoffs", "select"):
        if getattr(knobs, name) in ("exact", "exploitability") and tree is None:
            raise JaxnashError(
                f"--{name} {getattr(knobs, name)}: {knobs.game} is not written out; leave it out"
            )
    for choice in knobs.hidden:
        agent_knobs(knobs, largest(knobs, choice))
    return knobs


def largest(knobs: PopulationKnobs, hidden: str) -> Agent:
    """The upper ends of all ranges."""
    scales: dict[str, Any] = {name: getattr(knobs, name)[1] for name in SCALES}
    return Agent("", **scales, hidden=widths(hidden), seed=0)


def widths(text: str) -> tuple[int, ...]:
    """ "64,64" as numbers."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise JaxnashError(f"--hidden {text!r}: pass widths with commas, such as 64,64,64")
    return found


def agent_knobs(knobs: PopulationKnobs, agent: Agent, *, run_dir: Path | None = None) -> Knobs:
    """The knobs of deep_cfr.py that an agent is trained by, in one generation after the other."""
    base = PRESETS[knobs.preset]
    same = ("preset", "game", "bet_sizes", "algorithm", "traversal", "memory", "lanes", "workers")
    return checked(
        dataclasses.replace(
            base,
            **{name: getattr(knobs, name) for name in (*same, "checkpoint_every", "max_hours")},
            **{name: getattr(agent, name) for name in (*HYPERPARAMETERS, "seed")},
            least_steps=max(1, round(agent.steps * base.least_steps / base.steps)),
            iterations=knobs.iterations,
            evaluate_every=knobs.each,
            keep=1,
            run_dir=None if run_dir is None else str(run_dir),
        )
    )


# -- who is in it -----------------------------------------------------------------------------------------


def first_pool(knobs: PopulationKnobs) -> list[Agent]:
    """The agents of generation 0: the preset's own hyperparameters as far as they are within the ranges, and
    draws."""
    base = PRESETS[knobs.preset]
    scales: dict[str, Any] = {name: _within(getattr(base, name), *getattr(knobs, name)) for name in SCALES}
    pool = [Agent("agent_0", **scales, hidden=widths(knobs.hidden[0]), seed=_seed(knobs, 0, 0))]
    for slot in range(1, knobs.agents):
        path = (knobs.seed, "population", 0, slot)
        scales = {name: _drawn(*getattr(knobs, name), *path, name) for name in SCALES}
        drawn = Agent(f"agent_{slot}", **scales, hidden=_choice(knobs, *path), seed=_seed(knobs, 0, slot))
        pool.append(drawn)
    return pool


def next_pool(knobs: PopulationKnobs, generation: int, pool: list[Agent], ranking: list[str]) -> list[Agent]:
    """The agents of `generation` from those before it and their names, best first.

    The better half, of an odd number the larger one, goes on; the best of the others' places is taken by a
    mutated copy of the best survivor, and so on. Names belong to places.
    """
    by_name = {agent.name: agent for agent in pool}
    replaced = ranking[len(pool) - len(pool) // 2 :]
    parents = dict(zip(replaced, ranking))
    return [
        mutant(knobs, generation, by_name[parents[agent.name]], slot)
        if agent.name in parents
        else agent._replace(parent=agent.name, inherits=True)
        for slot, agent in enumerate(pool)
    ]


def mutant(knobs: PopulationKnobs, generation: int, parent: Agent, slot: int) -> Agent:
    """A copy with each hyperparameter times 0.8 or 1.25, or with probability `resample` drawn anew."""
    path = (knobs.seed, "population", generation, slot)
    scales: dict[str, Any] = {}
    for name in SCALES:
        low, high = getattr(knobs, name)
        if _uniform(*path, name, "anew") < knobs.resample:
            scales[name] = _drawn(low, high, *path, name)
        else:
            factor = FACTORS[derive(*path, name, "factor") % 2]
            scales[name] = _within(getattr(parent, name) * factor, low, high)
    anew = _uniform(*path, "hidden", "anew") < knobs.resample
    hidden = _choice(knobs, *path) if anew else parent.hidden
    return Agent(
        f"agent_{slot}",
        **scales,
        hidden=hidden,
        seed=_seed(knobs, generation, slot),
        parent=parent.name,
        inherits=hidden == parent.hidden,
    )


def _uniform(*path: int | str) -> float:
    return (derive(*path) >> 11) * 2.0**-53


def _drawn(low: Any, high: Any, *path: int | str) -> Any:
    return _within(low * (high / low) ** _uniform(*path), low, high)


def _within(value: float, low: Any, high: Any) -> Any:
    """A whole number where the ends are, else one of three digits."""
    value = round(value) if isinstance(low, int) else float(f"{value:.3g}")
    return min(max(value, low), high)


def _choice(knobs: PopulationKnobs, *path: int | str) -> tuple[int, ...]:
    return widths(knobs.hidden[derive(*path, "hidden") % len(knobs.hidden)])


def _seed(knobs: PopulationKnobs, generation: int, slot: int) -> int:
    return derive(knobs.seed, "population", generation, slot, "seed") >> 33  # 31 bits


def ranked(
    names: tuple[str, ...], mixture: Array, mean: Array, exploitability: Array | None = None
) -> list[str]:
    """Names, best first: by probability in the equilibrium `mixture` f[K], then by `mean` payoff f[K]; or by
    `exploitability` f[K] alone, where it is given. Ties go to the first."""
    held = np.round(mixture, 6)  # what a solver leaves behind shall not decide
    if exploitability is not None:
        held, mean = -np.asarray(exploitability), np.zeros(len(names))
    return [names[k] for k in sorted(range(len(names)), key=lambda k: (-held[k], -mean[k]))]


# -- files ------------------------------------------------------------------------------------------------


def pool_to_json(pool: list[Agent], generation: int) -> dict[str, Any]:
    """The content of `population.json`: PSRO's, and each agent's hyperparameters and descent."""
    content = population_to_json(
        Entry(agent.name, "checkpoint", _told(agent), f"generation_{generation}/{agent.name}/strategy")
        for agent in pool
    )
    for agent in pool:
        content["policies"][agent.name]["agent"] = agent._asdict()
    return content


def _told(agent: Agent) -> str:
    if agent.parent is None:
        return "drawn"
    if agent.parent == agent.name and agent.inherits:
        return "survivor"
    return f"mutant of {agent.parent}" + ("" if agent.inherits else ", from scratch")


def pool_from_json(content: dict[str, Any]) -> list[Agent]:
    """The inverse of `pool_to_json`."""
    agents = [Agent(**policy["agent"]) for policy in content["policies"].values()]
    return [agent._replace(hidden=tuple(agent.hidden)) for agent in agents]
