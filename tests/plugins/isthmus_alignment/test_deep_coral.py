from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus import Run
from isthmus.learners.loop import Training
from isthmus.testing.domains import table
from isthmus_alignment.deep.deep_coral import DeepCORAL, coral


def draw(n: int, d: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


@pytest.mark.parametrize(("n", "m", "d"), [(9, 7, 4), (2, 30, 1), (5, 5, 12)])
def test_is_the_papers_formula(n: int, m: int, d: int) -> None:
    a, b = draw(n, d, 0), 2 * draw(m, d, 1)
    gap = np.atleast_2d(np.cov(a.numpy().T)) - np.atleast_2d(np.cov(b.numpy().T))
    wanted = np.linalg.norm(gap, "fro") ** 2 / (4 * d**2)
    assert float(coral(a, b)) == pytest.approx(wanted, rel=1e-12)


def test_means_do_not_count() -> None:
    """The paper has no term for them; some implementations add one."""
    a, b = draw(9, 4, 2), draw(7, 4, 3)
    assert float(coral(a + 5, b - 3)) == pytest.approx(float(coral(a, b)), rel=1e-10)
    assert float(coral(a, a + 100)) == pytest.approx(0.0, abs=1e-20)


def test_rows_rotations_and_sides_change_nothing() -> None:
    a, b = draw(9, 4, 4), draw(7, 4, 5)
    wanted = float(coral(a, b))
    rotation = torch.linalg.qr(draw(4, 4, 6))[0]
    assert float(coral(a @ rotation, b @ rotation)) == pytest.approx(wanted, rel=1e-10)
    assert float(coral(a.flip(0), b.flip(0))) == pytest.approx(wanted, rel=1e-10)
    assert float(coral(b, a)) == pytest.approx(wanted, rel=1e-10)
    assert float(coral(3 * a, 3 * b)) == pytest.approx(81 * wanted, rel=1e-10)


def test_gradient_is_that_of_finite_differences() -> None:
    a, b = draw(5, 3, 7).requires_grad_(), draw(4, 3, 8).requires_grad_()
    assert torch.autograd.gradcheck(coral, (a, b))


def test_mixed_precision_keeps_its_digits() -> None:
    a, b = draw(30, 8, 9).float() + 4, 1.1 * draw(30, 8, 10).float() + 4
    full = float(coral(a, b))
    with torch.autocast("cpu", torch.bfloat16):
        assert float(coral(a, b)) == pytest.approx(full, rel=1e-5)


@pytest.mark.parametrize("layer", ["outputs", "features"])
def test_training_lowers_it_in_the_layer_asked_for(layer: Literal["outputs", "features"]) -> None:
    task, _ = table(0)

    def last(weight: float) -> float:
        found = []

        def watch(net, step):
            with torch.no_grad():
                f = [
                    net.encode(net.prepare(torch.from_numpy(d.x)))
                    for d in (task.source, task.target)
                ]
                found.append(float(coral(*(map(net.head, f) if layer == "outputs" else f))))

        training = Training(steps=150)
        DeepCORAL(weight=weight, layer=layer, training=training).adapt(task, Run(watch=watch))
        return float(np.mean(found[-20:]))

    weight = 3.0 if layer == "outputs" else 300.0
    assert last(weight) < 0.5 * last(0.0)
