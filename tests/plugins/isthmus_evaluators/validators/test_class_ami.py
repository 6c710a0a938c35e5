"""Class AMI: clusters that are known, chance, and the index by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import BadInput, PluginError
from isthmus_evaluators.validators import class_ami as module
from isthmus_evaluators.validators.class_ami import ClassAMI, class_ami


def blobs(k=3, n=90, d=4, seed=0):
    """Return features of k clusters far apart, and which cluster each row is of."""
    rng = np.random.default_rng(seed)
    which = np.arange(n) % k
    centres = 20 * np.eye(k, d)
    return (centres[which] + rng.normal(size=(n, d))).astype(np.float32), which


def test_predictions_that_follow_the_clusters_get_one(evidence):
    x, which = blobs()
    for naming in (np.arange(3), np.array([2, 0, 1])):
        e = evidence(np.zeros(90, np.int64), np.eye(3)[naming[which]], features=x)
        assert ClassAMI().score(e) == pytest.approx(1)


def test_predictions_at_random_get_nothing():
    x, _ = blobs(n=600)
    predicted = np.random.default_rng(1).integers(0, 3, 600)
    assert class_ami(x, predicted, 3) == pytest.approx(0, abs=0.02)


def test_one_class_gets_nothing_even_where_the_features_are_one_point():
    x, _ = blobs()
    assert class_ami(x, np.zeros(90, np.int64), 3) == 0
    assert class_ami(np.ones((5, 2), np.float32), np.zeros(5, np.int64), 2) == 0


def test_two_clusters_in_one_class_cost_what_the_definition_says():
    """The expected mutual information by many shuffles, not by its hypergeometric formula."""
    x, which = blobs(n=60)
    predicted = np.minimum(which, 1)
    rng = np.random.default_rng(2)

    def information(a, b):
        joint = np.histogram2d(a, b, bins=(2, 3))[0] / len(a)
        outer = joint.sum(1, keepdims=True) * joint.sum(0)
        seen = joint > 0
        return (joint[seen] * np.log(joint[seen] / outer[seen])).sum()

    def entropy(a):
        share = np.bincount(a) / len(a)
        return -(share * np.log(share)).sum()

    chance = np.mean([information(rng.permutation(predicted), which) for _ in range(20_000)])
    found, largest = information(predicted, which), (entropy(predicted) + entropy(which)) / 2
    assert class_ami(x, predicted, 3) == pytest.approx(
        (found - chance) / (largest - chance), abs=1e-3
    )


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewer_instances_than_classes_are_clustered_as_far_as_they_go(evidence, n):
    x, _ = blobs(n=n)
    e = evidence(np.zeros(n, np.int64), np.eye(9)[:n], features=x)
    assert np.isfinite(ClassAMI().score(e))


def test_equal_features_make_fewer_clusters_without_a_warning():
    x = np.repeat(np.array([[0, 0], [1, 1]], np.float32), 10, axis=0)
    assert class_ami(x, np.repeat([0, 1], 10), 5) == pytest.approx(1)
    x[:5] += np.float32(1e-7)
    assert np.isfinite(class_ami(x, np.repeat([0, 1], 10), 5))


def test_wide_features_are_projected_and_large_targets_sampled(evidence, monkeypatch):
    x, which = blobs(n=300, d=200)
    e = evidence(np.zeros(300, np.int64), np.eye(3)[which], features=x)
    assert ClassAMI().score(e) == pytest.approx(1)
    monkeypatch.setattr(module, "ROWS", 100)
    assert ClassAMI().score(e) == pytest.approx(1)


def test_what_it_cannot_read_is_refused(evidence):
    with pytest.raises(BadInput, match="class-ami needs at least 2 instances"):
        ClassAMI().score(evidence([0], [[1, 0]], features=[[1.0]]))
    with pytest.raises(PluginError, match="features of target are NaN or infinite in 1 of 2"):
        ClassAMI().score(evidence([0, 0], np.eye(2), features=[[1.0], [np.nan]]))
