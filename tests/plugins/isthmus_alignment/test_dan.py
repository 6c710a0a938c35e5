from __future__ import annotations

import pytest
import torch

from isthmus import BadInput, Run
from isthmus.learners.feed import Batch
from isthmus.learners.loop import Training, encode_both
from isthmus.testing.domains import table
from isthmus_alignment.deep.dan import DAN
from isthmus_alignment.deep.discrepancy import multi_kernel_mmd


@pytest.mark.parametrize("kernels", [1, 5])
def test_the_loss_is_the_mmd_of_the_batchs_features(kernels: int) -> None:
    """The batch is the whole of both domains, so its features can be found again."""
    task, _ = table(0)
    n = len(task.source)
    seen: list[tuple[float, float]] = []

    def watch(net, step):
        rows = [net.prepare(torch.from_numpy(d.x)) for d in (task.source, task.target)]
        batches = [Batch(x=x, y=torch.empty(0)) for x in rows]
        with torch.no_grad():
            wanted = multi_kernel_mmd(*encode_both(net, *batches), kernels)
        seen.append((float(step.losses["mmd"].detach()), float(wanted)))

    training = Training(steps=3, batch_size=n)
    DAN(weight=0.7, kernels=kernels, training=training).adapt(task, Run(watch=watch))
    for loss, mmd in seen:
        assert loss == pytest.approx(0.7 * mmd, rel=1e-4, abs=1e-6)


def test_refuses_no_kernel() -> None:
    with pytest.raises(BadInput, match="dan: kernels=0"):
        DAN(kernels=0)
