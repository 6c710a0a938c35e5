"""Batch normalisation as a place where domains differ: which layers, and their statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from isthmus import rows
from isthmus.errors import UnsupportedTask
from isthmus.learners.network import Network
from isthmus.tensors import as_tensor

CHUNK = 256  # rows of one pass


def norm_layers(net: Network) -> list[_BatchNorm]:
    """Return the encoder's batch normalisation; raise UnsupportedTask where there is none."""
    found = [m for m in net.encoder.modules() if isinstance(m, _BatchNorm)]
    if not found:
        raise UnsupportedTask(
            f"{type(net.architecture).__name__} has no batch normalisation to adapt"
        )
    return found


def adapt_statistics(net: Network, x: Any, prior: float = 0.0) -> None:
    """Give each layer the mean and variance of what it reads of the instances, in place.

    A layer is measured when those in front of it have their statistics, so that in the end its
    output has mean 0 and variance 1 over the instances, channel by channel; ``prior`` is the number
    of instances for which the old statistics count. One pass of all instances per layer, sums in
    double precision.
    """
    net.eval()
    for layer in _in_order(net, norm_layers(net), x):
        measure = Moments()
        handle = layer.register_forward_pre_hook(measure)
        try:
            _pass(net, x)
        finally:
            handle.remove()
        mean, var = measure.result()
        share = rows.count(x) / (rows.count(x) + prior)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        old_mean, old_var = layer.running_mean.double(), layer.running_var.double()
        layer.running_mean.copy_(share * mean + (1 - share) * old_mean)
        layer.running_var.copy_(share * var + (1 - share) * old_var)


class Moments:
    """A hook that adds up what a layer reads, (n, channels, ...)."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, torch.zeros(()), torch.zeros(())

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double().transpose(0, 1).flatten(1)
        self.count += x.shape[1]
        self.total = self.total + x.sum(dim=1)
        self.squares = self.squares + x.square().sum(dim=1)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance (channels,), of the population."""
        mean = self.total / self.count
        return mean, (self.squares / self.count - mean.square()).clamp_min(0)


def _in_order(net: Network, layers: list[_BatchNorm], x: Any) -> list[_BatchNorm]:
    """Return the layers as a pass meets them; one that it does not meet is left out."""
    met: list[_BatchNorm] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer not in met:
            met.append(layer)  # type: ignore[arg-type]

    handles = [m.register_forward_pre_hook(note) for m in layers]
    try:
        _pass(net, x[:1])
    finally:
        for handle in handles:
            handle.remove()
    return met


def prepared(net: Network, x: Any) -> Tensor:
    """Return raw rows (n, ...) as what the network encodes, on its device."""
    raw = rows.dense(x) if net.schema.kind == "table" else x
    out: Tensor = net.prepare(as_tensor(raw).to(next(net.parameters()).device))
    return out


def _pass(net: Network, x: Any) -> None:
    with torch.inference_mode():
        for part in rows.chunks(rows.count(x), CHUNK):
            net.encode(prepared(net, x[part]))
