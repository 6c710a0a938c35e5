"""Decision trees as tensors, so that they export and compose like every other part.

A converter of scikit-learn's trees (skl2onnx) would write a file of its own, which nothing can
stand in front of: neither a map nor an embedding. Here a tree is three arrays over its nodes, and
all trees go down one level at a time for all rows: a fixed number of gathers.

Children are neighbours, so that the next node is ``child + (x > threshold)``; a leaf is its own
child behind the threshold infinity. scikit-learn compares float32 values with float64 thresholds.
The largest float32 number that is not above a threshold splits the same values as it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus.artefact import Part, build_part, describe_part
from isthmus.learners.mapped import FrontPart

TREES_AT_ONCE = 3  # that a row changes in when its values move by rounding, at most
SURELY = 0.1  # a leap of a probability that boosted trees do not exceed then


@dataclass(frozen=True, eq=False, kw_only=True)
class Tree:
    """A fitted tree over its nodes, the root first; ``left`` is -1 at leaves."""

    feature: NDArray[Any]  # (nodes,)
    threshold: NDArray[Any]  # (nodes,); a row goes left when its value is not above it
    left: NDArray[Any]  # (nodes,)
    right: NDArray[Any]  # (nodes,)
    value: NDArray[Any]  # (nodes, k)


class Nodes(nn.Module):
    """The nodes of all trees, each tree's padded to the largest."""

    def __init__(self, trees: int, nodes: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("feature", torch.zeros(trees, nodes, dtype=torch.int64))
        self.register_buffer("threshold", torch.full((trees, nodes), torch.inf))
        self.register_buffer("child", torch.zeros(trees, nodes, dtype=torch.int64))
        self.feature: Tensor
        self.threshold: Tensor
        self.child: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the leaf that each row (n, d) reaches in each tree, int64 (trees · n,).

        Nodes are numbered through all trees. Of one tree all rows, then of the next: its nodes
        stay in the cache.
        """
        trees, nodes = self.feature.shape
        feature, threshold, child = (
            t.flatten() for t in (self.feature, self.threshold, self.child)
        )
        columns, shape = x.T.contiguous(), (trees, x.shape[0])
        node = (torch.arange(trees, device=x.device) * nodes)[:, None].expand(shape).flatten()
        for _ in range(self.depth):
            value = columns.gather(0, feature.index_select(0, node).view(shape)).flatten()
            right = value > threshold.index_select(0, node)
            node = child.index_select(0, node) + right
        return node

    def settings(self) -> dict[str, Any]:
        trees, nodes = self.feature.shape
        return {"trees": trees, "nodes": nodes, "depth": self.depth}


class ForestPart(Part):
    """The mean of what the trees say."""

    def __init__(self, trees: int, nodes: int, depth: int, features: int, width: int) -> None:
        super().__init__()
        self.features = features
        self.nodes = Nodes(trees, nodes, depth)
        self.register_buffer("value", torch.zeros(trees, nodes, width))
        self.value: Tensor

    @classmethod
    def of(cls, trees: Sequence[Tree], features: int) -> ForestPart:
        """Take trees whose values are (nodes, width)."""
        nodes, values = _packed(trees)
        part = ForestPart(**nodes.settings(), features=features, width=values.shape[2])
        part.nodes, part.value = nodes, torch.tensor(values)
        return part

    def forward(self, x: Tensor) -> Tensor:
        said = self.value.flatten(0, 1).index_select(0, self.nodes(x))
        return said.view(len(self.value), x.shape[0], self.value.shape[2]).mean(0)

    def leap(self) -> float:
        return TREES_AT_ONCE * _largest_step(self.value) / len(self.value)

    def settings(self) -> dict[str, Any]:
        sizes = {"features": self.features, "width": self.value.shape[2]}
        return {**self.nodes.settings(), **sizes}

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(**settings)

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.features)}, {"x": {0: "n"}}


class BoostedPart(FrontPart):
    """head(what each tree says); the head adds up the trees of each class or output."""

    def __init__(self, head: Part, trees: int, nodes: int, depth: int, features: int) -> None:
        super().__init__()
        self.head = head
        self.features = features
        self.nodes = Nodes(trees, nodes, depth)
        self.register_buffer("value", torch.zeros(trees, nodes))
        self.value: Tensor

    @classmethod
    def of(cls, trees: Sequence[Tree], head: Part, features: int) -> BoostedPart:
        """Take trees whose values are (nodes, 1)."""
        nodes, values = _packed(trees)
        part = BoostedPart(head, **nodes.settings(), features=features)
        part.nodes, part.value = nodes, torch.tensor(values[:, :, 0])
        return part

    def map(self, x: Tensor) -> Tensor:
        said = self.value.flatten().index_select(0, self.nodes(x))
        return said.view(len(self.value), x.shape[0]).T

    def leap(self) -> float:
        step = TREES_AT_ONCE * _largest_step(self.value[:, :, None])
        if not getattr(self.head, "classes", False):
            return step
        # Softmax is no steeper than 1/4. Large steps are those of late trees, where it is flat.
        return min(step / 4, SURELY)

    def settings(self) -> dict[str, Any]:
        return {
            "head": describe_part(self.head),
            **self.nodes.settings(),
            "features": self.features,
        }

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        return cls(
            build_part(settings["head"]), **{k: settings[k] for k in settings if k != "head"}
        )

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        return {"x": torch.zeros(2, self.features)}, {"x": {0: "n"}}


def _packed(trees: Sequence[Tree]) -> tuple[Nodes, NDArray[np.float32]]:
    """Return the nodes of all trees, and their values float32 (trees, nodes, k)."""
    orders = [_by_level(tree) for tree in trees]
    size = max(len(order) for order, _ in orders)
    packed = Nodes(len(trees), size, max(depth for _, depth in orders))
    values = np.zeros((len(trees), size, trees[0].value.shape[1]), np.float32)
    for i, (tree, (order, _)) in enumerate(zip(trees, orders, strict=True)):
        n = len(order)
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        left = tree.left[order]
        inner = left >= 0
        child = np.where(inner, place[left], np.arange(n)) + i * size
        threshold = np.where(inner, _not_above(tree.threshold[order]), np.inf)
        packed.feature[i, :n] = torch.tensor(np.where(inner, tree.feature[order], 0))
        packed.threshold[i, :n] = torch.tensor(threshold.astype(np.float32))
        packed.child[i, :n] = torch.tensor(child)
        values[i, :n] = tree.value[order]
    return packed, values


def _by_level(tree: Tree) -> tuple[NDArray[np.int64], int]:
    """Return the nodes level by level, children side by side, and the number of steps down."""
    levels = [np.zeros(1, np.int64)]
    while len(inner := levels[-1][tree.left[levels[-1]] >= 0]):
        levels.append(np.stack([tree.left[inner], tree.right[inner]], 1).ravel().astype(np.int64))
    return np.concatenate(levels), len(levels) - 1


def _not_above(threshold: NDArray[Any]) -> NDArray[np.float32]:
    """Return the largest float32 numbers that are not above float64 ones."""
    with np.errstate(over="ignore"):
        near = np.asarray(threshold, np.float64).astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > threshold, below, near)


def _largest_step(value: Tensor) -> float:
    """Return the largest difference between two values of one tree, (trees, nodes, k)."""
    return float((value.amax(1) - value.amin(1)).max())
