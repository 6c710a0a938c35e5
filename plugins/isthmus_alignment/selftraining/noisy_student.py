"""Noisy student.

Xie, Luong, Hovy & Le, "Self-training with noisy student improves ImageNet classification",
CVPR 2020, arXiv:1911.04252.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Predictions
from isthmus.learners.architectures import BATCHED, Architecture
from isthmus.learners.augment import Strong
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Objective, Step, Supervised, Training, encode_both, seeded, train
from isthmus.learners.network import Network, network_for
from isthmus.learners.start import later
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.limits import a_share_if_given, at_least_one, from_zero


@dataclass(frozen=True, kw_only=True)
class NoisyStudent(Strategy):
    """Let a new network learn the target from what its predecessor says of it, under noise.

    A teacher learns the source; then each student, from scratch, min task + weight CE(target,
    p_teacher): what the teacher said of plain rows, the student must say of noisy ones (the view
    in ``training.augment``, and dropout). Rows below the threshold are left out, and classes are
    balanced by repeating rows or keeping the most confident. Cost: 1 + ``students`` trainings.
    Soft labels, balance and threshold 0.3 are the paper's; it has three students that may grow, and
    more target than source rows. Nothing was tuned. Not measured on digits; the
    paper is of one domain.
    """

    name: ClassVar[str] = "noisy-student"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=BATCHED, sources="any", outputs=frozenset({"classes"}))

    students: int = 2  # one after the other, each trained from scratch
    threshold: float = 0.3  # confidence below which the teacher's prediction is not used
    weight: float = 1.0  # of the target's rows beside the source's
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training(augment=Strong())  # of each network; the view is the noise

    def __post_init__(self) -> None:
        at_least_one(self, "students")
        a_share_if_given(self, "threshold")
        from_zero(self, "weight")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        target = task.target.take(rows.canonical_order(task.target.x))
        with seeded(run):
            net = network_for(task, self.network)
            stage, how = "teacher", self.training
            done = [train(net, Supervised(), task.source, target, run, how, stage=stage)]
            for i in range(self.students):
                p = TorchAdapted(part=net, schema=task.schema).predict(target.x)
                chosen = select(p, self.threshold)
                net = network_for(task, self.network)
                student = SoftLabels(torch.from_numpy(p[chosen]), self.weight)
                after = later(run, (i + 1) * how.steps)
                pool, stage = target.take(chosen), f"student{i + 1}"
                done.append(train(net, student, task.source, pool, after, how, stage=stage))
        return TorchAdapted(part=net, schema=task.schema, diagnostics={"training": done})


class SoftLabels(Objective):
    """The task loss, plus the cross-entropy to the probabilities (n, classes) of the target."""

    def __init__(self, labels: Tensor, weight: float) -> None:
        super().__init__()
        self.register_buffer("labels", labels)
        self.labels: Tensor
        self.weight = weight

    def forward(self, net: Network, source: Batch, target: Batch, done: float) -> Iterator[Step]:
        f_s, f_t = encode_both(net, source, target)
        task = net.loss(net.head(f_s), source.y, source.weight)
        log_p = full(net.head(f_t)).log_softmax(dim=1)
        given = -(self.labels[target.row] * log_p).sum(dim=1).mean()
        yield Step({"task": task, "student": self.weight * given})


def select(p: Predictions, threshold: float) -> NDArray[np.int64]:
    """Return as many confident rows of p (n, classes) for each class that is predicted at all.

    Of a frequent class those are the most confident ones; those of a rare class repeat.
    """
    confidence, label = p.max(axis=1), p.argmax(axis=1)
    kept = np.flatnonzero(confidence >= min(threshold, confidence.max()))
    kept = kept[np.argsort(-confidence[kept], kind="stable")]
    classes = np.unique(label[kept])
    count = -(-len(kept) // len(classes))
    return np.concatenate([np.resize(kept[label[kept] == c], count) for c in classes])
