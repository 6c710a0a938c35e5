"""Virtual adversarial training: how far predictions change near an instance, whatever its label.

Miyato, Maeda, Koyama & Ishii, "Virtual adversarial training: a regularization method for supervised
and semi-supervised learning", IEEE TPAMI 41 (2019), arXiv:1704.03976.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus.learners.modes import unremembered
from isthmus.learners.network import Network
from isthmus_alignment.deep.predictions import divergence

PROBE = 0.1  # of the radius: how far along a random direction the first gradient is taken


def virtual_divergence(net: Network, x: Tensor, radius: float) -> Tensor:
    """Return KL(p(x) | p(x + r)) (n,) for the r that changes p most, by one power iteration.

    ``x`` (n, ...) is prepared; ``radius`` is the root mean square of r over an instance's values.
    Gradients reach p(x + r) alone. All passes share dropout's absence and leave running statistics
    as they are. Three forward passes of the network and two backward.
    """
    with unremembered(net), torch.autocast(x.device.type, enabled=False):
        with torch.no_grad():
            log_p = _log_likely(net, x)
        probe = _sized(torch.randn_like(x), PROBE * radius).requires_grad_()
        (worst,) = torch.autograd.grad(divergence(log_p, _log_likely(net, x + probe)).sum(), probe)
        return divergence(log_p, _log_likely(net, x + _sized(worst, radius)))


def _log_likely(net: Network, x: Tensor) -> Tensor:
    z: Tensor = net.head(net.encode(x))
    return z.log_softmax(dim=1)


def _sized(x: Tensor, size: float) -> Tensor:
    """Return each instance of x, scaled to a root mean square; an instance of zeros stays.

    One whose squares underflow, as gradients of certain predictions do, stays shorter.
    """
    least = torch.finfo(x.dtype).tiny ** 0.5
    rms = x.flatten(1).square().mean(1).sqrt().clamp_min(least)
    return x * (size / rms).view(-1, *[1] * (x.ndim - 1))
