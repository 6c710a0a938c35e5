"""Importance-weighted risk: known shifts, and weights by closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm

from isthmus import BadInput, Domain, Evidence, Graph, Labelled, Relation, Schema
from isthmus_evaluators.validators import importance_weighted
from isthmus_evaluators.validators.density_ratio import importance_weights
from isthmus_evaluators.validators.importance_weighted import ImportanceWeightedRisk

BINARY = ("no", "yes")


@pytest.mark.parametrize("shift", [1.5, 2.0, -1.0])
@pytest.mark.parametrize("to", [lambda x: x, sparse.csr_matrix], ids=["dense", "csr"])
def test_the_weighted_risk_finds_the_target_risk(shifted, shift, to, plain_risk, true_risk):
    e = shifted(shift, to=to)
    known = norm.cdf(1 - shift) - norm.cdf(-shift)
    got = ImportanceWeightedRisk().score(e.blind())
    assert true_risk(e) == pytest.approx(known, abs=0.03)
    assert got == pytest.approx(known, abs=0.05)
    assert abs(got - true_risk(e)) < abs(plain_risk(e) - true_risk(e)) / 2


def test_the_weighted_log_loss_finds_the_target_log_loss(shifted):
    e = shifted(1.0)

    def log_loss(p, y):
        return -np.log(p[np.arange(len(y)), y].astype(float).clip(1e-7)).mean()

    true, plain = log_loss(e.predictions, e.target.y), log_loss(e.source_predictions, e.source.y)
    got = ImportanceWeightedRisk(loss="log").score(e.blind())
    assert abs(got - true) < abs(plain - true) / 2


def test_without_shift_it_is_the_plain_risk(shifted, plain_risk):
    e = shifted(0.0)
    assert ImportanceWeightedRisk().score(e) == pytest.approx(plain_risk(e), abs=0.02)


def test_on_one_sample_for_both_the_weights_are_one(shifted):
    source = shifted().source
    assert importance_weights(source.x, source.x, cap=50) == pytest.approx(1, abs=1e-4)
    more = np.repeat(source.x, 3, axis=0)  # the sizes of the domains are no shift
    assert importance_weights(source.x, more, cap=50) == pytest.approx(1, abs=1e-3)


def test_weights_are_the_ratio_of_two_normals():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20_000, 1)), rng.normal(size=(5_000, 1)) + 1
    ratio = norm.pdf(a[:, 0], 1) / norm.pdf(a[:, 0], 0)
    inner = np.abs(a[:, 0]) < 2
    got = importance_weights(a.astype(np.float32), b.astype(np.float32), cap=50)
    assert got[inner] == pytest.approx(ratio[inner], rel=0.15)


def test_weights_ignore_the_units_of_the_features():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(300, 4)), rng.normal(size=(200, 4)) + 0.5
    units = np.array([1e-6, 1, 1e6, 1e3])
    one = importance_weights(a, b, cap=50)
    assert importance_weights(a * units + 5 * units, b * units + 5 * units, cap=50) == (
        pytest.approx(one, rel=1e-3)
    )


def test_the_cap_bounds_the_ratio_of_the_weights():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)) + 2
    loose, tight = (importance_weights(a, b, cap=c) for c in (50, 2))
    assert tight.max() < loose.max()
    assert np.isclose(tight, tight.max()).sum() > 50  # the plateau at the cap
    assert loose.mean() == pytest.approx(1)
    assert tight.mean() == pytest.approx(1)


@pytest.mark.parametrize("shift", [50, 1e4])
def test_domains_that_do_not_overlap_give_a_finite_score(shifted, shift):
    assert 0 <= ImportanceWeightedRisk().score(shifted(shift, n=200)) <= 1


def test_more_features_than_instances_and_constant_features_are_taken(shifted):
    e = shifted(n=30, d=100, to=lambda x: np.where(np.arange(100) % 2, np.float32(7), x))
    assert 0 <= ImportanceWeightedRisk().score(e) <= 1


def test_one_instance_is_enough(shifted, plain_risk):
    e = shifted(n=1)
    assert ImportanceWeightedRisk().score(e) == plain_risk(e)


def test_a_class_missing_from_the_source_is_no_obstacle(shifted):
    e = shifted()
    known = np.flatnonzero(e.source.y == 0)
    part = Evidence(adapted=e.adapted, target=e.target, source=e.source.take(known))
    assert 0 < ImportanceWeightedRisk().score(part) < 1


@pytest.mark.parametrize("limit", [20_000, 500])
def test_the_order_of_rows_does_not_matter(shifted, monkeypatch, limit):
    monkeypatch.setattr(importance_weighted, "ROWS", limit)
    e, rng = shifted(n=1000), np.random.default_rng(4)
    mixed = Evidence(
        adapted=e.adapted,
        target=e.target.take(rng.permutation(1000)),
        source=e.source.take(rng.permutation(1000)),
    )
    assert ImportanceWeightedRisk().score(mixed) == ImportanceWeightedRisk().score(e)


def test_large_domains_are_sampled_and_the_estimate_holds(shifted, monkeypatch, true_risk):
    seen = []
    real = importance_weighted.importance_weights

    def spy(a, b, *, cap):
        seen.append((a.shape, b.shape))
        return real(a, b, cap=cap)

    monkeypatch.setattr(importance_weighted, "importance_weights", spy)
    e = shifted(1.5, n=30_000, d=2)
    assert ImportanceWeightedRisk().score(e) == pytest.approx(true_risk(e), abs=0.04)
    monkeypatch.setattr(importance_weighted, "VALUES", 2_000)
    ImportanceWeightedRisk().score(e)
    assert seen == [((20_000, 2), (20_000, 2)), ((1_000, 2), (1_000, 2))]


def test_small_images_are_read_as_pixels(rule, plain_risk):
    """The pixels tell the domains apart where the predictions do not."""
    rng = np.random.default_rng(5)
    shape = (4, 4, 1)
    a = rng.integers(0, 256, (3000, *shape)).astype(np.uint8)
    b = rng.integers(0, 256, (3000, *shape)).astype(np.uint8)
    b[:, 3, 3] = 128 + b[:, 3, 3] // 2  # the target is bright in the last corner
    y = (a[:, 3, 3, 0] > 127).astype(np.int64)
    schema = Schema(kind="image", shape=shape, classes=BINARY)
    e = Evidence(
        adapted=rule(lambda x: np.full((len(x), 2), 0.5, np.float32)),  # always "no"
        source=Labelled(name="source", schema=schema, x=a, y=y),
        target=Domain(name="target", schema=schema, x=b),
    )
    assert plain_risk(e) == pytest.approx(0.5, abs=0.03)
    assert ImportanceWeightedRisk().score(e) > 0.8


@pytest.mark.parametrize("kind", ["image", "graph"])
def test_large_images_and_graphs_are_read_through_the_predictions(
    rule, kind, plain_risk, true_risk, split
):
    rng = np.random.default_rng(6)
    first = [rng.normal(size=600), rng.normal(size=600) + 1.5]
    if kind == "graph":
        edge = Relation(index=np.array([[0], [1]]))
        xs = [Graph(v[:, None].astype(np.float32), (edge,)) for v in first]
        schema, read = Schema(kind="graph", shape=(1,), classes=BINARY), lambda g: g.features
    else:  # 40 x 40 pixels of noise, and one pixel that matters
        xs = []
        for v in first:
            noise = rng.integers(0, 256, (600, 40, 40, 1)).astype(np.uint8)
            noise[:, 0, 0, 0] = np.clip(128 + 30 * v, 0, 255)
            xs.append(noise)
        schema = Schema(kind="image", shape=(40, 40, 1), classes=BINARY)

        def read(x):
            return (x[:, 0, 0].astype(float) - 128) / 30

    y = [(v > 1).astype(np.int64) for v in first]
    e = Evidence(
        adapted=rule(lambda x: split(read(x), 0, softness=1.0)),
        source=Labelled(name="source", schema=schema, x=xs[0], y=y[0]),
        target=Labelled(name="target", schema=schema, x=xs[1], y=y[1]),
    )
    got = ImportanceWeightedRisk().score(e.blind())
    assert abs(got - true_risk(e)) < abs(plain_risk(e) - true_risk(e)) / 2


def test_it_asks_for_held_out_source_data(shifted):
    e = shifted(n=10)
    with pytest.raises(BadInput, match="held out of the training"):
        ImportanceWeightedRisk().score(Evidence(adapted=e.adapted, target=e.target))
