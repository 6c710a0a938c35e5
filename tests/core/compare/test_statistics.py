"""Statistics of a study against independent routes: SciPy, brute force, tables, simulation."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from isthmus.compare.cell import Cell
from isthmus.compare.ranking import critical_difference
from isthmus.compare.resampling import bootstrap_interval, holm, sign_flip_p, wilcoxon_p
from isthmus.compare.statistics import gains, grid, pareto, ranking, tasks_needed
from isthmus.compare.summary import summarise

FLOOR = "source-only"


def study(scores, **more):
    """Return cells of {strategy: [task][seed] of scores}; None is a failed cell."""
    return [
        Cell(task=f"t{t}", strategy=name, seed=r, status="failed", reason="x")
        if value is None
        else Cell(task=f"t{t}", strategy=name, seed=r, scores={"a": value}, **more)
        for name, tasks in scores.items()
        for t, seeds in enumerate(tasks)
        for r, value in enumerate(seeds)
    ]


def gains_of(scores, **options):
    return {g.strategy: g for g in gains(grid(study(scores), "a"), **options)}


def table(rng, strategies=4, tasks=8, seeds=3):
    names = [FLOOR, *(f"s{i}" for i in range(1, strategies))]
    return {n: rng.normal(0.3 * i, 1, (tasks, seeds)).tolist() for i, n in enumerate(names)}


def steady(gain, tasks):
    """Return a floor, and a strategy that gains on every task."""
    base = [[0.1 * t] for t in range(tasks)]
    return {FLOOR: base, "x": [[b + gain * (1 + t / 9)] for t, (b,) in enumerate(base)]}


# tests and intervals


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_sign_flips_are_counted_as_by_brute_force(n):
    rng = np.random.default_rng(n)
    for d in (rng.normal(0.5, 1, n), rng.integers(-2, 3, n).astype(float), np.full(n, 0.1)):
        flips = [abs(np.dot(s, d)) for s in itertools.product((-1, 1), repeat=n)]
        assert sign_flip_p(d) == np.mean([f >= abs(d.sum()) - 1e-9 for f in flips])


def test_many_tasks_are_drawn_close_to_the_exact_p():
    d = np.random.default_rng(1).normal(0.2, 1, 18)
    bits = (np.arange(2**18)[:, None] >> np.arange(18)) & 1
    exact = np.mean(np.abs((2 * bits - 1) @ d) >= abs(d.sum()) - 1e-9)
    assert 0.01 < exact < 0.5
    assert sign_flip_p(d) == pytest.approx(exact, abs=0.015)
    assert sign_flip_p(d) == sign_flip_p(d[::-1])
    assert 0 < sign_flip_p(np.ones(40)) < 2e-4


@pytest.mark.parametrize("n", [3, 6, 10, 16])
def test_wilcoxon_is_that_of_scipy(n):
    d = np.random.default_rng(n).normal(0.3, 1, n)
    assert wilcoxon_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    tied = np.array([1, 1, -1, 2, 2, -3, 0, 4.0])
    exact = stats.PermutationMethod(n_resamples=10**5)
    assert wilcoxon_p(tied) == pytest.approx(stats.wilcoxon(tied[tied != 0], method=exact).pvalue)
    # differences that differ by rounding are ties as well
    assert wilcoxon_p(tied * 0.1 + 1e-14 * np.arange(8) * (tied != 0)) == wilcoxon_p(tied)


def test_wilcoxon_of_many_tasks_is_drawn():
    d = np.random.default_rng(1).normal(0.3, 1, 40)
    assert wilcoxon_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, abs=0.015)


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("n", [8, 20])
def test_the_interval_covers_the_mean_about_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(400):
        low, high = bootstrap_interval(rng.normal(0.2, 1, n))
        hits += low <= 0.2 <= high
    assert 0.92 <= hits / 400 <= 0.985


def test_the_interval_of_many_normal_differences_is_that_of_student():
    d = np.random.default_rng(0).normal(0, 1, 60)
    expected = stats.t.interval(0.95, 59, d.mean(), stats.sem(d))
    assert bootstrap_interval(d) == pytest.approx(expected, abs=0.02)
    assert bootstrap_interval(d[:1]) is None
    low, high = bootstrap_interval(np.array([1.0, 3.0]))
    assert (low, high) == (1, 3)


# gains


def test_gains_are_paired_by_task_and_seed_and_nothing_is_imputed():
    g = gains_of(
        {
            FLOOR: [[0.5, 0.6], [0.7, None], [None, None]],
            "x": [[0.6, 0.9], [0.6, 0.1], [0.9, 0.9]],
            "y": [[0.5, None], [0.8, 0.8], [None, 0.2]],
        }
    )
    assert g["x"].mean == pytest.approx(np.mean([0.75, 0.35, 0.9]))
    assert g["x"].gain == pytest.approx(np.mean([(0.1 + 0.3) / 2, -0.1]))
    assert (g["x"].tasks, g["x"].wins, g["x"].ties, g["x"].losses) == (2, 1, 0, 1)
    assert (g["x"].negative_transfer, g["y"].negative_transfer) == (0.5, 0)
    assert g["x"].spread == pytest.approx(np.mean([0.3, 0.5, 0.0]) / np.sqrt(2))
    assert (g["y"].gain, g["y"].ties, g["y"].wins) == (pytest.approx(0.05), 1, 1)
    assert (g[FLOOR].missing, g["x"].missing, g["y"].missing) == (3, 0, 2)
    assert (g[FLOOR].gain, g[FLOOR].ties, g[FLOOR].p) == (0, 2, None)


def test_differences_that_cancel_up_to_rounding_are_a_tie():
    assert (0.2 - 0.1) + (0.2 - 0.3) != 0
    g = gains_of({FLOOR: [[0.1, 0.3]], "x": [[0.2, 0.2]]})["x"]
    assert (g.ties, g.gain, g.negative_transfer) == (1, 0, 0)


def test_the_order_of_the_cells_changes_nothing():
    rng = np.random.default_rng(0)
    cells = study(table(rng, tasks=20))
    cells[7] = replace(cells[7], status="failed", scores={})
    shuffled = random.Random(0).sample(cells, len(cells))
    a, b = ({g.strategy: g for g in gains(grid(c, "a"))} for c in (cells, shuffled))
    for name in a:
        for key, value in asdict(a[name]).items():
            assert getattr(b[name], key) == (
                pytest.approx(value) if isinstance(value, float) else value
            )
    a, b = (ranking(grid(c, "a")) for c in (cells, shuffled))
    assert (a.strategies, a.ranks, a.p, a.cliques) == (b.strategies, b.ranks, b.p, b.cliques)
    assert set(a.tasks) == set(b.tasks)


def test_units_of_the_score_do_not_matter():
    scores = table(np.random.default_rng(1))
    before = gains_of(scores)
    for factor, shift in ((1, 5), (1000, 0), (0.01, -3)):
        after = gains_of({k: (np.array(v) * factor + shift).tolist() for k, v in scores.items()})
        for name, g in before.items():
            for key in ("gain", "low", "high"):
                assert getattr(after[name], key) == pytest.approx(getattr(g, key) * factor)
            assert after[name].mean == pytest.approx(g.mean * factor + shift)
            assert after[name].p_holm == g.p_holm
            assert after[name].wins == g.wins


def test_lower_is_better_turns_gains_and_ranks_but_not_means():
    scores = table(np.random.default_rng(2))
    risks = {k: (-np.array(v)).tolist() for k, v in scores.items()}
    up, down = gains_of(scores), gains_of(risks, higher=False)
    for name, g in up.items():
        assert down[name].gain == pytest.approx(g.gain)
        assert (down[name].wins, down[name].claim) == (g.wins, g.claim)
        assert down[name].mean == pytest.approx(-g.mean)
    a, b = ranking(grid(study(scores), "a")), ranking(grid(study(risks), "a"), higher=False)
    assert a == b
    assert a.strategies != ranking(grid(study(risks), "a")).strategies


def test_fewer_than_six_tasks_claim_nothing_however_many_seeds():
    g = gains_of({FLOOR: [[0.1] * 50] * 5, "x": [[0.9] * 50] * 5})["x"]
    assert g.claim == "too few tasks"
    assert g.p == 2 / 2**5
    assert g.p_holm is None
    six = steady(0.1, 6)
    assert gains_of(six)["x"].claim == "better"
    assert gains_of(six)["x"].p_holm == 2 / 2**6
    assert gains_of(six, higher=False)["x"].claim == "worse"


def test_the_floor_and_oracles_are_no_part_of_the_family():
    scores = steady(0.1, 6)
    scores["target-only"] = scores["x"]
    assert gains_of(scores)["x"].p_holm == 2 * 2 / 2**6
    assert gains_of(scores)["x"].claim == "not shown"
    g = gains_of(scores, oracles=["target-only"])
    assert (g["x"].p_holm, g["x"].claim) == (2 / 2**6, "better")
    assert (g["target-only"].p_holm, g["target-only"].claim) == (None, "better")
    assert (g[FLOOR].p_holm, g[FLOOR].claim) == (None, "not shown")


@pytest.mark.parametrize("strategies", [1, 2, 5, 13])
def test_as_many_tasks_as_needed_suffice_and_one_less_does_not(strategies):
    for less, claim in ((0, "better"), (1, "too few tasks" if strategies == 1 else "not shown")):
        scores = steady(0.1, tasks_needed(strategies) - less)
        scores |= {f"x{i}": scores["x"] for i in range(strategies - 1)}
        assert {g.claim for k, g in gains_of(scores).items() if k != FLOOR} == {claim}


def test_without_an_effect_few_studies_claim_one():
    rng = np.random.default_rng(3)
    claims = 0
    for _ in range(200):
        scores = {n: rng.normal(0, 1, (9, 1)).tolist() for n in (FLOOR, "x", "y", "z")}
        claims += any(g.claim in ("better", "worse") for g in gains_of(scores).values())
    assert claims / 200 <= 0.09


NOTHING = {
    "no cells": {},
    "no floor": {"x": [[0.5, 0.6]] * 7, "y": [[0.4, 0.6]] * 7},
    "one strategy": {FLOOR: [[0.5]] * 7},
    "one task": {FLOOR: [[0.5]], "x": [[0.6]]},
    "all failed": {FLOOR: [[None]] * 7, "x": [[None]] * 7},
    "floor failed": {FLOOR: [[None]] * 7, "x": [[0.4]] * 7},
    "no gain": {FLOOR: [[0.5]] * 7, "x": [[0.5]] * 7},
    "no gain from zero": {FLOOR: [[0.0]] * 17, "x": [[0.0]] * 17},
}


@pytest.mark.parametrize("case", NOTHING)
def test_where_there_is_nothing_to_say_there_is_none_and_no_nan(case):
    cells = study(NOTHING[case])
    out = gains(grid(cells, "a"))
    ranked = ranking(grid(cells, "a"))
    json.dumps(
        [summarise(cells), [asdict(g) for g in out], ranked and asdict(ranked)], allow_nan=False
    )
    assert {g.claim for g in out} <= {"too few tasks", "not shown"}
    if case in ("no floor", "all failed", "floor failed"):
        assert all(g.gain is None and g.negative_transfer is None for g in out)
    if case.startswith("no gain"):
        x = out[1]
        assert (x.gain, x.p, x.p_wilcoxon, x.low, x.claim) == (0, 1, 1, 0, "not shown")
        assert (ranked.p, ranked.ranks) == (1, (1.5, 1.5))
    if case in ("no cells", "one strategy", "all failed"):
        assert ranked is None


def test_only_cells_that_ended_well_have_a_score():
    cells = study({FLOOR: [[0.5]], "x": [[0.6]], "y": [[float("inf")]]}, seconds=2.0)
    cells[1] = replace(cells[1], status="timeout", seconds=9.0)
    g = grid([*cells, Cell(task="t1", strategy=FLOOR, seed=3, scores={"b": 1.0})], "a")
    assert (g.strategies, g.tasks, g.seeds) == ((FLOOR, "x", "y"), ("t0", "t1"), (0, 3))
    assert np.argwhere(~np.isnan(g.values)).tolist() == [[0, 0, 0]]
    assert np.argwhere(g.planned).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0], [2, 0, 0]]
    assert np.argwhere(g.missing).tolist() == [[0, 1, 1], [1, 0, 0], [2, 0, 0]]
    assert np.nansum(g.seconds, (1, 2)).tolist() == [2, 9, 2]
    assert [x.seconds for x in gains(g)] == [2, None, None]


# ranks


@pytest.mark.parametrize("strategies", [3, 4, 6])
def test_friedman_is_that_of_scipy_with_and_without_ties(strategies):
    rng = np.random.default_rng(strategies)
    for scores in (rng.normal(size=(strategies, 9)), rng.integers(0, 4, (strategies, 9)) * 0.1):
        cells = study({f"s{i}": x[:, None].tolist() for i, x in enumerate(scores)})
        r = ranking(grid(cells, "a"))
        assert r.p == pytest.approx(stats.friedmanchisquare(*scores).pvalue)
        assert sum(r.ranks) == pytest.approx(strategies * (strategies + 1) / 2)


@pytest.mark.parametrize(
    ("strategies", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_the_table(strategies, q):
    """Demšar 2006, table 5 (a)."""
    for tasks in (6, 14):
        expected = q * (strategies * (strategies + 1) / (6 * tasks)) ** 0.5
        assert critical_difference(tasks, strategies) == pytest.approx(expected, rel=4e-4)


def test_ranks_by_hand():
    scores = {"a": [[0.9], [0.9]], "b": [[0.8], [0.9]], "c": [[0.7], [0.1]]}
    r = ranking(grid(study(scores), "a"))
    assert (r.strategies, r.ranks) == (("a", "b", "c"), (1.25, 1.75, 3.0))
    assert (r.enough, r.cliques) == (False, ((0, 2),))
    assert ranking(grid(study(scores), "a"), leave_out=["a", "c"]) is None
    assert ranking(grid(study(scores), "a"), leave_out=["a"]).strategies == ("b", "c")
    assert (0.1 + 0.2) / 2 != 0.15  # and yet they share their rank, and the alphabet decides
    r = ranking(grid(study({"b": [[0.1, 0.2]], "a": [[0.15, 0.15]]}), "a"))
    assert (r.strategies, r.ranks) == (("a", "b"), (1.5, 1.5))
    assert ranking(grid(study(steady(0.1, 9)), "a")).cliques == ()


def test_cliques_are_maximal_groups_closer_than_the_critical_difference():
    orders = ["abcd", "abcd", "abdc", "abcd", "bacd", "abcd", "abdc", "bacd", "abcd", "abcd"]
    scores = {s: [[float(-o.index(s))] for o in orders] for s in "abcd"}
    r = ranking(grid(study(scores), "a"))
    assert r.ranks == pytest.approx((1.2, 1.8, 3.2, 3.8))
    assert r.critical_difference == pytest.approx(1.483, abs=1e-3)
    assert r.cliques == ((0, 1), (1, 2), (2, 3))
    assert ranking(grid(study({k: v[:5] for k, v in scores.items()}), "a")).cliques == ((0, 3),)
    for seed in range(10):
        r = ranking(grid(study(table(np.random.default_rng(seed), 6, 12, 1)), "a"))
        for i, j in itertools.combinations(range(6), 2):
            together = any(first <= i and j <= last for first, last in r.cliques)
            assert together == (r.p > 0.05 or r.ranks[j] - r.ranks[i] < r.critical_difference)
    noise = {s: np.random.default_rng(ord(s)).normal(size=(8, 1)).tolist() for s in "abcd"}
    r = ranking(grid(study(noise), "a"))
    assert (r.p > 0.05, r.enough, r.cliques) == (True, True, ((0, 3),))


def test_without_a_difference_at_all_no_pair_is_said_to_differ():
    x = np.random.default_rng(24).normal(size=(12, 10))
    x[:, 0], x[:, -1] = x[:, 0] + 1, x[:, -1] - 1
    r = ranking(grid(study({f"s{i}": v[:, None].tolist() for i, v in enumerate(x.T)}), "a"))
    assert r.p > 0.05
    assert r.ranks[-1] - r.ranks[0] > r.critical_difference
    assert r.cliques == ((0, 9),)


def test_what_missing_cells_cost_the_ranking_is_told():
    scores = {s: np.random.default_rng(ord(s)).normal(size=(8, 2)).tolist() for s in "abcde"}
    scores["e"][:5] = [[None, None]] * 5  # refused on most tasks: the strategy goes
    for s in "abcd":
        scores[s][1] = [None, None]  # the task could not be loaded: the task goes
    scores["b"][7][1] = None  # one cell: its column goes, for everyone
    r = ranking(grid(study(scores), "a"))
    assert sorted(r.strategies) == list("abcd")
    assert r.tasks == ("t0", "t2", "t3", "t4", "t5", "t6", "t7")
    assert "e: no score in 8 of 14 (task, seed) pairs" in r.left_out
    assert "t1 (all seeds): no score of a, b, c, d, e" in r.left_out
    assert "t7 (some seeds): no score of b" in r.left_out
    assert len(r.left_out) == 3
    full = {s: [row for t, row in enumerate(x) if t != 1] for s, x in scores.items() if s != "e"}
    for s in full:
        full[s][-1] = full[s][-1][:1]
    assert ranking(grid(study(full), "a")).ranks == r.ranks


# the rest


@pytest.mark.parametrize("higher", [True, False])
def test_the_pareto_front_is_that_of_brute_force(higher):
    rng = np.random.default_rng(0)
    points = {f"p{i}": tuple(map(float, rng.integers(0, 6, 2))) for i in range(25)}
    points["nan"] = (0.0, float("nan"))
    front = pareto(points, higher=higher)
    assert 0 < len(front) < 20
    for name, (cost, score) in points.items():
        beaten = [
            (c, s)
            for c, s in points.values()
            if (c <= cost and (s >= score if higher else s <= score)) and (c < cost or s != score)
        ]
        assert (name in front) == (not beaten and name != "nan")


def test_rows_of_the_summary_are_the_statistics_sorted_by_gain():
    scores = table(np.random.default_rng(4))
    scores["x"] = [[v + 9 for v in row] for row in scores[FLOOR]]
    scores["z"] = [[None] * 3] * 8
    cells = [
        replace(c, oracle=c.strategy == "x", family="f" if c.strategy == "s1" else "")
        for c in study(scores, seconds=2.0)
    ]
    rows = summarise(cells)
    known = gains_of(scores, oracles=["x"])
    assert [r["strategy"] for r in rows][0] == "x"
    assert [r["strategy"] for r in rows][-1] == "z"
    known_gains = [r["gain"] for r in rows[:-1]]
    assert known_gains == sorted(known_gains, reverse=True)
    for r in rows:
        for key in ("mean", "gain", "low", "high", "wins", "losses", "p_holm", "claim", "missing"):
            assert r[key] == getattr(known[r["strategy"]], key)
        assert r["family"] == ("f" if r["strategy"] == "s1" else "")
    by = {r["strategy"]: r for r in rows}
    assert by["x"]["oracle"]
    assert by["x"]["rank"] is None
    assert sum(by[n]["rank"] for n in (FLOOR, "s1", "s2", "s3")) == pytest.approx(10)
    assert by["s1"]["seconds"] == 48
    assert (by["z"]["tasks"], by["z"]["missing"], by["z"]["mean"]) == (0, 24, None)
    assert summarise(cells, higher=False)[0]["strategy"] != "x"
    unpaired = study({"x": [[0.2]], "y": [[0.1]], "z": [[0.3]]})
    assert [r["strategy"] for r in summarise(unpaired)] == ["z", "x", "y"]
    assert [r["strategy"] for r in summarise(unpaired, higher=False)] == ["y", "x", "z"]
    assert summarise(cells, score="none")[0]["mean"] is None


def test_a_task_with_more_seeds_weighs_no_more_in_the_mean():
    (row,) = summarise(study({FLOOR: [[0.0, 0.0, 0.0], [1.0]]}))
    assert row["mean"] == 0.5
