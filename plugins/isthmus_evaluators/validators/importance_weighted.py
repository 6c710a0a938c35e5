"""Importance-weighted risk: the source error, counted where the target is.

M. Sugiyama, M. Krauledat, K.-R. Müller, Covariate shift adaptation by importance weighted cross
validation, JMLR 8, 2007. Under covariate shift (p(y|x) is shared) the mean over the source of
w(x) loss(x, y) with w(x) = p_target(x) / p_source(x) is the target risk. The ratio comes from a
logistic discriminator: w(x) = n_source / n_target * p(target|x) / p(source|x).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import Domain, Evaluator, Evidence, rows
from isthmus.domain import Labels, Predictions
from isthmus_evaluators.predictions import probabilities
from isthmus_evaluators.probabilistic import EPSILON, log_losses

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
    domain are read, and fewer of wide dense tables, so time and memory are bounded.
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
        i, j = _sample(source, source.y), _sample(target)
        weight = importance_weights(
            _represent(source, p_source, i), _represent(target, p_target, j), cap=self.cap
        )
        p, y = p_source[i], source.y[i]
        losses = log_losses(p, y) if self.loss == "log" else p.argmax(1) != y
        return float(np.average(losses, weights=weight))


def importance_weights(x_source: Any, x_target: Any, *, cap: float) -> NDArray[np.float64]:
    """Return p_target(x) / p_source(x) at the source rows (n_source,), at most ``cap``, mean 1.

    ``x_source`` (n_source, d) and ``x_target`` (n_target, d) are float arrays or CSR matrices.
    The mean is 1 after the cap, so a weight may exceed the cap when most ratios are small.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    n_source, n_target = rows.count(x_source), rows.count(x_target)
    both = rows.concatenate([x_source, x_target]).astype(np.float64)
    sparse = rows.is_sparse(both)
    both = StandardScaler(with_mean=not sparse, copy=False).fit_transform(both)
    domain = np.repeat([0, 1], [n_source, n_target])
    with warnings.catch_warnings():
        # Domains that can be told apart may take long to converge, and 200 steps rank as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=200).fit(both, domain)
    log_ratio = model.decision_function(both[:n_source]) + math.log(n_source / n_target)
    log_ratio = np.minimum(log_ratio, math.log(cap))
    weight = np.exp(log_ratio - log_ratio.max())  # the largest is 1: the sum cannot underflow
    return np.asarray(weight / weight.mean())


def logits(p: Predictions) -> NDArray[np.float64]:
    """Return centred log-probabilities (n, classes) of probabilities, at least float32's eps."""
    log = np.log(p.astype(np.float64).clip(EPSILON, 1))
    return np.asarray(log - log.mean(1, keepdims=True))


def _sample(domain: Domain, y: Labels | None = None) -> NDArray[np.int64]:
    """Return the rows to use, in an order that does not depend on the caller's.

    Labels ``y`` put equal rows in order. They are an argument because those of a target must not
    be read, even where the target has them.
    """
    order = rows.canonical_order(domain.x, y)
    size = ROWS
    if domain.schema.kind == "table" and not rows.is_sparse(domain.x):
        size = min(size, max(1, VALUES // max(1, math.prod(domain.schema.shape))))
    if len(order) <= size:
        return order
    return order[np.sort(np.random.default_rng(0).choice(len(order), size, replace=False))]


def _represent(domain: Domain, p: Predictions, index: NDArray[np.int64]) -> Any:
    """Return what the discriminator reads of the instances at ``index``: (n, d) or CSR."""
    kind, size = domain.schema.kind, math.prod(domain.schema.shape)
    if kind == "table" and rows.is_sparse(domain.x):
        return domain.x[index]
    if kind == "table" or (kind == "image" and 0 < size <= PIXELS and domain.schema.shape):
        return rows.dense(domain.x[index]).reshape(len(index), -1)
    return logits(p[index])
