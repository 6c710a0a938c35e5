from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from isthmus import BadInput
from isthmus_reweighting.kernels import gaussian, squares
from isthmus_reweighting.rulsif import RuLSIF
from isthmus_reweighting.ulsif import ULSIF, leave_one_out

SEED = np.random.default_rng


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(("n_source", "n_target"), [(12, 12), (12, 9), (8, 15)])
def test_leave_one_out_is_what_refitting_gives(n_source: int, n_target: int, alpha: float) -> None:
    rng = SEED(2)
    k_s, k_t = rng.random((n_source, 5)), rng.random((n_target, 5)) ** 2
    n, penalties = min(n_source, n_target), np.array([1e-3, 0.1, 2.0])

    def fit(a: Any, b: Any, penalty: float) -> Any:
        gram = (1 - alpha) * a.T @ a / len(a) + alpha * b.T @ b / len(b)
        return np.linalg.solve(gram + penalty * np.eye(5), b.mean(0))

    wanted = []
    for penalty in penalties:
        errors = []
        for i in range(n):
            theta = fit(np.delete(k_s, i, 0), np.delete(k_t, i, 0), penalty)
            w_s, w_t = max(k_s[i] @ theta, 0), max(k_t[i] @ theta, 0)
            errors.append((1 - alpha) * w_s**2 / 2 + alpha * w_t**2 / 2 - w_t)
        wanted.append(np.mean(errors))
    h, gram, gram_t = k_t.mean(0), k_s.T @ k_s / n_source, k_t.T @ k_t / n_target
    got = leave_one_out(h, gram, k_s[:n], k_t[:n], n_source, n_target, penalties, alpha, gram_t)
    np.testing.assert_allclose(got, wanted, rtol=1e-8)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_weights_minimise_the_penalised_objective(
    alpha: float, gaussians: Callable[..., Any]
) -> None:
    x_s, x_t, _ = gaussians(40, 30, 2, 0.5)
    method = RuLSIF(alpha=alpha, bandwidth=1.0, penalty=0.05)
    z_s, z_t = ((x - x_t.mean(0, np.float64)) / x_t.std(0, dtype=np.float64) for x in (x_s, x_t))
    between = np.sqrt(squares(z_t, z_t))
    sigma = np.median(between[~np.eye(30, dtype=bool)])
    k_s, k_t = (gaussian(squares(z, z_t), sigma) for z in (z_s, z_t))  # all 30 are centres

    def objective(theta: Any) -> Any:  # the squared error of the relative ratio, as defined
        fit = (1 - alpha) * np.square(k_s @ theta).mean() + alpha * np.square(k_t @ theta).mean()
        return fit / 2 - (k_t @ theta).mean() + 0.05 * np.square(theta).sum() / 2

    found = optimize.minimize(objective, np.zeros(30), method="BFGS", options={"gtol": 1e-9})
    wanted = np.maximum(k_s @ found.x, 0)
    np.testing.assert_allclose(
        method.weighted(x_s, x_t, SEED(0)).values, wanted / wanted.mean(), atol=2e-5
    )


def test_without_a_share_of_the_target_it_is_ulsif(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(150, 130, 3, 0.5)
    w = ULSIF().weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(RuLSIF(alpha=0.0).weigh(x_s, x_t, SEED(0)), w)


@pytest.mark.parametrize(("d", "shift"), [(1, 0.5), (5, 0.2)])
def test_weights_approach_the_true_relative_ratio(
    d: int, shift: float, gaussians: Callable[..., Any], error: Callable[..., float]
) -> None:
    def mean_error(n: int) -> float:
        each = []
        for seed in range(3):
            x_s, x_t, ratio = gaussians(n, n, d, shift, seed)
            truth = ratio / (0.1 * ratio + 0.9)
            w = RuLSIF(alpha=0.1).weigh(x_s, x_t, SEED(0))
            each.append(error(w, truth / truth.mean()))
        return float(np.mean(each))

    few, many = mean_error(300), mean_error(3000)
    assert many < few
    assert many < 0.05


def test_domains_that_hardly_overlap_keep_bounded_weights(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(500, 500, 2, 2.0)
    values = RuLSIF(alpha=0.5).weights(x_s, x_t, SEED(0)).values
    assert values.max() < 1.2 / 0.5  # the ratio itself reaches 50 here
    assert np.average(x_s.mean(1), weights=values) > 0.3


def test_the_held_out_objective_is_reported(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 300, 2, 0.5)
    found = RuLSIF().weighted(x_s, x_t, SEED(0)).found
    assert found["held_out_objective"] < -0.5  # a ratio of 1 everywhere has -1/2


@pytest.mark.parametrize(
    "setting", [{"alpha": 1.0}, {"alpha": -0.1}, {"relative": 0.1}, {"penalty": 0.0}]
)
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        RuLSIF(**setting)
