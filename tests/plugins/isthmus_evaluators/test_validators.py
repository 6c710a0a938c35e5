"""The validators: closed forms, known shifts, and no look at target labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm

from isthmus import BadInput, Domain, Evidence, Graph, Labelled, PluginError, Relation, Schema
from isthmus_evaluators.validators import importance_weighted
from isthmus_evaluators.validators.importance_weighted import (
    ImportanceWeightedRisk,
    importance_weights,
)
from isthmus_evaluators.validators.information_maximisation import InformationMaximisation

BINARY = ("no", "yes")


def split(x, at, softness=0.3):
    """Return the probabilities of a logistic model that says yes where the first value > at."""
    values = np.asarray(x[:, 0].toarray() if sparse.issparse(x) else x, np.float64)
    z = (values.reshape(len(values), -1)[:, 0] - at) / softness
    yes = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
    return np.stack([1 - yes, yes], 1).astype(np.float32)


def table(name, x, y):
    schema = Schema(kind="table", shape=x.shape[1:], classes=BINARY)
    return Labelled(name=name, schema=schema, x=x, y=y)


@pytest.fixture
def shifted(rule):
    """Return what builds evidence under covariate shift: y = [x0 > 1], the model says [x0 > 0].

    The source is N(0, I), the target N((shift, 0, ...), I): the error rate of each is P(0<x0<1).
    """

    def build(shift=1.5, n=4000, d=3, seed=0, to=lambda x: x):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, n, d)).astype(np.float32)
        b[:, 0] += np.float32(shift)
        source = table("source", to(a), (a[:, 0] > 1).astype(np.int64))
        target = table("target", to(b), (b[:, 0] > 1).astype(np.int64))
        return Evidence(adapted=rule(lambda x: split(x, 0)), target=target, source=source)

    return build


def plain_risk(e):
    return float((e.source_predictions.argmax(1) != e.source.y).mean())


def true_risk(e):
    return float((e.predictions.argmax(1) != e.target.y).mean())


@pytest.mark.parametrize("shift", [1.5, 2.0, -1.0])
@pytest.mark.parametrize("to", [lambda x: x, sparse.csr_matrix], ids=["dense", "csr"])
def test_the_weighted_risk_finds_the_target_risk(shifted, shift, to):
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


def test_without_shift_it_is_the_plain_risk(shifted):
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


def test_one_instance_is_enough(shifted):
    e = shifted(n=1)
    assert ImportanceWeightedRisk().score(e) == plain_risk(e)
    assert InformationMaximisation().score(e) == 0


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


def test_large_domains_are_sampled_and_the_estimate_holds(shifted, monkeypatch):
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


def test_small_images_are_read_as_pixels(rule):
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
def test_large_images_and_graphs_are_read_through_the_predictions(rule, kind):
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


@pytest.mark.parametrize("cls", [ImportanceWeightedRisk, InformationMaximisation])
def test_target_labels_are_never_read(shifted, cls):
    e = shifted(n=300)
    wrong = table("target", e.target.x, 1 - e.target.y)
    lied = Evidence(adapted=e.adapted, target=wrong, source=e.source)
    assert not cls.reads_labels
    assert cls().score(e) == cls().score(e.blind()) == cls().score(lied)


def test_each_domain_is_predicted_once(shifted):
    e = shifted(n=100).blind()
    for cls in (ImportanceWeightedRisk, InformationMaximisation, ImportanceWeightedRisk):
        cls().score(e)
    assert e.adapted.calls == 2


def test_it_asks_for_held_out_source_data(shifted):
    e = shifted(n=10)
    with pytest.raises(BadInput, match="held out of the training"):
        ImportanceWeightedRisk().score(Evidence(adapted=e.adapted, target=e.target))


@pytest.mark.parametrize("k", [2, 3, 10])
def test_information_of_confident_balanced_and_of_constant_predictions(evidence, k):
    y = np.zeros(30 * k, np.int64)
    sure, flat = np.eye(k)[np.arange(30 * k) % k], np.full((30 * k, k), 1 / k)
    biased = np.tile(np.arange(1, k + 1) / np.arange(1, k + 1).sum(), (30 * k, 1))
    score = InformationMaximisation().score
    assert score(evidence(y, sure)) == pytest.approx(math.log(k), rel=1e-9)
    assert score(evidence(y, flat)) == pytest.approx(0, abs=1e-6)
    assert score(evidence(y, biased)) == pytest.approx(0, abs=1e-6)
    assert score(evidence(y, np.eye(k)[y])) == 0  # confident, and always the same class


def test_information_is_a_divergence_from_the_mean(evidence):
    """I = mean KL(p_i || mean p), another formula for the same number; chunks do not show."""
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.ones(4), 70_000).astype(np.float32)
    mean = p.mean(0, dtype=np.float64)
    divergence = (p * np.log(np.maximum(p, 1e-30) / mean)).sum(1).mean()
    y = np.zeros(len(p), np.int64)
    got = InformationMaximisation().score(evidence(y, p))
    assert got == pytest.approx(divergence, rel=1e-4)
    assert got < math.log(4)
    order = rng.permutation(len(p))
    assert InformationMaximisation().score(evidence(y, p[order])) == pytest.approx(got, rel=1e-9)


def test_information_refuses_what_is_not_probabilities(evidence):
    with pytest.raises(PluginError, match="not probabilities: row 1"):
        InformationMaximisation().score(evidence([0, 0], [[1, 0], [3, 4]]))
