"""An encoder and a head: what deep strategies train, and the artefact that it becomes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus import rows, settings
from isthmus.artefact import Part, schema_from
from isthmus.domain import Schema, Task
from isthmus.errors import UnsupportedTask
from isthmus.learners.architectures import MLP, Architecture, LeNet
from isthmus.learners.backbones import Backbone, Pretrained
from isthmus.learners.pixels import Pixels
from isthmus.learners.scaling import moments, scales
from isthmus.learners.series import CNN1d

SCALED = ("table", "series")  # kinds whose columns, or channels, are standardised
LARGEST_LENET = 64  # pixels; above that a pretrained backbone is the sensible default


class Network(Part):
    """``encode`` gives features (n, width), ``head`` gives logits or standardised values.

    ``prepare`` turns raw instances into what ``encode`` takes: normalised images, standardised
    tables and signals, (features, edges) of a graph. ``forward`` does all of it and predicts.
    """

    smoothing = 0.0  # of labels, while it is trained

    def __init__(
        self, schema: Schema, architecture: Architecture, *, accepts: int = 0, pretrained: bool
    ) -> None:
        super().__init__()
        if schema.kind not in architecture.kinds:
            name = type(architecture).__name__
            raise UnsupportedTask(
                f"{name} reads {sorted(architecture.kinds)} domains, got {schema.kind!r}"
            )
        self.schema, self.architecture = schema, architecture
        if schema.kind == "image":
            normalisation = architecture.normalisation()
            c = max(schema.shape[2], len(normalisation[0]))
            mean, std = ((*m * c,)[:c] for m in normalisation)
            self.pixels = Pixels(schema.shape, mean, std, accepts or schema.shape[2])
            schema = dataclasses.replace(schema, shape=(*schema.shape[:2], c))
        elif schema.kind in SCALED:
            places = (schema.shape[0], 1) if schema.kind == "series" else math.prod(schema.shape)
            self.register_buffer("mean", torch.zeros(places))
            self.register_buffer("scale", torch.ones(places))
        self.encoder, self.width = architecture.encoder(schema, pretrained=pretrained)
        self.head = nn.Linear(self.width, schema.width)
        self.register_buffer("y_mean", torch.zeros(schema.width))
        self.register_buffer("y_scale", torch.ones(schema.width))
        self.mean: Tensor
        self.scale: Tensor
        self.y_mean: Tensor
        self.y_scale: Tensor

    def prepare(self, x: Any) -> Any:
        if self.schema.kind == "image":
            return self.pixels(x)
        return (x - self.mean) / self.scale if self.schema.kind in SCALED else x

    def encode(self, x: Any) -> Tensor:
        if isinstance(x, tuple):
            features: Tensor = self.encoder(*x)
        else:
            features = self.encoder(_channels_last(x))
        return features

    def forward(self, x: Tensor, edges: Tensor | None = None) -> Tensor:
        return self.observe(x, *(() if edges is None else (edges,)))[1]

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encode(self.prepare(inputs[0] if len(inputs) == 1 else inputs))
        return features, self.predict(self.head(features))

    def predict(self, z: Tensor) -> Tensor:
        """Turn the head's output (n, k) into probabilities or values."""
        return z * self.y_scale + self.y_mean if self.schema.is_regression else z.softmax(dim=1)

    def loss(self, z: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy, or squared error of standardised values.

        ``weight`` (n,) has mean 1 over the domain, not over the batch.
        """
        if not self.schema.is_regression:
            each = F.cross_entropy(z, y, reduction="none", label_smoothing=self.smoothing)
        else:
            each = ((y - self.y_mean) / self.y_scale - z).square().mean(1)
        return each.mean() if weight is None else (weight * each).mean()

    def groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups with their learning-rate factors."""
        slow = {p for m in self.modules() if isinstance(m, Pretrained) for p in m.parameters()}
        fast = [p for p in self.parameters() if p not in slow]
        old = [p for p in self.parameters() if p in slow]  # in a fixed order, unlike the set
        groups = [{"params": fast, "rate": 1.0}]
        return groups + ([{"params": old, "rate": self.architecture.rate}] if old else [])

    def settings(self) -> dict[str, Any]:
        accepts = self.pixels.accepts if self.schema.kind == "image" else 0
        return {
            "schema": dataclasses.asdict(self.schema),
            "architecture": _portable(settings.describe(self.architecture)),
            "accepts": accepts,
        }

    @classmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        schema, architecture = schema_from(settings["schema"]), _restore(settings["architecture"])
        return cls(schema, architecture, accepts=settings["accepts"], pretrained=False)

    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        if self.schema.kind == "image":
            return self.pixels.example()
        if self.schema.kind == "graph":
            edges = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 0]])
            x = torch.zeros(4, *self.schema.shape)
            return {"x": x, "edges": edges}, {"x": {0: "n"}, "edges": {1: "m"}}
        return {"x": torch.zeros(2, *self.schema.shape)}, {"x": {0: "n"}}

    def preprocessing(self) -> dict[str, Any]:
        return self.pixels.describe() if self.schema.kind == "image" else {}


def network_for(task: Task, architecture: Architecture | None) -> Network:
    """Build a network for a task, scaled by its labelled rows; None takes the kind's default."""
    schema, x = task.schema, task.target.x
    raw = getattr(x, "raw", x)  # what the deployed model will be given
    accepts = int(raw.shape[3]) if schema.kind == "image" else 0
    architecture = architecture or default_architecture(schema)
    net = Network(schema, architecture, accepts=accepts, pretrained=True)
    given = task.source if task.sources else task.support
    if given is not None:
        if schema.kind == "table" and not rows.is_sparse(given.x):
            net.mean, net.scale = _tensors(*scales(given.x, named=bool(schema.features)))
        if schema.kind == "series":
            steps = np.moveaxis(np.asarray(given.x), 1, 2).reshape(-1, schema.shape[0])
            net.mean, net.scale = (t[:, None] for t in _tensors(*moments(steps)))
        if schema.is_regression:
            net.y_mean, net.y_scale = _tensors(*moments(given.y))
    return net


def default_architecture(schema: Schema) -> Architecture:
    if schema.kind == "image":
        return LeNet() if max(schema.shape[:2]) <= LARGEST_LENET else Backbone()
    if schema.kind == "graph":
        from isthmus.learners.graphs import GCN

        return GCN()
    return CNN1d() if schema.kind == "series" else MLP()


def _channels_last(x: Tensor) -> Tensor:
    """Return images (n, c, h, w) with a pixel's channels side by side, as convolutions want them.

    They come so from bytes; views of them and grey ones in colour do not.
    """
    if x.ndim != 4 or torch.compiler.is_exporting():
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _portable(architecture: dict[str, Any]) -> dict[str, Any]:
    """Name a weights file without its folder: the tensors travel with the artefact."""
    if "weights" in architecture:
        architecture["weights"] = Path(architecture["weights"]).name
    return architecture


def _restore(value: dict[str, Any]) -> Architecture:
    return settings.restore(value, Architecture)  # type: ignore[type-abstract]


def _tensors(*arrays: Any) -> list[Tensor]:
    return [torch.tensor(a, dtype=torch.float32) for a in arrays]
