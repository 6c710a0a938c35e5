"""Common coordinates of both domains: scaled columns, or their leading principal axes.

Nothing here looks at which domain a row is from, so that a test that permutes the domains of the
rows stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.learners.scaling import moments, scales

if TYPE_CHECKING:
    from isthmus.shift.drawing import Drawn

AXES = 128  # coordinates at most
FIT_ROWS = 4_000  # of both domains, from which the axes are computed
FURTHEST = 10.0  # standard deviations: what lies beyond is drawn in, or one row rules a distance


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Rows of both domains, float64 (n, k): columns in standard deviations of the pooled rows."""

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    support: NDArray[np.float64] | None
    kept: float  # share of the variance that the axes keep; 1.0 where all columns are used


def coordinates(drawn: Drawn, rng: np.random.Generator) -> Coordinates:
    """Scale the columns as the linear learners do; above ``AXES`` columns take principal axes.

    A CSR table is never centred: its rows get unit length and its axes are singular vectors.
    """
    parts = [drawn.source, drawn.target] + ([] if drawn.support is None else [drawn.support])
    n = rows.count(drawn.source) + rows.count(drawn.target)
    pooled = rows.concatenate(parts)
    if rows.is_sparse(pooled):
        pooled = _unit_rows(pooled)
    else:
        mean, scale = scales(pooled[:n], named=drawn.named)
        pooled = np.clip((pooled - mean) / scale, -FURTHEST, FURTHEST)
    z, kept = _principal(pooled, n, rng)
    if drawn.extra is not None:
        _, *given = drawn.extra
        beside = np.concatenate([g for g in given if g is not None])
        mean, scale = moments(beside[:n])
        z = np.hstack([z, (beside - mean) / scale])
    ends = np.cumsum([rows.count(p) for p in parts])
    return Coordinates(
        source=z[: ends[0]],
        target=z[ends[0] : ends[1]],
        support=z[ends[1] :] if drawn.support is not None else None,
        kept=kept,
    )


def plane(z_source: Any, z_target: Any) -> tuple[NDArray[np.float64], float]:
    """Return the two leading principal axes of both domains, source rows first (n, 2).

    And the share of the variance that the two keep.
    """
    z = np.concatenate([z_source, z_target])
    z = z - z.mean(0)
    values, vectors = np.linalg.eigh(z.T @ z)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes.sum(0) < 0, -1, 1)  # a sign that does not depend on the solver
    out = np.zeros((len(z), 2))
    out[:, : axes.shape[1]] = z @ axes
    return out, float(values[-2:].sum() / max(values.sum(), 1e-300))


def _principal(pooled: Any, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    sparse = rows.is_sparse(pooled)
    if pooled.shape[1] <= AXES:
        return np.asarray(rows.dense(pooled) if sparse else pooled, np.float64), 1.0
    from sklearn.utils.extmath import randomized_svd

    some = pooled[np.sort(rng.choice(n, min(n, FIT_ROWS), replace=False))]
    centre = 0.0 if sparse else some.mean(0)
    seed = int(rng.integers(2**31))
    _, _, axes = randomized_svd(some - centre if not sparse else some, AXES, random_state=seed)
    z = np.asarray((pooled if sparse else pooled - centre) @ axes.T, np.float64)
    whole = some.multiply(some).sum() if sparse else np.square(some - centre).sum()
    inside = np.square((some if sparse else some - centre) @ axes.T).sum()
    spread = z[:n].std(0).max() if sparse else 1.0  # cosines are small numbers
    return z / (spread or 1.0), float(inside / max(whole, 1e-300))


def _unit_rows(x: Any) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(x)
