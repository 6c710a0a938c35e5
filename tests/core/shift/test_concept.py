"""Concept shift and coverage."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from isthmus.shift.concept import concept_shift, wilson
from isthmus.shift.coverage import Ratio, coverage, density_ratio, effective_size, share_outside
from isthmus.shift.probe import probe
from isthmus.shift.two_sample import tell_apart


def noisy(rng, n, shift=0.0, flip=0.1):
    """Classes by the sign of the first column, a share of them wrong."""
    x = rng.normal(size=(n, 2)) + [shift, 0]
    y = (x[:, 0] > 0) ^ (rng.random(n) < flip)
    return x, y.astype(np.int64)


def ratio_of(x, y, rng):
    return density_ratio(tell_apart(x, y, rng, permutations=0)[1], len(x))


def judged(rng, target_flip, m=120, shift=0.7):
    x, y = noisy(rng, 1000)
    target, _ = noisy(rng, 1000, shift)
    near, labels = noisy(rng, m, shift, target_flip)
    model = probe(x, y, target, near, 2, rng)
    ratio = ratio_of(x, target, rng)
    return concept_shift(
        model.source, y, model.support, labels, ratio.source, ratio.effective, "importance"
    )


def test_a_changed_concept_is_shown_and_a_shared_one_is_not():
    rng = np.random.default_rng(0)
    shared, changed = judged(rng, 0.1), judged(rng, 0.5)
    assert shared.verdict == "none shown"
    assert shared.low < 0 < shared.high
    assert changed.verdict == "shown"
    assert changed.low > 0.2
    assert changed.found - changed.expected == pytest.approx(0.4, abs=0.12)


def test_too_few_labels_tell_nothing():
    assert judged(np.random.default_rng(1), 0.5, m=6).verdict == "unknown"


def test_false_alarms_are_rare():
    rng = np.random.default_rng(2)
    assert sum(judged(rng, 0.1, m=40).verdict == "shown" for _ in range(30)) <= 3


def test_values_are_compared_by_their_absolute_error():
    rng = np.random.default_rng(3)
    x, near = rng.normal(size=(400, 3)), rng.normal(size=(50, 3))
    slope = np.array([[1.0], [2.0], [0.0]])
    y, same = (v @ slope + 0.1 * rng.normal(size=(len(v), 1)) for v in (x, near))
    model = probe(x, y, near, near, 0, rng)
    even = np.ones(400)
    assert concept_shift(model.source, y, model.support, same, even, 400, "importance").verdict == (
        "none shown"
    )
    found = concept_shift(model.source, y, model.support, same + 1, even, 400, "importance")
    assert found.verdict == "shown"
    assert not found.proportion
    assert found.found == pytest.approx(1, abs=0.1)


def test_the_interval_of_a_proportion_solves_its_equation():
    z, (low, high) = NormalDist().inv_cdf(0.975), wilson(0.2, 50)
    for bound in (low, high):
        assert abs(bound - 0.2) == pytest.approx(z * np.sqrt(bound * (1 - bound) / 50))
    assert wilson(0.0, 10)[0] == pytest.approx(0, abs=1e-12)


def test_weights_are_the_ratio_of_the_densities():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(3000, 1)), rng.normal(size=(1500, 1)) + 0.8
    found = ratio_of(x, y, rng)
    truth = np.exp(0.8 * x[:, 0] - 0.32)
    assert np.corrcoef(np.log(found.source), np.log(truth))[0, 1] > 0.98
    assert np.average(x[:, 0], weights=found.source) == pytest.approx(0.8, abs=0.12)
    assert found.source.mean() == pytest.approx(1, abs=0.1)
    assert found.effective / 3000 == pytest.approx(np.exp(-0.64), abs=0.1)


def test_without_a_shift_weights_are_even_also_with_as_many_columns_as_rows():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(150, 120)), rng.normal(size=(60, 120))
    assert ratio_of(x, y, rng).effective > 120
    assert effective_size(np.ones(7)) == 7


def test_rows_that_are_all_alike_unlike_the_target_are_worth_little():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(500, 3))
    assert ratio_of(x, x + 30, rng).effective < 10


def test_coverage_expects_one_in_a_hundred_and_sees_an_island():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(1500, 4)), rng.normal(size=(1500, 4))
    assert share_outside(x, y, rng) < 0.025
    y[:600] += 20
    found = coverage(x, y, Ratio(np.ones(1500), np.ones(1500)), rng)
    assert found.outside == pytest.approx(0.4, abs=0.02)
    assert found.share == 1
    # Far away is outside, although it widens the pooled spread by which columns are scaled.
    far = np.concatenate([x, x + 9]) / np.concatenate([x, x + 9]).std(0)
    assert coverage(far[:1500], far[1500:], Ratio(np.ones(1500), np.ones(1500)), rng).outside == 1
