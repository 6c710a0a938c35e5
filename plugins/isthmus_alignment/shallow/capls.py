"""CAPLS: confidence-aware pseudo-label selection.

Wang, Bu & Breckon, "Unifying unsupervised domain adaptation and zero-shot visual recognition",
IJCNN 2019, arXiv:1903.10601.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.kernel_mapped import UnitRows
from isthmus.learners.linear import ABSENT, LinearPart
from isthmus.learners.mapped import Map
from isthmus.learners.sharpness import sharpness
from isthmus_alignment.limits import at_least_one
from isthmus_alignment.shallow.locality import Labels, belief, class_means, label_by_projection
from isthmus_alignment.shallow.pair import deploy, read_pair, spanned

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CAPLS(Strategy):
    """Project classes together, label target rows by the source's class means, trust the surest.

    The projection draws source rows and trusted target rows of one class together; the trusted
    share grows alike in each class, so that no class is crowded out by surer ones. It is itself
    the classifier: what is deployed is the last projection and the nearest of the source's class
    means in it, with a temperature fitted to the source's labels. Settings are the paper's, which
    was written for deep features; for m the smaller of n and d, cost O(n m²) and O(m³) per
    iteration, memory O(n d + m²): no n x n graph is made. Accuracy, in brackets source-only:
    Office-Caltech (12 tasks) MobileNetV2 94.7 (91.9), SURF 40.0 (46.7), COIL20 85.7 (79.7). Like
    `spl`, it fails where classes are no clusters: raw digits of JDA 44.0 (1-NN: 55.3).
    """

    name: ClassVar[str] = "capls"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    dimensions: int = 128  # of the projection
    iterations: int = 10  # in which the trusted share of the target grows from 1 / iterations to 1

    def __post_init__(self) -> None:
        at_least_one(self, "dimensions", "iterations")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        pair = read_pair(task, normalise=False, unit=True)
        classes, y = np.unique(pair.y, return_inverse=True)
        x_source, x_target, basis = spanned(pair)
        found = label_by_projection(
            x_source,
            y,
            x_target,
            by_means,
            dimensions=self.dimensions,
            iterations=self.iterations,
            run=run,
        )
        means = class_means(found.z_source, y)
        w = np.zeros((means.shape[1], task.schema.width))
        bias = np.full(task.schema.width, ABSENT)
        # Of rows and means of length 1, the nearest mean has the largest product.
        w[:, classes] = means.T * sharpness(found.z_source @ means.T, y)
        bias[classes] = 0.0
        part = LinearPart.of(w, bias, classes=True)
        matrix = basis @ found.matrix
        shift = pair.pooled.mean(0)
        steps = (
            Map(shift=shift, scale=np.ones(len(shift)), matrix=matrix),
            UnitRows(features=matrix.shape[1]),
        )
        return deploy(TorchAdapted(part=part, schema=task.schema), pair, target=steps)


def by_means(z_source: Array, y: Labels, z_target: Array) -> Array:
    """Return how likely each label is by the source's class means, (n_target, classes)."""
    return belief(z_target, class_means(z_source, y))
