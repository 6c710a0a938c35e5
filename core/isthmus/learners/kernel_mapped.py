"""Steps in front of a head that are not linear: rows of length one, and kernels with landmarks.

Together with ``mapped.Map`` they make up what kernel methods deploy: ``chained`` puts a sequence
of steps in front of a fitted learner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus import rows
from isthmus.artefact import Part, TorchAdapted, build_part, describe_part
from isthmus.learners.mapped import FrontPart

TINY = 1e-12  # below any row's length but that of zeros
LEAST = 1e-37  # below any value that float32 holds in full
CHUNK = 2**19  # kernel values worked on at once: they stay in the cache


class Step(Protocol):
    """What can be put in front of a head: ``Map``, ``UnitRows``, ``Kernel``."""

    def before(self, head: Part) -> Part: ...


class UnitRowsPart(FrontPart):
    """head(x / |x|), row by row."""

    def __init__(self, head: Part, features: int) -> None:
        super().__init__()
        self.head = head
        self.features = features

    def map(self, x: Tensor) -> Tensor:
        x = x / x.abs().amax(1, keepdim=True).clamp_min(LEAST)  # or squares leave float32
        return x / x.square().sum(1, keepdim=True).sqrt().clamp_min(TINY)

    def settings(self) -> dict[str, Any]:
        return {"head": describe_part(self.head), "features": self.features}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), settings["features"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.ones(2, self.features)}, {"x": {0: "n"}}


class KernelPart(FrontPart):
    """head(exp(-|x - landmark|² / (2 bandwidth²))), one column per landmark."""

    def __init__(self, head: Part, landmarks: int, features: int) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("landmarks", torch.zeros(landmarks, features))
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("gamma", torch.ones(1))
        self.landmarks: Tensor
        self.centre: Tensor
        self.gamma: Tensor

    def map(self, x: Tensor) -> Tensor:
        # Centring keeps the products small in float32.
        x = x - self.centre
        squares = x.square().sum(1, keepdim=True) + self.landmarks.square().sum(1)
        return torch.exp(-self.gamma * (squares - 2 * x @ self.landmarks.T).clamp_min(0))

    def settings(self) -> dict[str, Any]:
        landmarks, features = self.landmarks.shape
        return {"head": describe_part(self.head), "landmarks": landmarks, "features": features}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), settings["landmarks"], settings["features"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.landmarks.shape[1])}, {"x": {0: "n"}}


@dataclass(frozen=True, kw_only=True)
class UnitRows:
    """Divide each row by its Euclidean length."""

    features: int

    def before(self, head: Part) -> UnitRowsPart:
        return UnitRowsPart(head, self.features)


@dataclass(frozen=True, eq=False, kw_only=True)
class Kernel:
    """Gaussian kernel values between rows (n, d) and landmarks (m, d): columns (n, m)."""

    landmarks: NDArray[Any]
    bandwidth: float

    def before(self, head: Part) -> KernelPart:
        landmarks = np.asarray(self.landmarks, np.float64)
        centre = landmarks.mean(0)
        part = KernelPart(head, *landmarks.shape)
        part.landmarks = torch.tensor(landmarks - centre, dtype=torch.float32)
        part.centre = torch.tensor(centre, dtype=torch.float32)
        part.gamma = torch.tensor([1 / (2 * self.bandwidth**2)], dtype=torch.float32)
        return part

    def columns(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the kernel values (n, m) in float64; O(n m d) time."""
        centre = self.landmarks.mean(0)
        a, b = x - centre, (self.landmarks - centre) / self.bandwidth**2
        # -|a - b|²/2 as one product: the lengths are two more columns.
        left = np.column_stack([a, np.square(a).sum(1), np.ones(len(a))])
        length = np.square(b).sum(1) * self.bandwidth**2
        right = np.column_stack([b, np.full(len(b), -0.5 / self.bandwidth**2), -0.5 * length])
        out = np.empty((len(a), len(b)))
        for part in rows.chunks(len(a), max(1, CHUNK // max(1, len(b)))):
            piece = np.matmul(left[part], right.T, out=out[part])
            np.exp(np.minimum(piece, 0, out=piece), out=piece)
        return out


def chained(
    adapted: TorchAdapted, *, target: Sequence[Step], source: Sequence[Step] | None = None
) -> TorchAdapted:
    """Put steps in front of a fitted learner, the first one first; none for ``source``: the same.

    The learner's schema is kept; a caller whose instances have another shape replaces it.
    """
    return dataclasses.replace(
        adapted,
        part=_stack(adapted.part, target),
        source_part=None if source is None else _stack(adapted.part, source),
    )


def _stack(head: Part, steps: Sequence[Step]) -> Part:
    for step in reversed(steps):
        head = step.before(head)
    return head
