"""Predictions and features as an evaluator may use them: of the right shape and finite.

An artefact that answers NaN or logits would otherwise get a plausible score: the argmax of a row
of NaN is class 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.domain import Domain, Predictions
from isthmus.errors import BadInput, PluginError

TOLERANCE = 1e-2  # how far the sum of a row may be from 1: half precision over 1000 classes


def checked(predictions: Any, domain: Domain) -> Predictions:
    """Return ``predictions`` on ``domain``, float (n, width), or say what is wrong with them."""
    at_least(1, domain, "a score")
    p = np.asarray(predictions)
    # Only an unlabelled file names neither classes nor outputs; then any width will do.
    width = domain.schema.width or (p.shape[1] if p.ndim == 2 else 0)
    if p.shape != (len(domain), width):
        raise PluginError(
            f"the artefact's predictions on {domain.name} have shape {p.shape}, "
            f"expected {(len(domain), width)}"
        )
    return _finite(p, f"the artefact's predictions on {domain.name}")


def probabilities(predictions: Any, domain: Domain) -> Predictions:
    """Return ``predictions`` on ``domain`` as probabilities (n, classes), clipped to [0, 1]."""
    if domain.schema.is_regression:
        raise BadInput(
            f"{domain.name} has real outputs ({', '.join(domain.schema.outputs)}), "
            "and this evaluator reads probabilities of classes"
        )
    p = checked(predictions, domain)
    return distributions(p, f"the artefact's predictions on {domain.name}")


def distributions(predictions: Any, what: str) -> Predictions:
    """Return rows (n, classes) that are finite and sum to 1, clipped to [0, 1]."""
    p = _finite(np.asarray(predictions), what)
    bad = np.abs(p.sum(1, dtype=np.float64) - 1) > TOLERANCE
    bad |= (p.min(1) < -TOLERANCE) | (p.max(1) > 1 + TOLERANCE)
    if bad.any():
        row = int(bad.argmax())
        raise PluginError(
            f"{what} are not probabilities: row {row} "
            f"runs from {p[row].min():.3g} to {p[row].max():.3g} and sums to {p[row].sum():.3g}"
        )
    return p.clip(0, 1)


def usable_features(features: Any, domain: Domain) -> NDArray[np.float32]:
    """Return ``features`` of ``domain``, float (n, d), or say what is wrong with them."""
    at_least(1, domain, "a score")
    f = np.asarray(features)
    if f.ndim != 2 or len(f) != len(domain) or not f.shape[1]:
        raise PluginError(
            f"the artefact's features of {domain.name} have shape {f.shape}, "
            f"expected ({len(domain)}, d)"
        )
    return _finite(f, f"the artefact's features of {domain.name}")


def at_least(n: int, domain: Domain, who: str) -> None:
    """Refuse a domain of fewer than ``n`` instances."""
    if not len(domain):
        raise BadInput(f"{domain.name} is empty, and a score needs at least one instance")
    if len(domain) < n:
        raise BadInput(f"{who} needs at least {n} instances, {domain.name} has {len(domain)}")


def _finite(values: NDArray[Any], what: str) -> NDArray[Any]:
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise PluginError(
            f"{what} are NaN or infinite in {bad.sum()} of {len(values)} rows, "
            f"first in row {bad.argmax()}"
        )
    return values
