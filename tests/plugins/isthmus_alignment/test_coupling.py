from __future__ import annotations

import numpy as np
import ot
import pytest

from isthmus import RunFailed
from isthmus_alignment.transport.coupling import Stride, entropic, uniform
from isthmus_alignment.transport.exact import exact


def costs(seed: int, n: int = 30, m: int = 40):
    rng = np.random.default_rng(seed)
    return np.square(rng.normal(size=(n, 1, 3)) - rng.normal(size=(1, m, 3))).sum(2)


def kl(p, q):
    return (np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0) - p + q).sum()


@pytest.mark.parametrize("reg", [10, 1, 0.1])
def test_an_entropic_plan_is_pots(reg):
    cost = costs(4)
    found = entropic(cost, reg, iterations=10**5, tolerance=1e-12)
    wanted = ot.sinkhorn(
        uniform(30), uniform(40), cost, reg, "sinkhorn_log", numItermax=10**5, stopThr=1e-13
    )
    assert found.converged
    np.testing.assert_allclose(found.plan, wanted, atol=1e-9)


@pytest.mark.parametrize("reg", [1, 0.1, 0.03])
def test_the_divergence_is_that_of_the_plan(reg):
    found = entropic(costs(11), reg)
    assert found.divergence == pytest.approx(kl(found.plan, 1 / 1200), rel=1e-6)


@pytest.mark.parametrize("reg", [1, 0.1, 0.03])
def test_an_entropic_plan_meets_its_marginals(reg):
    found = entropic(costs(5), reg, iterations=10**5, tolerance=1e-6)
    assert found.converged
    np.testing.assert_allclose(found.plan.sum(1), uniform(30), rtol=1e-12)
    off = np.abs(found.plan.sum(0) - uniform(40)).sum()
    assert off <= 1e-6 * (1 + 1e-3)
    assert found.error == pytest.approx(off, rel=1e-2)


def test_what_it_says_of_the_columns_is_what_they_are():
    for iterations in (1, 2, 7, 15):
        found = entropic(costs(5), 0.3, iterations=iterations)
        off = np.abs(found.plan.sum(0) - uniform(40)).sum()
        assert 1e-6 < off == pytest.approx(found.error, rel=0.2)
        assert not found.converged


def test_a_strong_entropy_makes_a_product_of_the_marginals():
    found = entropic(costs(6), 1e6)
    np.testing.assert_allclose(found.plan, 1 / 1200, rtol=1e-4)


def test_a_weak_entropy_approaches_the_exact_plan():
    cost = costs(7, 12, 12)
    got = entropic(cost, 1e-3 * np.median(cost), iterations=10**5)
    np.testing.assert_allclose(got.plan, exact(cost, 10**6).plan, atol=1e-3 / 12)


def test_a_tiny_entropy_stays_finite():
    """exp(-cost / reg) alone would underflow to a plan of zeros and divide by it."""
    found = entropic(costs(8), 1e-5, iterations=200)
    assert np.isfinite(found.plan).all()
    assert np.isfinite(found.potential).all()
    np.testing.assert_allclose(found.plan.sum(1), uniform(30), rtol=1e-9)
    assert not found.converged
    assert found.error > 1e-6


def test_a_start_near_the_end_saves_iterations():
    cost = costs(9)
    end = entropic(cost, 0.05, iterations=10**5, tolerance=1e-12)
    assert not entropic(cost, 0.05, iterations=3).converged
    again = entropic(cost, 0.05, iterations=5, tolerance=1e-9, start=end.potential)
    assert again.converged
    assert not entropic(cost, 0.05, iterations=50, tolerance=1e-4).converged
    np.testing.assert_allclose(again.plan, end.plan, atol=1e-9)


@pytest.mark.parametrize(("reg", "relax"), [(0.5, 1.0), (0.05, 0.2), (0.01, 3.0)])
def test_a_relaxed_plan_is_pots(reg, relax):
    cost = costs(10)
    found = entropic(cost, reg, relax=relax, iterations=10**5, tolerance=1e-12)
    wanted = ot.unbalanced.sinkhorn_knopp_unbalanced(
        uniform(30), uniform(40), cost, reg, relax, "kl", numItermax=10**5, stopThr=1e-14
    )
    assert found.converged
    np.testing.assert_allclose(found.plan, wanted, atol=1e-9)


def test_a_relaxed_plan_is_the_minimum_of_its_objective():
    cost, reg, relax = costs(11, 6, 7), 0.3, 0.8
    a, b = uniform(6), uniform(7)

    def value(p):
        ends = kl(p.sum(1), a) + kl(p.sum(0), b)
        return (p * cost).sum() + reg * kl(p, np.outer(a, b)) + relax * ends

    plan = entropic(cost, reg, relax=relax, tolerance=1e-13).plan
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert value(plan) < value(plan * (1 + 1e-3 * rng.normal(size=plan.shape)))


def test_far_rows_lose_their_mass_when_marginals_are_relaxed():
    cost = np.array([[0.0, 0.1], [0.1, 0.0], [50.0, 50.0]])
    mass = entropic(cost, 0.1, relax=1.0, tolerance=1e-9).plan.sum(1)
    assert mass[2] < 1e-6 * mass[0]
    with np.errstate(
        divide="raise", over="raise", invalid="raise"
    ):  # exp(-50,000 / reg) is 0, and no logarithm is taken of it
        lost = entropic(1000 * cost, 0.1, relax=1.0, tolerance=1e-9)
    assert lost.converged
    np.testing.assert_array_equal(lost.plan[2], 0)
    np.testing.assert_allclose(lost.plan[:2].sum(), 2 / 3, rtol=0.5)
    met = entropic(cost, 0.1, relax=1e6, iterations=10**4, tolerance=1e-9).plan.sum(1)
    np.testing.assert_allclose(met, 1 / 3, rtol=1e-3)


def test_duplicates_and_equal_costs_are_no_trouble():
    for cost in (np.zeros((3, 5)), np.ones((1, 4)), np.ones((4, 1))):
        n, m = cost.shape
        np.testing.assert_allclose(entropic(cost, 0.1).plan, 1 / (n * m), rtol=1e-12)
        np.testing.assert_allclose(exact(cost, 1000).plan.sum(1), 1 / n, rtol=1e-12)


def test_the_cost_is_left_alone():
    cost = costs(12)
    kept = cost.copy()
    entropic(cost, 0.1, start=np.ones(40)), exact(cost, 1000)
    np.testing.assert_array_equal(cost, kept)


def test_over_relaxation_saves_steps_and_changes_no_plan(monkeypatch):
    """Where plain iterations need thousands; the same optimum as theirs, and row sums exact."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 20)), rng.normal(size=(60, 20)) @ np.diag(rng.uniform(0.5, 1.5, 20))
    cost = np.square(x[:, None] - y).sum(2)
    cost /= np.median(cost)
    quick = entropic(cost, 0.02, iterations=300, tolerance=1e-7)
    assert quick.converged
    np.testing.assert_allclose(quick.plan.sum(1), uniform(60), rtol=1e-12)
    monkeypatch.setattr(Stride, "after", lambda self, error: 1.0)
    plain = entropic(cost, 0.02, iterations=50_000, tolerance=1e-7)
    assert plain.converged
    np.testing.assert_allclose(quick.plan, plain.plan, atol=1e-7)
    assert not entropic(cost, 0.02, iterations=600, tolerance=1e-7).converged


def test_omega_follows_the_rate_of_plain_errors():
    stride = Stride()
    for step in range(2 * Stride.EVERY):
        omega = stride.after(0.9**step)
    assert omega == pytest.approx(2 / (1 + 0.1**0.5))
    for step in range(2 * Stride.EVERY):  # errors that grow: plain steps again
        omega = stride.after(1.1**step)
    assert omega == 1


def test_an_entropy_too_small_for_relaxed_marginals_is_said_so():
    far = costs(9, 60, 60)
    far[:20] += 1e4
    with pytest.raises(RunFailed, match="entropy 1.0e-03 overflowed"):
        entropic(far, 1e-3, relax=1.0)
