from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isthmus import BadInput
from isthmus.learners.architectures import MLP
from isthmus_reweighting.importance_network import ImportanceNetwork, WeightedMMD, weighted_mmd
from isthmus_reweighting.kernels import gaussian, squares

SEED = np.random.default_rng
SMALL = ImportanceNetwork(
    network=MLP(widths=(32,)), training=replace(ImportanceNetwork().training, steps=200)
)


def test_the_objective_is_the_weighted_mmd() -> None:
    rng = SEED(0)
    x_s, x_t, w = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1, rng.random(7)
    a = np.concatenate([w / w.sum(), np.full(5, -1 / 5)])
    x = np.concatenate([x_s, x_t])
    wanted = a @ gaussian(squares(x, x), 1.3) @ a
    tensors = [torch.tensor(v, dtype=torch.float32) for v in (x_s, x_t, w, 1.3)]
    assert float(weighted_mmd(*tensors)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("sharpen", [True, False])
def test_the_bandwidth_goes_where_the_domains_differ_more(sharpen: bool) -> None:
    from types import SimpleNamespace
    from typing import cast

    from isthmus.learners.feed import Batch

    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    o = WeightedMMD(0.8, sharpen)
    net = SimpleNamespace(encode=lambda x: x, head=lambda f: f[:, :1], predict=lambda z: z)
    source, target = Batch(x=x, y=torch.empty(0)), Batch(x=x.flip(1) + 1, y=torch.empty(0))
    (step,) = o(cast(Any, net), source, target, 0.0)
    if not sharpen:
        assert not step.losses["mmd"].requires_grad
        return
    step.losses["mmd"].backward()
    values = [
        float(weighted_mmd(x, target.x, x[:, 0].abs(), torch.tensor(0.8 * math.exp(h))))
        for h in (1e-2, -1e-2)
    ]
    assert o.log_sigma.grad is not None
    assert o.log_sigma.grad.item() == pytest.approx(-(values[0] - values[1]) / 2e-2, rel=1e-2)


@pytest.mark.parametrize(("d", "shift", "most"), [(1, 1.0, 0.2), (3, 0.5, 0.15)])
def test_weights_near_the_true_ratio(
    d: int, shift: float, most: float, gaussians: Callable[..., Any], error: Callable[..., float]
) -> None:
    x_s, x_t, truth = gaussians(800, 800, d, shift)
    recipe = replace(SMALL, training=replace(SMALL.training, lr=5e-3))
    got = error(recipe.weigh(x_s, x_t, SEED(0)), truth)
    assert got < most
    assert got < 0.5 * error(np.ones(800), truth)


def test_equal_domains_weigh_about_one(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(800, 800, 2, 0.0)
    assert SMALL.weigh(x_s, x_t, SEED(0)).std() < 0.25


def test_untrained_weights_are_one(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(80, 60, 2, 1.0)
    frozen = replace(SMALL, training=replace(SMALL.training, steps=1, lr=1e-12))
    np.testing.assert_allclose(frozen.weigh(x_s, x_t, SEED(0)), 1, atol=1e-6)


def test_the_domains_may_be_sparse(gaussians: Callable[..., Any]) -> None:
    from scipy import sparse

    x_s, x_t, _ = gaussians(120, 90, 3, 0.5)
    recipe = replace(SMALL, training=replace(SMALL.training, steps=20))
    w = recipe.weigh(sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0))
    assert np.isfinite(w).all()


def test_refuses_settings() -> None:
    with pytest.raises(BadInput, match="bandwidth"):
        ImportanceNetwork(bandwidth=0.0)
