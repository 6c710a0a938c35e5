"""f-MMD: the discrepancy against kernel matrices, its maximum against general solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse

from isthmus import BadInput, Labelled, Schema, Task, UnsupportedTask
from isthmus_alignment.shallow import fmmd
from isthmus_alignment.shallow.fmmd import FMMD, differences, heaviest
from isthmus_baselines.source_only import SourceOnly

Draw = Callable[..., tuple[Task, Labelled]]
SEED = np.random.default_rng


def domains(n_s: int = 30, n_t: int = 20, d: int = 6) -> tuple[Any, Any]:
    x_s, x_t = SEED(0).normal(size=(n_s, d)), SEED(1).normal(size=(n_t, d)) * np.linspace(1, 2, d)
    return (x_s + 100).astype(np.float32), (x_t + np.linspace(99, 101, d)).astype(np.float32)


def discrepancy(x_s: Any, x_t: Any, w: Any, degree: int) -> float:
    """Return MMD², from kernel matrices of columns scaled over both domains."""
    x_s, x_t = x_s.astype(np.float64), x_t.astype(np.float64)
    centre = (x_s.mean(0) + x_t.mean(0)) / 2
    scale = np.sqrt((np.square(x_s - centre).mean(0) + np.square(x_t - centre).mean(0)) / 2)
    a, b = (x_s - centre) / scale, (x_t - centre) / scale

    def k(p: Any, q: Any) -> Any:
        return ((p * w) @ q.T + (degree - 1)) ** degree

    return float(k(a, a).mean() + k(b, b).mean() - 2 * k(a, b).mean())


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_differences_are_those_of_kernel_matrices(degree: int, form: Any) -> None:
    x_s, x_t = domains()
    linear, square = differences(form(x_s), form(x_t), degree)
    for w in (np.ones(6), SEED(2).uniform(size=6)):
        found = linear @ w + (0 if square is None else w @ square @ w)
        np.testing.assert_allclose(found, discrepancy(x_s, x_t, w, degree), rtol=1e-4)


@pytest.mark.parametrize("degree", [1, 2])
def test_no_weights_have_a_larger_discrepancy(degree: int) -> None:
    """SciPy's solver, from many starts, finds no better ones and ends at the same."""
    linear, square = differences(*domains(), degree)
    p = np.zeros((6, 6)) if square is None else square
    w = heaviest(linear, square)
    assert (w >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(w), 1)
    ball = {"type": "ineq", "fun": lambda v: 1 - v @ v, "jac": lambda v: -2 * v}
    best = max(
        (
            optimize.minimize(
                lambda v: -(v @ p @ v + linear @ v),
                SEED(seed).uniform(size=6) / 3,
                jac=lambda v: -(2 * p @ v + linear),
                bounds=[(0, 1)] * 6,
                constraints=[ball],
                options={"ftol": 1e-14},
            )
            for seed in range(10)
        ),
        key=lambda result: -result.fun,
    )
    np.testing.assert_allclose(w @ p @ w + linear @ w, -best.fun, rtol=1e-7)
    np.testing.assert_allclose(w, best.x, atol=1e-3)


def test_without_a_linear_part_the_weights_are_the_leading_eigenvector() -> None:
    p = np.square(SEED(3).normal(size=(5, 5)))
    p += p.T
    values, vectors = np.linalg.eigh(p)
    np.testing.assert_allclose(heaviest(np.zeros(5), p), np.abs(vectors[:, -1]), atol=1e-9)


def broken(d: int = 20) -> tuple[Task, Labelled]:
    """The first three columns were measured in another way, two of them tell the classes best."""
    rng = SEED(4)
    schema = Schema(kind="table", shape=(d,), classes=("a", "b"))

    def draw(name: str, offset: float) -> Labelled:
        y = np.arange(200) % 2
        x = rng.normal(size=(200, d)) + 0.3 * y[:, None]
        x[:, :2] += 4 * y[:, None]
        x[:, :3] += offset
        return Labelled(name=name, schema=schema, x=x.astype(np.float32), y=y)

    target = draw("target", -6.0)
    return Task(sources=(draw("source", 0.0),), target=target), target


def test_columns_that_differ_are_dropped_and_nothing_else() -> None:
    task, target = broken()
    adapted = FMMD().adapt(task)
    assert adapted.diagnostics["fmmd"]["dropped"] == [0, 1, 2]
    elsewhere = target.x.copy()
    elsewhere[:, :3] = 1e3
    np.testing.assert_array_equal(adapted.predict(elsewhere), adapted.predict(target.x))
    score = [float((m.predict(target.x).argmax(1) == target.y).mean()) for m in (
        adapted, SourceOnly().adapt(task)
    )]  # fmt: skip
    assert score[0] > score[1] + 0.1


def test_sparse_rows_give_the_same() -> None:
    task, target = broken()
    source = Labelled(
        name="s", schema=task.schema, x=sparse.csr_matrix(task.source.x), y=task.source.y
    )
    csr = Task(sources=(source,), target=target.unlabelled())
    assert FMMD().adapt(csr).diagnostics["fmmd"]["dropped"] == [0, 1, 2]


def test_units_of_columns_do_not_matter() -> None:
    task, _ = broken()
    unit = np.geomspace(1e-3, 1e3, 20).astype(np.float32)
    source = Labelled(name="s", schema=task.schema, x=task.source.x * unit, y=task.source.y)
    from isthmus import Domain

    scaled = Domain(name="t", schema=task.schema, x=task.target.x * unit)
    a, b = (
        FMMD(degree=2).adapt(t).diagnostics["fmmd"]["weights"]
        for t in (task, Task(sources=(source,), target=scaled))
    )
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("degree", [1, 2])
def test_equal_domains_keep_all_columns(degree: Any, shifted: Draw) -> None:
    source = shifted()[0].source
    task = Task(sources=(source,), target=source.take(np.arange(60)[::-1]).unlabelled())
    assert FMMD(degree=degree).adapt(task).diagnostics["fmmd"]["dropped"] == []


@pytest.mark.parametrize("degree", [1, 2])
def test_a_difference_that_chance_explains_drops_nothing(degree: Any) -> None:
    schema = Schema(kind="table", shape=(5,), classes=("a", "b"))
    y = np.arange(50) % 2
    for seed in range(20):
        x_s, x_t = SEED(seed).normal(size=(2, 50, 5)).astype(np.float32)
        source = Labelled(name="s", schema=schema, x=x_s, y=y)
        task = Task(sources=(source,), target=Labelled(name="t", schema=schema, x=x_t, y=y))
        assert FMMD(degree=degree).adapt(task).diagnostics["fmmd"]["dropped"] == []


def test_columns_that_all_differ_alike_are_kept() -> None:
    assert FMMD(deviations=0).threshold(np.full(9, 1 / 3), 0.0) >= 1 / 3


def test_a_share_may_be_dropped_instead() -> None:
    task, _ = broken()
    assert len(FMMD(dropped=0.5).adapt(task).diagnostics["fmmd"]["dropped"]) == 10
    assert FMMD(dropped=0).adapt(task).diagnostics["fmmd"]["dropped"] == []


def test_too_many_columns_for_second_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmmd, "COLUMNS", 10)
    with pytest.raises(UnsupportedTask, match="degree=1"):
        FMMD(degree=2).adapt(broken()[0])


@pytest.mark.parametrize("setting", [{"degree": 3}, {"deviations": -1}, {"dropped": 1}])
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        FMMD(**setting)
