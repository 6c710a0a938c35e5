"""What source-free methods start from, and how they look at the target."""

from __future__ import annotations

from torch.nn.utils import parametrize

from isthmus import Run
from isthmus.learners import MLP, Training
from isthmus.learners.loop import seeded
from isthmus.testing.domains import table
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
