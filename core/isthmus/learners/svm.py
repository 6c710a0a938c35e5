"""Support vector machines with calibrated scores.

C. Cortes, V. Vapnik, Support-vector networks, Machine Learning 20, 1995; one class against the
rest: R. Rifkin, A. Klautau, In defense of one-vs-all classification, JMLR 5, 2004; scores held out
in three folds: J. Platt, Probabilistic outputs for support vector machines, 1999; one temperature:
C. Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599; more rows:
C. Williams, M. Seeger, Using the Nyström method to speed up kernel machines, NeurIPS 2000.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import BadInput
from isthmus.learners.kernel_mapped import Kernel, Step, chained
from isthmus.learners.learner import Learner, canonical_rows
from isthmus.learners.linear import ABSENT, LinearPart
from isthmus.learners.mapped import Map
from isthmus.learners.scaling import moments, scales
from isthmus.learners.sharpness import sharpness
from isthmus.strategy import Run

Array = NDArray[np.float64]

LARGEST = 4000  # rows whose kernel values with each other are held at once
LANDMARKS = 500  # that stand for more rows
NULL = 1e-6  # share of the largest eigenvalue below which a direction of landmarks is rounding
FOLDS = 3
SHARPEST = 20.0  # what scores are multiplied with at most
TOLERANCE, STEPS = 1e-4, 10_000  # of the solvers
EPSILON = 0.1  # error that costs nothing, in deviations of the output


@dataclass(frozen=True, kw_only=True)
class SVM(Learner):
    """A machine for each class against the rest, or for each output.

    The class with the largest score wins. softmax(score / temperature) are its probabilities, the
    temperature being the likeliest for scores held out in three folds. Columns are standardised;
    those of a CSR matrix are used as they are, like a linear model's (a Gaussian kernel makes them
    dense; settled with Amazon's target labels in view, its sources would have them standardised).
    Weights multiply C. Defaults are scikit-learn's: C = 1, and a Gaussian kernel of bandwidth √(d /
    2) deviations. The loss is hinge (of values: error beyond 0.1 deviations), the cost O(n²) to
    O(n³) per class and fold, the memory O(n²). Above 4,000 rows 500 landmarks, drawn by weight,
    stand for them (Nyström), the loss is squared and memory 4 kB a row. The loss of
    ``kernel=linear`` is squared too.
    """

    C: float = 1.0
    kernel: Literal["rbf", "linear"] = "rbf"

    def __post_init__(self) -> None:
        if not self.C > 0:
            raise BadInput(f"a support vector machine needs C > 0, got {self.C}")

    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        as_it_is = rows.is_sparse(x)
        x, y, weight = canonical_rows(rows.dense(x) if self.kernel == "rbf" else x, y, weight)
        w = np.ones(len(y)) if weight is None else weight
        fold = None if schema.is_regression else _folds(x, y)
        steps: list[Step] = []
        found: dict[str, Any] = {}
        if not as_it_is:
            mean, scale = scales(x, weight, named=bool(schema.features))
            x = (x - mean) / scale
            steps.append(Map(shift=mean, scale=1 / scale))
        elif self.kernel == "rbf":
            x = x.astype(np.float64)
        exact = self.kernel == "rbf" and len(y) <= LARGEST
        solver = _Solver(C=self.C, exact=exact, values=schema.is_regression, say=run.say)
        if exact:
            kernel = Kernel(landmarks=x, bandwidth=_bandwidth(x, w))
            coef, bias, more = _machines(solver, kernel.columns(x), y, w, fold, schema)
            vectors = (coef != 0).any(1)
            vectors[0] |= not vectors.any()  # a constant has none, a kernel needs one
            coef = coef[vectors]
            steps.append(dataclasses.replace(kernel, landmarks=x[vectors]))
            found["support_vectors"] = int(vectors.sum())
        else:
            if self.kernel == "rbf":
                run.say(f"{LANDMARKS} landmarks stand for the {len(y)} rows of the machine")
                landmarks, root = _landmarks(x, w, run)
                steps += [landmarks, root]
                x = _columns(landmarks, root, x)
                found = {"landmarks": LANDMARKS}
            coef, bias, more = _machines(solver, x, y, w, fold, schema)
        part = LinearPart.of(coef, bias, not schema.is_regression)
        adapted = TorchAdapted(part=part, schema=schema, diagnostics={"machine": {**found, **more}})
        return chained(adapted, target=steps)


@dataclass(frozen=True, kw_only=True)
class _Solver:
    C: float
    exact: bool  # columns are the kernel values of the rows with each other
    values: bool  # regression
    say: Callable[[str], None]

    def __call__(self, z: Any, t: Array, w: Array, train: NDArray[Any]) -> tuple[Array, float]:
        """Return weights (columns,) and bias for rows ``train`` of columns z and targets t."""
        from sklearn.exceptions import ConvergenceWarning

        model = self._model()
        inner = z[np.ix_(train, train)] if self.exact else z[train]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(inner, t[train], sample_weight=w[train])
        if caught:
            self.say(f"a support vector machine stopped after {STEPS} iterations")
        if not self.exact:
            return model.coef_.ravel(), float(np.ravel(model.intercept_)[0])
        out = np.zeros(z.shape[1])
        out[train[model.support_]] = model.dual_coef_.ravel()
        return out, float(model.intercept_[0])

    def _model(self) -> Any:
        from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

        if self.exact:
            loss = {"epsilon": EPSILON} if self.values else {}
            kind = SVR if self.values else SVC
            return kind(kernel="precomputed", C=self.C, tol=TOLERANCE, **loss)
        # Solved for its weights, not for those of the rows: there is nothing random about it.
        usual = {"C": self.C, "tol": TOLERANCE, "max_iter": STEPS, "dual": False}
        if self.values:
            return LinearSVR(epsilon=EPSILON, loss="squared_epsilon_insensitive", **usual)
        return LinearSVC(**usual)


def _machines(
    solver: _Solver, z: Any, y: Labels, w: Array, fold: Any, schema: Schema
) -> tuple[Array, Array, dict[str, float]]:
    """Return weights (columns, width), biases (width,) and what was found."""
    coef, bias = np.zeros((z.shape[1], schema.width)), np.full(schema.width, ABSENT)
    everything = np.arange(len(y))
    if fold is None:
        mean, spread = moments(y, w)
        for k, t in enumerate(((y - mean) / spread).T):
            coef[:, k], bias[k] = solver(z, t, w, everything)
        return coef * spread, bias * spread + mean, {}
    seen = np.unique(y)
    if len(seen) == 1:
        bias[seen] = 0.0
        return coef, bias, {}
    held = np.full((len(y), len(seen)), -1.0)
    for f in range(FOLDS):
        inside, outside = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        part, b = _against_the_rest(solver, z, y, w, inside, seen)
        held[outside] = z[outside] @ part + b
    # 1 is as likely beforehand as half a row that says so.
    sharp = sharpness(
        held, np.searchsorted(seen, y), w, least=1 / SHARPEST, most=SHARPEST, prior=1.0
    )
    coef[:, seen], bias[seen] = _against_the_rest(solver, z, y, w, everything, seen)
    coef, bias[seen] = sharp * coef, sharp * bias[seen]
    return coef, bias, {"temperature": 1 / sharp}


def _against_the_rest(
    solver: _Solver, z: Any, y: Labels, w: Array, train: NDArray[Any], seen: Labels
) -> tuple[Array, Array]:
    """Return weights (columns, len(seen)) and biases of machines on rows ``train``.

    Two classes share a machine. A class that ``train`` lacks scores -1, one that is alone 1.
    """
    coef, bias = np.zeros((z.shape[1], len(seen))), np.full(len(seen), -1.0)
    for k in range(len(seen) == 2, len(seen)):
        t = np.where(y == seen[k], 1.0, -1.0)
        if len(np.unique(t[train])) == 2:
            coef[:, k], bias[k] = solver(z, t, w, train)
        elif len(train):
            bias[k] = t[train[0]]
    if len(seen) == 2:
        coef[:, 0], bias[0] = -coef[:, 1], -bias[1]
    return coef, bias


def _folds(x: Any, y: Labels) -> NDArray[np.int64]:
    """Return a fold for each row: by content, so that equal rows are held out together."""
    keys, fold = rows.row_keys(x), np.empty(len(y), np.int64)
    for c in np.unique(y):
        fold[y == c] = np.unique(keys[y == c], return_inverse=True)[1] % FOLDS
    return fold


def _bandwidth(x: Array, w: Array) -> float:
    """Return √(columns · variance / 2), of all values as one: scikit-learn's gamma="scale"."""
    mean = w @ x.mean(1) / w.sum()
    return float(np.sqrt(x.shape[1] * (w @ np.square(x - mean).mean(1)) / w.sum() / 2)) or 1.0


def _landmarks(x: Array, w: Array, run: Run) -> tuple[Kernel, Map]:
    """Return kernel values with rows drawn by weight, and the map to orthonormal columns."""
    drawn = run.rng().choice(len(x), LANDMARKS, replace=False, p=w / w.sum())
    kernel = Kernel(landmarks=x[drawn], bandwidth=_bandwidth(x, w))
    values, vectors = np.linalg.eigh(kernel.columns(x[drawn]))
    kept = values > NULL * values[-1]
    root = vectors[:, kept] / np.sqrt(values[kept])
    return kernel, Map(shift=np.zeros(LANDMARKS), scale=np.ones(LANDMARKS), matrix=root)


def _columns(kernel: Kernel, root: Map, x: Array) -> Array:
    assert root.matrix is not None
    out = np.empty((len(x), root.matrix.shape[1]))
    for part in rows.chunks(len(x), LARGEST):
        out[part] = kernel.columns(x[part]) @ root.matrix
    return out
