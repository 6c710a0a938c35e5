"""Graph convolution by index_add, which exports to ONNX and respects repeated targets.

``edges`` is int64 (2, m): from, to; both directions of an undirected edge are present.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.domain import Schema
from isthmus.errors import BadInput
from isthmus.learners.architectures import Architecture, check_sizes


def normalisation(n: int, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of D^-1/2 (A + I) D^-1/2: of the edges (m, 1) and of the loops (n, 1)."""
    ones = torch.ones_like(edges[0], dtype=torch.float32)
    degree = torch.ones(n, device=edges.device).index_add(0, edges[1], ones)
    r = degree.rsqrt()
    return (r[edges[0]] * r[edges[1]])[:, None], (r * r)[:, None]


def propagate(h: Tensor, edges: Tensor, norm: tuple[Tensor, Tensor], steps: int = 1) -> Tensor:
    """Multiply features (n, d) ``steps`` times by the normalised adjacency; O(steps m d)."""
    across, loop = norm
    for _ in range(steps):
        h = (h * loop).index_add(0, edges[1], h[edges[0]] * across)
    return h


class Convolution(nn.Module):
    """P^steps (x W) + b; ``x`` may be a sparse CSR tensor (training on bags of words)."""

    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d, width)

    def forward(
        self, x: Tensor, edges: Tensor, norm: tuple[Tensor, Tensor], steps: int = 1
    ) -> Tensor:
        w = self.linear.weight.T
        h = torch.sparse.mm(x, w) if x.layout == torch.sparse_csr else x @ w
        return propagate(h, edges, norm, steps) + self.linear.bias


class GraphEncoder(nn.Module):
    """Kipf & Welling's layers; ``steps`` may differ between source and target (see A2GNN)."""

    def __init__(self, d: int, width: int, layers: int, steps: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Convolution(width if i else d, width) for i in range(layers))
        self.steps, self.dropout = steps, dropout

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.last(self.hidden(x, edges, self.steps), edges)

    def hidden(self, x: Tensor, edges: Tensor, steps: int) -> Tensor:
        """Return what the convolutions make of the nodes, (n, width)."""
        norm = normalisation(x.shape[0], edges)
        for layer in self.layers:
            x = F.dropout(layer(x, edges, norm, steps).relu(), self.dropout, self.training)
        return x

    def last(self, h: Tensor, edges: Tensor) -> Tensor:
        """Propagate once more: P (h W) = (P h) W, so that the linear head is a convolution."""
        return propagate(h, edges, normalisation(h.shape[0], edges))


@dataclass(frozen=True, kw_only=True)
class GCN(Architecture):
    """Graph convolutional network (Kipf & Welling, ICLR 2017, arXiv:1609.02907)."""

    kinds: ClassVar[frozenset[str]] = frozenset({"graph"})

    width: int = 128
    layers: int = 1  # besides the head, which is a convolution too
    steps: int = 1  # propagations per layer
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_sizes(self.dropout, self.width, self.layers)
        if self.steps < 0:
            raise BadInput(f"a GCN propagates 0 times or more, got steps={self.steps}")

    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        d = schema.shape[0]
        return GraphEncoder(d, self.width, self.layers, self.steps, self.dropout), self.width
