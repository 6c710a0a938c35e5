"""The discriminator against scikit-learn, and its ratios against known densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from isthmus_evaluators.validators import density_ratio
from isthmus_evaluators.validators.density_ratio import (
    fit_logistic,
    importance_weights,
    log_density_ratio,
    standardised,
)


def two_domains(n, d, shift, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) / np.sqrt(d)
    a, b = rng.normal(size=(2, n, d)) @ mix
    return a.astype(np.float32), (b + shift).astype(np.float32)


@pytest.mark.parametrize("direct", [384, 0], ids=["direct", "conjugate gradients"])
@pytest.mark.parametrize("penalty", [1.0, 0.1])
@pytest.mark.parametrize(("n", "d", "shift"), [(400, 5, 0.5), (300, 40, 0.2), (60, 100, 3.0)])
def test_the_optimum_is_that_of_scikit_learn(monkeypatch, n, d, shift, penalty, direct):
    monkeypatch.setattr(density_ratio, "DIRECT", direct)
    x = standardised(np.concatenate(two_domains(n, d, shift))[: 2 * n - n // 3])
    y = np.repeat([0.0, 1.0], [n, n - n // 3])
    w, b = fit_logistic(x, y, penalty)
    peer = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=20_000).fit(x, y)
    assert w == pytest.approx(peer.coef_[0], abs=1e-4)
    assert b == pytest.approx(peer.intercept_[0], abs=1e-4)


def test_a_csr_matrix_gives_the_optimum_of_scikit_learn():
    x = sparse.random(500, 60, 0.1, format="csr", random_state=0, dtype=np.float32)
    x.data[x.indices < 3] += 1
    y = (np.asarray(x[:, :3].sum(1)).ravel() + np.arange(500) % 2 > 1).astype(float)
    scaled = standardised(x)
    expected = StandardScaler(with_mean=False).fit_transform(x.astype(float))
    assert scaled.toarray() == pytest.approx(expected.toarray(), abs=1e-9)
    w, b = fit_logistic(scaled, y)
    peer = LogisticRegression(tol=1e-9, max_iter=20_000).fit(scaled, y)
    assert w == pytest.approx(peer.coef_[0], abs=1e-4)
    assert b == pytest.approx(peer.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("to", [lambda x: x, sparse.csr_matrix], ids=["dense", "csr"])
def test_columns_of_one_value_say_nothing(to):
    x = np.full((6, 2), 0.1, np.float32)
    x[:, 1] = [0, 0, 0, 1, 1, 1]
    got = standardised(to(x))
    got = got.toarray() if sparse.issparse(got) else got
    assert np.isfinite(got).all()
    assert np.ptp(got[:, 0]) == 0
    assert got[:, 1].std() == pytest.approx(1)


def test_the_log_ratio_of_two_normals_is_linear():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20_000, 1)), rng.normal(size=(5_000, 1)) + 1
    expected = norm.logpdf(a[:, 0], 1) - norm.logpdf(a[:, 0], 0)
    got = log_density_ratio(a.astype(np.float32), b.astype(np.float32))
    inner = np.abs(a[:, 0]) < 2
    assert got[inner] == pytest.approx(expected[inner], abs=0.15)


def test_the_ratio_of_a_sample_to_itself_is_one():
    a, _ = two_domains(300, 4, 0)
    assert log_density_ratio(a, a) == pytest.approx(0, abs=1e-6)
    assert log_density_ratio(a, np.repeat(a, 3, axis=0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("shift", [1e-20, 30, 1e6, 1e30])
def test_domains_that_do_not_overlap_have_finite_ratios(n, shift):
    a, b = two_domains(n, 3, 0)
    ratio = log_density_ratio(a, b + np.float32(shift))
    assert np.isfinite(ratio).all()
    weight = importance_weights(a, b + np.float32(shift), cap=50)
    assert weight.mean() == pytest.approx(1)


def test_it_costs_no_second_copy_of_the_rows(monkeypatch):
    a, b = two_domains(500, 6, 0.3)
    whole = log_density_ratio(a, b)
    monkeypatch.setattr(density_ratio, "CHUNK", 64)
    assert log_density_ratio(a, b) == pytest.approx(whole, abs=1e-9)
