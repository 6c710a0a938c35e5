from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from isthmus.learners.linear import Logistic
from isthmus_reweighting.discriminator import Discriminator

SEED = np.random.default_rng


@pytest.mark.parametrize(("n_source", "n_target"), [(2000, 2000), (2000, 200), (200, 2000)])
def test_the_direction_is_right(
    n_source: int, n_target: int, gaussians: Callable[..., Any]
) -> None:
    """A weight grows with p_target / p_source, however many rows each domain has."""
    x_s, x_t, truth = gaussians(n_source, n_target, 3, 0.5)
    w = Discriminator().weigh(x_s, x_t, SEED(0))
    assert np.corrcoef(np.log(w), np.log(truth))[0, 1] > 0.9


@pytest.mark.parametrize(("n_source", "n_target"), [(4000, 4000), (4000, 400)])
def test_moves_the_mean_of_the_source_to_the_target(
    n_source: int, n_target: int, gaussians: Callable[..., Any]
) -> None:
    x_s, x_t, _ = gaussians(n_source, n_target, 1, 1.0)
    w = Discriminator().weigh(x_s, x_t, SEED(0))
    assert np.average(x_s[:, 0], weights=w) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("d", "shift"), [(1, 0.5), (5, 0.3)])
def test_weights_approach_the_true_ratio(
    d: int, shift: float, mean_error: Callable[..., float]
) -> None:
    few, many = (mean_error(Discriminator(), n, d, shift) for n in (300, 3000))
    assert many < few
    assert many < 0.05


def test_unbalanced_domains_estimate_the_ratio_not_the_odds(gaussians: Callable[..., Any]) -> None:
    """Before they are brought to mean 1: equal domains have ratio 1, also when n differs."""
    x_s, x_t, _ = gaussians(3000, 300, 2, 0.0)
    w = Discriminator().weights(x_s, x_t, SEED(0))
    assert np.median(w) == pytest.approx(1.0, abs=0.1)


def test_weights_are_the_odds_of_the_penalised_likelihood(gaussians: Callable[..., Any]) -> None:
    """Both domains count the same: n/2 each, where n is the number of all rows."""
    x_s, x_t, _ = gaussians(60, 20, 2, 0.7)
    x_s, x_t = x_s * [1, 1000], x_t * [1, 1000]  # columns in different units are standardised
    x = np.concatenate([x_s, x_t]).astype(np.float64)
    side = np.repeat([-1.0, 1.0], [60, 20])
    balance = np.repeat([40 / 60, 40 / 20], [60, 20])
    mean = np.average(x, axis=0, weights=balance)
    z = (x - mean) / np.sqrt(np.average(np.square(x - mean), axis=0, weights=balance))

    def loss(v: Any) -> Any:
        return balance @ np.logaddexp(0, -side * (z @ v[:2] + v[2])) + v[:2] @ v[:2] / 2

    v = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    wanted = np.exp(z[:60] @ v[:2] + v[2])
    np.testing.assert_allclose(Discriminator().weights(x_s, x_t, SEED(0)), wanted, rtol=1e-3)


def test_a_stronger_penalty_gives_flatter_weights(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 300, 4, 0.8)
    spread = [
        Discriminator(discriminator=Logistic(C=c)).weigh(x_s, x_t, SEED(0)).std()
        for c in (1e-4, 1e-2, 1.0)
    ]
    assert spread[0] < 0.1 * spread[2]
    assert spread == sorted(spread)


def test_units_do_not_matter(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(200, 150, 3, 0.5)
    unit, offset = np.array([1e-3, 1.0, 4096.0], np.float32), np.array([0, 16.0, 0], np.float32)
    w = Discriminator().weigh(x_s, x_t, SEED(0))
    moved = Discriminator().weigh(x_s * unit + offset, x_t * unit + offset, SEED(0))
    np.testing.assert_allclose(moved, w, rtol=2e-3)


def test_weights_follow_their_rows(gaussians: Callable[..., Any]) -> None:
    x_s, x_t, _ = gaussians(300, 250, 3, 0.5)
    a, b = SEED(1).permutation(300), SEED(2).permutation(250)
    w = Discriminator().weigh(x_s, x_t, SEED(0))
    np.testing.assert_allclose(Discriminator().weigh(x_s[a], x_t[b], SEED(0)), w[a], rtol=1e-3)


def test_constant_columns_and_one_target_row_are_survived() -> None:
    x_s = np.column_stack([np.linspace(-2, 2, 41), np.full(41, 3.0)]).astype(np.float32)
    w = Discriminator().weigh(x_s, np.array([[1.5, 3.0]], np.float32), SEED(0))
    assert np.isfinite(w).all()
    assert (np.diff(w) > 0).all()  # all that one row on the right can say


def test_sparse_rows_are_told_apart_by_their_words() -> None:
    rng = SEED(6)
    x_s = rng.poisson(0.5, (400, 6)).astype(np.float32)
    x_t = rng.poisson([2.0, 0.5, 0.5, 0.5, 0.5, 0.5], (400, 6)).astype(np.float32)
    w = Discriminator().weigh(sparse.csr_matrix(x_s), sparse.csr_matrix(x_t), SEED(0))
    # The ratio of two Poisson densities: exp(0.5 - 2) (2 / 0.5)^count.
    assert np.corrcoef(np.log(w), x_s[:, 0] * np.log(4))[0, 1] > 0.9
