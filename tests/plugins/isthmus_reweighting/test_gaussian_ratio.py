from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf

from isthmus import BadInput
from isthmus.learners.linear import narrow
from isthmus_reweighting.gaussian_ratio import GaussianRatio, _shrunk, fit

SEED = np.random.default_rng


def test_covariances_are_those_of_ledoit_and_wolf() -> None:
    x = SEED(0).normal(size=(40, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1])
    x -= x.mean(0)
    wanted, _ = ledoit_wolf(x, assume_centered=True)
    np.testing.assert_allclose(_shrunk(6, x)[0], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(_shrunk(6, x[:15], x[15:])[0], _shrunk(6, x)[0])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_ratio_is_that_of_two_normal_densities(share: float) -> None:
    rng = SEED(1)
    z_s, z_t = rng.normal(size=(70, 3)), rng.normal(1, 2, (30, 3))
    c_s, c_t = z_s - z_s.mean(0), z_t - z_t.mean(0)
    pool, _ = _shrunk(3, c_s * np.sqrt(50 / 70), c_t * np.sqrt(50 / 30))
    wanted = [
        stats.multivariate_normal(z.mean(0), (1 - share) * _shrunk(3, c)[0] + share * pool)
        for z, c in ((z_s, c_s), (z_t, c_t))
    ]
    got = fit(z_s, z_t, (share,), 3)[0](z_s)
    np.testing.assert_allclose(got, wanted[1].logpdf(z_s) - wanted[0].logpdf(z_s), atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_rows_turned_into_their_span_have_the_same_ratio(share: float) -> None:
    rng = SEED(2)
    z = rng.normal(size=(30, 90)) * np.linspace(0.1, 2, 90)
    z[18:] += 0.3
    flat, _ = narrow(z)
    assert flat.shape == (30, 30)
    wanted = fit(z[:18], z[18:], (share,), 90)[0](z)
    np.testing.assert_allclose(fit(flat[:18], flat[18:], (share,), 90)[0](flat), wanted, rtol=1e-6)


@pytest.mark.parametrize(("d", "shift"), [(1, 0.5), (5, 0.2)])
def test_weights_approach_the_true_ratio(
    d: int, shift: float, mean_error: Callable[..., float]
) -> None:
    few, many = (mean_error(GaussianRatio(), n, d, shift) for n in (300, 3000))
    assert many < few
    assert many < 0.02


def test_another_spread_is_followed_where_it_is_there() -> None:
    rng = SEED(3)
    x_s = rng.normal(0, 2, (3000, 1)).astype(np.float32)
    x_t = rng.normal(0, 1, (3000, 1)).astype(np.float32)
    weighted = GaussianRatio().weighted(x_s, x_t, SEED(0))
    assert weighted.found["shrinkage"] < 0.1
    truth = np.exp(-np.square(x_s[:, 0], dtype=np.float64) * (1 / 2 - 1 / 8))
    np.testing.assert_allclose(weighted.values, truth / truth.mean(), atol=0.15)
    one = GaussianRatio(shrinkage=1.0).weigh(x_s, x_t, SEED(0))  # one covariance cannot
    assert np.std(one) < 0.1


def test_many_columns_some_of_them_constant_leave_rows_that_count(
    gaussians: Callable[..., Any],
) -> None:
    """Raw densities leave 2 of 500 rows in 64 columns, and fail where one is constant."""
    x_s, x_t, truth = gaussians(500, 500, 64, 0.1)
    x_s[:, :6] = x_t[:, :6] = 16.0
    weighted = GaussianRatio().weighted(x_s, x_t, SEED(0))
    w = weighted.values
    assert w.sum() ** 2 / np.square(w).sum() > 200
    assert weighted.found["shrinkage"] == 1.0
    assert np.corrcoef(np.log(w), x_s[:, 6:].sum(1))[0, 1] > 0.5
    raw = fit(x_s.astype(np.float64), x_t.astype(np.float64), (0.0,), 64)[0](x_s.astype(np.float64))
    raw = np.exp(raw - raw.max())
    assert raw.sum() ** 2 / np.square(raw).sum() < 100


def test_equal_domains_have_weights_near_one() -> None:
    x = SEED(3).normal(size=(4000, 20)).astype(np.float32)
    w = GaussianRatio().weigh(x[:2000], x[2000:], SEED(0))
    assert np.square(w - 1).mean() < 0.05


@pytest.mark.parametrize(
    ("n_source", "n_target", "d"), [(1, 1, 3), (5, 1, 2), (1, 5, 2), (6, 8, 40)]
)
def test_fewer_rows_than_columns_are_survived(n_source: int, n_target: int, d: int) -> None:
    rng = SEED(4)
    x_s, x_t = rng.normal(size=(n_source, d)), rng.normal(size=(n_target, d)) + 1
    w = GaussianRatio().weigh(x_s.astype(np.float32), x_t.astype(np.float32), SEED(0))
    assert np.isfinite(w).all()


def test_weights_follow_their_rows(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 250, 3, 0.5)
    a, b = SEED(1).permutation(300), SEED(2).permutation(250)
    w = GaussianRatio().weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(GaussianRatio().weigh(x_s[a], x_t[b], SEED(0)), w[a], rtol=1e-6)


def test_units_do_not_matter(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(200, 150, 3, 0.5)
    unit, offset = np.array([1e-3, 1.0, 4096.0], np.float32), np.array([0, 16.0, 0], np.float32)
    w = GaussianRatio(shrinkage=0.5).weigh(x_s, x_t, SEED(0))
    moved = GaussianRatio(shrinkage=0.5).weigh(x_s * unit + offset, x_t * unit + offset, SEED(0))
    np.testing.assert_allclose(moved, w, rtol=1e-3)


def test_refuses_a_share_that_is_none() -> None:
    with pytest.raises(BadInput, match=r"shrinkage=1\.5"):
        GaussianRatio(shrinkage=1.5)
