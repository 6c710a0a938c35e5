"""Four small artefacts, one per kind, each exported once."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isthmus.deploy.bundle import write_bundle
from isthmus.deploy.export import OnnxGraph
from isthmus.domain import Schema

CLASSES = ("ant", "bee", "cat")
RECORD = {
    "strategy": "coral",
    "sources": ["npz:/data/private/usps.npz#split=train"],
    "target": "digits:rotated",
    "seed": 3,
}


class Linear(nn.Module):
    def __init__(self, width=3, classes=True):
        super().__init__()
        self.layer, self.classes = nn.Linear(5, width), classes

    def forward(self, x):
        z = self.layer(x)
        return z.softmax(1) if self.classes else z * 100


class Images(nn.Module):
    def __init__(self, channels=3, size=(24, 20)):
        super().__init__()
        self.size = size
        self.net = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(8 * (size[0] // 2) * (size[1] // 2), 3),
        )

    def forward(self, image):
        x = image.permute(0, 3, 1, 2).float()
        x = F.interpolate(x, size=self.size, mode="bilinear", antialias=True)
        return (self.net((x - 127.5) / 63) * 4).softmax(1)


class Nodes(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x, edges):
        h = self.first(x)
        h = h.index_add(0, edges[1], h[edges[0]]).relu()
        return self.last(h).softmax(1)


@dataclass
class Fake:
    graph: OnnxGraph
    schema: Schema
    diagnostics: dict = field(default_factory=lambda: {"gap": np.float32(0.25), "bad": np.nan})

    def onnx(self):
        return self.graph


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().train()


def table_artefact():
    graph = OnnxGraph(
        module=seeded(Linear), inputs={"x": torch.zeros(2, 5)}, dynamic={"x": {0: "n"}}
    )
    return Fake(graph, Schema(kind="table", shape=(5,), classes=CLASSES))


def values_artefact():
    graph = OnnxGraph(
        module=seeded(lambda: Linear(2, False)),
        inputs={"x": torch.zeros(2, 5)},
        dynamic={"x": {0: "n"}},
        outputs=("values",),
    )
    return Fake(graph, Schema(kind="table", shape=(5,), outputs=("height", "weight")))


def image_artefact(channels=3):
    graph = OnnxGraph(
        module=seeded(lambda: Images(channels)),
        inputs={"image": torch.zeros(2, 24, 20, channels, dtype=torch.uint8)},
        dynamic={"image": {0: "n", 1: "height", 2: "width"}},
        preprocessing={"resize": {"to": [24, 20], "how": "bilinear, antialiased"}},
    )
    return Fake(graph, Schema(kind="image", shape=(24, 20, channels), classes=CLASSES))


def graph_artefact():
    graph = OnnxGraph(
        module=seeded(Nodes),
        inputs={"x": torch.zeros(4, 5), "edges": torch.tensor([[0, 1], [1, 0]])},
        dynamic={"x": {0: "n"}, "edges": {1: "m"}},
    )
    return Fake(graph, Schema(kind="graph", shape=(5,), classes=CLASSES))


MAKERS = {
    "table": table_artefact,
    "values": values_artefact,
    "image": image_artefact,
    "grey": lambda: image_artefact(1),
    "graph": graph_artefact,
}


@pytest.fixture(scope="session")
def artefacts():
    return {name: make() for name, make in MAKERS.items()}


@pytest.fixture(scope="session")
def rows():
    return np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)


@pytest.fixture(scope="session")
def bundles(artefacts, rows, tmp_path_factory):
    """One bundle per kind, by name. Tests that change one copy it first."""
    root = tmp_path_factory.mktemp("bundles")
    for name, adapted in artefacts.items():
        sample = rows if name in ("table", "values") else None
        write_bundle(adapted, root / name, record=RECORD, sample=sample)
    return {name: root / name for name in artefacts}


@pytest.fixture
def torch_says(artefacts):
    """Return what the torch module itself predicts."""

    def say(name, *inputs):
        module = artefacts[name].graph.module
        was = module.training
        with torch.inference_mode():
            out = module.eval()(*(torch.from_numpy(i) for i in inputs)).numpy()
        module.train(was)
        return out

    return say
