"""Instance reweighting: a method says how much each source row counts, a learner does the rest.

Common to all methods: exponential flattening (H. Shimodaira, Improving predictive inference under
covariate shift by weighting the log-likelihood function, JSPI 90, 2000), the relative ratio
(M. Yamada et al., Relative density-ratio estimation, NeurIPS 2011), and a bound.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Task
from isthmus.errors import BadInput, PluginError, RunFailed
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner
from isthmus.strategy import Needs, Run, Strategy

TOO_FEW = 0.05  # share of the source below which an effective sample size is worth a warning
EDGES = (0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0)  # of the histogram of weights
CHUNK = 2**20  # values held in float64 at once


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Weighted:
    """Weights (n_source,), and what a method found on the way to them."""

    values: NDArray[Any]
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # JSON, for diagnostics
    said: str = ""  # what a person should know, such as an approximation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reweighting(Strategy):
    """A strategy that weights source rows. Subclasses define ``weights`` and nothing else."""

    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    learner: Learner | None = None  # None: Linear
    flatten: float = 1.0  # weights to this power: 0 is source-only, 1 the estimated ratio
    relative: float = 0.0  # share of the target in the denominator; weights stay below 1 / it
    bound: float | None = None  # the largest weight, where the mean weight is 1

    def __post_init__(self) -> None:
        for name, fits, wanted in (
            ("flatten", 0 <= self.flatten <= 1, "from 0 to 1"),
            ("relative", 0 <= self.relative < 1, "from 0 to below 1"),
            ("bound", self.bound is None or self.bound > 0, "above 0"),
        ):
            if not fits:
                raise BadInput(
                    f"{self.name}: {name}={getattr(self, name)}, expected a number {wanted}"
                )

    @abstractmethod
    def weights(
        self, x_source: Any, x_target: Any, rng: np.random.Generator
    ) -> NDArray[Any] | Weighted:
        """Return one value >= 0 per source row, (n_source,), proportional to p_target/p_source.

        Rows are dense float32 (n, d) or CSR. A random choice must not depend on their order.
        """

    def weights_in(self, x_source: Any, x_target: Any, run: Run) -> NDArray[Any] | Weighted:
        """Return ``weights``; a method that trains a network trains it on the run's device."""
        return self.weights(x_source, x_target, run.rng())

    @final
    def weigh(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the weights with mean 1, made relative, flattened, then cut at ``bound``."""
        return self.weighted(x_source, x_target, rng).values

    @final
    def weighted(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> Weighted:
        """Return the weights as ``weigh`` does, with what the method found."""
        return self._scaled(self.weights(x_source, x_target, rng), rows.count(x_source))

    def _scaled(self, raw: NDArray[Any] | Weighted, n: int) -> Weighted:
        given = raw if isinstance(raw, Weighted) else Weighted(values=raw)
        w: NDArray[np.float64] = np.array(given.values, np.float64)
        if w.shape != (n,):
            raise PluginError(f"{self.name} gave weights of shape {w.shape} for {n} rows")
        if not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
            raise RunFailed(
                f"{self.name} found no usable weights: the target may lie outside the source",
                hint="isthmus adapt --strategy source-only, or an alignment strategy",
            )
        w /= w.mean()
        if self.relative:
            w /= self.relative * w + 1 - self.relative
        if self.flatten != 1:
            w = w**self.flatten
        w /= w.mean()
        w = w if self.bound is None else np.minimum(w, self.bound, out=w)
        return dataclasses.replace(given, values=w)

    @final
    def _adapt(self, task: Task, run: Run) -> Any:
        source = task.source
        weighted = self._scaled(self.weights_in(source.x, task.target.x, run), len(source))
        if weighted.said:
            run.say(weighted.said)
        w = weighted.values
        adapted = fit_learner(self.learner, dataclasses.replace(task, sources=(source,)), run, w)
        found = {**diagnose(w), **mean_gaps(source.x, task.target.x, w), **weighted.found}
        if found["effective_sample_size"] < TOO_FEW * len(w):
            run.say(
                f"only {found['effective_sample_size']:.0f} of {len(w)} source rows count: "
                "the target may lie outside the source, where reweighting cannot help"
            )
        diagnostics = {**adapted.diagnostics, "weights": found}
        return dataclasses.replace(adapted, diagnostics=diagnostics)


def require_positive(method: Reweighting, *names: str) -> None:
    """Refuse settings that are neither None nor above 0."""
    for name in names:
        if (value := getattr(method, name)) is not None and not value > 0:
            raise BadInput(f"{method.name}: {name}={value}, expected a number above 0")


def diagnose(w: NDArray[Any]) -> dict[str, Any]:
    """Return what a user needs to trust weights (n,) of mean about 1."""
    counts = np.bincount(np.searchsorted(EDGES, w, side="right"), minlength=len(EDGES) + 1)
    return {
        "effective_sample_size": float(w.sum() ** 2 / np.square(w).sum()),
        "rows": len(w),
        "largest": float(w.max()),
        "ignored_share": float((w < 1e-3 * w.mean()).mean()),
        "histogram": {"edges": list(EDGES), "rows": counts.tolist()},
    }


def mean_gaps(x_source: Any, x_target: Any, w: NDArray[Any]) -> dict[str, float]:
    """Return how far apart the column means are before and after weighting, in deviations.

    Right weights bring the second figure down; one that stays says that they could not. The
    deviation of a column is that of the source and the target together; figures are averages.
    """
    n_source, n_target = rows.count(x_source), rows.count(x_target)
    source, source2 = _sums(x_source, np.full(n_source, 1 / n_source))
    target, target2 = _sums(x_target, np.full(n_target, 1 / n_target))
    moved, _ = _sums(x_source, w / w.sum())
    square = (source2 + target2) / 2
    variance = square - np.square((source + target) / 2)
    varies = variance > 1e-12 * square
    deviation = np.sqrt(variance[varies])
    before, after = (np.abs(target - m)[varies] / deviation for m in (source, moved))
    some = bool(varies.any())
    return {
        "mean_gap_before": float(before.mean()) if some else 0.0,
        "mean_gap_after": float(after.mean()) if some else 0.0,
    }


def _sums(x: Any, w: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted sums (d,) of the columns and of their squares, in float64."""
    first, second = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for part in rows.blocks(x, CHUNK):
        chunk = x[part].astype(np.float64)
        squares = chunk.multiply(chunk) if rows.is_sparse(chunk) else np.square(chunk)
        first += chunk.T @ w[part]
        second += squares.T @ w[part]
    return first, second
