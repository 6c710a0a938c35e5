from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from isthmus import Schema
from isthmus_alignment.transport.cost import ground_cost, squared_distances, units

PLAIN = Schema(kind="table", shape=(4,), classes=("a", "b"))
NAMED = Schema(kind="table", shape=(4,), classes=("a", "b"), features=("p", "q", "r", "s"))


def draw(seed, n, scale=1.0):
    return (5 + np.random.default_rng(seed).normal(size=(n, 4)) * scale).astype(np.float32)


def test_distances_are_scipys_dense_or_sparse():
    a, b = draw(0, 20), draw(1, 30)
    a[a < 4.5], b[b < 5] = 0, 0
    wanted = cdist(a, b, "sqeuclidean")
    one = np.ones(4)
    np.testing.assert_allclose(squared_distances(a, b, one), wanted, atol=1e-10)
    ca, cb = sparse.csr_matrix(a), sparse.csr_matrix(b)
    np.testing.assert_allclose(squared_distances(ca, cb, one), wanted, atol=1e-10)
    unit = np.array([1, 2, 3, 4.0])
    np.testing.assert_allclose(
        squared_distances(a, b, unit), cdist(a / unit, b / unit, "sqeuclidean"), atol=1e-10
    )


def test_rows_far_from_zero_lose_no_digits():
    a, b = draw(2, 10, 0.01) + 1000, draw(3, 10, 0.01) + 1000
    wanted = cdist(a.astype(float), b.astype(float), "sqeuclidean")
    np.testing.assert_allclose(squared_distances(a, b, np.ones(4)), wanted, rtol=1e-6)


def test_no_distance_is_negative():
    a = draw(4, 50) * 1000
    assert squared_distances(a, a, np.ones(4)).min() >= 0


def test_costs_have_the_median_1_whatever_the_unit():
    a, b = draw(5, 20), draw(6, 30)
    cost, unit = ground_cost(a, b, np.ones(4))
    np.testing.assert_allclose(squared_distances(a, b, unit), cost, rtol=1e-9)
    assert np.median(cost) == pytest.approx(1)
    np.testing.assert_allclose(ground_cost(100 * a, 100 * b, np.ones(4))[0], cost, rtol=1e-4)


def test_rows_that_coincide_cost_nothing():
    same = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(ground_cost(same, same, np.ones(4))[0], 0)
    mostly = np.concatenate([same, 1 + same[:1]])
    cost, _ = ground_cost(same, mostly, np.ones(4))
    assert cost.mean() == pytest.approx(1)


def test_columns_in_one_unit_stay_as_they_are():
    a, b = draw(7, 100, [1, 2, 0.5, 1]), draw(8, 80, [1, 2, 0.5, 1])
    np.testing.assert_array_equal(units(a, b, PLAIN), 1)


@pytest.mark.parametrize(
    ("scale", "schema"), [([1000, 1, 0.01, 1], PLAIN), ([1, 2, 0.5, 1], NAMED)]
)
def test_columns_in_units_of_their_own_are_measured_in_deviations(scale, schema):
    a, b = draw(9, 100, scale), draw(10, 100, scale) + 1
    got = units(a, b, schema)
    np.testing.assert_allclose(got, np.concatenate([a, b]).std(0), rtol=1e-6)


def test_each_domain_counts_one_half():
    a, b = draw(11, 100), draw(12, 100) * 2
    np.testing.assert_allclose(
        units(a, b, NAMED), units(np.concatenate([a, a, a]), b, NAMED), rtol=1e-6
    )


def test_a_constant_column_divides_by_one():
    a, b = draw(13, 40), draw(14, 40)
    a[:, 1] = b[:, 1] = 3
    assert units(a, b, NAMED)[1] == 1
