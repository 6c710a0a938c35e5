from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from isthmus import BadInput
from isthmus_reweighting.kernels import Standardised, gaussian, squares
from isthmus_reweighting.kliep import KLIEP, held_out, scaled
from isthmus_reweighting.mixture import proportions

SEED = np.random.default_rng


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
def test_the_objective_is_that_of_an_independent_optimiser(
    bandwidth: float, gaussians: Callable[..., Any]
) -> None:
    """The paper's form: maximise mean log of K_t alpha where mean K_s alpha = 1, alpha >= 0."""
    x_s, x_t, _ = gaussians(60, 30, 2, 0.5)
    view = Standardised(x_s, x_t)
    z_s, z_t = view.read(x_s), view.read(x_t)
    d = np.sqrt(squares(z_t, z_t))
    sigma = bandwidth * np.median(d[~np.eye(30, dtype=bool)])
    k_s, k_t = gaussian(squares(z_s, z_t), sigma), gaussian(squares(z_t, z_t), sigma)
    b = k_s.mean(0)
    found = optimize.minimize(
        lambda a: -np.log(k_t @ a).mean(),
        np.full(30, 1 / b.sum()),
        jac=lambda a: -(k_t / (k_t @ a)[:, None]).mean(0),
        bounds=[(0, None)] * 30,
        constraints={"type": "eq", "fun": lambda a: a @ b - 1, "jac": lambda a: b},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 5000},
    )
    weighted = KLIEP(bandwidth=bandwidth).weighted(x_s, x_t, SEED(0))
    coefficients = np.linalg.lstsq(k_s, weighted.values, rcond=None)[0]
    assert weighted.values.mean() == pytest.approx(1)
    np.testing.assert_allclose(k_s @ coefficients, weighted.values, atol=1e-6)
    assert weighted.found["gap"] <= 1e-8
    np.testing.assert_allclose(weighted.values, k_s @ found.x, atol=2e-3)
    # The objective itself, from the coefficients that our program finds.
    a, _ = proportions(scaled(np.log(k_t / b))[0])
    assert np.log(k_t @ (a / b)).mean() == pytest.approx(-found.fun, abs=1e-6)


def test_weights_have_mean_one_before_they_are_scaled(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 200, 3, 0.5)
    assert KLIEP().weights(x_s, x_t, SEED(0)).values.mean() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize(("d", "shift"), [(1, 0.5), (5, 0.2)])
def test_weights_approach_the_true_ratio(
    d: int,
    shift: float,
    gaussians: Callable[..., Any],
    error: Callable[..., float],
    mean_error: Callable[..., float],
) -> None:
    few, many = (mean_error(KLIEP(), n, d, shift) for n in (300, 3000))
    assert many < few
    assert many < 0.1
    x_s, _, truth = gaussians(3000, 1, d, shift)
    assert many < 0.5 * error(np.ones(len(x_s)), truth)  # weights of 1 everywhere


def test_held_out_rows_are_no_centres_of_their_fold() -> None:
    """Rows far from each other say nothing of each other, however narrow the kernel."""
    far = 100.0 * np.arange(12)[:, None]
    d = squares(far, far)
    scores = [held_out(-d / (2 * s**2), 4) for s in (1.0, 10.0, 100.0)]
    assert scores == sorted(scores)
    assert scores[0] < -1000


def test_held_out_is_what_refitting_gives() -> None:
    log_density = SEED(0).normal(size=(10, 6))
    total = 0.0
    for k in range(5):
        kept = np.arange(10) % 5 != k
        columns = np.flatnonzero(kept[:6])
        a, _ = proportions(np.exp(log_density[kept][:, columns]))
        total += np.log(np.exp(log_density[~kept][:, columns]) @ a).sum()
    assert held_out(log_density, 5) == pytest.approx(total / 10, abs=1e-3)


def test_a_tiny_bandwidth_neither_underflows_nor_divides_by_zero() -> None:
    x_s, x_t = np.arange(20.0)[:, None], np.arange(15.0, 25.0)[:, None]
    w = KLIEP(bandwidth=0.01).weigh(x_s.astype(np.float32), x_t.astype(np.float32), SEED(0))
    assert np.isfinite(w).all()
    assert w[15:].min() > 0
    assert w[:14].max() < 1e-6


def test_a_target_far_outside_weighs_the_nearest_source_rows() -> None:
    x_s = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    w = KLIEP().weigh(x_s, (x_s + 1000).astype(np.float32), SEED(0))
    assert w.argmax() == 49


@pytest.mark.parametrize("seed", range(3))
def test_weights_follow_their_rows(seed: int, gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 150, 3, 0.5, seed)
    a, b = SEED(1).permutation(300), SEED(2).permutation(150)
    w = KLIEP().weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(KLIEP().weigh(x_s[a], x_t[b], SEED(0)), w[a], rtol=1e-5, atol=1e-7)


def test_sparse_rows_weigh_as_dense_ones() -> None:
    rng = SEED(5)
    x_s, x_t = rng.poisson(0.3, (90, 12)), rng.poisson(0.5, (70, 12))
    x_s, x_t = x_s.astype(np.float32), x_t.astype(np.float32)
    dense = KLIEP().weigh(x_s, x_t, SEED(0))
    got = KLIEP().weigh(sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0))
    np.testing.assert_allclose(got, dense, rtol=1e-5, atol=1e-8)


def test_one_target_row_weighs_its_neighbours_most() -> None:
    x_s = np.linspace(-2, 2, 41, dtype=np.float32)[:, None]
    w = KLIEP().weigh(x_s, np.array([[1.0]], np.float32), SEED(0))
    assert w.argmax() == 30  # x = 1


@pytest.mark.parametrize("setting", [{"centres": 0}, {"bandwidth": 0.0}, {"folds": 1}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        KLIEP(**setting)
