"""A linear map in front of a head: what most shallow alignment methods deploy."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.artefact import Part, TorchAdapted, build_part, describe_part


class FrontPart(Part):
    """A map in front of ``head``. Subclasses define ``map`` and what writes it down."""

    head: Part

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Return what the head reads of instances x (n, d)."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.map(x))
        return out

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.head.observe(self.map(inputs[0]))


class MappedPart(FrontPart):
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

    def map(self, x: Tensor) -> Tensor:
        z = (x - self.shift) * self.scale
        return z if self.matrix is None else z @ self.matrix

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Map:
    """(x - shift) * scale @ matrix, for x (n, d); no matrix stands for the identity."""

    shift: NDArray[Any]  # (d,)
    scale: NDArray[Any]  # (d,)
    matrix: NDArray[Any] | None = None  # (d, mapped)

    def before(self, head: Part) -> MappedPart:
        """Return the part that maps, then does as ``head``."""
        part = MappedPart(head, len(self.shift), 0 if self.matrix is None else self.matrix.shape[1])
        part.shift = torch.tensor(np.asarray(self.shift, np.float32))
        part.scale = torch.tensor(np.asarray(self.scale, np.float32))
        if self.matrix is not None:
            part.matrix = torch.tensor(np.asarray(self.matrix, np.float32))
        return part


def mapped(adapted: TorchAdapted, *, target: Map, source: Map | None = None) -> TorchAdapted:
    """Put the map of the target in front of a fitted learner; none for ``source``: the same."""
    return TorchAdapted(
        part=target.before(adapted.part),
        schema=adapted.schema,
        diagnostics=adapted.diagnostics,
        source_part=None if source is None else source.before(adapted.part),
    )
