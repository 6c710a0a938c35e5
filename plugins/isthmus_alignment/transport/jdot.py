"""JDOT: joint distribution optimal transport.

Courty, Flamary, Habrard & Rakotomamonjy, "Joint distribution optimal transportation for domain
adaptation", NeurIPS 2017, arXiv:1705.08848.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner
from isthmus_alignment.limits import at_least_one, from_zero
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Coupled, Problem
from isthmus_alignment.transport.coupling import Array, Coupling
from isthmus_alignment.transport.exact import exact
from isthmus_alignment.transport.propagation import as_values, fit_propagated, propagate

PIVOTS = 2_000_000
LEAST = 1e-6  # probability below which a label costs no more


@dataclass(frozen=True, kw_only=True)
class JDOT(Strategy):
    """Couple rows with labels to rows with predictions; learn from the labels that arrive; repeat.

    The cost of a pair is alpha times the squared distance of the rows, as a share of the largest,
    plus the loss of the prediction for the one on the label of the other: minus the log-probability
    for classes, the squared error in deviations for values. These are what the default learner
    minimises, so that neither step raises the objective (``squared`` errors of classes may). The
    model starts from the source, all sources pooled, and reads target rows as they are. Cost per
    iteration: an exact plan, between O(n²) and O(n³), and a fit; memory about 30 n² bytes up to
    4,000 rows of a domain, and mini-batches of 1,000 rows above. On one core, 1,000 / 4,000 / 8,000
    rows a side of 50 columns: 0.4 / 7.6 / 42 s and 35 / 467 / 64 MB of extra memory. Accuracy with
    the default learner, in brackets source-only: Office-Caltech SURF (12 tasks) 44.5 (46.7), COIL20
    81.3 (79.7); with ``squared`` 44.5 and 84.9. With source labels that the model already fits
    well, it follows the model.
    """

    name: ClassVar[str] = "jdot"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any")

    alpha: float = 1.0  # weight of the distance of rows, whose largest is 1, beside the loss
    loss: Literal["log", "squared"] = "log"  # of classes; of values it is the squared error
    iterations: int = 10
    tolerance: float = 1e-3  # of the objective, as a share
    batches: Batches = Batches()
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        from_zero(self, "alpha", "tolerance")
        at_least_one(self, "iterations")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        coupled = Coupled(task, run, self.batches)
        known = as_values(coupled.source)
        log = self.loss == "log" and not task.schema.is_regression
        loss = log_losses if log else losses
        if task.schema.is_regression:  # measured in deviations, as no output has a unit then
            spread = known.std(0)
            unit = np.where(spread > 0, spread, 1.0) * np.sqrt(known.shape[1])
        else:
            unit = np.ones(known.shape[1])
        adapted = fit_learner(
            self.learner, dataclasses.replace(task, sources=(coupled.source,)), run
        )
        objective: list[float] = []
        start: Array | None = None

        def solve(p: Problem) -> Coupling:
            nonlocal start
            found = exact(p.cost, PIVOTS, start)
            # Between mini-batches predictions move too far: from there a plan took longer.
            start = found.potential if coupled.problems == 1 else None
            return found

        for step in range(self.iterations):
            predicted = np.asarray(adapted.predict(coupled.x), np.float64)

            def join(p: Problem, predicted: Array = predicted) -> Array:
                joint = loss(known[p.source] / unit, predicted[p.target] / unit)
                joint += self.alpha / (p.cost.max() or 1.0) * p.cost
                return joint

            labels = propagate(coupled, solve, join)
            objective.append(float(coupled.diagnostics["cost"]))
            run.log(step, {"objective": objective[-1]})
            adapted = fit_propagated(self.learner, coupled.x, labels, task, run)
            if step and abs(objective[-2] - objective[-1]) <= self.tolerance * objective[-2]:
                break
        notes = {**adapted.diagnostics, "transport": coupled.diagnostics, "objective": objective}
        return dataclasses.replace(adapted, diagnostics=notes)


def losses(known: Array, predicted: Array) -> Array:
    """Return squared errors (n_source, n_target) of predictions (n_target, k) for labels."""
    products = known @ predicted.T
    squares = np.square(known).sum(1)[:, None] + np.square(predicted).sum(1)
    return np.maximum(squares - 2 * products, 0)


def log_losses(known: Array, predicted: Array) -> Array:
    """Return -log of the probability (n_target, k) of each label (n_source, k), one-hot."""
    rows = np.ascontiguousarray(-np.log(np.maximum(predicted, LEAST)).T)
    return np.asarray(rows[known.argmax(1)])
