from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from isthmus import Labelled, Run, RunFailed, Schema, Task
from isthmus.learners.linear import LinearPart
from isthmus.learners.neighbours import NearestNeighbours, NeighboursPart
from isthmus_alignment.transport.barycentric import barycentres, transport
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Coupled, Problem
from isthmus_alignment.transport.coupling import Coupling, entropic
from isthmus_alignment.transport.exact import exact

SCHEMA = Schema(kind="table", shape=(3,), classes=("a", "b"))


def draw(seed: int, n: int, shift: float = 0.0) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 3)) + 3 * y[:, None] + shift
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y)


def csr(domain: Any) -> Labelled:
    x = np.where(np.abs(domain.x) > 0.5, domain.x, 0)
    return Labelled(name="c", schema=SCHEMA, x=sparse.csr_matrix(x), y=domain.y)


def to_exact(p: Problem) -> Coupling:
    return exact(p.cost, 10**6)


def to_entropic(p: Problem) -> Coupling:
    return entropic(p.cost, 0.1)


def coupled(source: Any, target: Any, run: Run = Run(), batches: Batches = Batches()) -> Coupled:
    return Coupled(Task(sources=(source,), target=target), run, batches)


def test_rows_go_to_the_mean_of_their_partners() -> None:
    both = coupled(draw(0, 20), draw(1, 30, 1.0))
    ((_, found),) = both.solve(to_entropic)
    plan = found.plan
    moved, mass = barycentres(both, to_entropic)
    np.testing.assert_allclose(moved, plan @ both.x / plan.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(mass, 1, atol=1e-6)
    assert moved.dtype == np.float32


def test_domains_of_equal_rows_are_not_moved() -> None:
    source = draw(2, 40)
    both = coupled(source, source.take(np.arange(40)[::-1]))
    moved, _ = barycentres(both, to_exact)
    np.testing.assert_allclose(moved, both.source.x, atol=1e-6)
    assert both.diagnostics["cost"] == pytest.approx(0, abs=1e-12)


def test_a_shift_is_undone_exactly() -> None:
    source = draw(3, 40)
    both = coupled(source, draw(3, 40, shift=2.0))
    moved, _ = barycentres(both, to_exact)
    np.testing.assert_allclose(moved, both.source.x + 2, atol=1e-5)


@pytest.mark.parametrize("solve", [to_exact, to_entropic])
def test_csr_rows_stay_csr_and_do_as_dense_ones(solve: Any) -> None:
    source, target = csr(draw(4, 30)), csr(draw(5, 25, 1.0))
    moved, mass = barycentres(coupled(source, target), solve)
    assert sparse.issparse(moved)
    assert moved.format == "csr"
    dense = [Labelled(name="d", schema=SCHEMA, x=d.x.toarray(), y=d.y) for d in (source, target)]
    both = coupled(*dense)
    wanted, _ = barycentres(both, solve)
    # Each form has a canonical order of its own.
    order, other = (np.lexsort(np.round(m, 3).T) for m in (moved.toarray(), wanted))
    np.testing.assert_allclose(moved.toarray()[order], wanted[other], atol=1e-4)
    np.testing.assert_allclose(mass, 1, atol=1e-6)


def test_parts_are_averaged_and_the_user_is_told() -> None:
    said: list[str] = []
    both = coupled(draw(6, 60), draw(7, 50, 1.0), Run(say=said.append), Batches(size=20, rounds=3))
    total = np.zeros((60, 3))
    for problem, found in both.solve(to_exact):
        assert found.plan.shape == (len(problem.source), len(problem.target))
        plan = found.plan * len(problem.source)
        total[problem.source] += plan @ both.x[problem.target] / 3
    moved, mass = barycentres(both, to_exact)
    np.testing.assert_allclose(moved, total, atol=1e-5)
    np.testing.assert_allclose(mass, 1, atol=1e-6)
    assert both.diagnostics["problems"] == 9
    assert len(said) == 1
    assert "9 smaller ones" in said[0]


def test_parts_spread_more_than_the_whole() -> None:
    source, target = draw(8, 80), draw(9, 80, 1.0)
    whole = coupled(source, target)
    parts = coupled(source, target, batches=Batches(size=10))
    for both in (whole, parts):
        barycentres(both, to_exact)
    assert parts.diagnostics["cost"] > whole.diagnostics["cost"]


def test_a_solver_that_stopped_is_reported() -> None:
    said: list[str] = []
    both = coupled(draw(10, 30), draw(11, 30), Run(say=said.append))
    list(both.solve(lambda p: exact(p.cost, 3)))
    assert "stopped at its iteration limit in 1 of 1" in said[0]
    assert both.diagnostics["stopped_early"] == 1


def test_the_solver_gets_the_labels_of_its_rows() -> None:
    both = coupled(draw(12, 40), draw(13, 40, 1.0), batches=Batches(size=10, rounds=1))
    seen = []

    def solve(p: Problem) -> Coupling:
        seen.append(p.y)
        return to_exact(p)

    wanted = [both.source.y[p.source] for p, _ in both.solve(solve)]
    for a, b in zip(seen, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_learner_sees_the_moved_source() -> None:
    source, target = draw(14, 50), draw(15, 40, 4.0)
    task = Task(sources=(source,), target=target)
    learner = NearestNeighbours()
    adapted = transport(task, Run(), to_exact, learner, Batches())
    both = coupled(source, target)
    moved, _ = barycentres(both, to_exact)
    inner = learner.fit(moved, both.source.y, None, SCHEMA, Run())
    np.testing.assert_array_equal(adapted.predict(target.x), inner.predict(target.x))
    # A source row is read where it was moved to, where its own label waits.
    found = adapted.for_source().predict(both.source.x)
    np.testing.assert_array_equal(found, inner.predict(moved))
    assert adapted.diagnostics["transport"]["problems"] == 1


def test_rows_without_mass_teach_nothing() -> None:
    source, target = draw(16, 40), draw(17, 30)
    lost: list[int] = []

    def solve(p: Problem) -> Coupling:
        plan = to_exact(p).plan.copy()
        lost.extend(np.flatnonzero(p.y == 1))
        plan[p.y == 1] = 0
        return Coupling(plan=plan, converged=True, error=0.0)

    task = Task(sources=(source,), target=target)
    adapted = transport(task, Run(), solve, NearestNeighbours(), Batches(), weigh=True)
    assert lost
    np.testing.assert_array_equal(adapted.predict(target.x)[:, 1], 0)


def test_a_plan_without_mass_is_a_failure_with_a_sentence() -> None:
    def solve(p: Problem) -> Coupling:
        return Coupling(plan=np.zeros_like(p.cost), converged=True, error=0.0)

    task = Task(sources=(draw(0, 20),), target=draw(1, 20))
    with pytest.raises(RunFailed, match="no source row kept its mass"):
        transport(task, Run(), solve, None, Batches())


def test_weights_are_the_mass_that_arrived() -> None:
    source, target = draw(18, 40), draw(19, 30)

    def solve(p: Problem) -> Coupling:
        plan = to_exact(p).plan * np.where(p.y == 1, 0.25, 1)[:, None]
        return Coupling(plan=plan, converged=True, error=0.0)

    task = Task(sources=(source,), target=target)
    k = NearestNeighbours(k=40)  # all rows: predicts the weighted share of the classes
    p = transport(task, Run(), solve, k, Batches(), weigh=True).predict(target.x)[0, 1]
    ones = source.y.sum()
    assert p == pytest.approx(0.25 * ones / (0.25 * ones + 40 - ones), abs=1e-5)
    plain = transport(task, Run(), solve, k, Batches()).predict(target.x)[0, 1]
    assert plain == pytest.approx(ones / 40, abs=1e-5)


def test_the_default_learner_is_1nn_and_linear_for_values() -> None:
    source, target = draw(20, 40), draw(21, 30)
    p = transport(Task(sources=(source,), target=target), Run(), to_exact, None, Batches())
    assert isinstance(p.part, NeighboursPart)
    assert p.part.k == 1
    schema = Schema(kind="table", shape=(3,), outputs=("u",))
    values = Labelled(name="v", schema=schema, x=source.x, y=source.x[:, :1])
    unlabelled = Labelled(name="t", schema=schema, x=target.x, y=target.x[:, :1])
    task = Task(sources=(values,), target=unlabelled)
    assert isinstance(transport(task, Run(), to_exact, None, Batches()).part, LinearPart)
