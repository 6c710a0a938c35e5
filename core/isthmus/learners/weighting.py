"""Instance reweighting: a method says how much each source row counts, a learner does the rest."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.domain import Task
from isthmus.errors import PluginError, RunFailed
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner
from isthmus.strategy import Needs, Run, Strategy

TOO_FEW = 0.05  # share of the source below which an effective sample size is worth a warning


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reweighting(Strategy):
    """A strategy that weights source rows. Subclasses define ``weights`` and nothing else."""

    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    learner: Learner | None = None  # None: Linear
    bound: float | None = None  # the largest weight, where the mean weight is 1

    @abstractmethod
    def weights(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return one value >= 0 per source row, (n_source,), proportional to p_target/p_source.

        Rows are dense float32 (n, d) or CSR. A random choice must not depend on their order.
        """

    @final
    def weigh(self, x_source: Any, x_target: Any, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the weights with mean 1, then cut at ``bound``."""
        w: NDArray[np.float64] = np.array(self.weights(x_source, x_target, rng), np.float64)
        if w.shape != (rows.count(x_source),):
            raise PluginError(
                f"{self.name} gave weights of shape {w.shape} for {rows.count(x_source)} rows"
            )
        if not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
            raise RunFailed(
                f"{self.name} found no usable weights: the target may lie outside the source",
                hint="isthmus adapt --strategy source-only, or an alignment strategy",
            )
        w /= w.mean()
        return w if self.bound is None else np.minimum(w, self.bound, out=w)

    @final
    def _adapt(self, task: Task, run: Run) -> Any:
        w = self.weigh(task.source.x, task.target.x, run.rng())
        adapted = fit_learner(self.learner, task, run, w)
        found = diagnose(w)
        if found["effective_sample_size"] < TOO_FEW * len(w):
            run.say(
                f"only {found['effective_sample_size']:.0f} of {len(w)} source rows count: "
                "the target may lie outside the source, where reweighting cannot help"
            )
        diagnostics = {**adapted.diagnostics, "weights": found}
        return dataclasses.replace(adapted, diagnostics=diagnostics)


def diagnose(w: NDArray[Any]) -> dict[str, float]:
    """Return what a user needs to trust weights (n,) of mean about 1."""
    return {
        "effective_sample_size": float(w.sum() ** 2 / np.square(w).sum()),
        "rows": len(w),
        "largest": float(w.max()),
        "ignored_share": float((w < 1e-3 * w.mean()).mean()),
    }
