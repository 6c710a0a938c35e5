"""f-MMD: feature selection by the maximum mean discrepancy.

Uguroglu & Carbonell, "Feature selection for transfer learning", ECML PKDD 2011. What is an outlier
among the weights: Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task, UnsupportedTask, rows
from isthmus.learners.learner import Learner
from isthmus.learners.mapped import Map, mapped
from isthmus.learners.neural import fit_learner
from isthmus_alignment.limits import a_share_if_given, from_zero

Array = NDArray[np.float64]

COLUMNS = 4000  # of which second moments are formed at most
CONSTANT = 1e-10  # a spread below this share of the column's size is rounding
CHANCE = 0.01  # of any mean of equal domains to differ as a dropped column must (Bonferroni)
NORMAL = 1.4826  # a median absolute deviation times this is a normal distribution's deviation
ITERATIONS, TOLERANCE = 10_000, 1e-12


@dataclass(frozen=True, kw_only=True)
class FMMD(Strategy):
    """Drop the columns by which the domains can be told apart, then fit a learner on the others.

    A kernel with a weight per column is given the weights of length 1 that make its discrepancy
    (MMD) largest; both problems are solved to the global maximum, degree 2 as a quadratic programme
    on the sphere. The paper cuts by a threshold; here outliers among the weights go (Hampel's rule
    with its usual 3 deviations), at most half of the columns, and none that chance explains. Cost
    O(n d) and CSR stays sparse; degree 2, which sees spreads and correlations too, costs O(n d²),
    memory O(d²). It suits a few columns that were measured in another way; where each domain was
    z-scored, degree 1 finds none. The paper's own data are not here. Human activity (5 pairs of
    people, macro F1): 38.3 (source-only 35.6), with 1-NN 42.3 (41.8), with a fixed share
    ``dropped=0.3`` 39.4; degree 2 has 35.5. Heart disease, raw with missing values 0, balanced
    accuracy: 65.1 (64.9).
    """

    name: ClassVar[str] = "fmmd"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    degree: Literal[1, 2] = 1  # of the polynomial kernel: means, or second moments too
    deviations: float = 3.0  # robust ones above the median: a weight there is an outlier
    dropped: float | None = None  # share of the columns to drop instead, of the largest weights
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        if self.degree not in (1, 2):
            raise BadInput(f"fmmd: degree={self.degree}, expected 1 or 2")
        from_zero(self, "deviations")
        a_share_if_given(self, "dropped")
        if self.dropped == 1:
            raise BadInput("fmmd: dropped=1, expected a share below 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        source, d = task.source, task.schema.shape[0]
        if self.degree > 1 and d > COLUMNS:
            raise UnsupportedTask(
                f"fmmd forms second moments of at most {COLUMNS} columns, got {d}: take degree=1"
            )
        chance = norm.isf(CHANCE / (2 * d)) * np.sqrt(1 / len(source) + 1 / len(task.target))
        linear, square = differences(source.x, task.target.x, self.degree)
        weights = heaviest(linear, square)
        kept = weights <= self.threshold(weights, by_chance(linear, square, weights, chance))
        inner = dataclasses.replace(source, x=_masked(source.x, kept))
        adapted = fit_learner(self.learner, Task(sources=(inner,), target=task.target), run)
        found = mapped(adapted, target=Map(shift=np.zeros(d), scale=kept.astype(np.float64)))
        said = {"weights": weights.tolist(), "dropped": np.flatnonzero(~kept).tolist()}
        return dataclasses.replace(found, diagnostics={**found.diagnostics, "fmmd": said})

    def threshold(self, weights: Array, by_chance: float) -> float:
        """Return the largest weight that is kept; at least half of the columns stay below it.

        Weights grow with the square of a difference: it is their roots that are compared. One that
        is no larger than by chance, or than if all columns differed alike, is no outlier.
        """
        if self.dropped is not None:
            return float(np.quantile(weights, 1 - self.dropped, method="lower"))
        root = np.sqrt(weights[weights > 0])
        if not len(root):
            return 0.0
        middle = np.median(root)
        spread = NORMAL * np.median(np.abs(root - middle))
        outlier = (middle + self.deviations * spread) ** 2
        return float(max(outlier, by_chance, 1 / np.sqrt(len(root))))


def differences(x_source: Any, x_target: Any, degree: int) -> tuple[Array, Array | None]:
    """Return b (d,) and P (d, d) such that MMD² = w' P w + b' w for the kernel of weights w.

    The kernel is x' diag(w) y, or (x' diag(w) y + 1)² for degree 2, between rows (n, d), arrays or
    CSR. Columns are centred and have the deviation 1 over both domains, each of which counts one
    half. No P for degree 1. O(n d), or O(n d²); P is that of squared differences of moments.
    """
    both = [x.astype(np.float64) for x in (x_source, x_target)]
    means = [np.asarray(x.mean(0)).ravel() for x in both]
    centre = (means[0] + means[1]) / 2
    spread = np.sqrt(sum(_squares(x, centre) for x in both) / 2)
    scale = np.where(spread > CONSTANT * np.abs(centre), spread, np.inf)  # constant: no difference
    gap = np.square((means[0] - means[1]) / scale)
    if degree == 1:
        return gap, None
    second = [_second(x, mean, centre, scale) for x, mean in zip(both, means, strict=True)]
    return 2 * gap, np.square(second[0] - second[1])


def heaviest(linear: Array, square: Array | None) -> Array:
    """Return w >= 0 of length 1 that maximises w' P w + b' w, for P (d, d) and b (d,) >= 0.

    A fixed point of w <- (P w + b / 2) / |P w + b / 2| is a maximum among all w of length 1, and
    the step climbs: for positive w, (m I - P) w = b / 2 >= 0 means that no eigenvalue of P is above
    m (Perron and Frobenius). Without any difference w is zero.
    """
    w: Array = np.full(len(linear), 1 / np.sqrt(len(linear)))
    for _ in range(ITERATIONS):
        step = linear / 2 if square is None else square @ w + linear / 2
        length = np.linalg.norm(step)
        if not length > 0:
            return np.zeros(len(linear))
        w, last = step / length, w
        if np.linalg.norm(w - last) < TOLERANCE:
            break
    return w


def by_chance(linear: Array, square: Array | None, w: Array, chance: float) -> float:
    """Return the weight of a column whose moments all differ by ``chance``; 0 where none differ."""
    step = linear / 2 if square is None else square @ w + linear / 2
    own = chance**2 * (0.5 if square is None else 1 + w.sum())
    length = np.linalg.norm(step)
    return float(own / length) if length > 0 else 0.0


def _squares(x: Any, centre: Array) -> Array:
    """Return the mean square (d,) of the columns about ``centre`` (d,)."""
    if rows.is_sparse(x):
        mean = np.asarray(x.mean(0)).ravel()
        square = np.asarray(x.multiply(x).mean(0)).ravel() - 2 * mean * centre + centre**2
        return np.maximum(square, 0)
    return np.asarray(np.square(x - centre).mean(0))


def _second(x: Any, mean: Array, centre: Array, scale: Array) -> Array:
    """Return the mean of z z' (d, d) for z = (x - centre) / scale; CSR rows are not centred."""
    if rows.is_sparse(x):
        product = (x.T @ x).toarray() / x.shape[0]
        cross = np.outer(mean, centre)
        product += np.outer(centre, centre) - cross - cross.T
        return np.asarray(product / scale / scale[:, None])
    z = (x - centre) / scale
    return np.asarray(z.T @ z / len(z))


def _masked(x: Any, kept: NDArray[np.bool_]) -> Any:
    """Return the rows with the other columns set to zero, float32."""
    mask = kept.astype(np.float32)
    return sparse.csr_matrix(x @ sparse.diags_array(mask)) if rows.is_sparse(x) else x * mask
