"""A linear map in front of a head: what most shallow alignment methods deploy."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.artefact import Part, TorchAdapted, build_part, describe_part


class MappedPart(Part):
    """head((x - shift) * scale @ matrix); no matrix stands for the identity."""

    def __init__(self, head: Part, features: int, mapped: int) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("matrix", torch.zeros(features, mapped) if mapped else None)
        self.shift: Tensor
        self.scale: Tensor
        self.matrix: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        z = (x - self.shift) * self.scale
        out: Tensor = self.head(z if self.matrix is None else z @ self.matrix)
        return out

    def settings(self) -> dict[str, Any]:
        return {
            "head": describe_part(self.head),
            "features": len(self.shift),
            "mapped": 0 if self.matrix is None else self.matrix.shape[1],
        }

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), settings["features"], settings["mapped"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, len(self.shift))}, {"x": {0: "n"}}


def mapped(
    adapted: TorchAdapted,
    *,
    shift: NDArray[Any],
    scale: NDArray[Any],
    matrix: NDArray[Any] | None = None,
) -> TorchAdapted:
    """Put the map of the target, (x - shift) * scale @ matrix, in front of a fitted learner."""
    columns = 0 if matrix is None else matrix.shape[1]
    part = MappedPart(adapted.part, len(shift), columns)
    part.shift = torch.tensor(np.asarray(shift, np.float32))
    part.scale = torch.tensor(np.asarray(scale, np.float32))
    if matrix is not None:
        part.matrix = torch.tensor(np.asarray(matrix, np.float32))
    return TorchAdapted(part=part, schema=adapted.schema, diagnostics=adapted.diagnostics)
