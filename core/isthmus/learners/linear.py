"""Linear models: logistic regression, ridge regression, and the one of them that a task asks for.

Columns are standardised by the (weighted) training rows and the scaling is folded into the
weights, so a change of units changes nothing. A CSR matrix is used as it is.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus import rows
from isthmus.artefact import Part, TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.learners.learner import Learner
from isthmus.strategy import Run

ABSENT = -1e3  # the logit of a class without a training row: its probability is 0 in float32


class LinearPart(Part):
    """x @ w + b, then softmax for classes."""

    def __init__(self, features: int, width: int, classes: bool) -> None:
        super().__init__()
        # Without the random initialisation, which would move the caller's random state.
        self.layer = nn.utils.skip_init(nn.Linear, features, width)
        self.classes = classes

    @classmethod
    def of(cls, w: NDArray[Any], b: NDArray[Any], classes: bool) -> Self:
        """Take w (d, k) and b (k,)."""
        part = cls(*w.shape, classes)
        part.layer.weight.data = torch.tensor(np.ascontiguousarray(w.T), dtype=torch.float32)
        part.layer.bias.data = torch.tensor(b, dtype=torch.float32)
        return part

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.layer(x)
        return z.softmax(dim=1) if self.classes else z

    def settings(self) -> dict[str, Any]:
        shape = {"features": self.layer.in_features, "width": self.layer.out_features}
        return {**shape, "classes": self.classes}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings)

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.layer.in_features)}, {"x": {0: "n"}}


@dataclass(frozen=True, kw_only=True)
class Logistic(Learner):
    """Multinomial logistic regression, C = 1 / L2 penalty on standardised columns."""

    outputs: ClassVar[frozenset[str]] = frozenset({"classes"})

    C: float = 1.0

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        x, mean, scale = _standardise(x, weight)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = LogisticRegression(C=self.C, max_iter=3000, tol=1e-6)
            model.fit(x, y, sample_weight=weight)
        if caught:
            run.say(f"logistic regression stopped at {model.n_iter_.max()} iterations")
        w = np.zeros((x.shape[1], schema.width))
        b = np.full(schema.width, ABSENT)
        seen = model.classes_
        if len(seen) == 2:  # scikit-learn keeps one column for two classes
            b[seen[0]] = 0.0
            w[:, seen[1]], b[seen[1]] = model.coef_[0], model.intercept_[0]
        else:
            w[:, seen], b[seen] = model.coef_.T, model.intercept_
        return _folded(w, b, mean, scale, schema)


@dataclass(frozen=True, kw_only=True)
class Ridge(Learner):
    """Ridge regression with L2 penalty ``alpha`` on standardised columns."""

    outputs: ClassVar[frozenset[str]] = frozenset({"values"})

    alpha: float = 1.0

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        from sklearn.linear_model import Ridge as Model

        x, mean, scale = _standardise(x, weight)
        solver = "sparse_cg" if rows.is_sparse(x) else "cholesky"
        model = Model(alpha=self.alpha, solver=solver, tol=1e-8).fit(x, y, sample_weight=weight)
        w = np.asarray(model.coef_, np.float64).reshape(schema.width, -1).T
        return _folded(w, np.atleast_1d(model.intercept_), mean, scale, schema)


@dataclass(frozen=True, kw_only=True)
class Linear(Learner):
    """Logistic regression for classes, ridge regression for values; ``penalty`` is the L2 one."""

    penalty: float = 1.0

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        p = self.penalty
        learner = Ridge(alpha=p) if schema.is_regression else Logistic(C=1 / p)
        return learner.fit(x, y, weight, schema, run)


def _standardise(x: Any, weight: Any) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    if rows.is_sparse(x):
        return x, np.zeros(x.shape[1]), np.ones(x.shape[1])
    x = np.asarray(x, np.float64)
    mean = np.average(x, axis=0, weights=weight)
    scale = np.sqrt(np.average(np.square(x - mean), axis=0, weights=weight))
    scale[scale <= 1e-12 * np.abs(x).max(initial=1.0)] = 1.0  # a constant column carries nothing
    return (x - mean) / scale, mean, scale


def _folded(w: Any, b: Any, mean: Any, scale: Any, schema: Schema) -> TorchAdapted:
    w = w / scale[:, None]
    return TorchAdapted(part=LinearPart.of(w, b - mean @ w, not schema.is_regression), schema=schema)
