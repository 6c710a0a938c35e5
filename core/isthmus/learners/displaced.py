"""Rows moved as their nearest known rows were: a map that was only given at those rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus import rows
from isthmus.artefact import Part, build_part, describe_part
from isthmus.learners.mapped import FrontPart
from isthmus.learners.neighbours import NeighboursPart

KNOWN = 4000  # rows kept at most: they are looked up, and held in memory, as dense float32


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

    Of more than ``KNOWN`` rows the first in canonical order are kept. Memory O(min(n, KNOWN) d).
    """
    kept = rows.canonical_order(x)[:KNOWN]
    start = np.asarray(rows.dense(x[kept]), np.float64)
    step = np.asarray(rows.dense(moved[kept]), np.float64) - start
    centre = start.mean(0)
    n, d = start.shape
    field = NeighboursPart(n, d, width=d, k=1)
    field.rows, field.centre, field.votes = _float(start - centre), _float(centre), _float(step)
    return DisplacedPart(head, field)


def _float(x: NDArray[np.float64]) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)
