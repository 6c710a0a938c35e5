"""Columns' mean and spread, in chunks, as NumPy has them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus.learners import scaling
from isthmus.learners.scaling import moments, scales, spreads


def test_moments_are_numpys_in_any_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 3)) * [1, 1e-9, 1e6] + [1e4, 0, 0]).astype(np.float32)
    w = rng.uniform(size=50)
    for chunk in (7, 65536):
        monkeypatch.setattr(scaling, "CHUNK", chunk)
        mean, scale = moments(x)
        np.testing.assert_allclose(mean, x.mean(0, dtype=float))
        np.testing.assert_allclose(scale, x.std(0, dtype=float))
        mean, scale = moments(x, w)
        np.testing.assert_allclose(mean, np.average(x.astype(float), axis=0, weights=w))
        square = np.average((x - mean) ** 2, axis=0, weights=w)
        np.testing.assert_allclose(scale, np.sqrt(square))


@pytest.mark.parametrize("density", [0, 0.05, 0.5, 1])
def test_a_sparse_matrix_has_the_moments_of_its_rows(density, monkeypatch):
    rng = np.random.default_rng(0)
    x = sparse.random(90, 30, density, "csr", np.float32, random_state=0)
    x.data += 100
    monkeypatch.setattr(scaling, "CHUNK", 50)
    for w in (None, rng.uniform(size=90)):
        for got, wanted in zip(spreads(x, w), spreads(x.toarray(), w), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-9)
    twice = sparse.csr_matrix((np.ones(4), [0, 0, 1, 1], [0, 2, 4]), shape=(2, 3))
    for got, wanted in zip(spreads(twice), spreads(twice.toarray()), strict=True):
        np.testing.assert_allclose(got, wanted)


def test_a_constant_column_has_the_spread_one_whatever_the_others_are():
    x = np.column_stack([np.full(99, 0.1), np.arange(99) * 1e-30, np.arange(99) * 1e30])
    scale = moments(x)[1]
    assert scale[0] == 1
    assert 0 < scale[1] < 1e-27


def test_columns_in_one_unit_are_not_magnified_and_those_in_several_are_standardised():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 5)).clip(-3, 3) * [1, 1.2, 0.8, 1, 1e-3]
    np.testing.assert_allclose(scales(x)[1][[0, 1, 3]], x.std(0)[[0, 1, 3]], rtol=0.1)
    np.testing.assert_allclose(scales(x)[1][4], np.median(x.std(0)))
    units = x * [1, 1000, 1, 1, 1]
    np.testing.assert_allclose(scales(units)[1], units.std(0))
    np.testing.assert_allclose(scales(x, named=True)[1], x.std(0))
