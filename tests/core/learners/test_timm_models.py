"""timm's networks by name: features, weights, normalisation and what is wrong, as torchvision's."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from isthmus import BadInput, Domain, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.deploy.export import export
from isthmus.errors import ProviderUnavailable
from isthmus.learners import Backbone, Training
from isthmus_alignment.deep.dann import DANN

SCHEMA = Schema(kind="image", shape=(32, 32, 3), classes=("a", "b"))
IMAGE = torch.rand(2, 3, 32, 32)
NET = "timm:test_convnext"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    net = timm.create_model("test_convnext", num_classes=7).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    return net, str(tmp_path / "w.safetensors")


def test_local_weights_give_what_the_classifier_of_the_model_reads(weights):
    net, path = weights
    body, width = Backbone(model=NET, weights=path).encoder(SCHEMA, pretrained=True)
    with torch.inference_mode():
        features = body.eval()(IMAGE)
        torch.testing.assert_close(net.get_classifier()(features), net(IMAGE))
    assert features.shape == (2, width)


def test_pixels_are_normalised_as_in_pretraining():
    assert Backbone(model=NET).normalisation() == ((0.5,) * 3, (0.5,) * 3)
    efficient = Backbone(model="timm:test_efficientnet").normalisation()
    assert efficient == Backbone().normalisation() == (Backbone.mean, Backbone.std)


def test_it_adapts_and_exports_with_parity(weights, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    source = Labelled(name="s", schema=SCHEMA, x=x[:12], y=np.arange(12) % 2)
    task = Task(target=Domain(name="t", schema=SCHEMA, x=x[12:]), sources=(source,))
    strategy = DANN(
        network=Backbone(model=NET, weights=weights[1]), training=Training(steps=3, batch_size=4)
    )
    adapted = strategy.adapt(task, Run())
    assert adapted.predict(x).shape == (24, 2)
    parity = export(adapted.onnx(), tmp_path / "model.onnx")
    assert parity.max_abs_diff < 1e-4


def test_what_timm_cannot_give_is_told(monkeypatch):
    with pytest.raises(BadInput, match="timm has no backbone 'convnext_tinny'") as caught:
        Backbone(model="timm:convnext_tinny").encoder(SCHEMA, pretrained=True)
    assert "convnext_tiny" in caught.value.hint
    with pytest.raises(
        UnsupportedTask, match="vit_tiny_patch16_224 cannot read images of 32x32 pixels"
    ):
        Backbone(model="timm:vit_tiny_patch16_224", weights="none").encoder(SCHEMA, pretrained=True)

    def offline(name, pretrained):
        if pretrained:
            raise FileNotFoundError("no route")
        return create(name, pretrained=False)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ProviderUnavailable, match=r"test_convnext could not be downloaded") as said:
        Backbone(model=NET).encoder(SCHEMA, pretrained=True)
    assert "https://huggingface.co/timm/test_convnext.r160_in1k" in said.value.hint
    assert "--weights FILE" in said.value.hint
    Backbone(model=NET).encoder(SCHEMA, pretrained=False)  # an artefact downloads nothing


def test_without_timm_the_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ProviderUnavailable, match="timm is not installed") as caught:
        Backbone(model=NET).encoder(SCHEMA, pretrained=True)
    assert "isthmus[timm]" in caught.value.hint
