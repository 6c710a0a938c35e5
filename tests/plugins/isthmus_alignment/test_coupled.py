"""What holds for every strategy that couples rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from isthmus import Labelled, Run, Schema, Strategy, Task
from isthmus.testing.domains import table_values
from isthmus_alignment.transport.barycentric import barycentres
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.class_reg import OTClassReg
from isthmus_alignment.transport.coupled import Coupled
from isthmus_alignment.transport.coupling import entropic
from isthmus_alignment.transport.emd import OTEMD
from isthmus_alignment.transport.entropic import OTSinkhorn
from isthmus_alignment.transport.jcpot import JCPOT
from isthmus_alignment.transport.jdot import JDOT
from isthmus_alignment.transport.label_propagation import OTLabelPropagation
from isthmus_alignment.transport.laplace import OTLaplace
from isthmus_alignment.transport.linear_monge import LinearMonge
from isthmus_alignment.transport.unbalanced import OTUnbalanced

POOLING: list[Strategy] = [
    OTEMD(),
    OTSinkhorn(),
    OTClassReg(),
    OTClassReg(norm="l1l2"),
    OTLaplace(),
    OTUnbalanced(),
    OTLabelPropagation(),
    JDOT(iterations=3),
    LinearMonge(),
]
EVERY: list[Strategy] = [*POOLING, JCPOT(), JCPOT(moves="rows"), OTLaplace(reg=0.0, iterations=5)]
OF_VALUES: list[Strategy] = [s for s in EVERY if "values" in s.needs.outputs]
SCHEMA = Schema(kind="table", shape=(5,), classes=("a", "b", "c"))


def named(strategy: Strategy) -> str:
    return strategy.name + str(getattr(strategy, "norm", "")) + str(getattr(strategy, "moves", ""))


def draw(seed: int, n: int, shift: float = 0.0) -> Labelled:
    """Rows of which about half the entries are zero."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.normal(size=(n, 5)) + 3 * np.eye(5)[y] + shift
    x = np.where(np.abs(x) > 0.6, x, 0).astype(np.float32)
    return Labelled(name=f"d{seed}", schema=SCHEMA, x=x, y=y)


def thin(d: Labelled) -> Labelled:
    return Labelled(name=d.name, schema=d.schema, x=sparse.csr_matrix(d.x), y=d.y)


def mixed(source: Labelled, target: Labelled) -> Coupled:
    return Coupled(Task(sources=(source,), target=target), Run(), Batches())


@pytest.mark.parametrize("strategy", POOLING, ids=named)
def test_several_sources_do_as_one_of_all_their_rows(strategy: Strategy) -> None:
    a, b, target = draw(0, 45), draw(1, 36, 0.3), draw(2, 50, 0.7)
    x, y = np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y])
    pooled = Labelled(name="ab", schema=SCHEMA, x=x, y=y)
    got = strategy.adapt(Task(sources=(a, b), target=target)).predict(target.x)
    other = strategy.adapt(Task(sources=(b, a), target=target)).predict(target.x)
    wanted = strategy.adapt(Task(sources=(pooled,), target=target)).predict(target.x)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(other, wanted, atol=1e-5)


@pytest.mark.parametrize("strategy", EVERY, ids=named)
def test_csr_rows_are_taken_and_do_about_as_dense_ones(strategy: Strategy) -> None:
    """CSR columns are not centred by learners, so that predictions need not be equal."""
    sources, target = (draw(3, 60), draw(4, 45, 0.2)), draw(5, 60, 0.4)
    task = Task(sources=sources, target=target)
    csr = Task(sources=tuple(map(thin, sources)), target=thin(target))
    p = strategy.adapt(task).predict(target.x).argmax(1)
    q = strategy.adapt(csr).predict(thin(target).x).argmax(1)
    assert (p == q).mean() > 0.9
    assert (q == target.y).mean() > 0.8


@pytest.mark.parametrize("strategy", OF_VALUES, ids=named)
def test_values_are_predicted_and_in_csr_rows_too(strategy: Strategy) -> None:
    task, heldout = table_values(0)
    task = Task(sources=task.sources, target=task.target)

    def r2(predicted: Any) -> float:
        rest = np.square(heldout.y - predicted).sum(0)
        return float((1 - rest / np.square(heldout.y - heldout.y.mean(0)).sum(0)).mean())

    assert r2(strategy.adapt(task).predict(heldout.x)) > 0.9
    unlabelled = Labelled(name="t", schema=heldout.schema, x=task.target.x, y=heldout.y)
    csr = Task(sources=(thin(task.source),), target=thin(unlabelled))
    assert r2(strategy.adapt(csr).predict(thin(heldout).x)) > 0.85


@pytest.mark.parametrize("form", [lambda d: d, thin], ids=["dense", "csr"])
def test_equal_domains_stay_where_means_are_debiased(form: Any) -> None:
    source = form(draw(6, 40))
    both = mixed(source, source)
    stay, _ = barycentres(both, lambda p: entropic(p.cost, 0.3), debias=True)
    shrunk, _ = barycentres(both, lambda p: entropic(p.cost, 0.3))
    x = both.source.x
    assert abs(stay - x).max() < 1e-3
    assert abs(shrunk - x).max() > 0.3


def test_a_shift_is_undone_where_means_are_debiased() -> None:
    """The entropy weighs the same in the source as between domains, however far these are."""
    source = draw(7, 40)
    target = Labelled(name="t", schema=SCHEMA, x=source.x + 3, y=source.y)
    both = mixed(source, target)
    moved, mass = barycentres(both, lambda p: entropic(p.cost, 0.1, tolerance=1e-10), debias=True)
    np.testing.assert_allclose(moved, both.source.x + 3, atol=1e-3)
    np.testing.assert_allclose(mass, 1, atol=1e-6)


def test_a_problem_says_of_which_source_its_rows_are() -> None:
    a, b, target = draw(8, 30), draw(9, 24), draw(10, 20)
    coupled = Coupled(Task(sources=(a, b), target=target), Run(), Batches())
    ((problem, _),) = coupled.solve(lambda p: entropic(p.cost, 0.3))
    for k, d in enumerate((a, b)):
        here = problem.x_source[problem.origin == k]
        np.testing.assert_array_equal(np.unique(here, axis=0), np.unique(d.x, axis=0))
    np.testing.assert_allclose(
        np.square((problem.x_source[:, None] - problem.x_target) / problem.unit).sum(2),
        problem.cost,
        atol=1e-5,
    )
    assert np.median(problem.cost) == pytest.approx(1)
