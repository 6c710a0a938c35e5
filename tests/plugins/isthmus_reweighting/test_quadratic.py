from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from isthmus_reweighting.quadratic import Dense, LowRank, minimise, project, settle

SEED = np.random.default_rng


@pytest.mark.parametrize("low_high", [(0, 100), (10, 10), (3.5, 4), (25, 28)])
@pytest.mark.parametrize("upper", [1.2, 5.0])
def test_projects_onto_the_nearest_point(low_high: tuple[float, float], upper: float) -> None:
    v = 3 * SEED(0).normal(size=24)
    x = project(v, upper, *low_high)
    assert ((x >= 0) & (x <= upper)).all()
    assert low_high[0] - 1e-9 <= x.sum() <= low_high[1] + 1e-9
    found = optimize.minimize(
        lambda x: np.square(x - v).sum() / 2,
        np.full(24, 0.4),
        jac=lambda x: x - v,
        bounds=[(0, upper)] * 24,
        constraints=optimize.LinearConstraint(np.ones((1, 24)), *low_high),
        method="trust-constr",
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000},
    )
    np.testing.assert_allclose(x, found.x, atol=1e-4)


def test_a_point_that_fits_is_its_own_projection() -> None:
    x = SEED(1).random(9)
    np.testing.assert_array_equal(project(x, 1.0, 0.0, 9.0), x)


def test_a_low_rank_is_solved_as_the_matrix_that_it_is() -> None:
    rng = SEED(2)
    z, own, d, r = rng.normal(size=(30, 4)), rng.random(30), rng.random(30), rng.normal(size=30)
    whole = z @ z.T + np.diag(own)
    low, dense = LowRank(z, own), Dense(whole)
    np.testing.assert_allclose(low.times(r), whole @ r)
    wanted = np.linalg.solve(whole + np.diag(d), r)
    for matrix in (low, dense):
        np.testing.assert_allclose(matrix.factor(d)(r[:, None])[:, 0], wanted)
        some = np.array([1, 4, 5])
        part = np.linalg.solve((whole + np.diag(d))[np.ix_(some, some)], r[some])
        np.testing.assert_allclose(matrix.factor(d[some], some)(r[some, None])[:, 0], part)
    np.testing.assert_array_equal(dense.matrix, whole)  # nothing is overwritten


@pytest.mark.parametrize("rank", [3, 40])
@pytest.mark.parametrize("upper", [1.5, 50.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.9])
def test_the_minimum_is_that_of_another_solver(rank: int, upper: float, epsilon: float) -> None:
    """Also where the matrix is singular, and either constraint is tight."""
    rng = SEED(3)
    n, z = 40, rng.normal(size=(40, rank))
    m, q = z @ z.T / n, 2 * rng.normal(size=n)
    low, high = n * (1 - epsilon), n * (1 + epsilon)
    found = minimise(Dense(m), q, upper, low, high, 1e-9)
    wanted = optimize.minimize(
        lambda x: x @ m @ x / 2 - q @ x,
        np.ones(n),
        jac=lambda x: m @ x - q,
        bounds=[(0, upper)] * n,
        constraints=[
            {"type": "ineq", "fun": lambda x: x.sum() - low, "jac": lambda x: np.ones(n)},
            {"type": "ineq", "fun": lambda x: high - x.sum(), "jac": lambda x: -np.ones(n)},
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 2000},
    )
    assert wanted.status in (0, 8)  # 8: no further descent in rounding
    assert found.objective == pytest.approx(wanted.fun, rel=1e-6)
    assert 0 <= found.gap + 1e-12 <= 1e-8 * abs(found.objective) + 1e-12
    assert found.x.min() >= 0
    assert found.x.max() <= upper
    assert low - 1e-9 <= found.x.sum() <= high + 1e-9


def test_the_gap_bounds_the_distance_to_the_optimum() -> None:
    rng = SEED(4)
    z, q = rng.normal(size=(30, 30)), rng.normal(size=30)
    m = z @ z.T / 30
    best = minimise(Dense(m), q, 4.0, 15.0, 45.0, 1e-10).objective
    for tolerance in (1e-1, 1e-2, 1e-4):
        rough = minimise(Dense(m), q, 4.0, 15.0, 45.0, tolerance)
        assert best <= rough.objective + 1e-12
        assert rough.objective - best <= rough.gap + 1e-9
        assert rough.gap <= tolerance * abs(rough.objective)


@pytest.mark.parametrize("upper", [1.5, 50.0])
@pytest.mark.parametrize("low_rank", [True, False])
def test_bounds_are_found_where_the_matrix_is_definite(upper: float, low_rank: bool) -> None:
    rng = SEED(5)
    n, z, own = 60, SEED(6).normal(size=(60, 8)) / 8, np.full(60, 0.5)
    q = 1.5 * rng.normal(size=n) + 0.5
    whole = z @ z.T + np.diag(own)
    matrix = LowRank(z, own) if low_rank else Dense(whole)
    found = settle(matrix, q, upper, 1.0, 100.0 * n, 1e-7)
    assert found is not None
    wanted = optimize.lsq_linear(
        np.linalg.cholesky(whole).T, np.linalg.solve(np.linalg.cholesky(whole), q), (0, upper),
        method="bvls",
    ).x  # fmt: skip
    np.testing.assert_allclose(found.x, wanted, atol=1e-6)
    assert (found.x == 0).any()
    assert 0 <= found.x.min() <= found.x.max() <= upper


def test_what_does_not_settle_is_left_to_the_interior_point_method() -> None:
    rng = SEED(7)
    n, z = 60, rng.normal(size=(60, 2))
    q = 2 * rng.normal(size=n)
    matrix = Dense(z @ z.T / n)  # singular
    assert settle(matrix, q, 5.0, 30.0, 90.0, 1e-8) is None
    found = minimise(matrix, q, 5.0, 30.0, 90.0, 1e-8)
    assert found.gap <= 1e-8 * abs(found.objective)
