"""What components are combinations of: columns, a linear kernel or a Gaussian one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import pdist

from isthmus import Run
from isthmus.learners.kernel_mapped import Kernel, Step
from isthmus_alignment.shallow.pair import times

Array = NDArray[np.float64]
KernelName: TypeAlias = Literal["primal", "linear", "rbf"]

ROWS = 4000  # with more of them a kernel has a column for some rows only
LANDMARKS = 1000
SAMPLE = 1000  # rows whose distances give the median


@dataclass(frozen=True, eq=False, kw_only=True)
class Features:
    """Rows (n, p) of which components are combinations, and how new rows get there."""

    rows: Array
    share: float = 1.0  # of all rows, that have a column: penalties on weights are scaled by it
    steps: tuple[Step, ...] = ()
    basis: Array | None = None  # (d, p)

    def then(self, weights: Array) -> list[Step]:
        """Return the steps from instances (n, d) to components, for weights (p, k)."""
        return [*self.steps, times(weights if self.basis is None else self.basis @ weights)]


def features(x: Array, kernel: KernelName, run: Run) -> Features:
    """Return features of the pooled rows ``x`` (n, d), of which a penalty is a sum of squares.

    * ``primal``: the columns; the penalty is on directions, as in Long et al., ICCV 2013
    * ``linear``: rows X C^(1/2), where C = X'X. Z = K W for K = X X' and the smallest W is what
      these rows give with weights of the same length, at cost O(n d²) instead of O(n³)
    * ``rbf``: K itself, with the median distance for bandwidth; the penalty is on weights of rows,
      as in Pan et al., 2011. Above 4,000 rows 1,000 of them have a column: memory O(1,000 n)
    """
    if kernel == "primal":
        return Features(rows=x)
    if kernel == "linear":
        values, vectors = linalg.eigh(x.T @ x)
        basis = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return Features(rows=x @ basis, basis=basis)
    some = x[run.rng().permutation(len(x))[:SAMPLE]]
    found = Kernel(landmarks=landmarks(x, run), bandwidth=median_distance(some))
    return Features(rows=found.columns(x), share=len(found.landmarks) / len(x), steps=(found,))


def landmarks(x: Array, run: Run) -> Array:
    """Return the rows for which a kernel has a column: all, or some drawn at random."""
    return x if len(x) <= ROWS else np.asarray(x[landmark_index(len(x), run)])


def landmark_index(n: int, run: Run) -> NDArray[np.int64]:
    """Return which of n rows are landmarks, increasing."""
    if n <= ROWS:
        return np.arange(n)
    run.say(f"the kernel of {n} rows is approximated with {LANDMARKS} landmarks")
    return np.sort(run.rng().permutation(n)[:LANDMARKS])


def median_distance(x: Array) -> float:
    """Return the median distance between different rows; 1 where all rows are equal."""
    distances = pdist(x)
    apart = distances[distances > 0]
    return float(np.median(apart)) if len(apart) else 1.0
