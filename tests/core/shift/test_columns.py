"""Columns one by one, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import false_discovery_control, ks_2samp, ttest_ind, wasserstein_distance

from isthmus.shift import columns as module
from isthmus.shift.columns import benjamini_hochberg, cohens_d, columns, gaps, ks_p, mean_p

RNG = np.random.default_rng(0)


def two(n=150, m=90):
    """A normal column, one with ties, one of two values, one constant."""
    a = np.stack([RNG.normal(size=n), RNG.integers(4, size=n), RNG.random(n) < 0.2, np.ones(n)])
    b = np.stack([RNG.normal(size=m) + 1, RNG.integers(5, size=m), RNG.random(m) < 0.5, np.ones(m)])
    return a.T.astype(float), b.T.astype(float)


def test_statistics_are_those_of_scipy():
    a, b = two()
    moved, ks = gaps(a, b)
    effect = cohens_d(a, b)
    p, q = ks_p(ks, len(a), len(b)), mean_p(effect, len(a), len(b))
    for j in range(3):
        wanted = ks_2samp(a[:, j], b[:, j], method="asymp")
        assert ks[j] == pytest.approx(wanted.statistic)
        assert p[j] == pytest.approx(wanted.pvalue, rel=0.2, abs=1e-12)
        spread = np.concatenate([a[:, j], b[:, j]]).std()
        assert moved[j] == pytest.approx(wasserstein_distance(a[:, j], b[:, j]) / spread)
        assert q[j] == pytest.approx(ttest_ind(a[:, j], b[:, j]).pvalue)
    assert (moved[3], ks[3], effect[3]) == (0, 0, 0)


def test_two_different_constants_are_as_far_apart_as_can_be():
    a, b = np.zeros((20, 1)), np.ones((20, 1))
    moved, ks = gaps(a, b)
    assert ks[0] == 1
    assert moved[0] == pytest.approx(2)
    assert cohens_d(a, b)[0] == pytest.approx(2)


def test_adjusted_p_values_are_those_of_scipy():
    p = RNG.random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    assert benjamini_hochberg(np.zeros(0)).shape == (0,)


def test_the_columns_that_moved_are_named_and_the_others_are_not():
    x, y = RNG.normal(size=(400, 30)), RNG.normal(size=(300, 30))
    y[:, 7] += 1
    y[:, 3] *= 2
    found = columns(x, y, [f"c{i}" for i in range(30)])
    assert [c.name for c in found.top[:2]] == ["c7", "c3"]
    assert 2 <= found.shifted <= 4
    assert found.top[0].cohens_d == pytest.approx(1, abs=0.2)
    assert found.top[0].q < 1e-6
    assert len(found.top) == 10


def test_a_table_in_csr_form_gives_the_same():
    x, y = (RNG.poisson(0.3, size=(n, 12)).astype(np.float32) for n in (80, 60))
    names = [str(i) for i in range(12)]
    assert columns(x, y, names) == columns(sparse.csr_matrix(x), sparse.csr_matrix(y), names)


def test_of_very_many_columns_the_most_varied_are_tested(monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    x, y = RNG.normal(size=(50, 9)), RNG.normal(size=(50, 9))
    x[:, [1, 4]] *= 10
    y[:, [1, 4]] *= 10
    for a, b in ((x, y), (sparse.csr_matrix(x), sparse.csr_matrix(y))):
        found = columns(a, b, [str(i) for i in range(9)])
        assert (found.tested, found.of) == (5, 9)
        assert {"1", "4"} <= {c.name for c in found.top}


def test_false_discoveries_are_rare_without_a_shift():
    rng = np.random.default_rng(3)
    names = [str(i) for i in range(20)]
    runs = [
        columns(rng.normal(size=(40, 20)), rng.normal(size=(30, 20)), names) for _ in range(200)
    ]
    assert np.mean([r.shifted > 0 for r in runs]) < 0.11
