"""torchvision's networks by name, with weights from anywhere, and a word on what is wrong."""

from __future__ import annotations

import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from isthmus import BadInput, Schema, UnsupportedTask
from isthmus.errors import ProviderUnavailable
from isthmus.learners import Backbone
from isthmus.learners.backbones import Pretrained

SIDE = 32
SCHEMA = Schema(kind="image", shape=(SIDE, SIDE, 3), classes=("a", "b"))
IMAGE = torch.rand(2, 3, SIDE, SIDE)
MAKERS = {"resnet18": (resnet18, 512), "mobilenet_v2": (mobilenet_v2, 1280)}


def encoder(**given):
    body, width = Backbone(**given).encoder(SCHEMA, pretrained=True)
    return body.eval(), width


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return {name: make(num_classes=7).eval() for name, (make, _) in MAKERS.items()}


@pytest.fixture(scope="module")
def resnet(trained):
    return trained["resnet18"]


@pytest.mark.parametrize("name", MAKERS)
def test_random_weights_give_features_of_the_width(name):
    body, width = encoder(model=name, weights="none")
    assert width == MAKERS[name][1]
    assert body(IMAGE).shape == (2, width)
    assert not any(isinstance(m, nn.Linear) for m in body.modules())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", MAKERS)
def test_local_weights_are_the_models(name, suffix, trained, tmp_path):
    net, path = trained[name], tmp_path / f"w{suffix}"
    save_file(net.state_dict(), path) if suffix == ".safetensors" else torch.save(
        net.state_dict(), path
    )
    body, _ = encoder(model=name, weights=str(path))
    last = next(m for m in reversed([*net.modules()]) if isinstance(m, nn.Linear))
    with torch.inference_mode():
        torch.testing.assert_close(last(body(IMAGE)), net(IMAGE))


def test_a_head_of_any_size_is_left_out(resnet, tmp_path):
    state = {k: v for k, v in resnet.state_dict().items() if not k.startswith("fc.")}
    save_file(state, tmp_path / "w.safetensors")
    body, _ = encoder(weights=str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(body.net.conv1.weight, resnet.conv1.weight)


def cut(path, resnet):
    torch.save(resnet.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def pickled(path, resnet):
    torch.save({"evil": print}, path)


FAULTS = {
    "cut.pth": (cut, "cannot be read as weights"),
    "pickle.pth": (pickled, "cannot be read as weights"),
    "text.pth": (lambda p, r: p.write_text("hello"), "cannot be read as weights"),
    "text.safetensors": (lambda p, r: p.write_text("hello"), "cannot be read as weights"),
    "tensor.pth": (lambda p, r: torch.save(torch.zeros(3), p), "cannot be read as weights"),
    "absent.pth": (lambda p, r: None, "there is no weights file"),
    "other.safetensors": (
        lambda p, r: save_file({"a": torch.zeros(2)}, p),
        "is not a state dict of resnet18: it lacks 'bn1.bias'",
    ),
    "lacking.pth": (
        lambda p, r: torch.save(
            {k: v for k, v in r.state_dict().items() if k != "conv1.weight"}, p
        ),
        "it lacks 'conv1.weight'",
    ),
    "shape.pth": (
        lambda p, r: torch.save({**r.state_dict(), "conv1.weight": torch.zeros(64, 1, 7, 7)}, p),
        "it has another shape for 'conv1.weight'",
    ),
    "wrapped.pth": (
        lambda p, r: torch.save({"state_dict": r.state_dict(), "epoch": 3}, p),
        "is not a state dict of resnet18",
    ),
    "numbers.pth": (
        lambda p, r: torch.save({**r.state_dict(), "conv1.weight": 3}, p),
        "it has another shape for 'conv1.weight'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_does_not_fit_is_told(name, resnet, tmp_path):
    make, message = FAULTS[name]
    make(tmp_path / name, resnet)
    with pytest.raises(BadInput, match=message) as caught:
        encoder(weights=str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_model_names_the_nearest():
    with pytest.raises(BadInput, match="torchvision has no backbone 'resnet81'") as caught:
        encoder(model="resnet81", weights="none")
    assert "'resnet18'" in caught.value.hint


@pytest.mark.parametrize("name", ["squeezenet1_0", "inception_v3", "googlenet"])
def test_models_of_another_shape_are_refused(name):
    with pytest.raises(UnsupportedTask, match="take another backbone"):
        encoder(model=name, weights="none")


@pytest.mark.parametrize("name", ["vit_b_16", "alexnet"])
def test_an_image_size_that_the_model_cannot_read_is_refused(name):
    with pytest.raises(
        UnsupportedTask, match=f"{name} cannot read images of 32x32 pixels"
    ) as caught:
        encoder(model=name, weights="none")
    assert "--image-size 224" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route"),
        OSError(28, "No space left on device"),
        RuntimeError("invalid hash value"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_without_a_network_the_address_is_told(monkeypatch, error):
    def offline(*args, **given):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ProviderUnavailable, match="resnet18 could not be downloaded") as caught:
        encoder(model="resnet18", weights="download")
    assert "https://download.pytorch.org/models/resnet18-" in caught.value.hint
    assert "--weights FILE" in caught.value.hint


def test_an_artefact_that_is_loaded_downloads_nothing(monkeypatch):
    def offline(*args, **given):
        raise AssertionError

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    Backbone(weights="download").encoder(SCHEMA, pretrained=False)


def test_a_bottleneck_narrows_the_features():
    body, width = encoder(weights="none", bottleneck=16)
    assert width == 16
    assert body(IMAGE).shape == (2, 16)


@pytest.mark.parametrize("tune_norm", [True, False])
def test_the_statistics_of_pretraining_can_be_kept(tune_norm, resnet):
    body = Pretrained(mobilenet_v2(), tune_norm).train()
    before = {k: v.clone() for k, v in body.state_dict().items() if "running" in k}
    body(IMAGE)
    same = [torch.equal(v, body.state_dict()[k]) for k, v in before.items()]
    assert all(same) is not tune_norm
    assert body.training
    assert not body.eval().net.training


def test_building_leaves_the_random_state_to_the_weights():
    torch.manual_seed(3)
    a, _ = encoder(weights="none")
    torch.manual_seed(3)
    b, _ = encoder(weights="none")
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert Backbone(weights="none").encoder(SCHEMA, pretrained=True)[0].training
