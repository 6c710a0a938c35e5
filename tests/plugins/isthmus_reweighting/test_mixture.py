from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from isthmus_reweighting.mixture import expectation_maximisation, proportions

SEED = np.random.default_rng


@pytest.mark.parametrize(("n", "b"), [(60, 4), (40, 12), (5, 20)])
def test_the_optimum_is_that_of_another_solver(n: int, b: int) -> None:
    """Also where densities outnumber rows, and the proportions are not unique."""
    density = SEED(n).random((n, b)) ** 4
    a, gap = proportions(density)
    found = optimize.minimize(
        lambda a: -np.log(density @ a).mean(),
        np.full(b, 1 / b),
        jac=lambda a: -(density / (density @ a)[:, None]).mean(0),
        bounds=[(0, 1)] * b,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": lambda a: np.ones(b)},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 2000},
    )
    assert a.min() >= 0
    assert a.sum() == pytest.approx(1, abs=1e-6)
    assert gap <= 1e-8
    assert np.log(density @ a).mean() == pytest.approx(-found.fun, abs=1e-7)


def test_expectation_maximisation_ends_there_too() -> None:
    density = SEED(0).random((50, 3))
    a, _ = proportions(density)
    slow = np.full(3, 1 / 3)
    for _ in range(20_000):
        slow, _ = expectation_maximisation(density, slow)
    np.testing.assert_allclose(a, slow, atol=1e-4)


def test_the_gap_bounds_what_is_left() -> None:
    density = SEED(1).random((50, 6)) ** 3
    best = np.log(density @ proportions(density)[0]).mean()
    a = np.full(6, 1 / 6)
    for _ in range(20):
        value = np.log(density @ a).mean()
        a, gap = expectation_maximisation(density, a)
        assert best - value <= gap + 1e-12


def test_two_separate_components_have_their_shares() -> None:
    density = np.repeat(np.eye(2), [30, 10], axis=0)
    np.testing.assert_allclose(proportions(density)[0], [0.75, 0.25], atol=1e-6)


def test_equal_densities_and_one_density_are_survived() -> None:
    a, gap = proportions(np.ones((7, 3)))
    assert a.sum() == pytest.approx(1)
    assert gap <= 1e-8
    np.testing.assert_allclose(proportions(SEED(0).random((7, 1)))[0], [1.0])


def test_scaling_a_row_changes_nothing() -> None:
    density = SEED(2).random((30, 4))
    scale = 10.0 ** SEED(3).integers(-200, 200, (30, 1))
    np.testing.assert_allclose(proportions(density * scale)[0], proportions(density)[0], atol=1e-5)
