"""A domain critic behind a gradient reversal whose source rows count by weight.

Ganin et al., JMLR 17 (2016), arXiv:1505.07818, with weights as in partial domain adaptation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.artefact import TorchAdapted
from isthmus.learners.network import Network
from isthmus_alignment.deep.dann import Reverse


def critic(width: int, hidden: int) -> nn.Sequential:
    """Return three layers from features (n, width) to the logit of "source" (n, 1)."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 1),
    )


def domain_loss(
    judge: nn.Module, f_source: Tensor, f_target: Tensor, weight: Tensor | None, rate: float
) -> Tensor:
    """Return the critic's cross-entropy, whose gradient reaches the features times -rate.

    Half of it is the source's, where rows count by ``weight`` (n,), and half the target's.
    """
    z = judge(Reverse.apply(torch.cat([f_source, f_target]), rate)).squeeze(1).float()
    z_source, z_target = z[: len(f_source)], z[len(f_source) :]
    source = F.softplus(-z_source)
    source = source if weight is None else weight * source
    return (source.mean() + F.softplus(z_target).mean()) / 2


def ramp(done: float, ceiling: float, steepness: float = 10.0) -> float:
    """Return what grows from 0 to (about) ``ceiling`` while ``done`` goes from 0 to 1."""
    return ceiling * (2 / (1 + math.exp(-steepness * done)) - 1)


def predicted(net: Network, x: Any) -> NDArray[Any]:
    """Return the predictions (n, classes) of all rows, and leave the network in its mode."""
    modes = [(m, m.training) for m in net.modules()]
    p = TorchAdapted(part=net, schema=net.schema).predict(x)
    for module, training in modes:
        module.training = training
    return p
