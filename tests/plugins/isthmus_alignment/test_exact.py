from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from isthmus_alignment.transport import exact as module
from isthmus_alignment.transport.coupling import uniform
from isthmus_alignment.transport.exact import exact


def costs(seed: int, n: int = 30, m: int = 40):
    rng = np.random.default_rng(seed)
    return np.square(rng.normal(size=(n, 1, 3)) - rng.normal(size=(1, m, 3))).sum(2)


def test_an_exact_plan_meets_its_marginals_and_is_sparse():
    found = exact(costs(0), 10**6)
    np.testing.assert_allclose(found.plan.sum(0), uniform(40), atol=1e-15)
    np.testing.assert_allclose(found.plan.sum(1), uniform(30), atol=1e-15)
    assert found.plan.min() >= 0
    assert np.count_nonzero(found.plan) <= 69
    assert found.converged
    assert found.error < 1e-12


def test_an_exact_plan_is_as_cheap_as_a_linear_programs():
    cost = costs(1, 8, 11)
    rows = np.repeat(np.eye(8), 11, axis=1)
    columns = np.tile(np.eye(11), 8)
    lp = linprog(
        cost.ravel(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.concatenate([uniform(8), uniform(11)]),
    )
    assert (exact(cost, 10**6).plan * cost).sum() == pytest.approx(lp.fun, rel=1e-9)


def test_between_domains_of_one_size_an_exact_plan_is_an_assignment():
    cost = costs(2, 25, 25)
    found = np.zeros((25, 25))
    found[linear_sum_assignment(cost)] = 1 / 25
    np.testing.assert_allclose(exact(cost, 10**6).plan, found, atol=1e-15)


def test_an_exact_solver_that_runs_out_of_pivots_says_so():
    assert not exact(costs(3), 5).converged


def test_an_exact_plan_starts_at_potentials_and_ends_the_same_from_any():
    cost, near = costs(4, 50, 80), costs(4, 50, 80) * 1.01
    wanted = exact(cost, 10**6)
    assert not exact(cost, 100).converged
    assert exact(near, 100, wanted.potential).converged  # few pivots are left
    for start in (1e6 * np.random.default_rng(0).normal(size=80), wanted.potential + 1e9):
        found = exact(cost, 10**6, start)
        assert found.converged
        np.testing.assert_allclose(found.plan, wanted.plan, atol=1e-15)


@pytest.fixture
def listed(monkeypatch):
    """Small problems are solved as large ones are, from a short list."""
    monkeypatch.setattr(module, "FEW", 0)
    monkeypatch.setattr(module, "SAMPLE", 20)
    monkeypatch.setattr(module, "FIRST", 2)
    monkeypatch.setattr(module, "MORE", 1)


def joint(seed: int, n: int, m: int):
    """Distances and a loss that knows few classes, as JDOT has them."""
    rng = np.random.default_rng(seed)
    return (
        costs(seed, n, m) / 50
        - np.log(rng.dirichlet(np.full(5, 0.1), m) + 1e-6).T[rng.integers(0, 5, n)]
    )


PROBLEMS = {
    "square": costs(5, 90, 90),
    "wide": costs(6, 40, 300),
    "tall": costs(7, 300, 70),
    "classes": joint(8, 120, 150),
    "whole numbers": np.floor(3 * costs(9, 100, 80)),
    "negative": -costs(10, 80, 90),
    "all alike": np.ones((60, 70)),
    "nothing": np.zeros((60, 70)),
    "large": 1e6 * costs(11, 80, 70),
    "small": 1e-6 * costs(12, 80, 70),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_from_a_short_list_of_pairs_a_plan_is_as_cheap_as_from_all(name, listed):
    cost = PROBLEMS[name]
    n, m = cost.shape
    wanted = ot.emd2(uniform(n), uniform(m), cost, numItermax=10**6)
    for start in (None, np.random.default_rng(0).normal(size=m), np.full(m, 1e9)):
        found = exact(cost, 10**6, start)
        assert found.converged
        assert (found.plan * cost).sum() == pytest.approx(wanted, rel=1e-7, abs=1e-20)
        np.testing.assert_allclose(found.plan.sum(0), uniform(m), atol=1e-12)
        np.testing.assert_allclose(found.plan.sum(1), uniform(n), atol=1e-12)
        assert np.count_nonzero(found.plan) <= n + m - 1


def test_one_huge_cost_does_not_hide_what_the_others_are(listed):
    cost = costs(17, 90, 110)
    cost[3, 5], cost[:, 7] = 1e9, 1e6  # a value of 999999 for a missing one
    wanted = ot.emd(uniform(90), uniform(110), cost, numItermax=10**6)
    found = exact(cost, 10**6).plan
    others = np.delete(cost, 7, axis=1)
    assert (np.delete(found, 7, axis=1) * others).sum() == pytest.approx(
        (np.delete(wanted, 7, axis=1) * others).sum(), rel=1e-6
    )


def test_costs_of_nothing_are_solved_at_once(listed, monkeypatch):
    calls, solve = [], module._simplex
    monkeypatch.setattr(module, "_simplex", lambda *given: calls.append(1) or solve(*given))
    assert exact(np.zeros((90, 110)), 10**6).converged
    assert len(calls) == 1


def test_the_potential_of_a_short_list_proves_the_plan_optimal(listed):
    cost = joint(13, 140, 110)
    found = exact(cost, 10**6)
    dual = (cost - found.potential).min(1).mean() + found.potential.mean()
    assert (found.plan * cost).sum() == pytest.approx(dual, rel=1e-9)


def test_a_short_list_that_takes_too_many_rounds_becomes_the_whole(listed, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 1)
    cost = joint(14, 90, 110)
    wanted = ot.emd2(uniform(90), uniform(110), cost, numItermax=10**6)
    assert (exact(cost, 10**6).plan * cost).sum() == pytest.approx(wanted, rel=1e-9)


def test_pivots_are_bounded_on_a_short_list_too(listed):
    assert not exact(costs(15, 90, 110), 5).converged


def test_large_problems_are_solved_from_a_short_list(monkeypatch):
    cost, sizes = costs(16, 800, 800), []
    solve = module._simplex
    monkeypatch.setattr(
        module,
        "_simplex",
        lambda c, *a, **k: sizes.append(getattr(c, "nnz", c.size)) or solve(c, *a),
    )
    found = exact(cost, 10**6)
    i, j = linear_sum_assignment(cost)
    np.testing.assert_allclose(found.plan[i, j], 1 / 800, atol=1e-15)
    assert max(sizes) < cost.size / 3
