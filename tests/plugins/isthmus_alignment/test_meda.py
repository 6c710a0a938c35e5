"""MEDA against its objective, its closed form, and a transcription of the algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.kernel_mapped import Kernel
from isthmus_alignment.shallow import features
from isthmus_alignment.shallow.contrasts import balanced
from isthmus_alignment.shallow.gfk import geodesic_map
from isthmus_alignment.shallow.meda import MEDA, Scores, laplacian

Draw = Callable[..., tuple[Task, Labelled]]
SEED = np.random.default_rng


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def zscore(x: Any) -> Any:
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)) / x.std(0)


def mmd(n: int, plus: Any, minus: Any) -> Any:
    e = np.zeros(n)
    e[plus], e[minus] = 1 / len(plus), -1 / len(minus)
    return np.outer(e, e)


def graph(z: Any, p: int) -> Any:
    """Return the dense normalised Laplacian."""
    cosine = z @ z.T
    w = np.zeros_like(cosine)
    for i, row in enumerate(cosine):
        order = [j for j in np.argsort(-row) if j != i][:p]
        w[i, order] = np.maximum(row[order], 0)
    w = np.maximum(w, w.T)
    return np.eye(len(z)) - w / np.sqrt(np.outer(w.sum(1), w.sum(1)))


def problem(n_source: int = 30, n_target: int = 25, d: int = 5) -> Any:
    z = unit(SEED(0).normal(size=(n_source + n_target, d)))
    y, pseudo = np.arange(n_source) % 3, SEED(1).integers(0, 3, n_target)
    total = 0.4 * 3 * mmd(len(z), np.arange(n_source), np.arange(n_source, len(z)))
    for c in range(3):
        rest = n_source + np.flatnonzero(pseudo == c)
        total += 0.6 * mmd(len(z), np.flatnonzero(y == c), rest)
    return z, y, pseudo, total / np.linalg.norm(total)


def test_the_laplacian_is_that_of_nearest_neighbours() -> None:
    z = unit(SEED(2).normal(size=(40, 4)))
    np.testing.assert_allclose(laplacian(z, 5).toarray(), graph(z, 5), atol=1e-10)


def test_opposite_rows_are_no_neighbours() -> None:
    found = laplacian(np.array([[1.0, 0], [-1, 0]]), 5).toarray()
    np.testing.assert_allclose(found, np.eye(2))


def test_weights_solve_the_papers_equation() -> None:
    z, y, pseudo, m = problem()
    recipe = MEDA(alignment=7.0, smoothness=0.8, ridge=0.2, neighbours=4)
    k = np.exp(-cdist(z, z, "sqeuclidean") / 2)
    e = np.diag((np.arange(55) < 30).astype(float))
    labels = np.concatenate([np.eye(3)[y], np.zeros((25, 3))])
    wanted = np.linalg.solve((e + 7 * m + 0.8 * graph(z, 4)) @ k + 0.2 * np.eye(55), e @ labels)
    solver = Scores(recipe, Kernel(landmarks=z, bandwidth=1.0), z, np.eye(3)[y])
    np.testing.assert_allclose(solver.weights(balanced(y, pseudo, 3, 0.6)), wanted, atol=1e-8)


@pytest.mark.parametrize("m", [55, 20])
def test_weights_minimise_the_objective(m: int) -> None:
    """Also over the span of a few landmarks."""
    z, y, pseudo, mmd_matrix = problem()
    recipe = MEDA(alignment=7.0, smoothness=0.8, ridge=0.2, neighbours=4)
    kernel = Kernel(landmarks=z[:m], bandwidth=1.0)
    rows, gram, lap = kernel.columns(z), kernel.columns(z[:m]), graph(z, 4)

    def objective(b: Any) -> float:
        f = rows @ b
        fit = np.square((y == 1) - f[:30]).sum()
        return float(fit + f @ (7 * mmd_matrix + 0.8 * lap) @ f + 0.2 * b @ gram @ b)

    solver = Scores(recipe, kernel, z, np.eye(3)[y])
    beta = solver.weights(balanced(y, pseudo, 3, 0.6))[:, 1]
    reached = objective(beta)
    found = optimize.minimize(objective, np.zeros(m), method="BFGS", options={"maxiter": 2000})
    assert reached <= found.fun + 1e-6
    assert reached == pytest.approx(found.fun, rel=1e-3)


@pytest.mark.parametrize("seed", range(2))
def test_follows_the_papers_algorithm(seed: int, shifted: Draw) -> None:
    task, target = shifted(90, 80, d=12, classes=4, seed=seed, noise=2.0)
    x_s, x_t, y = zscore(task.source.x), zscore(target.x), task.source.y
    flow = geodesic_map(x_s, x_t, 5)
    z = unit(np.concatenate([x_s, x_t]) @ flow)
    k = np.exp(-cdist(z, z, "sqeuclidean") / 2)
    e = np.diag((np.arange(170) < 90).astype(float))
    labels = np.concatenate([np.eye(4)[y], np.zeros((80, 4))])
    first = pseudo = KNeighborsClassifier(1).fit(z[:90], y).predict(z[90:])
    for _ in range(3):
        m = 0.5 * 4 * mmd(170, np.arange(90), np.arange(90, 170))
        for c in range(4):
            m += 0.5 * mmd(170, np.flatnonzero(y == c), 90 + np.flatnonzero(pseudo == c))
        a = e + 10 * m / np.linalg.norm(m) + graph(z, 10)
        pseudo = (k @ np.linalg.solve(a @ k + 0.1 * np.eye(170), e @ labels))[90:].argmax(1)
    adapted = MEDA(components=5, iterations=3, balance=0.5).adapt(task)
    np.testing.assert_array_equal(adapted.predict(target.x).argmax(1), pseudo)
    assert not np.array_equal(first, pseudo)


def test_a_class_without_source_rows_is_never_predicted(shifted: Draw) -> None:
    task, target = shifted(classes=4)
    three = task.source.take(np.flatnonzero(task.source.y != 2))
    p = MEDA().adapt(Task(sources=(three,), target=target)).predict(target.x)
    np.testing.assert_array_equal(p[:, 2], 0)


def test_landmarks_approach_the_exact_scores(
    shifted: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, target = shifted(150, 150, noise=1.5)
    exact = MEDA().adapt(task).predict(target.x)
    monkeypatch.setattr(features, "ROWS", 299)
    monkeypatch.setattr(features, "LANDMARKS", 150)
    said: list[str] = []
    found = MEDA().adapt(task, Run(say=said.append)).predict(target.x)
    assert "landmarks" in said[0]
    assert (found.argmax(1) == exact.argmax(1)).mean() > 0.97


def test_many_rows_need_no_square_of_them() -> None:
    """6,000 x 6,000 kernel values alone would be 288 MB."""
    import tracemalloc

    y = np.arange(3000) % 2
    x = (SEED(4).normal(size=(3000, 4)) + 3 * y[:, None]).astype(np.float32)
    schema = Schema(kind="table", shape=(4,), classes=("a", "b"))
    source = Labelled(name="s", schema=schema, x=x, y=y)
    tracemalloc.start()
    adapted = MEDA(iterations=2).adapt(Task(sources=(source,), target=source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6
    assert (adapted.predict(x).argmax(1) == y).mean() > 0.95


def test_the_estimated_balance_is_said(shifted: Draw) -> None:
    task, _ = shifted()
    adapted = MEDA().adapt(task)
    assert all(0 <= b <= 1 for b in adapted.diagnostics["balance"])
    assert MEDA(balance=0.3).adapt(task).diagnostics["balance"][0] == 0.3


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(MEDA) if f.name != "normalise"]
)
def test_refuses_what_has_no_solution(field: str) -> None:
    with pytest.raises(BadInput, match=field):
        MEDA(**{field: -1})  # type: ignore[arg-type]
