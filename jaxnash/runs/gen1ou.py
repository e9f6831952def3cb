"""The Gen 1 OU side of PSRO: what the loop is handed to play, train and measure."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxnash.games.game import Categorical
from jaxnash.games.gen1.layout import NUM_ACTIONS
from jaxnash.learners import offline
from jaxnash.learners import ppo as ppo_learner
from jaxnash.policies.spec import build, token_spec
from jaxnash.psro.gaps import against, oracle_gap
from jaxnash.psro.members import draw_opponents
from jaxnash.psro.oracles import BestResponse, Schedule, Store, best_response, jax_key
from jaxnash.psro.tournament import Cell, Table, cell_from_scores, interval, payoffs, winrate
from jaxnash.runs import stop
from jaxnash.runs.checkpoint import restore_state, save_state
from jaxnash.runs.cloning import Cloning
from jaxnash.runs.display import Display
from jaxnash.runs.gen1_engine import ROWS, engine_rollouts
from jaxnash.runs.gen1_forecast import BATTLES_A_SECOND, DECISIONS_A_BATTLE, PPO_EPOCHS, training_seconds
from jaxnash.runs.knobs import Knobs, scripted, trains_on_engine
from jaxnash.runs.run import read_json, write_bytes, write_json
from jaxnash.showdown.matches import (
    Decisions,
    Pair,
    battles_of,
    lines_of,
    pair_keys,
    pair_scores,
    read_decisions,
    record_battles,
    row_of,
)
from jaxnash.showdown.pool import Pool
from jaxnash.showdown.rollout import Battle, play, showdown_rollout
from jaxnash.showdown.teams import TeamSet
from jaxnash.types import Member, Neural, Policy, PolicySpec, Trajectory

GAMMA, SHAPING = 0.999, 0.5


def adam(rate: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))


class League:
    """The game's side of the loop: it plays, collects, trains and measures, writing below `run_dir`."""

    def __init__(
        self, knobs: Knobs, run_dir: Path, pool: Pool, display: Display, *,
        teams: tuple[TeamSet, TeamSet], first: Neural | None = None,
    ):  # fmt: skip
        """`teams`: of training and of the final evaluation; `first`: where the first oracle starts."""
        self.knobs, self.run_dir, self.pool, self.display = knobs, run_dir, pool, display
        self.teams, self.eval_teams = teams
        self.first = first

    # -- playing ---------------------------------------------------------------------------------------

    def played(
        self, folder: Path, members: Sequence[Member], pairs: Sequence[Pair], kind: str, title: str, *,
        teams: TeamSet | None = None, record: Sequence[int] = (),
    ) -> list[tuple[float, float]]:  # fmt: skip
        """Play (or read) the pairs, their rows kept in `folder`; pair scores from the first members' view."""
        battles = battles_of(pairs, teams or self.teams)
        run = partial(play, self.pool, members, parallel=self.knobs.parallel_battles, record=record)
        with self.display.phase(
            kind, title, total=len(battles), unit_seconds=1 / BATTLES_A_SECOND
        ) as advance:
            rows = record_battles(
                folder,
                battles,
                run,
                names=[m.name for m in members],
                write=write_bytes,
                on_battle=lambda _: advance(),
            )
        refused = {m.name: 0 for m in members if isinstance(m, Neural)}
        for row in rows:
            for name, invalid in zip(row["members"], row["invalid"]):
                if name in refused:
                    refused[name] += invalid
        for name, count in refused.items():
            if count:
                self.display.say(f"warning: Showdown refused {count} choices of {name}", style="bold red")
        return pair_scores(rows)

    def tournament(
        self, iteration: int, members: Sequence[Member], pairs: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], Cell]:
        """`play` of `psro.loop`: `battles_per_matchup` battles for each of the pairs."""
        each = self.knobs.battles_per_matchup // 2
        schedule = [
            pair
            for i, j in pairs
            for pair in pair_keys(i, j, each, self.knobs.seed, "tournament", members[i].name, members[j].name)
        ]
        scores = self.played(
            self.folder(iteration) / "tournament", members, schedule, "tournament",
            f"{iteration}: tournament, {len(pairs)} new pairs", record=range(len(members)),
        )  # fmt: skip
        chunks = [scores[k * each : (k + 1) * each] for k in range(len(pairs))]
        return {pair: cell_from_scores(chunk, teams=self.teams.hash) for pair, chunk in zip(pairs, chunks)}

    def folder(self, iteration: int) -> Path:
        return self.run_dir / f"iteration_{iteration}"

    def against_mixture(
        self, population: Sequence[Member], mixture: np.ndarray, battles: int, *path: int | str
    ):
        """Pairs of member 0 (the candidate) against members 1 + k drawn from the mixture, keyed by `path`."""
        drawn = draw_opponents(mixture, self.knobs.seed, "opponent", *path, n=battles // 2)
        keys = pair_keys(0, 0, battles // 2, self.knobs.seed, *path)
        return [Pair(0, 1 + int(k), pair.key) for k, pair in zip(drawn, keys)]

    def collect(self, iteration: int, population: Sequence[Member], mixture: np.ndarray) -> Path:
        """The iteration's battles for cloning: each teacher in turn against draws from the mixture.

        Teachers are the population and the scripted members (the same where the scripts are its start).
        """
        names = {member.name for member in population}
        teachers = [*population, *(scripted(name) for name in self.knobs.members if name not in names)]
        count = self.knobs.collection_battles // 2
        drawn = draw_opponents(mixture, self.knobs.seed, "opponent", "collect", iteration, n=count)
        keys = pair_keys(0, 0, count, self.knobs.seed, "collect", iteration)
        pairs = [Pair(p % len(teachers), int(k), keys[p].key) for p, k in enumerate(drawn)]
        folder = self.folder(iteration) / "br_trajectories" / self.knobs.battle_format
        self.played(
            folder, teachers, pairs, "collection", f"{iteration}: collecting",
            record=range(len(teachers)),
        )  # fmt: skip
        return folder

    # -- training --------------------------------------------------------------------------------------

    def oracle(
        self, iteration: int, population: tuple[Member, ...], mixture: np.ndarray, table: Table
    ) -> tuple[Neural, dict[str, Any]]:
        """`oracle` of `psro.loop`: collect, clone, improve by PPO, choose on validation, then test."""
        knobs, name = self.knobs, f"br_{iteration}"
        folder = self.folder(iteration) / "br_training" / name
        collected = read_decisions(self.collect(iteration, population, mixture))
        earlier = self.earlier(iteration)
        start, policy, spec, fresh = self.initial(population)
        data = Cloning(
            collected, earlier, weight=knobs.collected_weight, payoff=strengths(table, mixture),
            path=(knobs.seed, "clone", iteration),
        )  # fmt: skip

        def candidate(params: Any, greedy: bool = False) -> Neural:
            return Neural(name, policy, params, spec, greedy)

        def on_engine(update: int, params: Any) -> Trajectory:
            trajectory, row = engine(update, params)
            write_json(folder / "ppo" / f"update_{update:05d}.json", row)
            return trajectory

        def on_showdown(update: int, params: Any) -> Trajectory:
            pairs = self.against_mixture(population, mixture, knobs.oracle_battles, "ppo", iteration, update)
            members = [candidate(params), *population]
            trajectory, outcomes = showdown_rollout(
                self.pool, members, battles_of(pairs, self.teams),
                parallel=knobs.parallel_battles, length=knobs.turn_limit + 84,
                rows=max(8, knobs.oracle_battles // 4), gamma=GAMMA, shaping=SHAPING,
            )  # fmt: skip
            met = [row_of(outcome, [m.name for m in members]) for outcome in outcomes]
            write_bytes(folder / "ppo" / f"update_{update:05d}.jsonl", lines_of(met))
            return trajectory

        rollout = on_showdown
        if trains_on_engine(knobs):
            engine = engine_rollouts(
                candidate(start), population, mixture, self.teams, gamma=GAMMA, shaping=SHAPING,
                length=-(-knobs.oracle_battles * DECISIONS_A_BATTLE // ROWS),
                path=(knobs.seed, "ppo", iteration),
            )  # fmt: skip
            rollout = on_engine

        def on_step(row: dict[str, Any]) -> None:
            advance(1, step_note(row))
            if row.get("dropped"):
                self.display.say(
                    f"warning: {row['dropped']:.0f} decisions did not fit into update {row['step']}"
                )

        def validate(step: int, params: Any) -> tuple[float, int]:
            pairs = self.against_mixture(population, mixture, knobs.validation_battles, "validate", iteration)
            scores = self.battle_scores(
                [candidate(params, knobs.greedy), *population], battles_of(pairs, self.teams)
            )
            return float(np.mean(scores)), len(pairs)

        gradient = ppo_learner.ppo(
            policy, adam(knobs.oracle_learning_rate), actions=Categorical(NUM_ACTIONS),
            capacity=knobs.oracle_battles * 128, minibatch=knobs.batch_size, gamma=GAMMA,
            epochs=PPO_EPOCHS, entropy=0.003,
        )  # fmt: skip
        clone = offline.cloning(
            policy, adam(knobs.learning_rate), actions=Categorical(NUM_ACTIONS), minibatch=knobs.batch_size,
            value=0.5,
        )  # fmt: skip

        def leave_if_asked(step: int) -> None:
            if stop.requested():
                stop.leave(f"step {step} of the oracle of iteration {iteration}", say=self.display.say)

        epochs = knobs.oracle_epochs if fresh else knobs.finetune_epochs
        steps = epochs + knobs.oracle_updates
        unit = training_seconds(knobs, epochs, data.size) / steps
        with self.display.phase(
            "training", f"{iteration}: best response", total=steps, unit_seconds=unit
        ) as advance:
            result = best_response(
                seed=(knobs.seed, "oracle", iteration),
                params=start,
                cloning=(clone, partial(ppo_learner.start, optimizer=adam(knobs.learning_rate))),
                batches=data.epoch,
                gradient=(gradient, partial(ppo_learner.start, optimizer=adam(knobs.oracle_learning_rate))),
                rollout=rollout,
                validate=validate,
                schedule=Schedule(epochs, knobs.oracle_updates, knobs.validate_every, knobs.save_every),
                store=disk_store(folder, after=leave_if_asked),
                on_step=on_step,
            )
        return self.measured(
            iteration, candidate(result.params, knobs.greedy), population, mixture, result, data
        )

    def measured(
        self, iteration: int, member: Neural, population: Sequence[Member], mixture: np.ndarray,
        result: BestResponse, data: Cloning,
    ) -> tuple[Neural, dict[str, Any]]:  # fmt: skip
        """The oracle gap on battles that were neither trained nor selected on."""
        pairs = self.against_mixture(population, mixture, self.knobs.test_battles, "test", iteration)
        folder = self.folder(iteration) / "br_training" / member.name / "test"
        scores = self.played(
            folder, [member, *population], pairs, "evaluation",
            f"{iteration}: testing {member.name}",
        )  # fmt: skip
        cell = cell_from_scores(scores, teams=self.teams.hash)
        gap = oracle_gap(cell)
        return member, {
            "name": member.name,
            "ppo_on": self.knobs.backend,
            "oracle_gap": gap.gap,
            "oracle_gap_ci": list(gap.ci),
            "oracle_gap_significant": gap.significant,
            "verdict": gap.text,
            "sigma": row_of_cell(cell),
            "chosen": result.chosen,
            "curve": [
                {
                    "update": r["step"],
                    "phase": r["phase"],
                    "winrate": r["winrate"],
                    "winrate_ci": r["winrate_ci"],
                }
                for r in result.rows
                if "winrate" in r
            ],
            "data": {
                "collected_share": data.share,
                "decisions": data.size,
                "weight": self.knobs.collected_weight,
            },
        }

    def battle_scores(self, members: Sequence[Member], battles: Sequence[Battle]) -> list[float]:
        """Mean score of each pair of battles, first member's view; nothing is kept on disk."""
        halves = [o.score for o in play(self.pool, members, battles, parallel=self.knobs.parallel_battles)]
        return [(a + 1 - b) / 2 for a, b in zip(halves[::2], halves[1::2], strict=True)]

    def earlier(self, iteration: int) -> Decisions | None:
        """Recorded decisions of the iterations before, the latest `replay_battles` battles of them."""
        found, battles = [], 0
        for i in reversed(range(iteration)):
            for name in ("tournament", f"br_trajectories/{self.knobs.battle_format}"):
                if battles >= self.knobs.replay_battles:
                    break
                folder = self.folder(i) / name
                decisions = read_decisions(folder) if folder.exists() else None
                if decisions is not None:
                    keep = decisions.battle < self.knobs.replay_battles - battles
                    decisions = jax.tree.map(lambda leaf, keep=keep: leaf[keep], decisions)
                    battles += int(decisions.battle.max(initial=-1)) + 1
                    found.append(decisions)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found) if found else None

    def initial(self, population: Sequence[Member]) -> tuple[Any, Policy, PolicySpec, bool]:
        """Parameters, policy, spec and whether they are fresh: the latest best response's if there is one,
        else --init-checkpoint's, else new ones."""
        last = latest(population, self.first)
        if last is not None:
            assert last.spec is not None, "restored members have a spec"
            return last.params, last.policy, last.spec, False
        spec = token_spec(self.knobs.model_size)
        policy = build(spec)
        return policy.init(jax_key(self.knobs.seed, "init")), policy, spec, True

    def final(self, iteration: int, member: Neural) -> dict[str, Any]:
        """The last best response against each scripted member on the evaluation teams."""
        rivals = [scripted(name) for name in self.knobs.members]
        each = self.knobs.final_battles // 2
        pairs = [
            p
            for k, rival in enumerate(rivals)
            for p in pair_keys(0, 1 + k, each, self.knobs.seed, "final", member.name, rival.name)
        ]
        scores = self.played(
            self.folder(iteration) / "final", [member, *rivals], pairs, "evaluation",
            f"{member.name} on evaluation teams", teams=self.eval_teams,
        )  # fmt: skip
        return {
            rival.name: row_of_cell(
                cell_from_scores(scores[k * each : (k + 1) * each], teams=self.eval_teams.hash)
            )
            for k, rival in enumerate(rivals)
        }


def latest(population: Sequence[Member], first: Neural | None) -> Neural | None:
    """What the next best response starts from: the latest one, else `first`; None for fresh parameters."""
    learned = [m for m in population if isinstance(m, Neural) and m.name.startswith("br_")]
    return learned[-1] if learned else first


def strengths(table: Table, mixture: np.ndarray) -> dict[str, float]:
    """Each member's payoff against the mixture on the table; 0 for one that the table does not know."""
    known = dict(zip(table.names, against(payoffs(table), mixture).tolist()))
    return collections.defaultdict(float, known)


def row_of_cell(cell: Cell) -> dict[str, Any]:
    """A cell for evaluation.json."""
    low, high = interval(cell)
    return {
        "winrate": winrate(cell),
        "winrate_ci": [low, high],
        "battles": 2 * cell.pairs,
        "pairs": cell.pairs,
        "wins": cell.wins,
        "draws": cell.draws,
        "losses": cell.losses,
        "pair_scores": list(cell.pair_scores),
        "teams": cell.teams,
    }


def step_note(row: dict[str, Any]) -> str:
    """What the bar says beside a training step."""
    if "winrate" in row:
        return f"won {row['winrate']:.0%}"
    return f"acc {row['accuracy']:.2f}" if "accuracy" in row else f"kl {row.get('approx_kl', 0):.3f}"


def disk_store(folder: Path, *, after: Callable[[int], None] = lambda step: None) -> Store:
    """Training state in `folder`/checkpoints (Orbax) with the rows of metrics.jsonl beside it.

    `after` is called with the step when its save is complete.
    """
    states, metrics = folder / "checkpoints", folder / "rows.json"

    def load(template):
        if not metrics.exists():
            return None
        content = read_json(metrics)
        _, tree = restore_state(states, template(content["step"]), step=content["step"])
        return content["step"], tree, content["rows"]

    def save(step, tree, rows):
        save_state(states, step, tree, keep=2)  # the rows below still speak of the one before
        write_json(metrics, {"step": step, "rows": rows})
        after(step)

    return Store(load, save)
