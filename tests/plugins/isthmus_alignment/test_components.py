"""Leading eigenvectors, against dense solvers of SciPy and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA

from isthmus_alignment.shallow import components
from isthmus_alignment.shallow.components import leading, penalised_components, principal_axes

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
    monkeypatch.setattr(components, "DENSE", 10 if lanczos else 600)
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
    values = np.concatenate([[5.0, 5.0, 5.0, 2.0], np.linspace(0, 1, 796)])
    q, _ = linalg.qr(SEED(6).normal(size=(800, 800)))
    found, vectors = leading((q * values) @ q.T, 4)
    np.testing.assert_allclose(found, [5, 5, 5, 2], rtol=1e-9)
    assert angles(vectors, q[:, :4]).max() < 1e-6
