"""Feature augmentation (EasyAdapt): weights that all domains share, and weights of each.

Daumé III, "Frustratingly easy domain adaptation", ACL 2007, arXiv:0907.1815.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.artefact import Part, TorchAdapted, build_part, describe_part
from isthmus.learners.learner import Learner
from isthmus.learners.linear import LinearPart
from isthmus.learners.mapped import FrontPart
from isthmus.learners.neural import fit_learner
from isthmus_alignment.limits import a_share_if_given
from isthmus_alignment.shallow.few_labels import FewLabels, labelled


@dataclass(frozen=True, kw_only=True)
class FeatureAugmentation(Strategy):
    """Fit one model to copies of the columns: one for all domains, one for each domain alone.

    A source row x becomes (x, x, 0) and a labelled target row (x, 0, x), with one more block per
    further source; a penalty on all weights then draws the domains' models together, as far as
    their labels agree. Labelled target rows, being few, weigh as much as all of the source, which
    is usual in semi-supervised adaptation; in the paper all rows count alike (``share=none``).
    Cost: the learner's on two sparse copies of the rows, memory O(n d); what a linear learner
    deploys is one linear model of d columns. Accuracy with three labelled rows per class, in
    brackets ``share=none``, source-only and target-only: Office-Caltech SURF (12 tasks) 56.0 (54.5,
    46.6, 46.4), COIL20 87.6 (88.9, 79.5, 81.0), digits of JDA 65.1 (59.2, 20.3, 66.5).
    """

    name: ClassVar[str] = "feature-augmentation"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}), sources="any", support=True)

    share: float | None = 0.5  # of the weight that target rows have; None: all rows count alike
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        a_share_if_given(self, "share")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        few = FewLabels.of(task)
        given = (*few.sources, few.support)
        y = np.concatenate([d.y for d in given])
        both = labelled(augmented([d.x for d in given]), y, few.support)
        n, m = len(both) - len(few.support), len(few.support)
        weight = None
        if self.share is not None:
            weight = np.repeat(np.array([(1 - self.share) / n, self.share / m]) * (n + m), [n, m])
        head = fit_learner(self.learner, Task(sources=(both,), target=both), run, weight)
        k = len(few.sources)
        return TorchAdapted(
            part=few.before(in_blocks(head.part, [1.0, *[0.0] * k, 1.0])).to(head.device),
            # Of several sources an instance says not which it is from: it gets their mean.
            source_part=few.before(in_blocks(head.part, [1.0, *[1 / k] * k, 0.0])).to(head.device),
            schema=task.schema,
            diagnostics=head.diagnostics,
        )


def augmented(domains: Sequence[Any]) -> Any:
    """Return the rows of K domains, (n_i, d) each, in K + 1 blocks: CSR, (n, (K + 1) d)."""
    from scipy import sparse

    own = [[x if i == j else None for j in range(len(domains))] for i, x in enumerate(domains)]
    grid = [[x, *row] for x, row in zip(map(sparse.csr_matrix, domains), own, strict=True)]
    return sparse.bmat(grid, format="csr", dtype=np.float64)


class BlocksPart(FrontPart):
    """head([a x, b x, ...]): copies of the columns side by side, each times a number."""

    def __init__(self, head: Part, features: int, blocks: int) -> None:
        super().__init__()
        self.head, self.features = head, features
        self.register_buffer("factors", torch.ones(blocks))
        self.factors: Tensor

    def map(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(1) * self.factors.unsqueeze(1)).flatten(1)

    def settings(self) -> dict[str, Any]:
        blocks = len(self.factors)
        return {"head": describe_part(self.head), "features": self.features, "blocks": blocks}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(build_part(settings["head"]), settings["features"], settings["blocks"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.features)}, {"x": {0: "n"}}


def in_blocks(head: Part, factors: Sequence[float]) -> Part:
    """Return what ``head`` does of copies of the columns; of a linear one, one of d columns."""
    blocks = torch.tensor(factors, dtype=torch.float32)
    if isinstance(head, LinearPart):
        width, columns = head.weight.shape
        folded = LinearPart(columns // len(blocks), width, head.classes)
        w = head.weight.data.double().view(width, len(blocks), -1)
        folded.weight.data = torch.einsum("kbd,b->kd", w, blocks.double()).float()
        folded.bias.data = head.bias.data.clone()
        return folded
    (example,) = head.example()[0].values()
    part = BlocksPart(head, example.shape[1] // len(blocks), len(blocks))
    part.factors = blocks
    return part
