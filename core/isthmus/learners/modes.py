"""Passes through a network in the midst of its training that leave no trace in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from isthmus.artefact import TorchAdapted
from isthmus.learners.network import Network


def quiet(net: nn.Module) -> AbstractContextManager[None]:
    """Put a network in eval mode, without dropout and with stored statistics, for a while."""
    return _off(net.modules())


def undropped(net: nn.Module) -> AbstractContextManager[None]:
    """Leave dropout out for a while; batch normalisation goes on as it was."""
    return _off(m for m in net.modules() if isinstance(m, _DropoutNd))


@contextmanager
def unremembered(net: nn.Module) -> Iterator[None]:
    """Leave dropout out for a while, and keep batch statistics from being remembered."""
    momenta = [(m, m.momentum) for m in net.modules() if isinstance(m, _BatchNorm)]
    for norm, _ in momenta:
        norm.momentum = 0.0
    try:
        with undropped(net):
            yield
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum


@contextmanager
def deployed(net: Network) -> Iterator[TorchAdapted]:
    """Lend the network as an artefact, which sees all digits under mixed precision."""
    with quiet(net):
        adapted = TorchAdapted(part=net, schema=net.schema)  # which puts it in eval mode
        with torch.autocast(adapted.device.type, enabled=False):
            yield adapted


def as_deployed(net: Network, x: Any) -> tuple[Tensor, Tensor]:
    """Return features (n, width) and probabilities (n, classes), float32, of all instances."""
    with deployed(net) as adapted:
        f, p = (torch.from_numpy(a).to(adapted.device) for a in adapted.observe(x))
    return f, p


@contextmanager
def _off(modules: Iterable[nn.Module]) -> Iterator[None]:
    modes = [(m, m.training) for m in modules]
    for m, _ in modes:
        m.training = False
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training
