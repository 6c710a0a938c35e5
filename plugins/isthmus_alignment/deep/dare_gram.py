"""DARE-GRAM: aligning inverse Gram matrices for regression.

Nejjar, Wang & Fink, "DARE-GRAM: unsupervised domain adaptation regression by aligning inverse Gram
matrices", CVPR 2023, arXiv:2303.13325.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.decomposition import svd
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class DAREGram(Strategy):
    """Align what least squares reads of features: the inverse of their Gram matrix.

    With Z the features of a batch and a column of ones, Z'Z = V diag(l) V', and the k largest l
    that hold ``share`` of their sum: minimises task + angle · the mean of 1 - cos of the columns of
    both pseudo-inverses of rank k, + scale · |l_s - l_t| / k over these k. The Gram matrices (d, d)
    are never formed: cost per step O(b² d), memory O(b d), for a batch of b. k is the larger of
    both domains. Settings are those of the authors' code; nothing was tuned. No data set of values
    is at hand: on the contract's mild shift R² is 0.97, as without.
    """

    name: ClassVar[str] = "dare-gram"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table", "image"}), sources="any", outputs=frozenset({"values"})
    )

    angle: float = 0.05  # weight of the angles between columns
    scale: float = 0.001  # weight of the distance between eigenvalues
    share: float = 0.9  # of the sum of the eigenvalues that the pseudo-inverse keeps
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "angle", "scale")
        if not 0 < self.share < 1:
            raise BadInput(f"dare-gram: share={self.share}, expected a number between 0 and 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def term(p: Pass) -> Tensor:
            angle, scale = inverse_gram_gap(p.f_s, p.f_t, self.share)
            return self.angle * angle + self.scale * scale

        return adapt_network(
            task, run, self.network, self.training, lambda net: Regularised("gram", term, 1.0)
        )


def inverse_gram_gap(f_source: Tensor, f_target: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the mean of 1 - cos of the inverse Gram matrices' columns, and |l_s - l_t| / k.

    For rows (n, d) and (m, d). A column is compared by its parts in the eigenvectors alone.
    """
    with torch.autocast(f_source.device.type, enabled=False):
        spectra = []
        for f in (full(f_source), full(f_target)):
            _, s, v = svd(F.pad(f, (1, 0), value=1.0))  # the intercept's column first
            spectra.append((s.square(), v))
        least = min(len(values) for values, _ in spectra)
        (l_s, v_s), (l_t, v_t) = ((values[:least], v[:, :least]) for values, v in spectra)
        kept = (_needed(l_s, share) | _needed(l_t, share)).to(l_s)
        w_s, w_t = (v * (kept / _at_least(values)) for values, v in ((l_s, v_s), (l_t, v_t)))
        inner = ((w_s @ (v_s.mT @ v_t)) * w_t).sum(1)  # of columns of the inverses, (d + 1,)
        cosine = inner / (w_s.norm(dim=1) * w_t.norm(dim=1)).clamp_min(1e-12)
        gap = torch.linalg.vector_norm(kept * (l_s - l_t)) / kept.sum()
        return (1 - cosine).mean(), gap


def _needed(values: Tensor, share: float) -> Tensor:
    """Return which of the descending ``values`` (r,) it takes to hold ``share`` of their sum."""
    total = values.detach().cumsum(0)
    before = total - values.detach()
    return (before < share * total[-1]) | (torch.arange(len(values), device=values.device) < 2)


def _at_least(values: Tensor) -> Tensor:
    """Return descending ``values`` (r,), those that are 0 but for rounding a little larger."""
    least = torch.finfo(values.dtype).eps * values.detach()[0]
    return values.maximum(least).clamp_min(torch.finfo(values.dtype).tiny)
