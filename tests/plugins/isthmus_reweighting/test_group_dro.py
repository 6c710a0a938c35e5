from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners import Neural, Training
from isthmus.learners.architectures import MLP
from isthmus.learners.feed import Batch
from isthmus.testing.domains import MAKERS
from isthmus_baselines.source_only import SourceOnly
from isthmus_reweighting.group_dro import GroupDRO, WorstGroup

SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b"))


def net() -> Any:
    torch.manual_seed(0)
    head = torch.nn.Linear(2, 2)
    return SimpleNamespace(encode=lambda x: x, head=head, loss=F.cross_entropy)


def batch(groups: int, size: int = 4) -> Batch:
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, 2, (groups * size,), generator=g)
    return Batch(x=torch.randn(groups * size, 2, generator=g), y=y)


def test_shares_follow_exponentiated_gradient_steps() -> None:
    model, o, b = net(), WorstGroup(0.5, torch.tensor([0.0, 0.1, 0.2])), batch(3)
    q = np.full(3, 1 / 3)
    for _ in range(3):
        (step,) = o(cast(Any, model), b, b, 0.0)
        loss = [
            F.cross_entropy(model.head(b.x[i : i + 4]), b.y[i : i + 4]).item() for i in (0, 4, 8)
        ]
        q = q * np.exp(0.5 * (np.array(loss) + [0.0, 0.1, 0.2]))
        q /= q.sum()
        np.testing.assert_allclose(o.log_share.exp(), q, rtol=1e-5)
        assert step.losses["task"].item() == pytest.approx(q @ loss, rel=1e-5)


@pytest.mark.parametrize("kind", ["table", "table:values"])
def test_one_source_is_source_only_to_the_bit(kind: str) -> None:
    (task, heldout), training = MAKERS[kind](0), Training(steps=60)
    task = replace(task, support=None)
    alone = SourceOnly(learner=Neural(training=training)).adapt(task)
    robust = GroupDRO(training=training).adapt(task)
    np.testing.assert_array_equal(robust.predict(heldout.x), alone.predict(heldout.x))


def two_sources() -> Task:
    """Return 500 rows where column 0 says the class and 100 rows where it says the other one."""
    rng, sources = np.random.default_rng(0), []
    for name, n, sign in (("many", 500, 1.0), ("few", 100, -1.0)):
        y = np.arange(n) % 2
        x = rng.normal(size=(n, 2))
        x[:, 0] += sign * (2 * y - 1) * 1.5
        x[:, 1] += (2 * y - 1) * 1.0
        sources.append(Labelled(name=name, schema=SCHEMA, x=x.astype(np.float32), y=y))
    return Task(sources=tuple(sources), target=sources[0])


def test_the_worst_source_fares_better_than_under_the_average() -> None:
    task, training = two_sources(), Training(steps=300, weight_decay=0.01)

    def accuracies(strategy: Any) -> list[float]:
        adapted = strategy.adapt(task)
        return [float((adapted.predict(d.x).argmax(1) == d.y).mean()) for d in task.sources]

    linear = MLP(widths=(4,))
    average = accuracies(SourceOnly(learner=Neural(network=linear, training=training)))
    robust = accuracies(GroupDRO(network=linear, training=training, step_size=0.1))
    assert min(robust) > min(average) + 0.1


def test_the_order_of_the_sources_does_not_matter() -> None:
    task, recipe = two_sources(), GroupDRO(training=Training(steps=30))
    back = replace(task, sources=task.sources[::-1])
    one, other = recipe.adapt(task), recipe.adapt(back)
    x = task.sources[1].x
    np.testing.assert_allclose(one.predict(x), other.predict(x), atol=1e-4)
    assert [s["source"] for s in cast(Any, one.diagnostics["shares"])] == ["many", "few"]


def test_an_interrupted_training_goes_on_with_its_shares(tmp_path: Any) -> None:
    task, recipe = two_sources(), GroupDRO(training=Training(steps=120), step_size=0.1)
    whole = recipe.adapt(task, Run())
    run = Run(checkpoint=tmp_path, checkpoint_every=0.0)
    recipe.adapt(task, replace(run, budget=0.0))
    again = recipe.adapt(task, run)
    assert again.diagnostics["shares"] == whole.diagnostics["shares"]


def test_refuses_settings() -> None:
    with pytest.raises(BadInput, match="step_size"):
        GroupDRO(step_size=-1.0)
