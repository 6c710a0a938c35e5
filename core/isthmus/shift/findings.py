"""What an inspection found, as one value with a JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.shift.advice import Advice
from isthmus.shift.columns import Columns
from isthmus.shift.concept import Concept
from isthmus.shift.correspondence import Correspondence
from isthmus.shift.coverage import Coverage
from isthmus.shift.distances import Distance
from isthmus.shift.priors import Priors
from isthmus.shift.two_sample import TwoSample


@dataclass(frozen=True)
class Rows:
    """Instances that were looked at, and of how many."""

    used: int
    total: int


@dataclass(frozen=True)
class Nearness:
    """One of several sources: its distance to the target; None where too few rows were drawn."""

    name: str
    rows: int
    mmd: float | None
    a_distance: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Shift:
    """Evidence on the shift from the sources, pooled, to the target.

    ``p`` is the chance of as strong a sign of a shift from any of the tests, were there none.
    """

    source: str
    target: str
    kind: str
    classes: tuple[str, ...]
    source_rows: Rows
    target_rows: Rows
    read_as: str
    coordinates: int
    kept: float
    seed: int
    shown: bool
    p: float
    domains: TwoSample
    distances: dict[str, Distance]
    sources: tuple[Nearness, ...]  # the nearest first; empty for one source
    priors: Priors | None  # None in regression
    concept: Concept | None  # None without support
    columns: Columns
    correspondence: Correspondence | None  # None: too few columns
    coverage: Coverage
    covariate: str  # "shown" | "none shown" | "explained by class shares"
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    scatter: tuple[NDArray[np.float64], NDArray[np.float64]]  # (n, 2) of source and of target
    scatter_kept: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without the scatter's points."""
        measured = {
            name: {"value": m.value, "null": m.null, "ratio": m.ratio}
            for name, m in self.distances.items()
        }
        d = self.domains
        ratio = d.a_distance / d.a_chance if d.a_chance else None
        a = {"value": d.a_distance, "null": d.a_chance, "ratio": ratio}
        return {
            "source": self.source,
            "target": self.target,
            "kind": self.kind,
            "rows": {"source": asdict(self.source_rows), "target": asdict(self.target_rows)},
            "read_as": self.read_as,
            "coordinates": self.coordinates,
            "kept": self.kept,
            "seed": self.seed,
            "shift": {"shown": self.shown, "p": self.p},
            "domains": asdict(d),
            "size": {"a_distance": a, **measured},
            "sources": [asdict(s) for s in self.sources],
            "kinds": {
                "covariate": self.covariate,
                "label": "does not apply" if self.priors is None else self.priors.verdict,
                "concept": "unknown" if self.concept is None else self.concept.verdict,
            },
            "priors": None if self.priors is None else self._shares(self.priors),
            "concept": None if self.concept is None else asdict(self.concept),
            "columns": asdict(self.columns),
            "correspondence": None if self.correspondence is None else asdict(self.correspondence),
            "coverage": asdict(self.coverage),
            "advice": [asdict(advice) for advice in self.advice],
            "notes": list(self.notes),
        }

    def _shares(self, priors: Priors) -> dict[str, Any]:
        keys = ("source", "predicted", "target", "low", "high")
        values = asdict(priors)
        each = zip(*(values.pop(k) for k in keys), strict=True)
        shares = {
            c: dict(zip(keys, v, strict=True)) for c, v in zip(self.classes, each, strict=True)
        }
        return {"classes": shares, **values}
