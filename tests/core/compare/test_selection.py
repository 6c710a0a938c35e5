"""Selection without target labels: who is chosen by which rule, and what it is worth."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace

import numpy as np
import pytest

from isthmus.compare.cell import Cell
from isthmus.compare.selection import ENSEMBLE, ORACLE, best_by, selections

FLOOR = "source-only"


def cell(strategy, scores, task="t", seed=0, **more):
    return Cell(task=task, strategy=strategy, seed=seed, scores=scores, **more)


def by_rule(cells, validators, score="a", **options):
    return {s.rule: s for s in selections(cells, score, validators, **options)}


# a: target score; v: higher is better and right on t, wrong on u; w: lower is better
CELLS = [
    cell(FLOOR, {"a": 0.5, "v": 0.1, "w": 0.3}),
    cell("x", {"a": 0.9, "v": 0.8, "w": 0.4}),
    cell("y", {"a": 0.6, "v": 0.7, "w": 0.2}),
    cell(FLOOR, {"a": 0.6, "v": 0.2, "w": 0.1}, task="u"),
    cell("x", {"a": 0.4, "v": 0.9, "w": 0.2}, task="u"),
    cell("y", {"a": 0.8, "v": 0.3, "w": 0.3}, task="u"),
]


def test_rules_by_hand():
    s = by_rule(CELLS, {"v": True, "w": False})
    assert list(s) == [ORACLE, "v", "w", FLOOR, ENSEMBLE]  # best first
    assert {rule: x.picks for rule, x in s.items()} == {
        "v": {"x": 2},
        "w": {FLOOR: 1, "y": 1},
        # t: y has ranks 2 and 1; u: x has 1 and 2
        ENSEMBLE: {"x": 1, "y": 1},
        ORACLE: {"x": 1, "y": 1},
        FLOOR: {FLOOR: 2},
    }
    expected = {  # mean, gain, regret, share of tasks below the floor
        "v": (0.65, 0.1, 0.2, 0.5),
        "w": (0.6, 0.05, 0.25, 0),
        ENSEMBLE: (0.5, -0.05, 0.35, 0.5),
        ORACLE: (0.85, 0.3, 0, 0),
        FLOOR: (0.55, 0, 0.3, 0),
    }
    for rule, numbers in expected.items():
        x = s[rule]
        assert (x.mean, x.gain, x.regret, x.negative_transfer) == pytest.approx(numbers), rule
        assert (x.tasks, x.missing) == (2, 0)


def test_validators_turned_around_choose_the_same():
    turned = [
        replace(c, scores={"a": -c.scores["a"], "v": -c.scores["v"], "w": -c.scores["w"]})
        for c in CELLS
    ]
    before = by_rule(CELLS, {"v": True, "w": False})
    after = by_rule(turned, {"v": False, "w": True}, higher=False)
    assert list(after) == list(before)
    for rule, x in before.items():
        assert after[rule].picks == x.picks
        assert after[rule].mean == pytest.approx(-x.mean)
        assert after[rule].gain == pytest.approx(x.gain)
        assert after[rule].regret == pytest.approx(x.regret)


def test_the_order_of_the_cells_changes_nothing():
    rng = np.random.default_rng(0)
    cells = [
        cell(s, {k: float(rng.integers(0, 3)) for k in "avwz"}, task=t, seed=r)
        for s in (FLOOR, "x", "y", "z")
        for t in "tuv"
        for r in range(3)
    ]
    before = by_rule(cells, {"v": True, "w": False, "z": True})
    after = by_rule(random.Random(0).sample(cells, len(cells)), {"v": True, "w": False, "z": True})
    for rule, x in before.items():
        assert after[rule].picks == x.picks
        assert after[rule].mean == pytest.approx(x.mean)
        assert after[rule].regret == pytest.approx(x.regret)
        assert x.regret >= 0


def test_ties_go_to_the_floor_and_then_by_the_alphabet():
    level = [cell(s, {"a": 0.5, "v": 1.0, "w": 1.0}) for s in ("x", "b", FLOOR)]
    for s in by_rule(level, {"v": True, "w": False}).values():
        assert s.picks == {FLOOR: 1}
    level[2].scores.update(v=0.0, w=2.0, a=0.4)
    picks = {r: s.picks for r, s in by_rule(level, {"v": True, "w": False}).items()}
    assert picks.pop(FLOOR) == {FLOOR: 1}
    assert list(picks.values()) == [{"b": 1}] * 4


def test_who_is_no_candidate():
    others = [
        cell("target-only", {"a": 1.0, "v": 9.0}, oracle=True),
        cell("fine-tune", {"a": 1.0, "v": 9.0}, few_labels=True),
        cell("z", {"a": 1.0, "v": 9.0}, status="timeout"),
        cell("n", {"a": 1.0, "v": float("nan")}),
        cell("m", {"v": 9.0}),
    ]
    s = by_rule(CELLS[:3] + others, {"v": True})
    assert s["v"].picks == {"x": 1}
    assert s[ORACLE].picks == {"n": 1}  # it has the target score, and no validator is asked


def test_a_strategy_that_chooses_is_a_rule_and_no_candidate():
    cells = [
        cell("source-only", {"a": 0.5, "v": 0.0}),
        cell("x", {"a": 0.7, "v": 1.0}),
        cell("auto", {"a": 0.9, "v": 9.0}, family="selection"),
        cell("source-only", {"a": 0.5, "v": 0.0}, task="u"),
        cell("x", {"a": 0.6, "v": 1.0}, task="u"),
        cell("auto", {"a": 0.5, "v": 9.0}, family="selection", task="u"),
        cell("halfway", {"a": 1.0}, family="selection"),
    ]
    s = by_rule(cells, {"v": True})
    assert s["v"].picks == s[ORACLE].picks == {"x": 2}
    assert (s["auto"].mean, s["auto"].gain) == (pytest.approx(0.7), pytest.approx(0.2))
    assert s["auto"].regret == pytest.approx(-0.05)  # it may beat every single strategy
    assert s["auto"].negative_transfer == 0
    assert (s["halfway"].mean, s["halfway"].missing) == (None, 1)
    assert s[ORACLE].tasks == 2


def test_rules_are_compared_on_the_same_pairs_and_the_missing_are_counted():
    cells = [*CELLS, cell("x", {"a": 0.0, "v": 0.5, "w": 1.0}, task="u", seed=1)]
    cells += [cell("x", {}, task="q", status="failed")]
    cells[3:6] = [replace(c, scores={k: c.scores[k] for k in "av"}) for c in CELLS[3:]]
    s = by_rule(cells, {"v": True, "w": False, "none": True})
    assert {rule: x.missing for rule, x in s.items()} == {
        "v": 1,  # q
        "w": 2,  # q and u
        ENSEMBLE: 2,
        "none": 4,
        ORACLE: 1,
        FLOOR: 2,  # q and u with seed 1
    }
    assert [x.tasks for x in s.values()] == [1] * 5 + [0]
    assert s["v"].mean == 0.9
    assert s["v"].picks == {"x": 1}
    x = s["none"]
    assert (x.mean, x.gain, x.regret, x.negative_transfer, x.picks) == (None,) * 4 + ({},)


def test_a_task_counts_once_however_many_seeds():
    cells = [
        cell(s, {"a": a, "v": a}, task=t, seed=r)
        for s, a in ((FLOOR, 0.0), ("x", 1.0))
        for t, seeds in (("t", 3), ("u", 1))
        for r in range(seeds)
    ]
    for c in cells:
        if c.task == "u" and c.strategy == "x":
            c.scores.update(a=-1.0)
    s = by_rule(cells, {"v": True})["v"]
    assert (s.mean, s.gain, s.negative_transfer, s.regret) == (0.0, 0.0, 0.5, 0.5)
    assert s.picks == {"x": 4}


def test_gains_that_cancel_up_to_rounding_are_no_negative_transfer():
    cells = [
        cell(s, {"a": a, "v": float(s == "x")}, seed=r)
        for s, scores in ((FLOOR, (0.1, 0.8)), ("x", (0.2, 0.7)))
        for r, a in enumerate(scores)
    ]
    assert (0.2 - 0.1) + (0.7 - 0.8) < 0
    s = by_rule(cells, {"v": True})["v"]
    assert (s.picks, s.gain, s.negative_transfer) == ({"x": 2}, 0, 0)


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [cell("x", {"v": 1.0})],
        [cell(FLOOR, {}, status="failed"), cell("x", {"a": 1.0, "v": 1.0})],
        [cell("x", {"a": 1.0, "v": 1.0}), cell("y", {"a": 0.0, "v": 1.0})],
    ],
)
def test_without_a_floor_or_anything_there_is_none_and_no_nan(cells):
    s = by_rule(cells, {"v": True})
    json.dumps([asdict(x) for x in s.values()], allow_nan=False)
    assert list(sorted(s)) == [ORACLE, FLOOR, "v"]
    assert all(x.gain is None and x.negative_transfer is None for x in s.values())
    reached = any("a" in c.scores for c in cells)
    assert s["v"].mean == s[ORACLE].mean == (1.0 if reached else None)


def test_the_best_point_of_a_grid_is_a_strategy_of_its_own():
    cells = [
        cell("x-1", {"a": 0.9, "v": 0.1}, group="x", seconds=1.0, settings={"k": 1}),
        cell("x-2", {"a": 0.8, "v": 0.2}, group="x", seconds=2.0, settings={"k": 2}),
        cell("x-1", {"a": 0.7, "v": 0.9}, group="x", seconds=1.0, settings={"k": 1}, seed=1),
        cell("x-2", {"a": 0.6, "v": 0.2}, group="x", seconds=2.0, settings={"k": 2}, seed=1),
        cell("x-1", {"a": 0.7}, group="x", task="u", settings={"k": 1}),
        cell("x-2", {"v": 0.7}, group="x", task="u", status="failed", reason="boom", seconds=4.0),
        cell("y", {"a": 1.0, "v": 1.0}, group="y"),
        cell("p", {"a": 1.0, "v": 1.0}),
        cell("q", {"a": 1.0, "v": 1.0}),
    ]
    first, second, third = best_by(cells, "v", True)
    assert {c.strategy for c in (first, second, third)} == {"x · best by v"}
    assert first == replace(cells[1], strategy="x · best by v", family="selection", seconds=3.0)
    assert (second.seed, second.settings, second.scores["a"]) == (1, {"k": 1}, 0.7)
    assert (third.task, third.status, third.scores, third.settings) == ("u", "failed", {}, {})
    assert "score by v" in third.reason
    assert third.seconds == 4
    assert [c.settings["k"] for c in best_by(cells[:4], "v", False)] == [1, 2]
    assert best_by(cells[6:], "v", True) == []
    assert best_by(cells, "a", True)[0].scores["a"] == 0.9
