"""Leading eigenvectors, against dense solvers of SciPy and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA

from isthmus_alignment.shallow import components
from isthmus_alignment.shallow.components import (
    block_lanczos,
    penalised_components,
    principal_axes,
    ratio_directions,
)

SEED = np.random.default_rng


def angles(a: Any, b: Any) -> Any:
    return linalg.subspace_angles(a, b)


@pytest.mark.parametrize(("n", "d"), [(50, 8), (12, 40)])
def test_principal_axes_are_those_of_scikit_learn(n: int, d: int) -> None:
    x = SEED(0).normal(size=(n, d)) * np.linspace(1, 3, d) + 10
    mean, axes = principal_axes(x, 5)
    model = PCA(5, svd_solver="full").fit(x)
    np.testing.assert_allclose(mean, model.mean_)
    np.testing.assert_allclose(np.abs(axes.T @ model.components_.T), np.eye(5), atol=1e-8)
    assert (axes[np.abs(axes).argmax(0), np.arange(5)] > 0).all()  # signs are fixed


@pytest.mark.parametrize("n", [4, 400])
def test_no_more_axes_than_the_rows_span(n: int) -> None:
    x = SEED(1).normal(size=(n, 3)) @ SEED(2).normal(size=(3, 9))
    _, axes = principal_axes(x, 8)
    assert axes.shape == (9, 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)


def test_equal_rows_have_one_arbitrary_axis() -> None:
    mean, axes = principal_axes(np.full((5, 3), 0.1), 2)
    np.testing.assert_allclose(mean, 0.1)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=0), [1.0])


def contrasts(n_source: int, n_target: int, q: int) -> Any:
    """Return q columns that sum to zero; the first compares the domains."""
    e = SEED(3).normal(size=(n_source + n_target, q))
    e[:n_source, 0], e[n_source:, 0] = 1 / n_source, -1 / n_target
    return e - e.mean(0)


@pytest.mark.parametrize("q", [1, 4])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("lanczos", [False, True])
def test_components_solve_the_generalised_eigenproblem(
    q: int, penalty: float, lanczos: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against SciPy's dense solver of the whole, non-exploiting problem."""
    monkeypatch.setattr(components, "DENSE", 2 if lanczos else 600)
    x = SEED(4).normal(size=(50, 30)) * np.linspace(1, 4, 30) + 3
    e = contrasts(20, 30, q)
    found, ratios = penalised_components(x, e, penalty, 4)
    h = np.eye(50) - 1 / 50
    m = e @ e.T / np.linalg.norm(e @ e.T)
    values, vectors = linalg.eigh(x.T @ h @ x, x.T @ m @ x + penalty * np.eye(30))
    np.testing.assert_allclose(ratios, values[:-5:-1], rtol=1e-9)
    wanted = vectors[:, :-5:-1]
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), rtol=1e-5, atol=1e-8)


def test_a_strong_contrast_is_avoided() -> None:
    """As the penalty falls, components forget the direction in which the domains differ."""
    x = SEED(5).normal(size=(200, 5))
    x[:100, 0] += 10
    e = np.repeat([0.01, -0.01], 100)[:, None]
    gaps = []
    for penalty in (1e6, 1.0, 1e-6):
        z = x @ penalised_components(x, e, penalty, 2)[0]
        z /= z.std(0)
        gaps.append(float(np.abs(z[:100].mean(0) - z[100:].mean(0)).max()))
    assert gaps[0] > 1.9
    assert gaps[1] < 0.3
    assert gaps[2] < 1e-5


def test_lanczos_finds_repeated_eigenvalues() -> None:
    """And restarts on its way: the others lie close together."""
    values = np.concatenate([[5.0, 5.0, 5.0, 2.0], 1.9 - 1e-3 * np.arange(296)])
    q, _ = linalg.qr(SEED(6).normal(size=(300, 300)))
    calls = []

    def apply(w: Any) -> Any:
        calls.append(w.shape[1])
        return (q * values) @ (q.T @ w)

    found, vectors = block_lanczos(apply, 300, 6)
    np.testing.assert_allclose(found, [5, 5, 5, 2, 1.9, 1.899], rtol=1e-9)
    assert linalg.subspace_angles(vectors, q[:, :6]).max() < 1e-5
    assert sum(calls) > 7 * calls[0]


@pytest.mark.parametrize("rank", [1, 3])
def test_lanczos_stops_at_the_rank(rank: int) -> None:
    a = SEED(7).normal(size=(200, rank))
    values, vectors = block_lanczos(lambda w: a @ (a.T @ w), 200, 8)
    assert vectors.shape == (200, rank)
    np.testing.assert_allclose((vectors * values) @ vectors.T, a @ a.T, atol=1e-9)


def test_lanczos_takes_more_columns_than_there_are() -> None:
    a = np.diag([3.0, 2.0, 1.0])
    values, _ = block_lanczos(lambda w: a @ w, 3, 8)
    np.testing.assert_allclose(values, [3, 2, 1])


@pytest.mark.parametrize("r", [5, 60])
def test_few_rows_give_the_same_as_many_of_zero(r: int) -> None:
    """Rows fewer than columns go through the smaller Gram matrix."""
    x, u = SEED(8).normal(size=(r, 30)), SEED(9).normal(size=(30, 2))
    w, ratios = ratio_directions(x, u, 0.5, 4)
    padded, same = ratio_directions(np.concatenate([x, np.zeros((60, 30))]), u, 0.5, 4)
    np.testing.assert_allclose(w, padded, atol=1e-8)
    np.testing.assert_allclose(ratios, same)
    np.testing.assert_allclose(w.T @ (u @ u.T + 0.5 * np.eye(30)) @ w, np.eye(4), atol=1e-9)
