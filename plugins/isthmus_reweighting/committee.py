"""Several fitted models as one: a weighted vote, or a weighted median.

The median of boosted regressors: Drucker, "Improving regressors using boosting techniques", ICML
1997.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.artefact import Part, build_part, describe_part


class CommitteePart(Part):
    """Shares of votes (n, classes), each head voting for its likeliest class; or medians."""

    def __init__(self, heads: list[Part], rule: Literal["vote", "median"]) -> None:
        super().__init__()
        self.heads, self.rule = nn.ModuleList(heads), rule
        self.register_buffer("weight", torch.ones(len(heads)) / len(heads))
        self.weight: Tensor

    @classmethod
    def of(
        cls, heads: list[Part], weight: NDArray[Any], rule: Literal["vote", "median"]
    ) -> CommitteePart:
        """Take a weight >= 0 per head, (heads,), not all 0. Heads of weight 0 are left out."""
        kept = np.flatnonzero(weight)
        part = CommitteePart([heads[i] for i in kept], rule)
        part.weight = torch.tensor(weight[kept] / weight[kept].sum(), dtype=torch.float32)
        return part

    def forward(self, x: Tensor) -> Tensor:
        each = torch.stack([head(x) for head in self.heads])  # (heads, n, width)
        weight = self.weight[:, None, None]
        if self.rule == "vote":
            first = (each >= each.amax(dim=2, keepdim=True)).to(each.dtype)
            return (weight * first / first.sum(dim=2, keepdim=True)).sum(dim=0)
        # The least prediction that half of the weight does not exceed; heads are few.
        below = torch.stack([(weight * (each <= one)).sum(dim=0) for one in each])
        return torch.where(below >= 0.5 - 1e-6, each, torch.inf).amin(dim=0)

    def settings(self) -> dict[str, Any]:
        heads = [describe_part(h) for h in self.heads]  # type: ignore[arg-type]
        return {"heads": heads, "rule": self.rule}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls([build_part(h) for h in settings["heads"]], settings["rule"])

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return self.heads[0].example()  # type: ignore[operator]
