from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from isthmus import BadInput, Run, Strategy
from isthmus.artefact import TorchAdapted
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.cmd import CMD
from isthmus_alignment.deep.dan import DAN
from isthmus_alignment.deep.dann import DANN
from isthmus_alignment.deep.deep_coral import DeepCORAL
from isthmus_alignment.deep.discrepancy import multi_kernel_mmd
from isthmus_alignment.deep.jan import JAN

METHODS = [DAN, JAN, DeepCORAL, CMD]


@pytest.mark.parametrize("cls", METHODS)
def test_without_weight_all_are_the_same_to_the_bit(cls: Any) -> None:
    """Source-only training that sees the batch statistics of both domains, as DANN without one."""
    (task, heldout), training = table(0), Training(steps=40)
    found = cls(weight=0.0, training=training).adapt(task).predict(heldout.x)
    wanted = DANN(weight=0.0, training=training).adapt(task).predict(heldout.x)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("cls", [DAN, DeepCORAL, CMD])
def test_values_are_learnt_as_well_as_classes(cls: Any) -> None:
    task, heldout = table_values(0)
    p = cls(training=Training(steps=150)).adapt(task).predict(heldout.x)
    assert np.corrcoef(p[:, 0], heldout.y[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("strategy", [DAN(weight=3.0), JAN(weight=3.0), CMD(weight=3.0)])
def test_training_draws_the_features_together(strategy: Strategy) -> None:
    """Measured by the MMD on all rows, whatever the method lowers itself."""
    from dataclasses import replace

    task, _ = table(0)

    def left(s: Any) -> float:
        adapted = replace(s, training=Training(steps=200)).adapt(task)
        assert isinstance(adapted, TorchAdapted)
        net = adapted.part
        assert isinstance(net, Network)
        with torch.no_grad():
            f = [net.encode(net.prepare(torch.from_numpy(d.x))) for d in (task.source, task.target)]
        return float(multi_kernel_mmd(*f))

    assert left(strategy) < 0.7 * left(replace(strategy, weight=0.0))  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", METHODS)
def test_the_logged_loss_is_weighted(cls: Any) -> None:
    task, _ = table(0)
    seen: list[dict[str, float]] = []
    run = Run(log=lambda step, values: seen.append(dict(values)))
    for factor in (1.0, 0.5):
        cls(weight=factor * cls().weight, training=Training(steps=2)).adapt(task, run)
    (name,) = set(seen[0]) - {"task"}
    assert seen[2][name] == pytest.approx(0.5 * seen[0][name], rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("cls", METHODS)
def test_a_negative_weight_is_refused(cls: Any) -> None:
    with pytest.raises(BadInput, match=f"{cls.name}: weight=-1"):
        cls(weight=-1)
