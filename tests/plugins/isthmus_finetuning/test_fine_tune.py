from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize

from isthmus import Run, Schema, UnsupportedTask
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import MLP
from isthmus.learners.linear import Logistic
from isthmus.learners.loop import Training
from isthmus.learners.network import Network
from isthmus.testing.domains import table
from isthmus_finetuning.fine_tune import FineTune

Started = Callable[..., tuple[Any, Any]]
Weights = Callable[..., dict[str, Any]]
NETWORK = MLP(widths=(16, 8))


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("layers", ["all", "head"])
def test_the_start_is_left_unchanged(layers: Any, started: Started, weights: Weights) -> None:
    task, _ = started()
    before, gradients = weights(task.start), [p.requires_grad for p in task.start.part.parameters()]
    FineTune(layers=layers).adapt(task)
    assert equal(weights(task.start), before)
    assert [p.requires_grad for p in task.start.part.parameters()] == gradients
    assert not task.start.part.training


def test_head_leaves_the_encoder_and_its_statistics(started: Started, weights: Weights) -> None:
    task, _ = started(dropout=0.5)
    adapted = FineTune(layers="head").adapt(task)
    encoder = weights(adapted, "encoder.")
    assert any("running_mean" in k for k in encoder)
    assert equal(encoder, weights(task.start, "encoder."))
    assert not equal(weights(adapted, "head."), weights(task.start, "head."))


def test_all_moves_the_encoder_and_its_statistics(started: Started, weights: Weights) -> None:
    task, _ = started()
    tuned, start = weights(FineTune().adapt(task), "encoder."), weights(task.start, "encoder.")
    still = {k for k in tuned if torch.equal(tuned[k], start[k])}
    assert still <= {"encoder.1.bias", "encoder.4.bias"}  # batch normalisation takes these away


def test_head_is_regression_on_the_features_as_deployed(started: Started) -> None:
    """Its optimum is that of the convex problem, solved by SciPy on the start's own features."""
    task, _ = started(values=True, dropout=0.5)
    net = task.start.part
    assert isinstance(net, Network)
    with torch.no_grad():
        f = net.encode(net.prepare(torch.from_numpy(task.support.x))).double().numpy()
    y = ((torch.from_numpy(task.support.y) - net.y_mean) / net.y_scale).double().numpy()
    f1 = np.column_stack([f, np.ones(len(f))])
    wanted = optimize.lsq_linear(f1, y[:, 0]).x
    training = Training(steps=1500, batch_size=30, lr=0.05, weight_decay=0.0, schedule="cosine")
    adapted = FineTune(layers="head", training=training).adapt(task)
    assert isinstance(adapted, TorchAdapted)
    head = adapted.part.head
    assert isinstance(head, torch.nn.Linear)
    got = np.append(head.weight[0].detach().numpy(), head.bias[0].item())
    residual = [np.square(f1 @ v - y[:, 0]).mean() for v in (got, wanted)]
    assert residual[0] <= residual[1] * 1.01 + 1e-6


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("layers", ["all", "head"])
def test_fits_the_labelled_rows_better_than_the_start(
    values: bool, layers: Any, started: Started
) -> None:
    task, _ = started(values=values)
    adapted = FineTune(layers=layers).adapt(task)

    def loss(a: Any) -> float:
        p, y = a.predict(task.support.x), task.support.y
        if values:
            return float(np.square(p - y).mean())
        return float(-np.log(p[np.arange(len(y)), y] + 1e-9).mean())

    assert loss(adapted) < loss(task.start)


def test_without_a_start_it_trains_on_the_sources_first(weights: Weights) -> None:
    """With the same settings and seed, that is the network that training on the sources gives."""
    from isthmus.learners.neural import Neural

    task, _ = table(0)
    training = Training(steps=60)
    pretrained = Neural(network=NETWORK, training=training).fit_task(task, None, Run(seed=3))
    still = Training(steps=1, lr=1e-12, weight_decay=0.0)
    strategy = FineTune(layers="head", network=NETWORK, pretraining=training, training=still)
    adapted = strategy.adapt(task, Run(seed=3))
    assert equal(weights(adapted, "encoder."), weights(pretrained, "encoder."))


def test_steps_of_both_stages_are_counted_on() -> None:
    steps: list[int] = []
    strategy = FineTune(
        network=NETWORK, pretraining=Training(steps=60), training=Training(steps=40)
    )
    strategy.adapt(table(0)[0], Run(log=lambda step, values: steps.append(step)))
    assert steps == [*range(100)]


def test_refuses_a_start_that_is_no_network(started: Started) -> None:
    task, _ = started()
    source = table(0)[0].source
    linear = Logistic().fit(source.x, source.y, None, source.schema, Run())
    with pytest.raises(UnsupportedTask, match="LinearPart"):
        FineTune().adapt(replace(task, start=linear))


def test_refuses_a_start_of_another_schema(started: Started) -> None:
    task, _ = started()
    schema = Schema(kind="table", shape=(6,), classes=("ant", "bee", "cow"))
    other = TorchAdapted(part=Network(schema, NETWORK, pretrained=False), schema=schema)
    with pytest.raises(UnsupportedTask, match="cow"):
        FineTune().adapt(replace(task, start=other))


def test_refuses_to_start_from_nothing() -> None:
    task, _ = table(0)
    with pytest.raises(UnsupportedTask, match="fine-tune needs a model to start from"):
        FineTune().adapt(replace(task, sources=()))
