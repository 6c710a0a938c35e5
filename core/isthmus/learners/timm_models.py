"""timm's networks by name, an extra: ``timm:convnext_tiny``, or with a tag ``timm:NAME.TAG``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from isthmus.errors import BadInput, ProviderUnavailable, UnsupportedTask, importing, nearest


def plain(name: str) -> nn.Module:
    """Return the network with random weights and the classifier that its weights have."""
    timm = _timm()
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise BadInput(f"timm has no backbone {name!r}", hint=nearest(name, known))
    net: nn.Module = timm.create_model(name, pretrained=False)
    return net


def classifier(net: Any, name: str) -> tuple[str, int]:
    """Return where the classifier of a network of timm is, and how many features it reads."""
    last = net.get_classifier()
    if not isinstance(last, nn.Linear):
        raise UnsupportedTask(f"{name} does not end in a linear layer; take another backbone")
    return next(n for n, m in net.named_modules() if m is last), last.in_features


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the pixels that the weights were trained on."""
    config = _timm().get_pretrained_cfg(name)
    return tuple(config.mean), tuple(config.std)


def download(name: str) -> dict[str, Tensor]:
    """Return the weights that timm has for the network."""
    try:
        return dict(_timm().create_model(name, pretrained=True).state_dict())
    except (OSError, RuntimeError) as error:
        known = _timm().get_pretrained_cfg(name).hf_hub_id
        where = f"fetch model.safetensors of https://huggingface.co/{known} elsewhere and "
        raise ProviderUnavailable(
            f"the weights of timm's {name} could not be downloaded ({str(error).splitlines()[0]})",
            hint=f"{where if known else ''}pass --weights FILE",
        ) from error


def _timm() -> Any:
    with importing("timm", "timm is not installed"):
        import timm

        return timm
