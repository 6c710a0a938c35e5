"""TJM against the paper's algorithm with dense matrices, and against a general optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg, optimize
from scipy.spatial.distance import cdist, pdist

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.shallow import features
from isthmus_alignment.shallow.pair import read_pair
from isthmus_alignment.shallow.tjm import TJM, Matching

Draw = Callable[..., tuple[Task, Labelled]]


def kernel(a: Any, b: Any, name: str) -> Any:
    if name == "linear":
        return a @ b.T
    return np.exp(-cdist(a, b, "sqeuclidean") / (2 * np.median(pdist(b)) ** 2))


def mmd_matrix(n_source: int, n_target: int) -> Any:
    e = np.repeat([1 / n_source, -1 / n_target], [n_source, n_target])
    return np.outer(e, e) / (e @ e)


def objective(a: Any, k: Any, n_source: int, penalty: float) -> Any:
    gap = np.trace(a.T @ k @ mmd_matrix(n_source, len(k) - n_source) @ k @ a)
    rows = np.linalg.norm(a, axis=1)
    return gap + penalty * (rows[:n_source].sum() + np.square(rows[n_source:]).sum())


def papers(k: Any, n_source: int, penalty: float, m: int, iterations: int) -> tuple[Any, Any]:
    """Return A (n, m) with A' K H K A = I, iteratively reweighted, and the eigenvalues (m,)."""
    n = len(k)
    h, g = np.eye(n) - 1 / n, np.ones(n)
    for _ in range(iterations):
        below = k @ mmd_matrix(n_source, n - n_source) @ k + penalty * np.diag(g)
        ratios, a = linalg.eigh(k @ h @ k, below, subset_by_index=[n - m, n - 1])
        a, ratios = a[:, ::-1] / np.sqrt(ratios[::-1]), ratios[::-1]
        g[:n_source] = 1 / (2 * np.linalg.norm(a[:n_source], axis=1))
    return a, ratios


@pytest.mark.parametrize(("name", "d"), [("linear", 6), ("linear", 200), ("rbf", 6)])
@pytest.mark.parametrize("penalty", [0.1, 2.0])
def test_follows_the_papers_algorithm(name: Any, d: int, penalty: float, shifted: Draw) -> None:
    """Whether a linear kernel is solved by columns or by rows, whichever are fewer."""
    task, target = shifted(40, 30, d=d)
    recipe = TJM(
        kernel=name, penalty=penalty, components=3, iterations=4, normalise=False, unit=False
    )
    pair = read_pair(task, normalise=False, unit=False)
    x = pair.pooled
    k = kernel(x, x, name)
    a, ratios = papers(k, 40, penalty, 3, 4)
    found = recipe.adapt(task)
    z, _ = found.observe(target.x)
    wanted = kernel(target.x.astype(np.float64), x, name) @ a * np.sqrt(ratios)
    signs = np.sign((z * wanted).sum(0))
    np.testing.assert_allclose(z * signs, wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())
    path = found.diagnostics["objective"]
    np.testing.assert_allclose(path[-1], objective(a, k, 40, penalty), rtol=1e-5)


def test_every_iteration_lowers_the_objective(shifted: Draw) -> None:
    task, _ = shifted()
    path = TJM(components=3, iterations=30).adapt(task).diagnostics["objective"]
    assert (np.diff(path) <= 1e-9).all()
    assert path[-1] < 0.9 * path[0]


def test_no_other_coefficients_are_better(shifted: Draw) -> None:
    """A general optimiser that starts at the solution, and keeps the constraint, finds none."""
    task, _ = shifted(15, 12, d=4)
    pair = read_pair(task, normalise=False, unit=False)
    recipe = TJM(components=1, iterations=300, penalty=0.3, kernel="rbf")
    matching = Matching(recipe, pair, Run())
    k, r = matching.found.rows, np.ones(27)
    for _ in range(300):
        _, a, _ = matching.solve(r)
        r = np.where(matching.of_source, 2 * np.linalg.norm(a, axis=1), 1.0)
    scatter = k @ (np.eye(27) - 1 / 27) @ k

    def value(flat: Any) -> float:
        scaled = flat[:, None] / np.sqrt(flat @ scatter @ flat)
        return float(objective(scaled, k, 15, 0.3))

    start = a[:, 0]
    better = optimize.minimize(value, start, method="Powell", options={"maxiter": 20}).fun
    assert better > value(start) - 1e-4 * value(start)


def test_source_rows_may_lose_their_say_until_the_target_alone_spans_the_components(
    shifted: Draw,
) -> None:
    task, target = shifted(40, 30, d=200)
    recipe = TJM(components=3, iterations=30, normalise=False, unit=False)
    adapted = recipe.adapt(task)
    assert adapted.diagnostics["source_share_used"] == 0
    outside = linalg.null_space(target.x.astype(np.float64)).T[:5]
    z, _ = adapted.observe(np.concatenate([outside, target.x[:5]]).astype(np.float32))
    assert np.abs(z[:5]).max() < 1e-4 * np.abs(z[5:]).max()


def test_landmarks_approach_the_exact_components(
    shifted: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, target = shifted(300, 300, d=3)
    strategy = TJM(kernel="rbf", components=3, unit=False)
    exact, _ = strategy.adapt(task).observe(target.x)
    monkeypatch.setattr(features, "ROWS", 599)
    monkeypatch.setattr(features, "LANDMARKS", 300)
    said: list[str] = []
    found, _ = strategy.adapt(task, Run(say=said.append)).observe(target.x)
    assert "landmarks" in said[0]
    assert linalg.subspace_angles(exact, found).max() < 0.2


def test_interleaved_domains_change_nothing(shifted: Draw) -> None:
    task, target = shifted()
    order = np.random.default_rng(0).permutation(60)
    again = Task(sources=(task.source.take(order),), target=task.target.take(order[order < 50]))
    for name in ("linear", "rbf"):
        strategy = TJM(kernel=name)  # type: ignore[arg-type]
        p = [strategy.adapt(t).predict(target.x) for t in (task, again)]
        np.testing.assert_array_equal(*p)


@pytest.mark.parametrize("d", [3, 50])
def test_rows_that_are_all_equal_have_no_direction(d: int) -> None:
    schema = Schema(kind="table", shape=(d,), classes=("a", "b"))
    source = Labelled(name="s", schema=schema, x=np.zeros((6, d), np.float32), y=np.arange(6) % 2)
    adapted = TJM().adapt(Task(sources=(source,), target=source))
    assert np.isfinite(adapted.predict(source.x)).all()
    assert np.isfinite(adapted.diagnostics["objective"]).all()


@pytest.mark.parametrize("field", ["components", "iterations", "penalty"])
def test_refuses_what_has_no_solution(field: str) -> None:
    with pytest.raises(BadInput, match=field):
        TJM(**{field: 0})  # type: ignore[arg-type]
