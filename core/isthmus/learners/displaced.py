"""Rows moved as their nearest known rows were: a map that was only given at those rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus import rows
from isthmus.artefact import Part, build_part, describe_part
from isthmus.learners.mapped import FrontPart
from isthmus.learners.neighbours import NeighboursPart

KNOWN = 4000  # rows kept at most: they are looked up, and held in memory, as dense float32
VALUES = 2**24  # of those rows, at most


class DisplacedPart(FrontPart):
    """head(x + displacement of the known row nearest to x)."""

    def __init__(self, head: Part, field: NeighboursPart) -> None:
        super().__init__()
        self.head, self.field = head, field

    def map(self, x: Tensor) -> Tensor:
        moved: Tensor = x + self.field(x)
        return moved

    def settings(self) -> dict[str, Any]:
        return {"head": describe_part(self.head), "field": self.field.settings()}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), NeighboursPart.build(settings["field"]))

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.field.example()


def displaced(head: Part, x: Any, moved: Any) -> DisplacedPart:
    """Return the part for known rows ``x`` (n, d) that went to ``moved`` (n, d), arrays or CSR.

    The first ``KNOWN`` rows in canonical order are kept, or fewer where they are wide.
    """
    kept = rows.canonical_order(x)[: min(KNOWN, max(1, VALUES // x.shape[1]))]
    start, step = rows.dense(x[kept]), rows.dense(moved[kept])
    step = step - start
    centre = start.mean(0, dtype=np.float64).astype(np.float32)
    n, d = start.shape
    field = NeighboursPart(n, d, width=d, k=1)
    field.rows, field.centre, field.votes = map(torch.from_numpy, (start - centre, centre, step))
    return DisplacedPart(head, field)
