"""Two domains as shallow alignment methods read them, and the way from there to an artefact."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Domain, Labelled, Run, Schema, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.learners.kernel_mapped import Step, UnitRows, chained
from isthmus.learners.learner import Learner
from isthmus.learners.linear import Linear
from isthmus.learners.mapped import Map
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner
from isthmus.learners.scaling import moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """Rows of both domains in float64, and the steps that led to them.

    Rows are in an order that depends on their content alone, so that nothing that is computed from
    them depends on the caller's, not even rounding.
    """

    x_source: Array  # (n_source, d)
    x_target: Array  # (n_target, d)
    y: NDArray[Any]
    schema: Schema  # of the instances as they came
    to_source: tuple[Step, ...]
    to_target: tuple[Step, ...]

    @property
    def pooled(self) -> Array:
        """Return the rows of the source, then those of the target."""
        return np.concatenate([self.x_source, self.x_target])


def read_pair(task: Task, *, normalise: bool, unit: bool) -> Pair:
    """Read both domains; z-score each by its own columns, bring rows to length 1, if asked.

    Several sources are pooled. A CSR matrix becomes dense: memory O(n d) in float64.
    """
    source, target = task.source, task.target
    source = source.take(rows.canonical_order(source.x, source.y))
    target = target.take(rows.canonical_order(target.x))
    x_source, to_source = _read(source.x, normalise, unit)
    x_target, to_target = _read(target.x, normalise, unit)
    return Pair(
        x_source=x_source,
        x_target=x_target,
        y=source.y,
        schema=task.schema,
        to_source=to_source,
        to_target=to_target,
    )


def learn(
    learner: Learner | None, pair: Pair, z_source: Array, z_target: Array, run: Run
) -> TorchAdapted:
    """Fit on embedded rows (n_source, k); None takes 1-NN for classes, ridge for values.

    1-NN is the classifier of most papers on subspaces: their figures depend on it.
    """
    if learner is None:
        learner = Linear() if pair.schema.is_regression else NearestNeighbours()
    schema = dataclasses.replace(pair.schema, shape=z_source.shape[1:], features=())
    x_source, x_target = z_source.astype(np.float32), z_target.astype(np.float32)
    inner = Task(
        sources=(Labelled(name="source", schema=schema, x=x_source, y=pair.y),),
        target=Domain(name="target", schema=schema, x=x_target),
    )
    return fit_learner(learner, inner, run)


def deploy(
    adapted: TorchAdapted,
    pair: Pair,
    *,
    target: Sequence[Step],
    source: Sequence[Step] | None = None,
    diagnostics: dict[str, Any] | None = None,
) -> TorchAdapted:
    """Put the pair's steps and then these in front of what ``learn`` returned.

    No steps for ``source`` means: the same, after those that led to the source's rows.
    """
    found = chained(
        adapted,
        target=(*pair.to_target, *target),
        source=(*pair.to_source, *(target if source is None else source)),
    )
    return dataclasses.replace(
        found,
        schema=pair.schema,
        diagnostics={**found.diagnostics, **(diagnostics or {})},
    )


def spanned(pair: Pair) -> tuple[Array, Array, Array]:
    """Return both domains' rows in an orthonormal basis (d, m) of their span, and that basis.

    Outside of the span a map only adds to the denominator: nothing is lost where n < d.
    """
    n, d = pair.pooled.shape
    if n >= d:
        return pair.x_source, pair.x_target, np.eye(d)
    basis = np.linalg.qr(pair.pooled.T)[0]
    return pair.x_source @ basis, pair.x_target @ basis, basis


def unit_rows(z: Array) -> Array:
    """Return rows of length 1; a row of zeros stays."""
    length = np.sqrt(np.square(z).sum(1, keepdims=True))
    return np.asarray(z / np.where(length > 0, length, 1.0))


def times(matrix: Array) -> Map:
    """Return the step x @ matrix, for a matrix (d, k)."""
    return Map(shift=np.zeros(len(matrix)), scale=np.ones(len(matrix)), matrix=matrix)


def _read(x: Any, normalise: bool, unit: bool) -> tuple[Array, tuple[Step, ...]]:
    wide = rows.dense(x).astype(np.float64)
    steps: list[Step] = []
    if normalise:
        mean, scale = moments(wide)
        wide -= mean
        wide /= scale
        steps.append(Map(shift=mean, scale=1 / scale))
    if unit:
        wide = unit_rows(wide)
        steps.append(UnitRows(features=wide.shape[1]))
    return wide, tuple(steps)
