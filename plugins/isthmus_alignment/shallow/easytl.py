"""EasyTL: easy transfer learning.

Wang, Chen, Yu, Huang & Yang, "Easy transfer learning by exploiting intra-domain structures", ICME
2019, arXiv:1904.01376.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Needs, Run, Strategy, Task, rows
from isthmus.domain import Labelled, Labels
from isthmus.learners.learner import Learner
from isthmus.learners.mapped import Map, mapped
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner
from isthmus.learners.scaling import moments
from isthmus_alignment.limits import from_zero
from isthmus_alignment.shallow.coral import recolouring
from isthmus_alignment.shallow.locality import distances

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EasyTL(Strategy):
    """Label target rows by the nearest class mean of the recoloured source, no class left out.

    The means are read off the source, so there is nothing to tune; each class gets at least one
    target row, as the paper's linear programme asks, which is solved as an assignment. What is
    deployed is a learner of the labelled target rows. Cost O(n d² + d³) for the recolouring and
    O(n_target classes (d + classes)) for the labels, memory O(n d + d²). Accuracy, in brackets
    source-only: Office-Caltech (12 tasks) SURF 50.5 (46.7), MobileNetV2 94.8 (91.9), COIL20 82.4
    (79.7). Class means say little of digits: USPS and MNIST 45.5 (1-NN: 55.3).
    """

    name: ClassVar[str] = "easytl"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    align: bool = True  # recolour the source as coral does; False: only the programme
    shrinkage: float = 1.0  # of the covariances, as coral's
    normalise: bool = True  # z-score each domain
    learner: Learner | None = None  # of the labelled target rows; None: 1-NN

    def __post_init__(self) -> None:
        from_zero(self, "shrinkage")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        source, x = task.source, task.target.x
        source = source.take(rows.canonical_order(source.x, source.y))
        x = rows.take(x, rows.canonical_order(x))
        x_source, _, _ = _scaled(source.x, self.normalise)
        x_target, shift, scale = _scaled(x, self.normalise)
        if self.align:
            x_source = x_source @ recolouring(x_source, x_target, self.shrinkage)
        classes = np.unique(source.y)
        centres = np.stack([x_source[source.y == c].mean(0) for c in classes])
        if len(x_target) < len(classes):
            run.say(f"{len(x_target)} target rows cannot hold all {len(classes)} classes")
        labels = classes[assign(distances(x_target, centres))]
        read = x_target.astype(np.float32)
        inner = Labelled(name="target", schema=task.schema, x=read, y=labels)
        learner = self.learner or NearestNeighbours()
        adapted = fit_learner(learner, Task(sources=(inner,), target=task.target), run)
        return mapped(adapted, target=Map(shift=shift, scale=1 / scale))


def assign(distance: Array) -> Labels:
    """Return the class (n,) of each row that minimises the sum of ``distance`` (n, classes).

    Every class gets a row, unless there are fewer rows than classes. This is the paper's linear
    programme: its optimum sends one row per class there, chosen by an assignment of the extra
    distances, and every other row to its nearest class. O(n classes²).
    """
    from scipy.optimize import linear_sum_assignment

    labels = np.asarray(distance.argmin(1))
    if len(distance) >= distance.shape[1]:
        row, column = linear_sum_assignment(distance - distance.min(1, keepdims=True))
        labels[row] = column
    return labels


def _scaled(x: Any, normalise: bool) -> tuple[Array, Array, Array]:
    dense = np.asarray(rows.dense(x), np.float64)
    d = dense.shape[1]
    mean, scale = moments(dense) if normalise else (np.zeros(d), np.ones(d))
    return (dense - mean) / scale, mean, scale
