"""Distances against closed forms, SciPy and POT."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance_nd

from isthmus.shift import distances as module
from isthmus.shift.distances import distances, frechet2, mmd2, sliced_wasserstein2

RNG = np.random.default_rng(0)


def test_mmd_is_the_double_sum_that_defines_it(monkeypatch):
    x, y, bandwidth = RNG.normal(size=(40, 3)), RNG.normal(size=(55, 3)) + 0.5, 1.3

    def k(a, b):
        return np.exp(-np.square(a - b).sum() / (2 * bandwidth**2))

    def within(a):
        n = len(a)
        pairs = [k(a[i], a[j]) for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / (n * (n - 1))

    across = np.mean([k(a, b) for a in x for b in y])
    naive = within(x) + within(y) - 2 * across
    assert mmd2(x, y, bandwidth) == pytest.approx(naive, abs=1e-12)
    monkeypatch.setattr(module, "BLOCK", 7)  # in blocks the same
    assert mmd2(x, y, bandwidth) == pytest.approx(naive, abs=1e-12)


def test_mmd_is_unbiased():
    rng = np.random.default_rng(1)
    found = [mmd2(rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), 1.0) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


def test_frechet_of_diagonal_gaussians_has_a_closed_form():
    base = RNG.normal(size=(5000, 4))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base.T, bias=True))).T
    a, b = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 2.0, 1.5, 0.1])
    move = np.array([0.3, -1.0, 0.0, 2.0])
    wanted = np.square(move).sum() + np.square(a - b).sum()
    assert frechet2(base * a, base * b + move) == pytest.approx(wanted, rel=1e-9)
    assert frechet2(base, base) == pytest.approx(0, abs=1e-6)


def test_frechet_is_the_matrix_square_root_formula():
    x, y = RNG.normal(size=(200, 5)) @ RNG.normal(size=(5, 5)), RNG.normal(size=(150, 5)) + 1
    c, d = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    moved = np.square(x.mean(0) - y.mean(0)).sum()
    assert frechet2(x, y) == pytest.approx(moved + np.trace(c + d - 2 * sqrtm(c @ d).real))
    few = RNG.normal(size=(4, 9))  # fewer rows than columns: singular covariances
    assert np.isfinite(frechet2(few, few + 1))


@pytest.mark.parametrize("m", [60, 45, 61])
def test_sliced_wasserstein_agrees_with_pot(m):
    x, y = RNG.normal(size=(60, 4)), RNG.normal(size=(m, 4)) * 2 + 1
    directions = RNG.normal(size=(4, 30))
    directions /= np.linalg.norm(directions, axis=0)
    wanted = ot.sliced_wasserstein_distance(x, y, projections=directions, p=2)
    assert sliced_wasserstein2(x, y, directions) == pytest.approx(wanted**2, rel=1e-6)


def test_in_one_dimension_it_is_the_wasserstein_distance():
    x, y = RNG.normal(size=(25, 1)), RNG.normal(size=(17, 1)) + 3
    found = sliced_wasserstein2(x, y, np.ones((1, 1)))
    assert found == pytest.approx(ot.wasserstein_1d(x[:, 0], y[:, 0], p=2))
    # W1 is at most W2
    assert np.sqrt(found) >= wasserstein_distance_nd(x, y) - 1e-9


def test_without_a_shift_each_distance_lies_near_its_null_and_with_one_above():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(500, 6)), rng.normal(size=(120, 6))
    none, moved = distances(x, y, rng), distances(x, y + 1.0, rng)
    for name, found in none.items():
        assert found.value < 1.5 * found.null, name
        assert moved[name].value > 1.5 * moved[name].null, name
        assert moved[name].ratio == moved[name].value / moved[name].null
