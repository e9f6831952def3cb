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

CLONED = np.array([0.0, 0.25, 1.0])  # what a decision weighs that led to a loss, a draw, a win
CHUNK = 8192  # decisions of one call of the learner, which shuffles them into minibatches


class Cloning:
    """Chunks of decisions, a share w of them from the collection; `share` is the observed one.

    Winners teach the policy what to do (a draw weighs a quarter), both sides what a position is worth.
    """

    def __init__(self, collected: Decisions | None, earlier: Decisions | None, *, weight: float, path: tuple):
        sources = [collected, earlier]
        share = [weight, 1.0 - weight]
        share = [s if d is not None else 0.0 for s, d in zip(share, sources)]
        if not any(share):
            raise JaxnashError("no decisions to clone: raise --collection-battles")
        self._sources, self._path = sources, path
        total = sum(len(d.action) for d in sources if d is not None)
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
        joined: Decisions = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        missing = CHUNK - len(rows)
        padded = jax.tree.map(
            lambda leaf: np.concatenate([leaf, np.repeat(leaf[:1], missing, axis=0)]) if missing else leaf,
            joined,
        )
        known = np.arange(CHUNK) < len(rows)
        choice = padded.legal.sum(axis=1) > 1
        return offline.Samples(
            obs=Observation(*padded.obs),
            legal=padded.legal,
            action=padded.action.astype(np.int32),
            weight=(known * choice * CLONED[np.round(2 * padded.result).astype(int)]).astype(np.float32),
            target=(2 * padded.result - 1).astype(np.float32),
            value_weight=known.astype(np.float32),
        )
