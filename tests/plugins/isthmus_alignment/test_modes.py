from __future__ import annotations

import pytest
from torch import nn

from isthmus_alignment.modes import quiet, undropped


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
