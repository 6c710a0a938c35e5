from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus_alignment.shallow.dasvm import DASVM, Machine, ahead, self_label
from isthmus_baselines.source_only import SourceOnly

Draw = Callable[..., tuple[Task, Labelled]]
BINARY = Schema(kind="table", shape=(2,), classes=("no", "yes"))


def crescents(seed: int, n: int, degrees: float) -> Labelled:
    """Two long clusters side by side, turned about the origin."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = np.stack([1.6 * (2 * y - 1) + 0.4 * rng.normal(size=n), 1.5 * rng.normal(size=n)], 1)
    a = np.deg2rad(degrees)
    x = x @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return Labelled(name="d", schema=BINARY, x=x.astype(np.float32), y=y)


def accuracy(strategy: Any, task: Task, heldout: Labelled) -> float:
    return float((strategy.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_machine_is_at_the_optimum(classes: int) -> None:
    """Against SciPy, one class against the rest; the intercept is penalised like a weight."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, classes, 60)
    machine = Machine(x, y, 0.7, classes)
    wide = np.hstack([x, np.ones((60, 1))])
    for c in range(classes):
        sign = np.where(y == c, 1.0, -1.0)

        def loss(v: Any) -> Any:
            slack = np.maximum(1 - sign * (wide @ v), 0)
            return v @ v / 2 + 0.7 * slack @ slack, v - 1.4 * wide.T @ (sign * slack)

        best = optimize.minimize(loss, np.zeros(5), jac=True, options={"gtol": 1e-10}).x
        np.testing.assert_allclose(machine.scores(x)[:, c], wide @ best, atol=2e-3)


def test_the_lead_is_the_papers_margin_for_two_classes() -> None:
    f = np.array([0.3, -2.0, 0.9])
    scores = np.stack([-f, f], 1)
    np.testing.assert_allclose(ahead(scores, scores.argmax(1)), np.abs(f))
    np.testing.assert_allclose(ahead(scores, np.array([1, 1, 0])), [0.3, -2.0, -0.9])
    three = np.array([[0.2, -0.4, -3.0]])
    np.testing.assert_allclose(ahead(three, np.array([1])), -0.3)


def reference(x_s: Any, y: Any, x_t: Any, recipe: DASVM) -> Any:
    """The paper for two classes, row by row: what was in the training set at the end."""
    n, m = len(y), len(x_t)
    kept, given = set(range(n)), {}
    for _ in range(recipe.iterations):
        rows = [x_s[i] for i in sorted(kept)] + [x_t[j] for j in sorted(given)]
        labels = [y[i] for i in sorted(kept)] + [given[j] for j in sorted(given)]
        s = Machine(np.array(rows), np.array(labels), recipe.C, 2)
        f, f_s = s.scores(x_t)[:, 1], s.scores(x_s)[:, 1]
        wrong = [j for j, label in given.items() if label != (f[j] > 0)]
        fresh: list[int] = []
        for side in (-1, 1):
            inside = [j for j in range(m) if j not in given and 0 < side * f[j] < 1]
            inside.sort(key=lambda j: -side * f[j])
            fresh += inside[: int(np.ceil(recipe.pace * m / 2))]
        few = np.ceil(recipe.tolerance * m)
        if not kept and len(fresh) <= few and len(wrong) <= few:
            break
        for side, label in ((-1, 0), (1, 1)):
            joining = sum((f[j] > 0) == label for j in fresh)
            count = np.ceil(joining * n / m)
            if len(fresh) <= few:
                count = np.ceil(recipe.pace * n / 2)
            far = sorted((i for i in kept if y[i] == label), key=lambda i: -side * f_s[i])
            kept -= set(far[: int(count)])
        for j in wrong:
            del given[j]
        given |= {j: int(f[j] > 0) for j in fresh}
    return kept, sorted(given), s


@pytest.mark.parametrize("iterations", [1, 3, 100])
def test_follows_the_papers_algorithm_for_two_classes(iterations: int) -> None:
    source, target = crescents(1, 60, 0), crescents(2, 46, 25)
    x_s, x_t = np.float64(source.x), np.float64(target.x)
    recipe = DASVM(iterations=iterations, pace=0.1)
    kept, given, machine = reference(x_s, source.y, x_t, recipe)
    found, said = self_label(recipe, x_s, source.y, x_t, Run())
    assert (said["source_rows"], said["target_rows"]) == (len(kept), len(given))
    assert said["settled"] == (iterations == 100)
    if iterations == 100:
        np.testing.assert_allclose(found.w, machine.w, atol=1e-8)


def test_it_follows_a_turn_that_source_only_does_not() -> None:
    source, target, heldout = (crescents(s, 200, a) for s, a in ((1, 0), (2, 40), (3, 40)))
    task = Task(sources=(source,), target=target)
    assert accuracy(DASVM(), task, heldout) > 0.97
    assert accuracy(SourceOnly(), task, heldout) < 0.94


def test_many_classes_go_over_completely(shifted: Draw) -> None:
    task, target = shifted(150, 130, d=8, classes=5, noise=1.0)
    said: list[str] = []
    adapted = DASVM().adapt(task, Run(say=said.append))
    found = adapted.diagnostics
    assert found["settled"] and not said
    assert found["source_rows"] == 0
    assert found["classes"] == ["a", "b", "c", "d", "e"]
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.85


def test_sparse_rows_and_dense_ones_in_one_unit_agree() -> None:
    source, target = crescents(1, 80, 0), crescents(2, 70, 20)

    def csr(d: Any) -> Any:
        return replace(d, x=sparse.csr_matrix(d.x))

    thin = Task(sources=(csr(source),), target=csr(target))
    adapted = DASVM().adapt(thin)
    assert accuracy(DASVM(), thin, target) > 0.95
    double = DASVM().adapt(
        Task(sources=(replace(source, x=2 * source.x),), target=replace(target, x=2 * target.x))
    )
    once = DASVM().adapt(Task(sources=(source,), target=target))
    np.testing.assert_allclose(double.predict(2 * target.x), once.predict(target.x), atol=1e-4)
    assert adapted.predict(csr(target).x).shape == (70, 2)


def test_says_when_it_has_not_settled() -> None:
    said: list[str] = []
    task = Task(sources=(crescents(1, 80, 0),), target=crescents(2, 70, 30))
    adapted = DASVM(iterations=2).adapt(task, Run(say=said.append))
    assert not adapted.diagnostics["settled"]
    assert "dasvm stopped after 2 iterations" in said[0]


@pytest.mark.parametrize(
    "setting", [{"C": 0.0}, {"pace": 0.0}, {"tolerance": -1.0}, {"iterations": 0}]
)
def test_impossible_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"dasvm: {next(iter(setting))}"):
        DASVM(**setting)
