from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from isthmus import BadInput, Run, Task
from isthmus.testing.domains import MAKERS
from isthmus_reweighting import kmm
from isthmus_reweighting.kernels import Standardised, gaussian, squares
from isthmus_reweighting.kmm import KMM

SEED = np.random.default_rng


def program(x_s: Any, x_t: Any) -> tuple[Any, Any]:
    """Return K / n and kappa / n of the paper, with the median distance of all rows."""
    view = Standardised(x_s, x_t)
    z_s, z_t = view.read(x_s), view.read(x_t)
    z = np.concatenate([z_s, z_t])
    d = np.sqrt(squares(z, z))
    sigma = np.median(d[~np.eye(len(z), dtype=bool)])
    k_s, k_t = gaussian(squares(z_s, z_s), sigma), gaussian(squares(z_s, z_t), sigma)
    return k_s / len(z_s), k_t.mean(1)


@pytest.mark.parametrize("d", [1, 8])
@pytest.mark.parametrize(("bound", "epsilon"), [(1000.0, 0.9), (1000.0, 0.0), (2.0, 0.05)])
def test_the_objective_is_that_of_an_independent_solver(
    d: int, bound: float, epsilon: float, gaussians: Callable[..., Any]
) -> None:
    x_s, x_t, _ = gaussians(70, 50, d, 0.7)
    m, q = program(x_s, x_t)
    n = len(x_s)
    found = KMM(B=bound, epsilon=epsilon, tolerance=1e-8).weighted(x_s, x_t, SEED(0))
    wanted = optimize.minimize(
        lambda b: b @ m @ b / 2 - q @ b,
        np.ones(n),
        jac=lambda b: m @ b - q,
        bounds=[(0, bound)] * n,
        constraints=[
            {"type": "ineq", "fun": lambda b: b.sum() - n * (1 - epsilon)},
            {"type": "ineq", "fun": lambda b: n * (1 + epsilon) - b.sum()},
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 2000},
    )
    assert wanted.success
    assert found.found["objective"] * n == pytest.approx(wanted.fun, rel=1e-6)
    b = found.values * found.found["mean_before_scaling"]
    assert b @ m @ b / 2 - q @ b == pytest.approx(wanted.fun, rel=1e-6)
    assert b.max() <= bound * (1 + 1e-9)
    assert abs(b.mean() - 1) <= epsilon + 1e-9


def test_a_lower_box_is_felt(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 300, 2, 1.0)
    largest = [KMM(B=b, epsilon=0.0).weigh(x_s, x_t, SEED(0)).max() for b in (1.5, 3.0, 1000.0)]
    assert largest[0] == pytest.approx(1.5)
    assert largest[1] == pytest.approx(3.0)
    assert largest[2] > 5


@pytest.mark.parametrize("d", [1, 20])
def test_moves_the_mean_of_the_source_to_the_target(d: int, gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(800, 800, d, 0.3)
    w = KMM().weigh(x_s, x_t, SEED(0))
    assert np.average(x_s.mean(1), weights=w) == pytest.approx(0.3, abs=0.05)


def test_in_one_column_weights_follow_the_true_ratio(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, truth = gaussians(1000, 1000, 1, 0.5)
    w = KMM().weigh(x_s, x_t, SEED(0))
    assert np.corrcoef(w, truth)[0, 1] > 0.8


@pytest.mark.parametrize("limit", [4000, 10])
def test_weights_follow_their_rows_and_no_seed(
    limit: int, gaussians: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmm, "EXACT", limit)
    x_s, x_t, _ = gaussians(200, 150, 3, 0.5)
    x_s[5] = x_s[60]  # rows that are alike count alike
    a, b = SEED(1).permutation(200), SEED(2).permutation(150)
    method = KMM(landmarks=40)
    w = method.weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(method.weigh(x_s[a], x_t[b], SEED(9)), w[a], atol=1e-8)
    assert w[5] == pytest.approx(w[60], rel=1e-6)


def test_units_do_not_matter(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(120, 100, 3, 0.5)
    unit, offset = np.array([1e-3, 1.0, 4096.0], np.float32), np.array([0, 16.0, 0], np.float32)
    method = KMM(tolerance=1e-9)
    before = method.weighted(x_s, x_t, SEED(0)).found["objective"]
    after = method.weighted(x_s * unit + offset, x_t * unit + offset, SEED(0)).found["objective"]
    assert after == pytest.approx(before, rel=1e-5)


def test_through_every_row_as_a_landmark_the_program_is_exact(
    gaussians: Callable[..., Any],
) -> None:
    x_s, x_t, _ = gaussians(50, 30, 4, 0.5)
    view = Standardised(x_s, x_t)
    dense, exact = kmm._exact(view, x_s, x_t, 2.0)
    low, linear = kmm._through_landmarks(view, x_s, x_t, 2.0, 50, 50)
    np.testing.assert_allclose(low.z @ low.z.T + np.diag(low.own), dense.matrix, atol=1e-8)
    np.testing.assert_allclose(linear, exact, atol=1e-7)


def test_landmarks_come_near_the_exact_optimum(
    gaussians: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    x_s, x_t, _ = gaussians(400, 400, 2, 0.5)
    m, q = program(x_s, x_t)

    def mismatch(w: Any) -> Any:  # with the mean of the target's own features, it is MMD² / 2
        return w @ m @ w / 2 - q @ w

    exact = mismatch(KMM().weigh(x_s, x_t, SEED(0)))
    monkeypatch.setattr(kmm, "EXACT", 10)
    near = mismatch(KMM(landmarks=100).weigh(x_s, x_t, SEED(0)))
    flat = mismatch(np.ones(400))
    assert exact < flat
    assert near - exact < 0.02 * (flat - exact)


def test_above_the_limit_it_says_so_and_needs_no_square(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(5000, 300, 6, 0.3)
    tracemalloc.start()
    weighted = KMM(landmarks=50).weighted(x_s, x_t, SEED(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # the square alone is 200 MB
    assert weighted.said == "kmm reads the kernel of 5000 and 300 rows through 50 source rows"
    assert np.average(x_s.mean(1), weights=weighted.values) == pytest.approx(0.3, abs=0.06)


def test_below_the_limit_it_says_nothing() -> None:
    task, _ = MAKERS["table"](0)
    said: list[str] = []
    found = KMM().adapt(Task(sources=task.sources, target=task.target), Run(say=said.append))
    assert said == []
    weights = found.diagnostics["weights"]
    assert weights["duality_gap"] <= 1e-6 * abs(weights["objective"])


def test_sparse_rows_weigh_as_dense_ones() -> None:
    rng = SEED(5)
    x_s, x_t = rng.poisson(0.3, (90, 12)), rng.poisson(0.5, (70, 12))
    x_s, x_t = x_s.astype(np.float32), x_t.astype(np.float32)
    dense = KMM().weighted(x_s, x_t, SEED(0)).found["objective"]
    got = KMM().weighted(sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0))
    assert got.found["objective"] == pytest.approx(dense, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_domains_are_survived(n: int) -> None:
    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    np.testing.assert_allclose(KMM().weigh(x, x[:1], SEED(0)).sum(), n)


@pytest.mark.parametrize("setting", [{"B": 1.0}, {"epsilon": 1.5}, {"landmarks": 0}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        KMM(**setting)
