"""What a best response clones: recorded decisions, a share w of them from this iteration's collection."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from jaxnash.games.gen1.layout import Observation
from jaxnash.keys import derive
from jaxnash.learners import offline
from jaxnash.showdown.matches import Decisions
from jaxnash.types import JaxnashError

EMPHASIS = 20.0  # a member that wins 50 % teaches 20 times as much as one that wins none
CHUNK = 8192  # decisions of one call of the learner, which shuffles them into minibatches


class Cloning:
    """Chunks of decisions, a share w of them from the collection; `share` is the observed one.

    Winners teach the policy what to do, a draw a quarter as much, and each the more the better its member
    does against the mixture: by `EMPHASIS` to the power of its payoff. Both sides teach what a position is
    worth. Where there was nothing to decide there is nothing to learn.
    """

    def __init__(
        self,
        collected: Decisions | None,
        earlier: Decisions | None,
        *,
        weight: float,
        payoff: dict[str, float],
        path: tuple[int | str, ...],
    ):
        self._sources = [_lessons(source, payoff) for source in (collected, earlier)]
        share = [weight if self._sources[0] else 0.0, 1 - weight if self._sources[1] else 0.0]
        if not any(share):
            raise JaxnashError("no decisions to clone: raise --collection-battles")
        self._path = path
        total = sum(len(source.action) for source in self._sources if source)
        self._counts = [round(total * s / sum(share)) for s in share]
        self.size = sum(self._counts)
        self.share = self._counts[0] / self.size

    def epoch(self, epoch: int) -> Iterator[offline.Samples]:
        """One pass of `size` decisions in an order keyed by the epoch; padding has weight 0."""
        rng = np.random.Generator(np.random.Philox(key=derive(*self._path, epoch)))
        picks = []
        for source, (data, count) in enumerate(zip(self._sources, self._counts)):
            if data is not None and count:
                repeats = -(-count // len(data.action))
                order = np.concatenate([rng.permutation(len(data.action)) for _ in range(repeats)])[:count]
                picks.append(np.stack([np.full(count, source), order], axis=1))
        chosen = rng.permutation(np.concatenate(picks))
        for at in range(0, len(chosen), CHUNK):
            rows = chosen[at : at + CHUNK]
            yield self._gather(rows)

    def _gather(self, rows: np.ndarray) -> offline.Samples:
        parts = [
            jax.tree.map(lambda leaf, s=s: leaf[rows[rows[:, 0] == s, 1]], data)
            for s, data in enumerate(self._sources)
            if data is not None
        ]
        missing = CHUNK - len(rows)

        def joined(*leaves: np.ndarray) -> np.ndarray:
            return np.concatenate([*leaves, np.zeros((missing, *leaves[0].shape[1:]), leaves[0].dtype)])

        padded: offline.Samples = jax.tree.map(joined, *parts)
        padded.legal[len(rows) :, 0] = True
        return padded


def _lessons(decisions: Decisions | None, payoff: dict[str, float]) -> offline.Samples | None:
    if decisions is None:
        return None
    keep = decisions.legal.sum(axis=1) > 1
    names, who = np.unique(decisions.member[keep], return_inverse=True)
    strength = np.array([EMPHASIS ** payoff[str(name)] for name in names])
    result = decisions.result[keep]
    cloned = np.array([0.0, 0.25, 1.0])[np.round(2 * result).astype(int)]  # of a loss, a draw, a win
    return offline.Samples(
        obs=Observation(*(leaf[keep] for leaf in decisions.obs)),
        legal=decisions.legal[keep],
        action=decisions.action[keep].astype(np.int32),
        weight=(cloned * strength[who]).astype(np.float32),
        target=(2 * result - 1).astype(np.float32),
        value_weight=np.ones(len(result), np.float32),
    )
