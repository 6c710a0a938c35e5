"""Methods of Transfer-Learning-Library from a clone, whose examples are loops around its losses.

Written from its API; the clone's folder is first on ``sys.path``. NumPy 1.24 took away a name that
its layers read, which is given back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

np.float = float  # type: ignore  # noqa: NPY001
from tllib.alignment.cdan import ConditionalDomainAdversarialLoss  # noqa: E402
from tllib.alignment.dan import MultipleKernelMaximumMeanDiscrepancy  # noqa: E402
from tllib.alignment.dann import DomainAdversarialLoss  # noqa: E402
from tllib.alignment.mdd import ClassificationMarginDisparityDiscrepancy  # noqa: E402
from tllib.modules.domain_discriminator import DomainDiscriminator  # noqa: E402
from tllib.modules.grl import WarmStartGradientReverseLayer  # noqa: E402
from tllib.modules.kernels import GaussianKernel  # noqa: E402
from tllib.self_training.mcc import MinimumClassConfusionLoss  # noqa: E402

from libraries.parts import CLASSES, LR, SGD, WIDTH, Meter, decay, encoder, floats  # noqa: E402

Half = tuple[Tensor, Tensor]  # of the source, of the target
Term = Callable[[Half, Half], Tensor]


def train(
    data: dict[str, Any],
    meter: Meter,
    size: int,
    device: str,
    *,
    term: Callable[[], tuple[nn.Module, Term]] | None = None,
) -> None:
    torch.manual_seed(0)
    body, head = encoder().to(device), nn.Linear(WIDTH, CLASSES).to(device)
    part, loss_of = term() if term else (nn.Identity(), None)
    both = nn.ModuleList([body, head, part.to(device)])
    sgd = torch.optim.SGD(both.parameters(), lr=LR, **SGD)
    rate = torch.optim.lr_scheduler.LambdaLR(sgd, decay)
    x_s, x_t = (floats(data[k], "cpu") for k in ("x_source", "x_target"))
    source = _forever(TensorDataset(x_s, torch.from_numpy(data["y_source"])), size)
    target = _forever(TensorDataset(x_t), size)
    while True:
        meter()
        x, y = (t.to(device) for t in next(source))
        if loss_of is not None:
            x = torch.cat([x, next(target)[0].to(device)])
        f = body(x)
        z = head(f)
        loss = F.cross_entropy(z[:size], y)
        if loss_of is not None:
            loss = loss + loss_of((f[:size], f[size:]), (z[:size], z[size:]))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        rate.step()


def _forever(data: Dataset[Any], size: int) -> Iterator[Any]:
    loader = DataLoader(data, batch_size=size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def discriminator(width: int) -> nn.Module:
    out: nn.Module = DomainDiscriminator(width, hidden_size=256, batch_norm=False)
    return out


def dann() -> tuple[nn.Module, Term]:
    loss = DomainAdversarialLoss(discriminator(WIDTH))
    return loss, lambda f, z: loss(*f)


def cdan() -> tuple[nn.Module, Term]:
    loss = ConditionalDomainAdversarialLoss(
        discriminator(WIDTH * CLASSES), entropy_conditioning=True
    )
    return loss, lambda f, z: loss(z[0], f[0], z[1], f[1])


def dan() -> tuple[nn.Module, Term]:
    loss = MultipleKernelMaximumMeanDiscrepancy([GaussianKernel(alpha=2**k) for k in range(-3, 2)])
    return loss, lambda f, z: loss(*f)


def mcc() -> tuple[nn.Module, Term]:
    loss = MinimumClassConfusionLoss(temperature=2.5)
    return loss, lambda f, z: loss(z[1])


def mdd() -> tuple[nn.Module, Term]:
    disparity, other = ClassificationMarginDisparityDiscrepancy(4.0), nn.Linear(WIDTH, CLASSES)
    reverse = WarmStartGradientReverseLayer(
        alpha=1.0, lo=0.0, hi=0.1, max_iters=1000, auto_step=True
    )

    def term(f: Half, z: Half) -> Tensor:
        adverse = other(reverse(torch.cat(f)))
        out: Tensor = -disparity(z[0], adverse[: len(z[0])], z[1], adverse[len(z[0]) :])
        return out

    return other, term


METHODS = {"source-only": {"eager": (train, {})}} | {
    name: {"eager": (train, {"term": term})}
    for name, term in {"dann": dann, "cdan": cdan, "dan": dan, "mcc": mcc, "mdd": mdd}.items()
}
