"""Weights from a domain classifier.

Bickel, Brückner & Scheffer, "Discriminative learning for differing training and test
distributions", ICML 2007; the odds of a classifier as a ratio of densities: Qin, Biometrika 85
(1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Run, Schema, rows
from isthmus.learners.learner import Learner
from isthmus.learners.linear import Logistic
from isthmus.learners.weighting import Reweighting


@dataclass(frozen=True, kw_only=True)
class Discriminator(Reweighting):
    """Tell target from source with a classifier; weight by p(target | x) / p(source | x).

    Logistic regression can follow a ratio whose logarithm is linear, such as that of two Gaussians
    of one covariance. Where it separates the domains (many columns, few rows) a handful of rows
    get all the weight; the diagnostics say so, and ``discriminator.C`` below 1 softens it.
    Cost and memory are the classifier's: O(n d) per iteration for logistic regression.
    """

    name: ClassVar[str] = "discriminator"

    discriminator: Learner = Logistic()

    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[Any]:
        x = rows.concatenate([x_source, x_target])
        n_source, n_target = rows.count(x_source), rows.count(x_target)
        y = np.repeat([0, 1], [n_source, n_target])
        schema = Schema(kind="table", shape=x.shape[1:], classes=("source", "target"))
        # Each domain counts one half, so that the odds are the density ratio itself.
        balance = np.repeat([0.5 / n_source, 0.5 / n_target], [n_source, n_target]) * rows.count(x)
        run = Run(seed=int(rng.integers(2**31)))
        model = self.discriminator.fit(x, y, balance, schema, run)
        p = np.asarray(model.predict(x_source), np.float64)
        return p[:, 1] / np.maximum(p[:, 0], 1e-12)
