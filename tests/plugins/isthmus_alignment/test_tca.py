"""TCA against the dense generalised eigenproblem of the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial.distance import cdist, pdist

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.linear import Linear
from isthmus_alignment.shallow import features
from isthmus_alignment.shallow.tca import TCA

Draw = Callable[..., tuple[Task, Labelled]]


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def kernel(a: Any, b: Any, name: str) -> Any:
    if name == "linear":
        return a @ b.T
    return np.exp(-cdist(a, b, "sqeuclidean") / (2 * np.median(pdist(b)) ** 2))


def papers(k: Any, n_source: int, mu: float, m: int) -> Any:
    """Return the weights W (n, m): the leading eigenvectors of (K L K + mu I)^-1 K H K."""
    n = len(k)
    e = np.repeat([1 / n_source, -1 / (n - n_source)], [n_source, n - n_source])
    ell = np.outer(e, e) / (e @ e)  # of Frobenius norm 1
    h = np.eye(n) - 1 / n
    values, vectors = linalg.eig(np.linalg.solve(k @ ell @ k + mu * np.eye(n), k @ h @ k))
    return np.real(vectors[:, np.argsort(-np.real(values))[:m]])


@pytest.mark.parametrize("name", ["linear", "rbf"])
@pytest.mark.parametrize("mu", [0.01, 1.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_embeds_new_rows_as_the_paper_does(
    name: str, mu: float, scaled: bool, shifted: Draw
) -> None:
    """Up to the scale of each component, which an eigenvector does not have."""
    task, target = shifted()
    strategy = TCA(
        kernel=name,  # type: ignore[arg-type]
        penalty=mu, components=4, normalise=False, unit=False
    )  # fmt: skip
    x = np.concatenate([task.source.x, target.x]).astype(np.float64)
    new = shifted(seed=3)[1].x
    w = papers(kernel(x, x, name), len(task.source), mu, 4)
    wanted = kernel(new.astype(np.float64), x, name) @ w
    found, _ = strategy.adapt(task).observe(new)
    size = [np.linalg.norm(z, axis=0) for z in (found, wanted)]
    cosine = (found * wanted).sum(0) / (size[0] * size[1])
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-5)


def test_the_primal_is_the_linear_kernel_with_a_penalty_on_directions(shifted: Draw) -> None:
    task, target = shifted()
    x = np.concatenate([task.source.x, target.x]).astype(np.float64)
    delta = task.source.x.mean(0, dtype=np.float64) - target.x.mean(0, dtype=np.float64)
    m = np.outer(delta, delta) / (1 / len(task.source) + 1 / len(target))
    centred = x - x.mean(0)
    _, wanted = linalg.eigh(centred.T @ centred, m + 0.5 * np.eye(8), subset_by_index=[5, 7])
    strategy = TCA(penalty=0.5, components=3, normalise=False, unit=False)
    found, _ = strategy.adapt(task).observe(target.x)
    np.testing.assert_allclose(np.abs(found), np.abs(target.x @ wanted[:, ::-1]), atol=1e-3)


def test_rows_have_length_one_before_and_after(shifted: Draw) -> None:
    """So the length of an instance, once z-scored, does not matter."""
    task, target = shifted()
    adapted = TCA(components=3).adapt(task)
    z, _ = adapted.observe(target.x)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    mean = target.x.mean(0)
    twice, _ = adapted.observe(mean + 2 * (target.x - mean))
    np.testing.assert_allclose(twice, z, atol=1e-4)


def test_means_agree_when_the_penalty_is_small(shifted: Draw) -> None:
    task, target = shifted(200, 200)

    def gap(penalty: float) -> float:
        strategy = TCA(penalty=penalty, components=3, normalise=False, unit=False)
        adapted = strategy.adapt(task)
        z = [adapted.observe(d.x)[0] for d in (task.source, target)]
        return float(np.abs((z[0].mean(0) - z[1].mean(0)) / z[0].std(0)).max())

    assert gap(1e-4) < 0.01
    assert gap(1e6) > 0.3


def test_landmarks_approach_the_exact_components(
    shifted: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, target = shifted(300, 300, d=3)
    strategy = TCA(kernel="rbf", components=3, unit=False)
    exact, _ = strategy.adapt(task).observe(target.x)
    monkeypatch.setattr(features, "ROWS", 599)
    monkeypatch.setattr(features, "LANDMARKS", 200)
    said: list[str] = []
    found, _ = strategy.adapt(task, Run(say=said.append)).observe(target.x)
    assert "landmarks" in said[0]
    assert linalg.subspace_angles(exact, found).max() < 0.1


def test_many_rows_need_no_square_of_them() -> None:
    """12,000 x 12,000 kernel values alone would be 1.2 GB."""
    import tracemalloc

    rng = np.random.default_rng(0)
    schema = Schema(kind="table", shape=(5,), classes=("a", "b"))
    y = np.arange(6000) % 2
    x = rng.normal(size=(6000, 5)).astype(np.float32) + 3 * y[:, None]
    source = Labelled(name="s", schema=schema, x=x, y=y)
    tracemalloc.start()
    adapted = TCA(kernel="rbf", learner=Linear()).adapt(Task(sources=(source,), target=source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6
    assert (adapted.predict(x).argmax(1) == y).mean() > 0.95


def test_values_are_predicted_by_ridge_on_components_of_any_length() -> None:
    rng = np.random.default_rng(1)
    schema = Schema(kind="table", shape=(4,), outputs=("u",))
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x @ np.array([1.0, -2, 0.5, 3]))[:, None].astype(np.float32)
    source = Labelled(name="s", schema=schema, x=x, y=y)
    adapted = TCA().adapt(Task(sources=(source,), target=source))
    assert np.abs(adapted.predict(x) - y).max() < 0.2


@pytest.mark.parametrize("setting", [{"components": 0}, {"penalty": 0.0}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        TCA(**setting)
