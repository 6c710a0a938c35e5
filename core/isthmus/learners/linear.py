"""Linear models: logistic regression, ridge regression, and the one of them that a task asks for.

Columns are scaled by the (weighted) training rows (see ``scaling.scales``) and the scaling is
folded into the weights. A CSR matrix is used as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus import rows
from isthmus.artefact import Part, TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import BadInput
from isthmus.learners.learner import Learner, weighted_rows
from isthmus.learners.penalty import choose_penalty, draw_folds
from isthmus.learners.scaling import scales
from isthmus.strategy import Run

ABSENT = -1e3  # the logit of a class without a training row: its probability is 0 in float32
ITERATIONS = 3000


class LinearPart(Part):
    """x @ weight.T + bias, then softmax for classes."""

    def __init__(self, features: int, width: int, classes: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, features))
        self.bias = nn.Parameter(torch.zeros(width))
        self.classes = classes

    @classmethod
    def of(cls, w: NDArray[Any], b: NDArray[Any], classes: bool) -> LinearPart:
        """Take w (d, k) and b (k,)."""
        features, width = w.shape
        part = LinearPart(features, width, classes)
        part.weight.data = torch.tensor(np.ascontiguousarray(w.T), dtype=torch.float32)
        part.bias.data = torch.tensor(b, dtype=torch.float32)
        return part

    def forward(self, x: Tensor) -> Tensor:
        z = F.linear(x, self.weight, self.bias)
        return z.softmax(dim=1) if self.classes else z

    def settings(self) -> dict[str, Any]:
        width, features = self.weight.shape
        return {"features": features, "width": width, "classes": self.classes}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings)

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.weight.shape[1])}, {"x": {0: "n"}}


@dataclass(frozen=True, kw_only=True)
class Logistic(Learner):
    """Multinomial logistic regression, C = 1 / L2 penalty on standardised columns.

    ``C=None`` takes the best of 10, 1, ... 1e-4 by five-fold cross-validation on the rows given.
    """

    outputs: ClassVar[frozenset[str]] = frozenset({"classes"})

    C: float | None = 1.0

    def __post_init__(self) -> None:
        if self.C is not None and not self.C > 0:
            raise BadInput(f"logistic regression needs C > 0, got {self.C}")

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        from sklearn import config_context
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        def model(penalty: float) -> Any:
            return LogisticRegression(C=1 / penalty, max_iter=ITERATIONS, tol=1e-6)

        x, y, weight = weighted_rows(x, y, weight)
        fold = None if self.C else draw_folds(x, y, True, run)
        # Scikit-learn looks for the classes three times: bytes are found sooner than words.
        y = y.astype(np.min_scalar_type(schema.width))
        x, mean, scale = _standardised(x, weight, schema)
        w = np.zeros((x.shape[1], schema.width))
        b = np.full(schema.width, ABSENT)
        seen = np.flatnonzero(np.bincount(y))
        b[seen[0]] = 0.0
        penalty = 1 / (self.C or 1.0)
        if len(seen) > 1:
            x, turned = narrow(x)
            # What rows and settings hold was checked before: a second look is a tenth of a fit.
            trusted = config_context(assume_finite=True, skip_parameter_validation=True)
            with trusted, warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                if fold is not None:
                    penalty = choose_penalty(model, x, y, weight, fold)
                fitted = model(penalty).fit(x, y, sample_weight=weight)
            if fitted.n_iter_.max() >= ITERATIONS:
                run.say(f"logistic regression stopped after {ITERATIONS} iterations")
            # For two classes scikit-learn keeps one column: the other's logit is 0.
            columns = seen[1:] if len(seen) == 2 else seen
            w[:, columns], b[columns] = turned(fitted.coef_.T), fitted.intercept_
        return _folded(w, b, mean, scale, schema, None if fold is None else penalty)


@dataclass(frozen=True, kw_only=True)
class Ridge(Learner):
    """Ridge regression with L2 penalty ``alpha`` on standardised columns; None as in Logistic."""

    outputs: ClassVar[frozenset[str]] = frozenset({"values"})

    alpha: float | None = 1.0

    def __post_init__(self) -> None:
        if self.alpha is not None and not self.alpha > 0:
            raise BadInput(f"ridge regression needs alpha > 0, got {self.alpha}")

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        from sklearn.linear_model import Ridge as Model

        def model(penalty: float) -> Any:
            solver = "sparse_cg" if rows.is_sparse(x) else "cholesky"
            return Model(alpha=penalty, solver=solver, tol=1e-8)

        x, y, weight = weighted_rows(x, np.asarray(y, np.float64), weight)
        fold = None if self.alpha else draw_folds(x, y, False, run)
        x, mean, scale = _standardised(x, weight, schema)
        penalty = self.alpha or 1.0
        if fold is not None:
            penalty = choose_penalty(model, x, y, weight, fold)
        fitted = model(penalty).fit(x, y, sample_weight=weight)
        w = np.asarray(fitted.coef_, np.float64).reshape(schema.width, -1).T
        b = np.atleast_1d(fitted.intercept_)
        return _folded(w, b, mean, scale, schema, None if fold is None else penalty)


@dataclass(frozen=True, kw_only=True)
class Linear(Learner):
    """Logistic regression for classes, ridge regression for values; ``penalty`` is the L2 one.

    ``penalty=None`` takes the best of 0.1, 1, ... 10,000 by five-fold cross-validation on the rows
    given: 31 fits instead of one.
    """

    penalty: float | None = 1.0

    def __post_init__(self) -> None:
        if self.penalty is not None and not self.penalty > 0:
            raise BadInput(f"a linear model needs penalty > 0, got {self.penalty}")

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        p = self.penalty
        learner = Ridge(alpha=p) if schema.is_regression else Logistic(C=p and 1 / p)
        return learner.fit(x, y, weight, schema, run)


def _standardised(
    x: Any, weight: Any, schema: Schema
) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    if rows.is_sparse(x):
        return x, np.zeros(x.shape[1]), np.ones(x.shape[1])
    mean, scale = scales(x, weight, named=bool(schema.features))
    x = np.array(x, np.float64)  # a copy, which is then changed in place: it may be large
    x -= mean
    x *= 1 / scale
    return x, mean, scale


def narrow(x: Any) -> tuple[Any, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return rows (n, r <= n) with the same products as wide ones, and what brings weights back.

    An L2 penalty asks for weights in the span of the rows, so that rotating the rows into it
    changes nothing but the cost of each iteration: O(n²) instead of O(n d).
    """
    if rows.is_sparse(x) or x.shape[1] <= 2 * len(x):
        return x, lambda w: w
    values, vectors = np.linalg.eigh(x @ x.T)
    kept = values > 1e-12 * values[-1]
    if not kept.any():
        return x, lambda w: w
    length = np.sqrt(values[kept])
    vectors = vectors[:, kept]
    return vectors * length, lambda w: x.T @ (vectors @ (w / length[:, None]))


def _folded(
    w: Any, b: Any, mean: Any, scale: Any, schema: Schema, chosen: float | None
) -> TorchAdapted:
    w = w / scale[:, None]
    part = LinearPart.of(w, b - mean @ w, not schema.is_regression)
    return TorchAdapted(
        part=part, schema=schema, diagnostics={} if chosen is None else {"penalty": chosen}
    )
