"""A classifier whose probabilities are calibrated and moved to other class shares.

M. Saerens, P. Latinne, C. Decaestecker, Adjusting the outputs of a classifier to new a priori
probabilities, Neural Computation 14, 2002; bias-corrected temperature scaling: A. Alexandari,
A. Kundaje, A. Shrikumar, Maximum likelihood with bias-corrected calibration is hard-to-beat at
label shift adaptation, ICML 2020, arXiv:1901.06852.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus.artefact import Part, build_part, describe_part
from isthmus.learners.linear import ABSENT

Array = NDArray[np.float64]
LEAST = 1e-12  # a probability below this one counts as it
STEEPEST = 20.0  # the largest slope: held-out rows that are all right would have it infinite


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """softmax(slope ln p + bias): the slope is 1 / temperature."""

    slope: float
    bias: Array  # (classes,)

    def apply(self, p: NDArray[Any]) -> Array:
        """Return calibrated probabilities, float64 (n, classes)."""
        from scipy.special import softmax

        return np.asarray(softmax(self.slope * _log(p) + self.bias, axis=1))


def calibrate(
    p: NDArray[Any], y: NDArray[Any], how: Literal["none", "temperature", "bias-corrected"]
) -> Calibration:
    """Fit a calibration to held-out probabilities p (n, classes) and class ids y (n,).

    It minimises the log loss, which is convex in slope and biases, plus (|bias|² + (slope - 1)²)
    / 2n, which only few rows feel. A class without rows keeps the bias 0.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, k = p.shape
    logs, biased = _log(p), np.zeros(k, bool)
    if how == "none":
        return Calibration(slope=1.0, bias=np.zeros(k))
    if how == "bias-corrected":
        biased[np.unique(y)] = True
    hot = np.eye(k)[y]

    def loss(v: Array) -> tuple[float, Array]:
        bias = np.zeros(k)
        bias[biased] = v[1:]
        z = log_softmax(v[0] * logs + bias, axis=1)
        error = (np.exp(z) - hot) / n
        away = v - np.append(1.0, np.zeros(len(v) - 1))
        gradient = np.append((error * logs).sum(), error.sum(0)[biased]) + away / n
        return float(-(z * hot).sum() / n + away @ away / (2 * n)), gradient

    start = np.append(1.0, np.zeros(int(biased.sum())))
    bounds = [(1 / STEEPEST, STEEPEST), *[(None, None)] * int(biased.sum())]
    options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-8}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    bias = np.zeros(k)
    bias[biased] = found[1:]
    return Calibration(slope=float(found[0]), bias=bias)


class PriorCorrectedPart(Part):
    """The probabilities of another part, calibrated, times a ratio per class, renormalised."""

    def __init__(self, head: Part, width: int) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offset", torch.zeros(width))
        self.slope: Tensor
        self.offset: Tensor

    @classmethod
    def of(cls, head: Part, calibration: Calibration, ratio: NDArray[Any]) -> PriorCorrectedPart:
        """Take what each class is multiplied by, (classes,): target share / source share."""
        part = PriorCorrectedPart(head, len(ratio))
        positive = ratio > 0
        logs = np.where(positive, np.log(np.where(positive, ratio, 1.0)), ABSENT)
        part.slope = torch.tensor([calibration.slope], dtype=torch.float32)
        part.offset = torch.tensor(calibration.bias + logs, dtype=torch.float32)
        return part

    def forward(self, x: Tensor) -> Tensor:
        return self._corrected(self.head(x))

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        features, p = self.head.observe(*inputs)
        return features, self._corrected(p)

    def _corrected(self, p: Tensor) -> Tensor:
        return (self.slope * p.clamp_min(LEAST).log() + self.offset).softmax(dim=1)

    def settings(self) -> dict[str, Any]:
        return {"head": describe_part(self.head), "width": len(self.offset)}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), settings["width"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.head.example()

    def preprocessing(self) -> dict[str, Any]:
        return self.head.preprocessing()


def _log(p: NDArray[Any]) -> Array:
    return np.asarray(np.log(np.maximum(np.asarray(p, np.float64), LEAST)))
