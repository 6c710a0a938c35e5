"""Importance-weighted risk: the source error, counted where the target is.

M. Sugiyama, M. Krauledat, K.-R. Müller, Covariate shift adaptation by importance weighted cross
validation, JMLR 8, 2007. Under covariate shift (p(y|x) is shared) the mean over the source of
w(x) loss(x, y) with w(x) = p_target(x) / p_source(x) is the target risk. skada takes the ratio of
two kernel density estimates instead of a discriminator's, and an accuracy instead of a risk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import Domain, Evaluator, Evidence, rows
from isthmus.domain import Predictions
from isthmus_evaluators.predictions import probabilities
from isthmus_evaluators.probabilistic import EPSILON, losses
from isthmus_evaluators.validators.density_ratio import importance_weights
from isthmus_evaluators.validators.sampling import sample

ROWS = 20_000  # of each domain at most
VALUES = 2**24  # of a dense sample of one domain at most: 128 MiB in float64
PIXELS = 1_024  # an image with more values is represented by its predictions


@dataclass(frozen=True, kw_only=True)
class ImportanceWeightedRisk(Evaluator):
    """Estimated target risk: the error rate in [0, 1], or the log loss in nats.

    Needs labelled source data held out of the training. The discriminator reads the instances of
    a table or of small images, and the logits of the artefact's probabilities otherwise. Where
    the domains hardly overlap, or have about as many features as instances, few source instances
    carry the weight: then the score is finite but means little. At most 20,000 instances of each
    domain are read, and fewer of wide dense tables, so time and memory are bounded; see
    ``density_ratio`` for both.
    """

    name = "importance-weighted-risk"
    summary = "source risk reweighted to the target by a domain discriminator"
    reads_labels = False
    reads_source = True
    higher_is_better = False

    loss: Literal["zero-one", "log"] = "zero-one"
    cap: float = 50.0  # the largest density ratio, before the weights are scaled to mean 1

    def score(self, evidence: Evidence) -> float:
        source, target = evidence.held_out_source, evidence.target
        p_source = probabilities(evidence.source_predictions, source)
        p_target = probabilities(evidence.predictions, target)
        i, j = sample(source, _limit(source), source.y), sample(target, _limit(target))
        weight = importance_weights(
            _represent(source, p_source, i), _represent(target, p_target, j), cap=self.cap
        )
        return float(np.average(losses(p_source[i], source.y[i], self.loss), weights=weight))


def logits(p: Predictions) -> NDArray[np.float64]:
    """Return centred log-probabilities (n, classes) of probabilities, at least float32's eps."""
    log = np.log(p.astype(np.float64).clip(EPSILON, 1))
    return np.asarray(log - log.mean(1, keepdims=True))


def _limit(domain: Domain) -> int:
    if domain.schema.kind == "table" and not rows.is_sparse(domain.x):
        return min(ROWS, max(1, VALUES // max(1, math.prod(domain.schema.shape))))
    return ROWS


def _represent(domain: Domain, p: Predictions, index: NDArray[np.int64]) -> Any:
    """Return what the discriminator reads of the instances at ``index``: (n, d) or CSR."""
    kind, size = domain.schema.kind, math.prod(domain.schema.shape)
    if kind == "table" and rows.is_sparse(domain.x):
        return domain.x[index]
    if kind == "table" or (kind == "image" and 0 < size <= PIXELS and domain.schema.shape):
        return rows.dense(domain.x[index]).reshape(len(index), -1)
    return logits(p[index])
