"""Labels carried over to target rows by a coupling, and learners of such labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Run, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Domain, Labelled, Labels
from isthmus.learners.learner import Learner
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Coupled, Join, Solve

LEAST = 0.01  # share of a class in a row below which it is left out
Array = NDArray[np.float64]


def as_values(source: Labelled) -> Array:
    """Return labels as numbers: one-hot (n, classes), or values (n, outputs)."""
    if source.schema.is_regression:
        return np.asarray(source.y, np.float64)
    return np.eye(source.schema.width)[source.y]


def propagate(coupled: Coupled, solve: Solve, join: Join | None = None) -> Array:
    """Return for each target row (in coupled's order) the mean label of its partners.

    Shape (n_target, classes), of rows that sum to 1, or (n_target, outputs).
    """
    values = as_values(coupled.source)
    total = np.zeros((coupled.size[1], values.shape[1]))
    mass = np.zeros(coupled.size[1])
    for problem, found in coupled.solve(solve, join):
        total[problem.target] += found.plan.T @ values[problem.source]
        mass[problem.target] += found.plan.sum(0)
    return np.asarray(total / mass[:, None])


def fit_coupled(
    task: Task, run: Run, solve: Solve, learner: Learner | None, batches: Batches
) -> TorchAdapted:
    """Fit a learner on the target rows, with the labels that a coupling carries to them."""
    coupled = Coupled(task, run, batches)
    labels = propagate(coupled, solve)
    adapted = fit_propagated(learner, coupled.x, labels, task, run)
    notes = {**adapted.diagnostics, "transport": coupled.diagnostics}
    if not task.schema.is_regression:
        notes["mean_certainty"] = float(labels.max(1).mean())
    return dataclasses.replace(adapted, diagnostics=notes)


def fit_propagated(
    learner: Learner | None, x: Any, labels: Array, task: Task, run: Run
) -> TorchAdapted:
    """Fit on target rows ``x`` (n, d) with labels (n, classes) that may be shared, or values.

    A row counts once for each of its classes, weighted by its share; a nearest neighbour has one
    class, the likeliest.
    """
    schema = task.schema
    y: Labels
    if schema.is_regression:
        index, y, weight = np.arange(len(labels)), labels.astype(np.float32), None
    elif isinstance(learner, NearestNeighbours):
        index, y, weight = np.arange(len(labels)), labels.argmax(1), None
    else:
        index, y = np.nonzero(labels >= LEAST)
        weight = labels[index, y]
    inner = Labelled(name="target", schema=schema, x=rows.take(x, index), y=y)
    target = Domain(name=task.target.name, schema=schema, x=task.target.x)
    return fit_learner(learner, Task(sources=(inner,), target=target), run, weight)
