"""Predictions as an evaluator may use them: of the right shape, finite, and distributions.

An artefact that answers NaN or logits would otherwise get a plausible score: the argmax of a row
of NaN is class 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.domain import Domain, Predictions
from isthmus.errors import BadInput, PluginError

TOLERANCE = 1e-2  # how far the sum of a row may be from 1: half precision over 1000 classes


def checked(predictions: Any, domain: Domain) -> Predictions:
    """Return ``predictions`` on ``domain``, float (n, width), or say what is wrong with them."""
    if not len(domain):
        raise BadInput(f"{domain.name} is empty, and a score needs at least one instance")
    p = np.asarray(predictions)
    # Only an unlabelled file names neither classes nor outputs; then any width will do.
    width = domain.schema.width or (p.shape[1] if p.ndim == 2 else 0)
    if p.shape != (len(domain), width):
        raise PluginError(
            f"the artefact's predictions on {domain.name} have shape {p.shape}, "
            f"expected {(len(domain), width)}"
        )
    bad = ~np.isfinite(p).all(1)
    if bad.any():
        raise PluginError(
            f"the artefact's predictions on {domain.name} are NaN or infinite in "
            f"{bad.sum()} of {len(p)} rows, first in row {bad.argmax()}"
        )
    return p


def probabilities(predictions: Any, domain: Domain) -> Predictions:
    """Return ``predictions`` on ``domain`` as probabilities (n, classes), clipped to [0, 1]."""
    p = checked(predictions, domain)
    bad = np.abs(p.sum(1, dtype=np.float64) - 1) > TOLERANCE
    bad |= (p.min(1) < -TOLERANCE) | (p.max(1) > 1 + TOLERANCE)
    if bad.any():
        row = int(bad.argmax())
        raise PluginError(
            f"the artefact's predictions on {domain.name} are not probabilities: row {row} "
            f"runs from {p[row].min():.3g} to {p[row].max():.3g} and sums to {p[row].sum():.3g}"
        )
    return p.clip(0, 1)
