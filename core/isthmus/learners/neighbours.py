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
from isthmus.errors import UnsupportedTask
from isthmus.learners.learner import Learner
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
        similarity = 2 * (x - self.centre) @ self.rows.T - self.rows.square().sum(1)
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

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        x = rows.dense(x)
        w = np.ones(len(x), np.float32) if weight is None else np.asarray(weight, np.float32)
        kept = np.flatnonzero(w > 0)
        if not len(kept):
            raise UnsupportedTask("NearestNeighbours: every row has weight zero")
        votes = y if schema.is_regression else np.eye(schema.width, dtype=np.float32)[y]
        centre = x[kept].mean(0)
        part = NeighboursPart(len(kept), x.shape[1], schema.width, min(self.k, len(kept)))
        part.rows, part.centre = torch.tensor(x[kept] - centre), torch.tensor(centre)
        part.votes, part.weight = torch.tensor(votes[kept] * w[kept, None]), torch.tensor(w[kept])
        return TorchAdapted(part=part, schema=schema)
