"""The proxy transfer score: simplices, the Hopkins statistic of known clouds, and their sum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isthmus import BadInput
from isthmus_evaluators.validators import transfer_score
from isthmus_evaluators.validators.information_maximisation import mutual_information
from isthmus_evaluators.validators.transfer_score import (
    ProxyTransferScore,
    class_directions,
    hopkins,
    unevenness,
)


def simplex(k):
    """Return k vectors with equal angles: a centred identity."""
    return np.eye(k) - 1 / k


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_simplex_is_even_whatever_the_lengths(k):
    lengths = np.random.default_rng(0).uniform(0.1, 9, (k, 1))
    assert unevenness(lengths * simplex(k)) == pytest.approx(0, abs=1e-12)


def test_unevenness_is_the_mean_square_over_pairs():
    rng = np.random.default_rng(1)
    w = rng.normal(size=(4, 5))
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                cosine = w[i] @ w[j] / math.sqrt((w[i] @ w[i]) * (w[j] @ w[j]))
                total += (math.acos(cosine) - math.acos(-1 / 3)) ** 2
    assert unevenness(w) == pytest.approx(total / 12)


def test_equal_directions_are_the_worst_and_no_direction_is_a_right_angle():
    assert unevenness(np.ones((2, 3))) == pytest.approx(math.pi**2)
    assert unevenness(np.zeros((2, 3))) == pytest.approx((math.pi / 2) ** 2)


def test_directions_are_class_means_about_their_centre(monkeypatch):
    rng = np.random.default_rng(2)
    f = rng.normal(size=(50, 3)).astype(np.float32)
    p = rng.dirichlet(np.ones(4), 50).astype(np.float32)
    means = np.stack([np.average(f, axis=0, weights=p[:, i]) for i in range(4)])
    for chunk in (7, 4_096):
        monkeypatch.setattr(transfer_score, "CHUNK", chunk)
        assert class_directions(f, p) == pytest.approx(means - means.mean(0), abs=1e-6)
    p = np.eye(4, dtype=np.float32)[np.arange(50) % 3]
    got = class_directions(f, p)
    assert got[3] == pytest.approx(0)
    assert got[:3].sum(0) == pytest.approx(0, abs=1e-6)


def test_hopkins_by_definition():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 2)).astype(np.float32)
    uniform = np.random.default_rng(0).uniform(
        x.min(0).astype(float), x.max(0).astype(float), x.shape
    )
    u = [min(math.dist(a, b) for b in x) ** 2 for a in uniform]
    w = [min(math.dist(x[i], x[j]) for j in range(30) if j != i) ** 2 for i in range(30)]
    expected = sum(u) / (sum(u) + sum(w))
    assert hopkins(x, np.random.default_rng(0)) == pytest.approx(expected)


def test_hopkins_of_uniform_and_clustered_clouds():
    rng = np.random.default_rng(4)
    even = [
        hopkins(rng.uniform(size=(400, 2)).astype(np.float32), np.random.default_rng(s))
        for s in range(5)
    ]
    assert np.mean(even) == pytest.approx(0.5, abs=0.1)
    clusters = np.eye(2)[np.arange(400) % 2] + 1e-3 * rng.normal(size=(400, 2))
    assert hopkins(clusters.astype(np.float32), rng) > 0.99


@pytest.mark.parametrize("d", [1, 50, 2_000])
def test_hopkins_is_finite_in_many_dimensions_and_for_duplicates(d):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20, d)).astype(np.float32)
    assert 0 <= hopkins(x, rng) <= 1
    assert hopkins(np.repeat(x, 2, axis=0), rng) == 1
    assert hopkins(np.ones((20, d), np.float32), rng) == 0.5


def test_the_score_is_the_sum_of_its_terms(evidence):
    rng = np.random.default_rng(6)
    p = rng.dirichlet(np.ones(3), 80).astype(np.float32)
    f = rng.normal(size=(80, 5)).astype(np.float32)
    e = evidence(np.zeros(80, np.int64), p, features=f)
    from isthmus_evaluators.validators.sampling import sample

    order = sample(e.target, 1000)
    terms = (
        -unevenness(class_directions(f, p)),
        hopkins(f[order], np.random.default_rng(0)),
        mutual_information(p) / math.log(3),
    )
    assert ProxyTransferScore().score(e) == pytest.approx(sum(terms))


def test_a_model_with_clear_classes_beats_a_collapsed_one(evidence):
    rng = np.random.default_rng(7)
    which = np.arange(90) % 3
    f = 5 * np.eye(3)[which] + 0.1 * rng.normal(size=(90, 3))
    y = np.zeros(90, np.int64)
    clear = ProxyTransferScore().score(evidence(y, np.eye(3)[which], features=f))
    same = ProxyTransferScore().score(evidence(y, np.eye(3)[y], features=f))
    assert clear > 1.9
    assert same < 1.0


def test_what_it_cannot_read_is_refused(evidence):
    with pytest.raises(BadInput, match="needs at least 2 instances"):
        ProxyTransferScore().score(evidence([0], np.eye(2)[:1]))
    with pytest.raises(BadInput, match="needs two classes, target has 1"):
        ProxyTransferScore().score(evidence([0, 0], np.ones((2, 1))))
