"""Methods of pytorch-adapt, whose adapters step on the batches of an ordinary loader."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_adapt.adapters import CDANNE, DANN, Aligner, Classifier
from pytorch_adapt.containers import Misc, Models, Optimizers
from pytorch_adapt.datasets import CombinedSourceAndTargetDataset, SourceDataset, TargetDataset
from pytorch_adapt.hooks import MCCHook
from pytorch_adapt.layers import MCCLoss, MMDLoss
from pytorch_adapt.layers.utils import get_kernel_scales
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from libraries.parts import (
    CLASSES,
    LR,
    SGD,
    WIDTH,
    Joint,
    Meter,
    critic,
    decay,
    encoder,
    floats,
)


def train(
    data: dict[str, Any], meter: Meter, size: int, device: str, *, adapter: Any, width: int = 0,
    alone: bool = False, **hooks: Any,
) -> None:  # fmt: skip
    torch.manual_seed(0)
    models = {"G": encoder(), "C": nn.Linear(WIDTH, CLASSES)}
    if width:
        models["D"] = nn.Sequential(critic(width), nn.Flatten(0))
    models = {k: m.to(device) for k, m in models.items()}
    made = adapter(
        models=Models(models),
        optimizers=Optimizers((torch.optim.SGD, {"lr": LR, **SGD}), keys=[*models]),
        misc=Misc({"feature_combiner": Joint()}) if adapter is CDANNE else None,
        hook_kwargs={k: v() for k, v in hooks.items()},
    )
    rates = [torch.optim.lr_scheduler.LambdaLR(o, decay) for o in made.optimizers.values()]
    y = torch.from_numpy(data["y_source"])
    source = SourceDataset(TensorDataset(floats(data["x_source"], "cpu"), y))
    target = TargetDataset(floats(data["x_target"], "cpu"))
    both = source if alone else CombinedSourceAndTargetDataset(source, target)
    loader = DataLoader(both, batch_size=size, shuffle=True, drop_last=True)
    while True:
        for batch in loader:
            meter()
            made.training_step(
                {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
            )
            for rate in rates:
                rate.step()


def mmd() -> MMDLoss:
    """Return the MMD of five kernels over all pairs, as ours is."""
    return MMDLoss(get_kernel_scales(low=-3, high=1, num_kernels=5), mmd_type="quadratic")


METHODS = {
    "source-only": {"eager": (train, {"adapter": Classifier, "alone": True})},
    "dann": {"eager": (train, {"adapter": DANN, "width": WIDTH})},
    "cdan": {"eager": (train, {"adapter": CDANNE, "width": WIDTH * CLASSES})},
    "dan": {"eager": (train, {"adapter": Aligner, "loss_fn": mmd})},
    "mcc": {"eager": (train, {"adapter": Classifier, "post": lambda: [MCCHook(MCCLoss(T=2.5))]})},
}
