"""JGSA against the paper's generalised eigenproblem of twice as many columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg
from sklearn.neighbors import KNeighborsClassifier

from isthmus import BadInput, Labelled, Schema, Task
from isthmus_alignment.shallow.contrasts import balanced
from isthmus_alignment.shallow.jgsa import JGSA, Maps

Draw = Callable[..., tuple[Task, Labelled]]
SEED = np.random.default_rng


def zscore(x: Any) -> Any:
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)) / x.std(0)


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def papers(x_s: Any, y: Any, x_t: Any, pseudo: Any, recipe: JGSA) -> tuple[Any, Any]:
    """Return numerator and denominator (2 d, 2 d), from loops over classes and dense matrices."""
    (n_s, d), n_t = x_s.shape, len(x_t)
    n, classes = n_s + n_t, np.unique(y)
    within, between = np.zeros((d, d)), np.zeros((d, d))
    e = np.repeat([1 / n_s, -1 / n_t], [n_s, n_t])
    m = len(classes) * np.outer(e, e)
    for c in classes:
        rows = x_s[y == c]
        centred, offset = rows - rows.mean(0), rows.mean(0) - x_s.mean(0)
        within += centred.T @ centred
        between += len(rows) * np.outer(offset, offset)
        e = np.zeros(n)
        e[np.flatnonzero(y == c)] = 1 / (y == c).sum()
        e[n_s + np.flatnonzero(pseudo == c)] = -1 / (pseudo == c).sum()
        m += np.outer(e, e)
    m /= np.linalg.norm(m)
    x = np.block([[x_s, np.zeros((n_s, d))], [np.zeros((n_t, d)), x_t]])
    target = (x_t - x_t.mean(0)).T @ (x_t - x_t.mean(0))
    near, keep, beta, i = recipe.closeness, recipe.variance, recipe.separation, np.eye(d)
    top = linalg.block_diag(beta * between, keep * target)
    corner = np.block([[beta * within + near * i, -near * i], [-near * i, (near + keep) * i]])
    return top, x.T @ m @ x + corner


@pytest.mark.parametrize(("n_s", "n_t", "d"), [(40, 30, 6), (12, 10, 40)])
def test_maps_solve_the_papers_eigenproblem(n_s: int, n_t: int, d: int) -> None:
    recipe = JGSA(components=3, closeness=0.7, variance=1.3, separation=0.2)
    x_s, x_t = SEED(0).normal(size=(n_s, d)), SEED(1).normal(size=(n_t, d)) + 0.3
    y, pseudo = np.arange(n_s) % 3, SEED(2).permutation(np.arange(n_t) % 3)
    top, bottom = papers(x_s, y, x_t, pseudo, recipe)
    wanted = linalg.eigh(top, bottom)[1][:, :-4:-1]
    wanted /= np.linalg.norm(wanted, axis=0)
    found = np.vstack(Maps(recipe, x_s, x_t, y).solve(balanced(y, pseudo, 3, 0.5)))
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-7)


@pytest.mark.parametrize("d", [10, 200])
def test_follows_the_papers_algorithm(d: int, shifted: Draw) -> None:
    """Also where rows are fewer than columns, and the problem is solved in their span."""
    task, target = shifted(60, 50, d=d, classes=4, noise=2.0 if d == 10 else 6.0)
    x_s, x_t, y = unit(zscore(task.source.x)), unit(zscore(target.x)), task.source.y
    strategy = JGSA(components=5, iterations=3)
    first = pseudo = KNeighborsClassifier(1).fit(x_s, y).predict(x_t)
    for _ in range(3):
        top, bottom = papers(x_s, y, x_t, pseudo, strategy)
        w = linalg.eigh(top, bottom)[1][:, :-6:-1]
        w /= np.linalg.norm(w, axis=0)
        pseudo = KNeighborsClassifier(1).fit(x_s @ w[:d], y).predict(x_t @ w[d:])
    adapted = strategy.adapt(task)
    np.testing.assert_array_equal(adapted.predict(target.x).argmax(1), pseudo)
    assert not np.array_equal(first, pseudo)
    # Each domain is read through its own map.
    z = [adapted.for_source().observe(task.source.x)[0], adapted.observe(target.x)[0]]
    last = [x @ m for x, m in ((x_s, w[:d]), (x_t, w[d:]))]
    signs = np.sign((z[0] * last[0]).sum(0))
    for got, wanted in zip(z, last, strict=True):
        np.testing.assert_allclose(got * signs, wanted, atol=1e-4)


def test_maps_become_one_as_they_must_be_close(shifted: Draw) -> None:
    task, target = shifted(90, 80)
    x_s, x_t = unit(zscore(task.source.x)), unit(zscore(target.x))
    contrasts = balanced(task.source.y, target.y, 3, 0.5)

    def difference(closeness: float) -> float:
        a, b = Maps(JGSA(closeness=closeness), x_s, x_t, task.source.y).solve(contrasts)
        return float(np.linalg.norm(a - b) / np.linalg.norm(a + b))

    assert difference(1e5) < 1e-3
    assert difference(0.1) > 0.05


def test_few_columns_have_no_more_components(shifted: Draw) -> None:
    """Two maps have 2 d directions; the later ones take each domain to a place of its own."""
    task, target = shifted(d=4)
    z, _ = JGSA(components=20).adapt(task).observe(target.x)
    assert z.shape[1] == 4


@pytest.mark.parametrize("d", [3, 50])
def test_rows_that_are_all_equal_have_no_direction(d: int) -> None:
    schema = Schema(kind="table", shape=(d,), classes=("a", "b"))
    source = Labelled(name="s", schema=schema, x=np.zeros((6, d), np.float32), y=np.arange(6) % 2)
    p = JGSA().adapt(Task(sources=(source,), target=source)).predict(source.x)
    assert np.isfinite(p).all()


@pytest.mark.parametrize(
    "field", ["components", "iterations", "closeness", "variance", "separation"]
)
def test_refuses_what_has_no_solution(field: str) -> None:
    with pytest.raises(BadInput, match=field):
        JGSA(**{field: -1})  # type: ignore[arg-type]
