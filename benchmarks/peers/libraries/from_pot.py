"""Methods of POT: its transports for domain adaptation.

Each transport object is made anew: ``fit`` changes ``limit_max`` of the one it is called on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ot
from ot import da

from libraries.outcome import Outcome, transport_notes

MEDIAN = {"norm": "median", "reg_e": 0.1}
CLASSES = {**MEDIAN, "reg_cl": 0.1}
PIVOTS = 2_000_000


def transport(kind: Any, *, tight: bool = True, linear: bool = False, **given: Any) -> Any:
    """Return the method of one class; not ``tight``: stop where ours does, 1e-5 in total."""

    def method(x_s: Any, y_s: Any, x_t: Any, **settings: Any) -> Outcome:
        if settings.pop("matched", False):
            # POT measures the columns' error in the Euclidean norm; equal errors of total 1e-5.
            settings["tol"] = 1e-5 / np.sqrt(len(x_t))
            if kind is da.SinkhornLpl1Transport:  # per unit of mass, ours per share of a row
                settings["reg_cl"] /= np.sqrt(len(x_t))
        model = kind(**given, **settings)
        model.fit(Xs=x_s, ys=None if linear else y_s, Xt=x_t)

        def notes() -> dict[str, Any]:
            return {} if linear else transport_notes(model.coupling_, model.cost_)

        return Outcome(
            source=model.transform(Xs=x_s), new=lambda x: model.transform(Xs=x), notes=notes
        )

    return method


def source_only(x_s: Any, y_s: Any, x_t: Any) -> Outcome:
    return Outcome(source=x_s)


linear = transport(da.LinearTransport, linear=True)
emd = transport(da.EMDTransport)
sinkhorn = transport(da.SinkhornTransport)
lpl1 = transport(da.SinkhornLpl1Transport)
l1l2 = transport(da.SinkhornL1l2Transport)
unbalanced = transport(da.UnbalancedSinkhornTransport)
laplace = transport(da.EMDLaplaceTransport)

METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "source-only": {"default": (source_only, {})},
    "linot": {"default": (linear, {}), "matched": (linear, {}), "scaled": (linear, {"reg": 0.1})},
    "emd": {
        "default": (emd, {}),
        "matched": (emd, {"norm": "median", "max_iter": PIVOTS}),
        "scaled": (emd, {"norm": "median", "max_iter": PIVOTS}),
    },
    "sinkhorn": {
        "default": (sinkhorn, {}),
        "matched": (sinkhorn, {**MEDIAN, "method": "sinkhorn", "matched": True}),
        "scaled": (sinkhorn, MEDIAN),
    },
    "lpl1": {
        "default": (lpl1, {}),
        "matched": (lpl1, {**CLASSES, "matched": True}),
        "scaled": (lpl1, CLASSES),
    },
    "l1l2": {"default": (l1l2, {}), "scaled": (l1l2, CLASSES)},
    "unbalanced": {
        "default": (unbalanced, {}),
        "scaled": (unbalanced, {**MEDIAN, "reg_m": 1.0, "max_iter": 1000}),
    },
    "laplace": {"default": (laplace, {}), "scaled": (laplace, {"norm": "median"})},
}
VERSION = ot.__version__
