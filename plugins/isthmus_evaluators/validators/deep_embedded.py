"""Deep embedded validation (DEV): the importance-weighted source risk in feature space.

K. You, X. Wang, M. Long, M. I. Jordan, Towards accurate model selection in deep unsupervised
domain adaptation, ICML 2019 (PMLR 97). The discriminator reads what the last layer reads, where
the domains overlap more than in the instances, and a control variate (the weights, whose mean is
known to be 1) lowers the variance. The normalised form is DEVN of K. Musgrave, S. Belongie,
S.-N. Lim, Three new validators and a large-scale benchmark ranking for unsupervised domain
adaptation, arXiv:2208.07360, 2022.

Here the discriminator is fitted to the held-out source itself; the paper fits it to the training
source, and skada to two thirds of what it is given, on columns that are not scaled. Equal weights
and losses give the risk that skada and pytorch-adapt compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence
from isthmus_evaluators.predictions import probabilities, usable_features
from isthmus_evaluators.probabilistic import losses
from isthmus_evaluators.validators.density_ratio import log_density_ratio
from isthmus_evaluators.validators.sampling import sample

ROWS = 20_000  # of each domain at most
VALUES = 2**23  # of the features of one domain at most: 64 MiB in float64
LARGEST = 30.0  # log-ratio: beyond it a weight and its square would soon overflow


@dataclass(frozen=True, kw_only=True)
class DeepEmbeddedValidation(Evaluator):
    """Estimated target risk: log loss in nats, or error rate.

    It is unbounded: where few source instances carry the weight the control variate overshoots,
    and the risk may be negative or huge; ``dev-normalised`` is tamer. Time O(n d²) for a density
    ratio over n rows and d features, at most 20,000 rows of each domain; memory O(n d).
    """

    name = "dev"
    summary = "source risk reweighted in feature space, with a control variate"
    reads_labels = False
    reads_source = True
    reads_features = True
    higher_is_better = False

    loss: Literal["log", "zero-one"] = "log"

    def score(self, evidence: Evidence) -> float:
        log_ratio, loss = _ratios(evidence, self.loss)
        return controlled_risk(np.exp(np.minimum(log_ratio, LARGEST)), loss)


@dataclass(frozen=True, kw_only=True)
class NormalisedDeepEmbeddedValidation(Evaluator):
    """DEV with weights divided by the largest and shifted to mean 1 (DEVN).

    Their mean is then what the control variate expects, so it adds nothing, and the risk is an
    average of the losses with weights in [0, 2]. Cost as ``dev``.
    """

    name = "dev-normalised"
    summary = "source risk reweighted in feature space, with weights in [0, 2]"
    reads_labels = False
    reads_source = True
    reads_features = True
    higher_is_better = False

    loss: Literal["log", "zero-one"] = "log"

    def score(self, evidence: Evidence) -> float:
        log_ratio, loss = _ratios(evidence, self.loss)
        weight = np.exp(log_ratio - log_ratio.max())
        return controlled_risk(weight - weight.mean() + 1, loss)


def controlled_risk(weight: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
    """Return mean(w l) + eta (mean(w) - 1) with eta = -cov(w l, w) / var(w), for (n,) and (n,).

    Weights without variance (all equal, or one) leave nothing to control: eta is 0.
    """
    weighted = weight * loss
    centred = weight - weight.mean()
    variance = float(centred @ centred)
    eta = 0.0
    if variance > 1e-12 * float(weight @ weight):
        eta = -float(centred @ weighted) / variance
    return float(weighted.mean() + eta * (weight.mean() - 1))


def _ratios(
    evidence: Evidence, loss: Literal["log", "zero-one"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return logarithms of density ratios, and losses, of source rows: (n,) each."""
    source, target = evidence.held_out_source, evidence.target
    f_source = usable_features(evidence.source_features, source)
    f_target = usable_features(evidence.features, target)
    p = probabilities(evidence.source_predictions, source)
    limit = min(ROWS, max(1, VALUES // f_source.shape[1]))
    i, j = sample(source, limit, source.y), sample(target, limit)
    return log_density_ratio(f_source[i], f_target[j]), losses(p[i], source.y[i], loss)
