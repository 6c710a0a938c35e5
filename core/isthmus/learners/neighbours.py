"""k nearest neighbours (Euclidean) as one matrix product, so that it exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from isthmus import rows
from isthmus.artefact import Part, TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import BadInput
from isthmus.learners.learner import Learner, canonical_rows
from isthmus.strategy import Run


class NeighboursPart(Part):
    """Weighted vote (or mean) of the k nearest stored rows."""

    def __init__(self, n: int, features: int, width: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("rows", torch.zeros(n, features))
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("votes", torch.zeros(n, width))  # weight times one-hot or value
        self.register_buffer("weight", torch.ones(n))
        self.rows: Tensor
        self.centre: Tensor
        self.votes: Tensor
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # |x|² is the same for every stored row; centring keeps the products small in float32.
        similarity = torch.addmm(-self.rows.square().sum(1), 2 * (x - self.centre), self.rows.T)
        if self.k == 1:  # several times faster than sorting, and of equals the first one
            nearest = similarity.max(1).indices
            return self.votes[nearest] / self.weight[nearest, None]
        nearest = similarity.topk(self.k, dim=1).indices
        return self.votes[nearest].sum(1) / self.weight[nearest].sum(1, keepdim=True)

    def settings(self) -> dict[str, Any]:
        n, features = self.rows.shape
        return {"n": n, "features": features, "width": self.votes.shape[1], "k": self.k}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings)

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.rows.shape[1])}, {"x": {0: "n"}}


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours(Learner):
    """k-NN; a row of weight zero is left out. Cost: n d memory, n d per prediction."""

    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadInput(f"nearest neighbours need k >= 1, got {self.k}")

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        # Of rows equally near the first stored one counts: it must not be the caller's first.
        x, y, weight = canonical_rows(rows.dense(x), y, weight)
        w = np.ones(len(x)) if weight is None else weight
        votes = y if schema.is_regression else np.eye(schema.width)[y]
        centre = x.mean(0, dtype=np.float64)
        part = NeighboursPart(len(x), x.shape[1], schema.width, min(self.k, len(x)))
        part.rows, part.centre = _float(x - centre), _float(centre)
        part.votes, part.weight = _float(votes * w[:, None]), _float(w)
        return TorchAdapted(part=part, schema=schema)


def _float(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)
