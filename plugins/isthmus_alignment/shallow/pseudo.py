"""Alternating between components and the pseudo-labels that they give the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Run
from isthmus.artefact import TorchAdapted
from isthmus.learners.learner import Learner
from isthmus_alignment.shallow.components import penalised_components
from isthmus_alignment.shallow.contrasts import balanced, marginal
from isthmus_alignment.shallow.embedding import Embedding, embed
from isthmus_alignment.shallow.features import Features
from isthmus_alignment.shallow.pair import Pair

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Joint:
    """Components of little discrepancy between the domains, and between their classes."""

    pair: Pair
    found: Features
    components: int
    penalty: float
    unit: bool

    def solve(self, pseudo: Labels | None, balance: float) -> Embedding:
        """Weigh the marginal discrepancy 1 - balance, that of the classes balance (from 0 to 1).

        While there are no pseudo-labels (n_target,) the marginal one is alone.
        """
        pair = self.pair
        contrasts = marginal(len(pair.x_source), len(pair.x_target))
        if pseudo is not None:
            contrasts = balanced(pair.y, pseudo, pair.schema.width, balance)
        weights, _ = penalised_components(
            self.found.rows,
            contrasts,
            self.penalty * self.found.share,
            self.components,
        )
        return embed(pair, self.found, weights, unit=self.unit)


def alternate(
    solve: Callable[[Labels | None], Embedding],
    learner: Learner | None,
    iterations: int,
    run: Run,
    pseudo: Labels | None = None,
) -> tuple[Embedding, TorchAdapted, dict[str, Any]]:
    """Return the last embedding, what was fitted on it, and diagnostics.

    ``solve`` makes an embedding from the target's pseudo-labels (n_target,); the first has none
    unless they are given. Labels that come back unchanged would do so for ever: it stops there.
    """
    changed: list[float] = []
    for done in range(iterations):
        embedding = solve(pseudo)
        fitted = embedding.learn(learner, run)
        labels = embedding.labels(fitted)
        changed.append(1.0 if pseudo is None else float((labels != pseudo).mean()))
        pseudo = labels
        run.progress("pseudo-labels", done + 1, iterations)
        if not changed[-1]:
            break
    return embedding, fitted, {"pseudo_labels_changed": changed}
