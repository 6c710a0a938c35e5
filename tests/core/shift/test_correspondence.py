"""Columns correspond, or do not: exact under shuffling, blind to units."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import Labelled, Schema, Task
from isthmus.shift import inspect_shift
from isthmus.shift.correspondence import FEWEST, LEVEL, correspondence, unrelated
from isthmus.shift.summary import summary

D = 40


def factors(seed, n=300, classes=3, d=D, away=0.0):
    """Classes that lie apart along a few factors, on which every column loads."""
    loads = np.random.default_rng(99).normal(size=(5, d))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    inner = rng.normal(size=(n, 5)) + 2 * np.eye(5)[y]
    return inner @ loads + rng.normal(size=(n, d)) + away, y


def found_of(x, y, target, seed=0):
    return correspondence(x, y, target, np.random.default_rng(seed))


def test_the_same_columns_are_told_from_shuffled_ones():
    (x, y), (z, _) = factors(0), factors(1)
    same = found_of(x, y, z)
    assert same.verdict == "shown"
    assert same.p == 1 / 300
    other = found_of(x, y, z[:, np.random.default_rng(3).permutation(D)])
    assert other.verdict == "none shown"
    assert other.own_p < LEVEL
    assert other.ratio < same.ratio / 2
    assert unrelated(other)
    assert not unrelated(same)


def test_shuffled_columns_pass_as_often_as_the_level_says():
    (x, y), (z, _) = factors(0), factors(1)
    p = [
        found_of(x, y, z[:, np.random.default_rng(s).permutation(D)], seed=s).p for s in range(100)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.12  # and three standard errors
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.16)


def test_a_target_of_one_class_or_of_few_rows_still_corresponds():
    (x, y), (z, of) = factors(0), factors(1)
    assert found_of(x, y, z[of == 0]).verdict == "shown"
    assert found_of(x, y, z[:30]).verdict == "shown"


def test_units_of_columns_are_of_no_matter():
    (x, y), (z, _) = factors(0), factors(1)
    rng = np.random.default_rng(5)
    unit, zero = rng.uniform(0.1, 10, D), rng.normal(size=D)
    moved = found_of(x, y, z * unit + zero)
    assert moved.ratio == pytest.approx(found_of(x, y, z).ratio, rel=1e-9)


def test_the_ratio_is_that_of_its_definition():
    (x, y), (z, _) = factors(0), factors(1)
    x_, z_ = ((v - v.mean(0)) / v.std(0) for v in (x, z))
    means = np.stack([x_[y == c].mean(0) for c in range(3)])
    between = (means.T * np.bincount(y) / len(y)) @ means
    within = z_.T @ z_ / len(z_)
    # Over all orders an entry off the diagonal is, on average, the mean of those off the diagonal.
    off = (within.sum() - np.trace(within)) / (D * (D - 1))
    shuffled = np.trace(between) * 1.0 + (between.sum() - np.trace(between)) * off
    assert found_of(x, y, z).ratio == pytest.approx((between * within).sum() / shuffled, rel=0.1)


def test_sparse_rows_are_read_as_dense_ones():
    (x, y), (z, _) = factors(0), factors(1)
    x, z = np.where(x > 1, x, 0), np.where(z > 1, z, 0)
    dense, thin = found_of(x, y, z), found_of(sparse.csr_matrix(x), y, sparse.csr_matrix(z))
    assert thin.ratio == pytest.approx(dense.ratio, rel=1e-9)
    assert (thin.p, thin.verdict) == (dense.p, dense.verdict)


def test_values_have_directions_too():
    (x, _), (z, _) = factors(0), factors(1)
    values = x[:, :2] @ np.array([[1.0, 3.0], [2.0, 0.0]])
    assert found_of(x, values, z).verdict == "shown"
    assert found_of(x, values, z[:, np.random.default_rng(3).permutation(D)]).verdict != "shown"


def test_where_the_source_shows_nothing_nothing_is_claimed():
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(40):
        x, z, y = rng.normal(size=(200, D)), rng.normal(size=(200, D)), rng.integers(0, 2, 200)
        verdicts.append(found_of(x, y, z).verdict)
    assert verdicts.count("unknown") >= 36  # by chance 1 of 40 seems to show something
    (x, _), (z, _) = factors(0), factors(1)
    assert found_of(x, np.zeros(len(x), np.int64), z).verdict == "unknown"


def test_few_or_constant_columns_are_no_evidence():
    (x, y), (z, _) = factors(0, d=FEWEST), factors(1, d=FEWEST)
    assert found_of(x, y, z) is not None
    z[:, 0] = 0.1  # whose mean is off by rounding
    assert found_of(x, y, z) is None


def test_an_inspection_says_so_and_advises_nothing_else():
    (x, y), (z, _) = factors(0), factors(1, away=0.5)
    schema = Schema(kind="table", shape=(D,), classes=("a", "b", "c"))
    z = z[:, np.random.default_rng(3).permutation(D)].astype(np.float32)
    source = Labelled(name="s", schema=schema, x=x.astype(np.float32), y=y)
    target = Labelled(name="t", schema=schema, x=z, y=np.zeros(len(z), np.int64)).unlabelled()
    shift = inspect_shift(Task(sources=(source,), target=target))
    assert "no sign that columns mean the same" in " ".join(summary(shift).split())
    assert {a.family for a in shift.advice} == {"baseline", "finetuning"}
    assert shift.to_json()["correspondence"]["verdict"] == "none shown"
