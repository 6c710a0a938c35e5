"""What source-free methods start from, and how they look at the target."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from isthmus import Run
from isthmus.artefact import TorchAdapted
from isthmus.learners import MLP, Training
from isthmus.learners.loop import seeded
from isthmus.testing.domains import table
from isthmus_alignment.modes import as_deployed
from isthmus_alignment.sourcefree.source import source_model

TASK = table(0)[0]
NETWORK, SHORT = MLP(widths=(8,), dropout=0.5), Training(steps=20)


def test_the_head_is_normalised_in_training_and_plain_afterwards() -> None:
    seen: list[bool] = []
    run = Run(watch=lambda net, step: seen.append(parametrize.is_parametrized(net.head)))
    with seeded(run):
        net, _ = source_model(TASK, run, NETWORK, SHORT)
    assert seen == [True] * 20
    assert {*net.state_dict()} >= {"head.weight", "head.bias"}
    assert not parametrize.is_parametrized(net.head)


def test_looking_is_done_as_deployed_and_leaves_each_module_in_its_mode() -> None:
    with seeded(Run()):
        net, _ = source_model(TASK, Run(), NETWORK, SHORT)
    norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm1d))
    wanted = TorchAdapted(part=net, schema=TASK.schema).observe(TASK.target.x)
    net.train()
    norm.eval()  # as a frozen one is
    with torch.autocast("cpu", torch.bfloat16):
        got = as_deployed(net, TASK.target.x)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert net.training
    assert not norm.training
