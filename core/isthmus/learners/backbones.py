"""torchvision's and timm's networks by name, with weights from a local file or from the network.

torchvision is imported at first use: beside a CPU-only torch it cannot be imported at all.
"""

from __future__ import annotations

import urllib.error
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isthmus.domain import Schema
from isthmus.errors import BadInput, ProviderUnavailable, UnsupportedTask, nearest
from isthmus.learners import timm_models
from isthmus.learners.architectures import Architecture

TIMM = "timm:"


@dataclass(frozen=True, kw_only=True)
class Backbone(Architecture):
    """A classifier of torchvision or timm without its last layer, and an optional bottleneck.

    ``weights``: a .safetensors or .pth state dict; "download" for the library's default weights;
    "none" for random ones. ``tune_norm=False`` keeps the statistics of batch normalisation as they
    were pretrained.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"image"})
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)  # ImageNet, as torchvision trains
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    model: str = "resnet18"  # any of torchvision.models.list_models(), or "timm:" and timm's name
    weights: str = "download"
    bottleneck: int = 0  # 0: none
    tune_norm: bool = True
    rate: float = 0.1

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.model.startswith(TIMM):
            return timm_models.normalisation(self.model.removeprefix(TIMM))
        return self.mean, self.std

    def encoder(self, schema: Schema, *, pretrained: bool) -> tuple[nn.Module, int]:
        net = _plain(self.model)
        last, width = _last_linear(net, self.model)
        if pretrained and self.weights != "none":
            _load(net, self.model, self.weights, last)
        net.set_submodule(last, nn.Identity())
        if pretrained:
            _try(net, self.model, schema)
        body = Pretrained(net, self.tune_norm)
        if not self.bottleneck:
            return body, width
        b = self.bottleneck
        return nn.Sequential(body, nn.Linear(width, b), nn.BatchNorm1d(b), nn.ReLU()), b


class Pretrained(nn.Module):
    """The part that learns at the backbone's rate; may keep its batch statistics fixed."""

    def __init__(self, net: nn.Module, tune_norm: bool) -> None:
        super().__init__()
        self.net, self.tune_norm = net, tune_norm

    def train(self, mode: bool = True) -> Pretrained:
        super().train(mode)
        if not self.tune_norm:
            for m in self.net.modules():
                if isinstance(m, nn.modules.batchnorm._BatchNorm):
                    m.eval()
        return self

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


def _plain(name: str) -> nn.Module:
    if name.startswith(TIMM):
        return timm_models.plain(name.removeprefix(TIMM))
    try:
        from torchvision.models import get_model, list_models
    except (ImportError, RuntimeError) as error:
        raise ProviderUnavailable(
            f"torchvision cannot be imported: {str(error).splitlines()[0]}",
            hint="pip install --force-reinstall torch torchvision",
        ) from error
    import torchvision.models as models

    known = list_models(module=models)
    if name not in known:
        raise BadInput(f"torchvision has no backbone {name!r}", hint=nearest(name, known))
    if name in ("inception_v3", "googlenet"):
        raise UnsupportedTask(f"{name} returns two outputs in training; take another backbone")
    net: nn.Module = get_model(name, weights=None)
    return net


def _last_linear(net: nn.Module, name: str) -> tuple[str, int]:
    if name.startswith(TIMM):
        return timm_models.classifier(net, name)
    found = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)]
    if not found:
        raise UnsupportedTask(f"{name} does not end in a linear layer; take another backbone")
    return found[-1][0], found[-1][1].in_features


def _try(net: nn.Module, name: str, schema: Schema) -> None:
    """Refuse an image size that the network cannot read before anything is trained on it."""
    height, width, channels = schema.shape
    try:
        with torch.inference_mode():
            net.eval()(torch.zeros(1, channels, height, width))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsupportedTask(
            f"{name} cannot read images of {height}x{width} pixels: {reason}",
            hint="--image-size 224 is what most backbones were trained with",
        ) from error
    net.train()


def _load(net: nn.Module, name: str, weights: str, last: str) -> None:
    state = _download(name) if weights == "download" else _read(Path(weights).expanduser())
    own = net.state_dict()
    head = {k for k in own if k.startswith(last + ".")}
    missing = sorted(set(own) - set(state) - head)
    kept = own.keys() & state.keys() - head
    wrong = sorted(k for k in kept if getattr(state[k], "shape", None) != own[k].shape)
    if missing or wrong:
        what = f"lacks {missing[0]!r}" if missing else f"has another shape for {wrong[0]!r}"
        raise BadInput(f"{weights} is not a state dict of {name}: it {what}")
    net.load_state_dict({k: state[k] for k in kept}, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BadInput(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # each format raises its own kind of error on a broken file
        raise BadInput(f"{path} cannot be read as weights ({type(error).__name__})") from error


def _download(name: str) -> dict[str, Tensor]:
    if name.startswith(TIMM):
        return timm_models.download(name.removeprefix(TIMM))
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["DEFAULT"]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ProviderUnavailable(
            f"the weights of {name} could not be downloaded ({error})",
            hint=f"fetch {weights.url} elsewhere and pass --weights FILE",
        ) from error
