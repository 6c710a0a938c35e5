"""What partial methods need beside a domain critic: weights of its source rows, and predictions.

Ganin et al., JMLR 17 (2016), arXiv:1505.07818, with weights as in partial domain adaptation.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.artefact import TorchAdapted
from isthmus.learners.network import Network
from isthmus_alignment.deep.dann import Reverse


def weighted_domain_loss(
    judge: nn.Module, f_source: Tensor, f_target: Tensor, weight: Tensor, rate: float
) -> Tensor:
    """Return the critic's cross-entropy, whose gradient reaches the features times -rate.

    Half of it is the source's, where rows count by ``weight`` (n,), and half the target's. Weights
    are not divided by their mean, unlike in ``dann.domain_loss``: in PADA it is below 1.
    """
    z = judge(Reverse.apply(torch.cat([f_source, f_target]), rate)).squeeze(1).float()
    source, target = F.softplus(-z[: len(f_source)]), F.softplus(z[len(f_source) :])
    return ((weight * source).mean() + target.mean()) / 2


def predicted(net: Network, x: Any) -> NDArray[Any]:
    """Return the predictions (n, classes) of all rows, and leave the network in its mode."""
    modes = [(m, m.training) for m in net.modules()]
    p = TorchAdapted(part=net, schema=net.schema).predict(x)
    for module, training in modes:
        module.training = training
    return p
