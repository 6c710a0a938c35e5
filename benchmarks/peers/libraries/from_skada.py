"""Methods of skada, always with the source's rows first: its TCA and TJM need that.

Those that need torch (TSL, MMD-LS) are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skada import (
    ClassRegularizerOTMappingAdapter,
    CORALAdapter,
    EntropicOTMappingAdapter,
    LinearOTMappingAdapter,
    OTLabelPropAdapter,
    OTMappingAdapter,
    SubspaceAlignmentAdapter,
    TransferComponentAnalysisAdapter,
    TransferJointMatchingAdapter,
)
from skada._ot import JDOTClassifier
from sklearn.linear_model import LogisticRegression

from libraries.outcome import Outcome, trace_criterion, transport_notes

SOURCE, TARGET = 1, -2  # signs of skada's sample_domain


def joined(x_s: Any, y_s: Any, x_t: Any) -> tuple[Any, Any, Any]:
    """Return rows, labels (-1 in the target: unknown) and domains."""
    unknown = np.full(len(x_t), -1)
    domain = np.repeat([SOURCE, TARGET], [len(x_s), len(x_t)])
    return np.concatenate([x_s, x_t]), np.concatenate([y_s.astype(np.int64), unknown]), domain


def adapter(kind: Any, *, median: bool = False) -> Any:
    """Return the method of one adapter; ``median``: on rows whose median distance is 1."""

    def method(x_s: Any, y_s: Any, x_t: Any, **settings: Any) -> Outcome:
        unit = scale_of(x_s, x_t, settings.pop("unit", None))
        matched = settings.pop("matched", False)
        if matched and "reg_e" in settings:
            settings["tol"] = 1e-5 / np.sqrt(len(x_t))
        if matched and kind is TransferComponentAnalysisAdapter:
            settings["mu"] = 1 / (1 / len(x_s) + 1 / len(x_t))
        model = kind(**settings)
        x, y, domain = joined(x_s / unit, y_s, x_t / unit)
        mapped = model.fit_transform(x, y, sample_domain=domain)

        def target(rows: Any) -> Any:
            return model.transform(rows / unit, sample_domain=np.full(len(rows), TARGET))

        def notes() -> dict[str, Any]:
            if kind is TransferComponentAnalysisAdapter and matched:
                gamma = 1 / x.shape[1]
                w = model.eigvects_
                return {"criterion": trace_criterion(x_s, x_t, x * 1.0, gamma, w, 1.0)}
            found = getattr(model, "ot_transport_", None)
            plan = getattr(found, "coupling_", None)
            return {} if plan is None else transport_notes(plan, found.cost_)

        return Outcome(source=mapped[: len(x_s)], target=target, notes=notes)

    return method


def jdot(x_s: Any, y_s: Any, x_t: Any, *, unit: Any = None, **settings: Any) -> Outcome:
    by = scale_of(x_s, x_t, unit)
    model = JDOTClassifier(LogisticRegression(max_iter=1000), **settings)
    x, y, domain = joined(x_s / by, y_s, x_t / by)
    model.fit(x, y, sample_domain=domain)
    notes = {"iterations": len(model.lst_loss_ot_)}
    return Outcome(predict=lambda rows: model.predict(rows / by), notes=lambda: notes)


def label_propagation(x_s: Any, y_s: Any, x_t: Any, *, unit: Any = None, **given: Any) -> Outcome:
    """Return target rows with the labels that reached them; heads are fitted on these."""
    x, y, domain = joined(x_s, y_s, x_t)
    by = scale_of(x_s, x_t, unit)
    _, labels, _ = OTLabelPropAdapter(**given).fit_transform(x / by, y, sample_domain=domain)
    return Outcome(source=x_t, y=labels[domain < 0].astype(np.int64))


def scale_of(x_s: Any, x_t: Any, unit: str | None) -> float:
    """Return what to divide rows by.

    ``distance``: the median distance becomes 1. ``kernel``: the Gaussian kernel of width 1 / d,
    which cannot be set, has the median distance for bandwidth.
    """
    if unit is None:
        return 1.0
    rows = np.concatenate([x[:: max(1, len(x) // 500)] for x in (x_s, x_t)]).astype(np.float64)
    square = np.square(rows).sum(1)
    apart = square[:, None] + square - 2 * rows @ rows.T
    found = float(np.median(apart[np.triu_indices(len(rows), 1)]))
    return float(np.sqrt(found if unit == "distance" else 2 * found / x_s.shape[1])) or 1.0


linot, coral = adapter(LinearOTMappingAdapter), adapter(CORALAdapter)
sa, tca = adapter(SubspaceAlignmentAdapter), adapter(TransferComponentAnalysisAdapter)
tjm, emd = adapter(TransferJointMatchingAdapter), adapter(OTMappingAdapter)
sinkhorn = adapter(EntropicOTMappingAdapter)
class_reg = adapter(ClassRegularizerOTMappingAdapter)
MEDIAN = {"norm": "median", "reg_e": 0.1}
PIVOTS = {"norm": "median", "max_iter": 2_000_000}
# ClassRegularizerOTMappingAdapter takes the regulariser's name for norm: rows are scaled instead.
CLASSES = {"reg_e": 0.1, "unit": "distance"}

METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "coral": {
        "default": (coral, {}),
        "matched": (coral, {"reg": 0.1}),
        "scaled": (coral, {"reg": 0.1}),
    },
    "sa": {
        "default": (sa, {}),
        "matched": (sa, {"n_components": 20}),
        "scaled": (sa, {"n_components": 20}),
    },
    "tca": {
        "default": (tca, {}),
        "matched": (tca, {"n_components": 20, "matched": True}),
        "scaled": (tca, {"n_components": 30, "unit": "kernel"}),
    },
    "tjm": {"default": (tjm, {}), "scaled": (tjm, {"n_components": 30, "unit": "kernel"})},
    "linot": {"default": (linot, {}), "matched": (linot, {}), "scaled": (linot, {"reg": 0.1})},
    "emd": {"default": (emd, {}), "matched": (emd, PIVOTS), "scaled": (emd, PIVOTS)},
    "sinkhorn": {
        "default": (sinkhorn, {}),
        "matched": (sinkhorn, {**MEDIAN, "matched": True}),
        "scaled": (sinkhorn, MEDIAN),
    },
    "lpl1": {"default": (class_reg, {}), "scaled": (class_reg, CLASSES)},
    "l1l2": {
        "default": (class_reg, {"norm": "l1l2"}),
        "scaled": (class_reg, {**CLASSES, "norm": "l1l2"}),
    },
    "jdot": {
        "default": (jdot, {}),
        "matched": (jdot, {"unit": "distance", "n_iter_max": 10, "tol": 1e-3}),
        "scaled": (jdot, {"unit": "distance"}),
    },
    "label-propagation": {
        "default": (label_propagation, {}),
        "scaled": (label_propagation, {"unit": "distance", "reg": 0.1}),
    },
}
