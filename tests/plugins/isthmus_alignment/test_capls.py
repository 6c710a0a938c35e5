"""CAPLS against a direct transcription of the paper: dense graphs, SciPy, class means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg

from isthmus import BadInput, Labelled, Task
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.capls import CAPLS
from isthmus_baselines.source_only import SourceOnly

Draw = Callable[..., tuple[Task, Labelled]]


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def papers(x_s: Any, y: Any, x_t: Any, k: int, iterations: int) -> Any:
    """Return the target's labels at the end, class by class and row by row."""
    x = np.concatenate([unit(np.float64(x_s)), unit(np.float64(x_t))])
    n_s, n = len(y), len(x_s) + len(x_t)
    known = np.concatenate([y, np.full(n - n_s, -1)])
    for step in range(1, iterations + 1):
        graph = ((known[:, None] == known) & (known >= 0)).astype(float)
        degrees = np.diag(graph.sum(1))
        bottom = x.T @ (degrees - graph) @ x + np.eye(x.shape[1])
        p = linalg.eigh(x.T @ degrees @ x, bottom)[1][:, -k:]
        z = unit(x @ p - (x @ p).mean(0))
        means = unit(np.array([z[:n_s][y == c].mean(0) for c in range(y.max() + 1)]))
        near = np.exp(-np.linalg.norm(z[n_s:, None] - means, axis=2))
        likely = near / near.sum(1, keepdims=True)
        labels, sure = likely.argmax(1), likely.max(1)
        known = np.concatenate([y, np.full(n - n_s, -1)])
        for c in range(y.max() + 1):
            own = np.flatnonzero(labels == c)
            best = own[np.argsort(-sure[own])]
            known[n_s + best[: int(np.ceil(step / iterations * len(own) - 1e-9))]] = c
    return labels


@pytest.mark.parametrize("d", [12, 200])  # more columns than rows, too
@pytest.mark.parametrize("iterations", [1, 2, 6])
def test_follows_the_papers_algorithm(d: int, iterations: int, shifted: Draw) -> None:
    task, target = shifted(90, 80, d=d, classes=5, noise=5.0 if d == 200 else 2.5)
    wanted = papers(task.source.x, task.source.y, target.x, 6, iterations)
    adapted = CAPLS(dimensions=6, iterations=iterations).adapt(task)
    np.testing.assert_array_equal(adapted.predict(target.x).argmax(1), wanted)
    if iterations == 6:  # there was something to follow
        assert not np.array_equal(wanted, papers(task.source.x, task.source.y, target.x, 6, 1))


def test_does_better_than_neighbours_alone(shifted: Draw) -> None:
    task, target = shifted(200, 200, d=10, noise=2.5)
    score = {
        s.name: (s.adapt(task).predict(target.x).argmax(1) == target.y).mean()
        for s in (SourceOnly(learner=NearestNeighbours()), CAPLS())
    }
    assert score["capls"] > score["source-only"] + 0.03


def test_the_length_of_rows_does_not_matter(shifted: Draw) -> None:
    task, target = shifted()
    adapted = CAPLS().adapt(task)
    np.testing.assert_allclose(adapted.predict(7 * target.x), adapted.predict(target.x), atol=1e-5)


def test_a_class_without_source_rows_is_never_predicted(shifted: Draw) -> None:
    task, target = shifted()
    kept = task.source.take(np.flatnonzero(task.source.y != 1))
    p = CAPLS().adapt(Task(sources=(kept,), target=task.target)).predict(target.x)
    assert p[:, 1].max() == 0


@pytest.mark.parametrize("setting", [{"dimensions": 0}, {"iterations": 0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="capls: .*expected 1 or more"):
        CAPLS(**setting)
