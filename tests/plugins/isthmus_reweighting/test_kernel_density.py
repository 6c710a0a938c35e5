from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import KernelDensity

from isthmus import BadInput
from isthmus_reweighting.kernel_density import KernelDensityRatio, left_out
from isthmus_reweighting.kernels import SIGMAS, Standardised

SEED = np.random.default_rng


def test_the_ratio_is_that_of_two_density_estimates(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(80, 60, 2, 0.5)
    view = Standardised(x_s, x_t)
    z_s, z_t = view.read(x_s), view.read(x_t)
    sigma = 0.5 * view.median(x_s, x_t)
    log_s, log_t = (KernelDensity(bandwidth=sigma).fit(z).score_samples(z_s) for z in (z_s, z_t))
    wanted = np.exp(log_t - log_s)
    got = KernelDensityRatio(bandwidth=0.5).weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(got, wanted / wanted.mean(), rtol=1e-6)


def test_the_loss_is_that_of_rows_left_out() -> None:
    rng = SEED(0)
    z_s, z_t = rng.normal(size=(12, 3)), rng.normal(size=(9, 3)) + 0.5

    def score(z: Any, at: Any, sigma: float) -> float:
        return float(KernelDensity(bandwidth=sigma).fit(z).score(at))

    for loss, s in zip(left_out(z_s, z_t, 1.3), SIGMAS, strict=True):
        h = 1.3 * s
        at_s = [
            score(z_t, z_s[i : i + 1], h) - score(np.delete(z_s, i, 0), z_s[i : i + 1], h)
            for i in range(12)
        ]
        at_t = [
            score(np.delete(z_t, i, 0), z_t[i : i + 1], h) - score(z_s, z_t[i : i + 1], h)
            for i in range(9)
        ]
        wanted = np.logaddexp(0, at_s).mean() + np.logaddexp(0, -np.array(at_t)).mean()
        assert loss == pytest.approx(wanted / 2)


def test_many_columns_do_not_leave_a_few_rows_with_all_the_weight(
    gaussians: Callable[..., Any],
) -> None:
    x_s, x_t, _ = gaussians(1000, 1000, 50, 0.1)
    w = KernelDensityRatio().weigh(x_s, x_t, SEED(0))
    assert w.sum() ** 2 / np.square(w).sum() > 100


@pytest.mark.parametrize(("d", "shift", "wanted"), [(1, 0.5, 0.03), (3, 0.2, 0.12)])
def test_weights_approach_the_true_ratio(
    d: int,
    shift: float,
    wanted: float,
    mean_error: Callable[..., float],
) -> None:
    few, many = (mean_error(KernelDensityRatio(), n, d, shift) for n in (300, 3000))
    assert many < few
    assert many < wanted


def test_a_row_in_no_mans_land_has_a_bounded_weight() -> None:
    """Its own kernel is in its density: the weight stays below the number of rows."""
    x_s = np.concatenate([np.zeros(50), [30.0]])[:, None].astype(np.float32)
    x_t = np.concatenate([np.zeros(40), np.full(10, 31.0)])[:, None].astype(np.float32)
    values = KernelDensityRatio(bandwidth=1.0).weigh(x_s, x_t, SEED(0))
    assert np.isfinite(values).all()
    assert values.argmax() == 50


@pytest.mark.parametrize("centres", [2000, 40])
def test_weights_follow_their_rows_and_no_seed(centres: int, gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(200, 150, 3, 0.5)
    a, b = SEED(1).permutation(200), SEED(2).permutation(150)
    method = KernelDensityRatio(centres=centres)
    w = method.weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(method.weigh(x_s[a], x_t[b], SEED(9)), w[a], rtol=1e-8)


def test_fewer_centres_give_nearly_the_same_weights(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(3000, 3000, 1, 0.5)
    w, few = (KernelDensityRatio(centres=c).weigh(x_s, x_t, SEED(0)) for c in (3000, 800))
    assert np.corrcoef(w, few)[0, 1] > 0.95


def test_far_apart_domains_and_tiny_ones_are_survived() -> None:
    x = SEED(0).normal(size=(20, 3)).astype(np.float32)
    w = KernelDensityRatio().weigh(x, x + 1000, SEED(0))
    assert np.isfinite(w).all()
    np.testing.assert_array_equal(KernelDensityRatio().weigh(x[:1], x[:1], SEED(0)), [1.0])


def test_sparse_rows_weigh_as_dense_ones() -> None:
    rng = SEED(5)
    x_s, x_t = rng.poisson(0.3, (90, 12)), rng.poisson(0.5, (70, 12))
    x_s, x_t = x_s.astype(np.float32), x_t.astype(np.float32)
    dense = KernelDensityRatio(bandwidth=0.7).weigh(x_s, x_t, SEED(0))
    got = KernelDensityRatio(bandwidth=0.7).weigh(
        sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0)
    )
    np.testing.assert_allclose(got, dense, rtol=1e-6)


@pytest.mark.parametrize("setting", [{"centres": 0}, {"bandwidth": -1.0}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        KernelDensityRatio(**setting)
