"""Methods of ADAPT that map features. fMMD is left out: its quadratic programme has d variables."""

from __future__ import annotations

from typing import Any

import numpy as np
from adapt.feature_based import CORAL, SA, TCA

from libraries.outcome import Outcome, trace_criterion


def method_of(kind: Any) -> Any:
    def method(x_s: Any, y_s: Any, x_t: Any, **settings: Any) -> Outcome:
        model = kind(verbose=0, **settings)
        source = model.fit_transform(x_s, x_t)
        return Outcome(source=source, target=model.transform)

    return method


def tca(x_s: Any, y_s: Any, x_t: Any, *, matched: bool = False, **settings: Any) -> Outcome:
    if matched:  # the penalty's place is the other term, the discrepancy's length 1
        settings |= {"mu": 1 / (1 / len(x_s) + 1 / len(x_t)), "gamma": 1 / x_s.shape[1]}
    elif settings.pop("scaled", False):
        settings["gamma"] = 1 / (2 * median(x_s, x_t))
    model = TCA(verbose=0, **settings)
    source = model.fit_transform(x_s, x_t)

    def notes() -> dict[str, Any]:
        rows = np.concatenate([x_s, x_t]).astype(np.float64)
        gamma = settings.get("gamma") or 1 / x_s.shape[1]
        return {"criterion": trace_criterion(x_s, x_t, rows, gamma, model.vectors_, 1.0)}

    return Outcome(source=source, target=model.transform, notes=notes)


def median(x_s: Any, x_t: Any) -> float:
    """Return the median squared distance between rows of both domains, of 1,000 at most."""
    rows = np.concatenate([x[:: max(1, len(x) // 500)] for x in (x_s, x_t)]).astype(np.float64)
    square = np.square(rows).sum(1)
    apart = square[:, None] + square - 2 * rows @ rows.T
    return float(np.median(apart[np.triu_indices(len(rows), 1)]))


coral, sa = method_of(CORAL), method_of(SA)

METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "coral": {
        "default": (coral, {}),
        "matched": (coral, {"lambda_": 1.0}),
        "scaled": (coral, {"lambda_": 1.0}),
    },
    "sa": {
        "default": (sa, {}),
        "matched": (sa, {"n_components": 20}),
        "scaled": (sa, {"n_components": 20}),
    },
    "tca": {
        "default": (tca, {}),
        "matched": (tca, {"n_components": 20, "matched": True}),
        "scaled": (tca, {"n_components": 30, "scaled": True}),
    },
}
