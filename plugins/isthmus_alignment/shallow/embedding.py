"""Rows of both domains as components, and the artefact that computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Run
from isthmus.artefact import TorchAdapted
from isthmus.learners.kernel_mapped import Step, UnitRows
from isthmus.learners.learner import Learner
from isthmus_alignment.shallow.components import times_few
from isthmus_alignment.shallow.features import Features
from isthmus_alignment.shallow.pair import Pair, deploy, learn, unit_rows

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedding:
    """Components of both domains, (n_source, k) and (n_target, k), and the steps that give them."""

    pair: Pair
    z_source: Array
    z_target: Array
    steps: tuple[Step, ...]
    source_steps: tuple[Step, ...] | None = None  # None: the same

    def learn(self, learner: Learner | None, run: Run) -> TorchAdapted:
        """Fit on the source's components; see ``pair.learn``."""
        return learn(learner, self.pair, self.z_source, self.z_target, run)

    def labels(self, fitted: TorchAdapted) -> NDArray[Any]:
        """Return what a fitted learner calls each target row: its pseudo-labels (n_target,)."""
        return fitted.predict(self.z_target.astype(np.float32)).argmax(1)

    def deploy(self, fitted: TorchAdapted, **diagnostics: Any) -> TorchAdapted:
        """Put the steps in front of what was fitted; ``diagnostics`` are JSON values."""
        return deploy(
            fitted,
            self.pair,
            target=self.steps,
            source=self.source_steps,
            diagnostics=diagnostics,
        )


def embed(pair: Pair, found: Features, weights: Array, *, unit: bool) -> Embedding:
    """Return the components ``found.rows @ weights``, for weights (p, k), brought to length 1."""
    z = times_few(found.rows, weights)
    steps = found.then(weights)
    if unit:
        z = unit_rows(z)
        steps.append(UnitRows(features=z.shape[1]))
    n = len(pair.x_source)
    return Embedding(pair=pair, z_source=z[:n], z_target=z[n:], steps=tuple(steps))
