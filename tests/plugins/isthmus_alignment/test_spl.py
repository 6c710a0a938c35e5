from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.shallow.spl import SPL, principal, probabilities
from isthmus_baselines.source_only import SourceOnly

SCHEMA = Schema(kind="table", shape=(8,), classes=("a", "b", "none", "c"))


def draw(seed: int, n: int, shift: float) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 8)) + 4 * np.eye(8)[y] + shift * np.eye(8)[3]
    x[:, 3] += shift * (y == 0)
    codes = np.array([0, 1, 3])
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=codes[y])


def test_principal_components_keep_angles_and_give_unit_rows() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 6)), rng.normal(size=(15, 6))
    p, q = principal(a, b, 100)
    np.testing.assert_allclose(np.linalg.norm(p, axis=1), 1)
    mean = np.concatenate([a, b]).mean(0)
    centred_a, centred_b = a - mean, b - mean
    lengths = np.outer(np.linalg.norm(centred_a, axis=1), np.linalg.norm(centred_b, axis=1))
    np.testing.assert_allclose(p @ q.T, centred_a @ centred_b.T / lengths, atol=1e-12)
    assert principal(a, b, 2)[0].shape == (20, 2)
    flat = np.concatenate([a[:, :2], np.ones((20, 4))], axis=1)
    assert principal(flat, flat, 100)[0].shape == (20, 2)


def test_clusters_overrule_means_where_they_are_surer() -> None:
    """The target's clusters are turned by 30 degrees from the source's means."""
    rng = np.random.default_rng(4)
    angles = np.deg2rad([0, 120, 240])
    y = np.repeat([0, 1, 2], 40)

    def ring(turn: float, spread: float) -> Any:
        a = angles[y] + np.deg2rad(turn) + spread * rng.normal(size=120)
        return np.stack([np.cos(a), np.sin(a)], 1)

    source, target = ring(0, 0.1), ring(30, 0.05)
    p = probabilities(source, y, target)
    np.testing.assert_array_equal(p.argmax(1), y)
    alone = np.exp(
        -np.linalg.norm(
            target[:, None] - np.stack([source[y == c].mean(0) for c in range(3)]), axis=2
        )
    )
    assert p.max(1).mean() > (alone.max(1) / alone.sum(1)).mean() + 0.05


def test_few_or_equal_target_rows_are_labelled_by_means_alone() -> None:
    source, y = np.eye(3), np.array([0, 1, 2])
    p = probabilities(source, y, np.tile(source[1], (5, 1)))
    np.testing.assert_array_equal(p.argmax(1), 1)
    np.testing.assert_allclose(p.sum(1), 1)


def test_does_better_than_its_learner_alone() -> None:
    task = Task(sources=(draw(5, 200, 0),), target=draw(6, 200, 3.0))
    heldout = draw(7, 300, 3.0)
    score = {
        s.name: (s.adapt(task).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(learner=NearestNeighbours()), SPL())
    }
    assert score["spl"] > score["source-only"] + 0.02


def test_logs_how_sure_it_is() -> None:
    logged: list[float] = []
    run = Run(log=lambda step, values: logged.append(values["confidence"]))
    SPL(iterations=4).adapt(Task(sources=(draw(8, 60, 0),), target=draw(9, 60, 1.0)), run)
    assert len(logged) == 4
    assert all(1 / 3 < value <= 1 for value in logged)


@pytest.mark.parametrize("setting", [{"components": 0}, {"dimensions": 0}, {"iterations": 0}])
def test_impossible_settings_are_refused(setting: Any) -> None:
    with pytest.raises(BadInput, match="expected 1 or more"):
        SPL(**setting)
