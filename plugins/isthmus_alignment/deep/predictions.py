"""What methods read off the logits of a batch, with digits that half precision lacks."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """Return half precision as single, and leave the rest as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy (b,), in nats, of the predictions of logits (b, classes)."""
    log_p = full(logits).log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p | q) (b,), in nats, of log-probabilities (b, classes)."""
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
