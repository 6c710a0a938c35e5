"""Methods of skada.deep.

Its own domain classifier ends in a softmax over one column and has no gradient, so DANN and CDAN
get a critic that works, with its sigmoid and the reversal, as skada wants them; MDD too gets the
reversal that its adversary lacks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skada.deep import CDAN, DAN, DANN, MCC, MDD, SourceOnly
from skorch.callbacks import LRScheduler
from torch import Tensor, nn

from libraries.parts import (
    CLASSES,
    LR,
    SGD,
    WIDTH,
    Meter,
    Reversal,
    critic,
    decay,
    encoder,
    floats,
)

SOURCE, TARGET, MASKED = 1, -2, -1  # signs of skada's sample_domain, and its missing label


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = encoder(), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor, sample_weight: Any = None) -> Tensor:
        out: Tensor = self.head(self.encoder(x))
        return out


def domain_classifier(width: int) -> nn.Module:
    return nn.Sequential(Reversal(), critic(width), nn.Sigmoid(), nn.Flatten(0))


def train(
    data: dict[str, Any], meter: Meter, size: int, device: str, *, method: Any, **options: Any
) -> None:
    torch.manual_seed(0)
    net, given = Net(), dict(options)
    net.encoder.register_forward_pre_hook(meter)
    if "width" in given:
        given["domain_classifier"] = domain_classifier(given.pop("width"))
    if method is MDD:
        given["disc_classifier"] = nn.Sequential(Reversal(), nn.Linear(WIDTH, CLASSES))
    model = method(
        net,
        layer_name="encoder",
        **given,
        max_epochs=1000,
        batch_size=size,
        train_split=None,
        verbose=0,
        device=device,
        lr=LR,
        optimizer=torch.optim.SGD,
        **{f"optimizer__{k}": v for k, v in SGD.items()},
        callbacks=[("rate", LRScheduler("LambdaLR", lr_lambda=decay, step_every="batch"))],
    )
    x = torch.cat([floats(data[k], "cpu") for k in ("x_source", "x_target")]).numpy()
    n, m = len(data["x_source"]), len(data["x_target"])
    y = np.concatenate([data["y_source"], np.full(m, MASKED)])
    model.fit(x, y, sample_domain=np.repeat([SOURCE, TARGET], [n, m]))


METHODS = {
    "source-only": {"eager": (train, {"method": SourceOnly})},
    "dann": {"eager": (train, {"method": DANN, "width": WIDTH})},
    "cdan": {"eager": (train, {"method": CDAN, "width": WIDTH * CLASSES})},
    "dan": {"eager": (train, {"method": DAN})},
    "mcc": {"eager": (train, {"method": MCC, "T": 2.5})},
    "mdd": {"eager": (train, {"method": MDD})},
}
