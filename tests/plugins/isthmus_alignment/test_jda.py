"""JDA against a direct transcription of the paper's algorithm: dense matrices, SciPy, 1-NN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg
from sklearn.neighbors import KNeighborsClassifier

from isthmus import BadInput, Labelled, Run, Task
from isthmus.learners.linear import Linear
from isthmus_alignment.shallow.jda import JDA

Draw = Callable[..., tuple[Task, Labelled]]


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def zscore(x: Any) -> Any:
    x = np.asarray(x, np.float64)
    return (x - x.mean(0)) / x.std(0)


def mmd(n: int, plus: Any, minus: Any) -> Any:
    e = np.zeros(n)
    e[plus], e[minus] = 1 / len(plus), -1 / len(minus)
    return np.outer(e, e)


def papers(x_s: Any, y: Any, x_t: Any, m: int, penalty: float, iterations: int) -> Any:
    """Return the target's labels after each iteration."""
    x = unit(np.concatenate([zscore(x_s), zscore(x_t)])).T
    n_s, n = len(x_s), x.shape[1]
    classes = np.unique(y)
    h = np.eye(n) - 1 / n
    found: list[Any] = []
    for _ in range(iterations):
        total = len(classes) * mmd(n, np.arange(n_s), np.arange(n_s, n))
        if found:
            for c in classes:
                total += mmd(n, np.flatnonzero(y == c), n_s + np.flatnonzero(found[-1] == c))
        total /= np.linalg.norm(total)
        a = x @ total @ x.T + penalty * np.eye(len(x))
        w = linalg.eigh(x @ h @ x.T, a)[1][:, ::-1][:, :m]
        z = unit(x.T @ w)
        found.append(KNeighborsClassifier(1).fit(z[:n_s], y).predict(z[n_s:]))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_follows_the_papers_algorithm(seed: int, penalty: float, shifted: Draw) -> None:
    task, target = shifted(90, 80, d=12, classes=5, seed=seed, noise=2.5)
    wanted = papers(task.source.x, task.source.y, target.x, 4, penalty, 4)
    for iterations in (1, 2, 4):
        strategy = JDA(components=4, penalty=penalty, iterations=iterations)
        found = strategy.adapt(task).predict(target.x).argmax(1)
        np.testing.assert_array_equal(found, wanted[iterations - 1])
    assert not np.array_equal(wanted[0], wanted[3])  # there was something to follow


def test_stops_when_the_labels_no_longer_change(shifted: Draw) -> None:
    task, target = shifted()
    progress: list[int] = []
    run = Run(progress=lambda stage, done, total: progress.append(done))
    adapted = JDA(iterations=50).adapt(task, run)
    changed = adapted.diagnostics["pseudo_labels_changed"]
    assert len(changed) == len(progress) < 50
    assert changed[0] == 1.0
    assert changed[-1] == 0.0
    longer = JDA(iterations=60).adapt(task)
    np.testing.assert_array_equal(longer.predict(target.x), adapted.predict(target.x))


def test_classes_are_drawn_together(shifted: Draw) -> None:
    """What JDA has over TCA: the classes' means agree, not only the domains'."""
    task, target = shifted(300, 300, d=10, seed=1)

    def gap(iterations: int) -> float:
        strategy = JDA(components=3, penalty=0.01, iterations=iterations, unit=False)
        adapted = strategy.adapt(task)
        z = [adapted.observe(d.x)[0] for d in (task.source, target)]
        means = [
            np.array([f[d.y == c].mean(0) for c in range(3)])
            for f, d in zip(z, (task.source, target), strict=True)
        ]
        return float(np.linalg.norm(means[0] - means[1]) / np.linalg.norm(means[0]))

    assert gap(10) < 0.8 * gap(1)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_kernels_and_other_learners_adapt(kernel: Any, shifted: Draw) -> None:
    task, target = shifted()
    adapted = JDA(kernel=kernel, learner=Linear()).adapt(task)
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.85


def test_a_class_that_the_target_lacks_is_left_alone(shifted: Draw) -> None:
    task, target = shifted(90, 80)
    kept = target.take(np.flatnonzero(target.y != 1))
    adapted = JDA(normalise=False).adapt(Task(sources=task.sources, target=kept))
    assert (adapted.predict(kept.x).argmax(1) == kept.y).mean() > 0.85


@pytest.mark.parametrize("setting", [{"components": 0}, {"iterations": 0}, {"penalty": 0.0}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        JDA(**setting)
