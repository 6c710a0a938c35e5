"""A memory of the whole target: features and predictions as each row was last seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bank(nn.Module):
    """Features (n, d), brought to length 1, and probabilities (n, classes) of n rows.

    They are buffers: checkpoints hold them, and nothing here has a gradient.
    """

    def __init__(self, features: Tensor, probabilities: Tensor) -> None:
        super().__init__()
        self.register_buffer("features", F.normalize(features, dim=1))
        self.register_buffer("probabilities", probabilities.clone())
        self.features: Tensor
        self.probabilities: Tensor

    @torch.no_grad()
    def store(self, features: Tensor, probabilities: Tensor, row: Tensor) -> None:
        """Replace what is known of the rows ``row`` (b,), int64."""
        self.features[row] = F.normalize(features, dim=1).to(self.features.dtype)
        self.probabilities[row] = probabilities.to(self.probabilities.dtype)

    @torch.no_grad()
    def nearest(self, row: Tensor, count: int) -> Tensor:
        """Return the rows, int64 (b, count), whose features are most like those of ``row`` (b,).

        Likeness is the cosine. No row is its own neighbour, so that there are n - 1 at most.
        """
        with torch.autocast(row.device.type, enabled=False):  # half precision sees too many ties
            likeness = self.features[row] @ self.features.T
        count = min(count, len(self.features) - 1)
        return likeness.scatter_(1, row[:, None], -torch.inf).topk(count, dim=1).indices
