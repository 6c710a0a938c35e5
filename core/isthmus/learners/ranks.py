"""Several processes that train one model: each takes batches of its own, gradients are averaged.

Goyal et al., "Accurate, large minibatch SGD", 2017, arXiv:1706.02677. The processes are torchrun's
(``torchrun --nproc-per-node 2 -m isthmus adapt ...``), or any that share a process group of torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Return where this process is in torch's process group, if there is one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @classmethod
    def launched(cls) -> Ranks:
        """Return the place that torchrun gave this process, if it started it."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    def agree(self, modules: nn.Module) -> None:
        """Take the weights and buffers of the first process."""
        if self.world > 1:
            for tensor in [*modules.parameters(), *modules.buffers()]:
                dist.broadcast(tensor.detach(), 0)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over the processes, in one message."""
        found = list(tensors)
        if self.world == 1 or not found:
            return
        flat = torch.cat([t.detach().flatten() for t in found])
        dist.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [t.numel() for t in found])
        for t, part in zip(found, parts, strict=True):
            t.detach().copy_(part.view_as(t))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process."""
        if self.world == 1:
            return flag
        told = torch.tensor(float(flag), device=device)
        dist.all_reduce(told)
        return bool(told > 0)


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join torchrun's processes, if this is one of them; yield the device of this process.

    ``device`` "cuda" becomes the GPU of this process. Raises what torch raises where the others do
    not come.
    """
    if Ranks.launched().world == 1 or dist.is_initialized():
        yield device
        return
    cuda = device.startswith("cuda")
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()
