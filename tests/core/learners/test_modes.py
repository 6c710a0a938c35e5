from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.artefact import TorchAdapted
from isthmus.learners import MLP
from isthmus.learners.modes import as_deployed, quiet, undropped
from isthmus.learners.network import network_for
from isthmus.testing.domains import MAKERS

TASK, _ = MAKERS["table"](0)


@pytest.mark.parametrize("frozen", [False, True])
def test_modes_are_changed_for_a_while(frozen: bool) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Dropout2d())
    net[1].train(not frozen)
    before = [m.training for m in net.modules()]
    with quiet(net):
        assert not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == before
    with pytest.raises(KeyError), undropped(net):
        assert [m.training for m in net.modules()] == [*before[:3], False, False]
        raise KeyError
    assert [m.training for m in net.modules()] == before


def test_looking_is_done_as_deployed_and_leaves_each_module_in_its_mode() -> None:
    net = network_for(TASK, MLP(widths=(4,)))
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
