"""PRED: what the source's model says is one more column for a model of the target.

A baseline of Daumé III & Marcu, "Domain adaptation for statistical classifiers", JAIR 26, 2006, and
of Daumé III, "Frustratingly easy domain adaptation", ACL 2007, arXiv:0907.1815.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task, rows
from isthmus.artefact import Part, TorchAdapted, build_part, describe_part
from isthmus.learners.learner import Learner
from isthmus.learners.mapped import FrontPart
from isthmus.learners.neural import fit_learner
from isthmus.learners.scaling import moments
from isthmus_alignment.shallow.few_labels import FewLabels, labelled


@dataclass(frozen=True, kw_only=True)
class PRED(Strategy):
    """Fit a model on labelled target rows whose columns include what the source's model predicts.

    The columns added are probabilities, or values divided by their spread in the source: a class
    id, as some write it, would order the classes. Several sources are pooled. Cost: two fits of
    the learner, and both models in what is deployed; memory O(n d). Among many columns the few
    added ones have little say. Accuracy with three labelled rows per class, in brackets
    source-only and target-only: Office-Caltech SURF (12 tasks) 48.0 (46.6, 46.4), COIL20 81.0
    (79.5, 81.0), digits of JDA 65.9 (20.3, 66.5).
    """

    name: ClassVar[str] = "pred"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any", support=True)

    learner: Learner | None = None  # of both models; None: Linear

    def _adapt(self, task: Task, run: Run) -> Adapted:
        few = FewLabels.of(task)
        alone = Task(sources=few.sources, target=few.support)
        source = fit_learner(self.learner, alone, run)
        y = alone.source.y
        unit = moments(y)[1] if task.schema.is_regression else np.ones(task.schema.width)
        x = with_columns(few.support.x, source.predict(few.support.x) / unit)
        both = labelled(x, few.support.y, few.support)
        adapted = fit_learner(self.learner, Task(sources=(both,), target=both), run)
        part = PredictedPart(adapted.part, source.part, task.schema.width)
        part.unit = torch.tensor(unit, dtype=torch.float32)
        return TorchAdapted(
            part=few.before(part).to(adapted.device),
            schema=task.schema,
            diagnostics=adapted.diagnostics,
        )


def with_columns(x: Any, more: Any) -> Any:
    """Return ``x`` (n, d), dense or CSR, with ``more`` (n, k) behind it."""
    if not rows.is_sparse(x):
        return np.concatenate([x, more], axis=1, dtype=np.float32)
    from scipy import sparse

    return sparse.hstack([x, sparse.csr_matrix(more)], format="csr", dtype=np.float32)


class PredictedPart(FrontPart):
    """head([x, source(x) / unit])."""

    def __init__(self, head: Part, source: Part, width: int) -> None:
        super().__init__()
        self.head, self.source = head, source
        self.register_buffer("unit", torch.ones(width))
        self.unit: Tensor

    def map(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.source(x) / self.unit], dim=1)

    def settings(self) -> dict[str, Any]:
        return {
            "head": describe_part(self.head),
            "source": describe_part(self.source),
            "width": len(self.unit),
        }

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        head, source = build_part(settings["head"]), build_part(settings["source"])
        return cls(head, source, settings["width"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.source.example()
