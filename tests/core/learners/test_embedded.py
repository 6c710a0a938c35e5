"""A table strategy on images is the strategy on features, deployed behind the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from isthmus import (
    Adapted,
    Labelled,
    Needs,
    NotExportable,
    Run,
    Schema,
    Strategy,
    Task,
    UnsupportedTask,
)
from isthmus.artefact import load
from isthmus.learners import Backbone, Linear, RawPixels
from isthmus.learners.embedded import Embedded
from isthmus.learners.loop import seeded
from isthmus.learners.network import Network
from isthmus.testing.domains import MAKERS
from isthmus_alignment.shallow.coral import CORAL

TASK, HELDOUT = MAKERS["image"](0)
RUN = Run(seed=3)


def by_hand(task, heldout, features, run=RUN):
    """CORAL on features (n, d) computed outside."""
    (source,) = task.sources
    schema = Schema(kind="table", shape=features(heldout.x).shape[1:], classes=task.schema.classes)
    table = Labelled(name="s", schema=schema, x=features(source.x), y=source.y)
    target = Labelled(name="t", schema=schema, x=features(task.target.x), y=np.zeros(150, int))
    adapted = CORAL().adapt(Task(sources=(table,), target=target), run)
    return adapted.predict(features(heldout.x))


def test_coral_on_raw_pixels_is_coral_on_the_flat_table():
    found = Embedded(strategy=CORAL()).adapt(TASK, RUN).predict(HELDOUT.x)

    def flat(x):
        return (x.astype(np.float32).transpose(0, 3, 1, 2).reshape(len(x), -1) - 127.5) / 127.5

    np.testing.assert_allclose(found, by_hand(TASK, HELDOUT, flat), atol=1e-4)
    assert (found.argmax(1) == HELDOUT.y).mean() > 0.8


def test_coral_on_a_backbone_is_coral_on_its_features():
    def enlarged(d):
        x = np.repeat(d.x, 4, axis=1).repeat(4, axis=2).repeat(3, axis=3)
        return Labelled(name=d.name, schema=schema, x=x, y=d.y)

    schema = Schema(kind="image", shape=(32, 32, 3), classes=TASK.schema.classes)
    heldout, source = enlarged(HELDOUT), enlarged(TASK.source)
    target = Labelled(name="t", schema=TASK.schema, x=TASK.target.x, y=np.zeros(150, int))
    task = Task(sources=(source,), target=enlarged(target))
    backbone = Backbone(model="resnet18", weights="none")
    adapted = Embedded(strategy=CORAL(), network=backbone).adapt(task, RUN)
    with seeded(RUN):
        net = Network(schema, backbone, accepts=3, pretrained=True).eval()

    def features(x):
        with torch.inference_mode():
            normal = (x / 255 - np.array(Backbone.mean)) / np.array(Backbone.std)
            return net.encoder(
                torch.tensor(normal, dtype=torch.float32).permute(0, 3, 1, 2)
            ).numpy()

    found = adapted.predict(heldout.x)
    expected = by_hand(task, heldout, features)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_it_is_saved_with_its_network(tmp_path):
    adapted = Embedded(strategy=CORAL(learner=Linear(penalty=2.0))).adapt(TASK, RUN)
    adapted.save(tmp_path)
    again, _ = load(tmp_path)
    np.testing.assert_array_equal(again.predict(HELDOUT.x), adapted.predict(HELDOUT.x))
    assert again.schema == TASK.schema


def test_images_of_any_size_are_read():
    adapted = Embedded(strategy=CORAL()).adapt(TASK, RUN)
    larger = HELDOUT.x.repeat(2, 1).repeat(2, 2)
    assert adapted.predict(larger).shape == (150, 3)


def test_progress_names_each_domain():
    told = []
    run = Run(progress=lambda *a: told.append(a))
    Embedded(strategy=CORAL()).adapt(TASK, run)
    assert ("embed source", 150, 150) in told
    assert ("embed target", 150, 150) in told


@dataclass(frozen=True, kw_only=True)
class Constant(Strategy):
    """Returns no torch module."""

    name: ClassVar[str] = "constant"
    family: ClassVar[str] = "baseline"
    needs: ClassVar[Needs] = Needs(kinds=frozenset({"table"}))

    def _adapt(self, task, run):
        class Nothing(Adapted):
            def predict(self, x):
                return np.ones((len(x), 3), np.float32) / 3

        return Nothing()


def test_what_cannot_stand_on_a_network_is_told():
    with pytest.raises(NotExportable, match="constant returns no torch module"):
        Embedded(strategy=Constant()).adapt(TASK, RUN)
    started = Task(
        sources=TASK.sources, target=TASK.target, start=Embedded(strategy=CORAL()).adapt(TASK)
    )
    with pytest.raises(UnsupportedTask, match="starts from no model"):
        Embedded(strategy=CORAL(), network=RawPixels()).adapt(started, RUN)
