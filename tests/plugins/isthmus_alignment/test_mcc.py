from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isthmus import Labelled, Run, Schema, Task, UnsupportedTask
from isthmus.learners.loop import Training
from isthmus.testing.domains import table, table_values
from isthmus_alignment.deep.mcc import MCC, confusion


def logits(n: int, classes: int, seed: int = 0, size: float = 3.0) -> Tensor:
    return size * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


def reference(z: Tensor, temperature: float) -> float:
    """Equations 2 to 6 of the paper, written out."""
    n, k = z.shape
    p = []
    for row in z.double().tolist():
        e = [math.exp(v / temperature) for v in row]
        p.append([v / sum(e) for v in e])
    entropy = [-sum(v * math.log(v) for v in row) for row in p]
    certainty = [1 + math.exp(-h) for h in entropy]
    weight = [n * c / sum(certainty) for c in certainty]
    c = [[sum(p[i][a] * weight[i] * p[i][b] for i in range(n)) for b in range(k)] for a in range(k)]
    normal = [[c[a][b] / sum(c[a]) for b in range(k)] for a in range(k)]
    return sum(normal[a][b] for a in range(k) for b in range(k) if a != b) / k


@pytest.mark.parametrize("temperature", [1.0, 2.5, 10.0])
@pytest.mark.parametrize(("n", "classes"), [(7, 4), (3, 10), (1, 2)])
def test_is_the_papers_equations(n: int, classes: int, temperature: float) -> None:
    z = logits(n, classes)
    wanted = reference(z, temperature)
    assert float(confusion(z, temperature)) == pytest.approx(wanted, abs=1e-6)


def test_confident_predictions_are_not_confused() -> None:
    z = 1000 * torch.eye(4)[torch.tensor([0, 1, 1, 3])]  # no row predicts class 2
    assert float(confusion(z, 2.5)) == pytest.approx(0.0, abs=1e-6)


def test_equal_predictions_are_confused_the_most() -> None:
    """C is positive semi-definite, so the trace of its normalisation is at least 1."""
    uniform = float(confusion(torch.zeros(6, 5), 2.5))
    assert uniform == pytest.approx(1 - 1 / 5, abs=1e-6)
    for seed in range(20):
        assert float(confusion(logits(6, 5, seed, size=0.5), 2.5)) <= uniform + 1e-6


def test_a_higher_temperature_smooths_towards_the_most() -> None:
    values = [float(confusion(logits(8, 3), t)) for t in (0.5, 1.0, 2.5, 10.0, 1e4)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(2 / 3, abs=1e-3)


def test_rows_and_classes_may_be_renamed() -> None:
    z = logits(9, 4)
    wanted = float(confusion(z, 2.5))
    assert float(confusion(z.flip(0), 2.5)) == pytest.approx(wanted, abs=1e-6)
    assert float(confusion(z.flip(1), 2.5)) == pytest.approx(wanted, abs=1e-6)
    assert float(confusion(z + torch.arange(9.0)[:, None], 2.5)) == pytest.approx(wanted, abs=1e-6)


def test_gradient_holds_the_certainty_weights_constant() -> None:
    z = logits(5, 3).double()
    p = (z / 2.5).softmax(1)
    certainty = 1 + torch.exp((p * p.log()).sum(1))
    weight = len(z) * certainty / certainty.sum()

    def fixed(z: Tensor) -> Tensor:
        p = (z / 2.5).softmax(1)
        c = (p * weight[:, None]).T @ p
        c = c / c.sum(1, keepdim=True)
        return (c.sum() - c.trace()) / 3

    f = z.float().requires_grad_()
    confusion(f, 2.5).backward()
    assert f.grad is not None
    for i in range(5):
        for j in range(3):
            step = torch.zeros_like(z)
            step[i, j] = 1e-5
            wanted = float(fixed(z + step) - fixed(z - step)) / 2e-5
            assert float(f.grad[i, j]) == pytest.approx(wanted, abs=1e-6)


def test_mixed_precision_keeps_its_digits() -> None:
    z = logits(32, 10)
    full = float(confusion(z, 2.5))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(confusion(z, 2.5)) == pytest.approx(full, rel=1e-6)


def test_training_lowers_the_confusion_on_the_target() -> None:
    task, _ = table(0)
    training = Training(steps=150)

    def left(weight: float) -> float:
        p = MCC(weight=weight, training=training).adapt(task).predict(task.target.x)
        return float(confusion(torch.from_numpy(p).clamp_min(1e-12).log(), 1.0))

    assert left(3.0) < 0.7 * left(0.0)


def test_the_logged_confusion_is_weighted() -> None:
    task, _ = table(0)
    seen: dict[float, list[float]] = {0.5: [], 1.0: []}
    for weight, values in seen.items():
        run = Run(log=lambda step, v, values=values: values.append(v["confusion"]))
        MCC(weight=weight, training=Training(steps=1)).adapt(task, run)
    assert seen[0.5][0] == pytest.approx(0.5 * seen[1.0][0], rel=1e-5)


def test_refuses_regression() -> None:
    with pytest.raises(UnsupportedTask, match="mcc"):
        MCC().adapt(table_values(0)[0])


def test_several_sources_are_pooled() -> None:
    task, _ = table(0)
    whole = task.sources[0]
    halves = (whole.take(range(0, 70)), whole.take(range(70, 150)))
    strategy = MCC(training=Training(steps=20))
    one = strategy.adapt(task).predict(task.target.x)
    two = strategy.adapt(Task(sources=halves, target=task.target)).predict(task.target.x)
    assert abs(one - two).max() < 1e-5


def test_two_classes_are_enough() -> None:
    task, _ = table(0)
    kept = task.sources[0].y < 2
    schema = Schema(kind="table", shape=(6,), classes=("ant", "bee"))
    source = task.sources[0].take(kept)
    pair = Labelled(name="pair", schema=schema, x=source.x, y=source.y)
    adapted = MCC(training=Training(steps=50)).adapt(Task(sources=(pair,), target=pair))
    assert (adapted.predict(pair.x).argmax(1) == pair.y).mean() > 0.9
