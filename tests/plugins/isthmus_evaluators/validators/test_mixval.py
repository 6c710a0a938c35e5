"""MixVal: linear boundaries that mixtures cannot cross, every kind that can be mixed, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, Domain, Evidence, Graph, PluginError, Relation, Schema, rows
from isthmus.learners import Neural, Training
from isthmus_baselines.source_only import SourceOnly
from isthmus_evaluators.validators import mixval
from isthmus_evaluators.validators.mixval import MixVal, mixture

THREE = ("ant", "bee", "cat")


def by_position(x):
    """Class 0, 1 or 2 by where the first value lies: below 1, below 2, above."""
    first = np.asarray(x[:, :1].todense() if sparse.issparse(x) else x).reshape(x.shape[0], -1)
    place = np.clip(first[:, 0], 0, 2.999).astype(int)
    return np.eye(3, dtype=np.float32)[place]


def evidence_of(rule, x, kind="table", predict=by_position):
    schema = Schema(kind=kind, shape=x.shape[1:], classes=THREE)
    return Evidence(adapted=rule(predict), target=Domain(name="target", schema=schema, x=x))


def tight(n=60, seed=0):
    """Rows in the middle of their class: a mixture 0.55 to 0.45 lies between the two middles."""
    rng = np.random.default_rng(seed)
    middle = np.arange(n) % 3 + 0.5
    return (middle + rng.uniform(-0.01, 0.01, n)).astype(np.float32)[:, None]


def cycle(x):
    return rows.canonical_order(x)[np.random.default_rng(0).permutation(len(x))]


def test_within_convex_classes_every_mixture_is_right(rule):
    x = tight()
    e = evidence_of(rule, x)
    # Neighbouring classes keep the larger part; ends meet in the middle, which is the third.
    pairs = {(a, b): 0.55 * (a + 0.5) + 0.45 * (b + 0.5) for a in range(3) for b in range(3)}
    right = {pair: int(value) == pair[0] for pair, value in pairs.items()}
    order = cycle(x)
    label = x[order][:, 0].astype(int)
    met = list(zip(label, np.roll(label, -1), strict=True))
    within = [right[p] for p in met if p[0] == p[1]]
    between = [right[p] for p in met if p[0] != p[1]]
    assert all(within)
    assert MixVal().score(e) == pytest.approx((1 + np.mean(between)) / 2)


def test_a_model_of_one_class_gets_half_and_of_islands_little(rule):
    x = tight()
    one = evidence_of(rule, x, predict=lambda x: np.eye(3, dtype=np.float32)[[0] * len(x)])
    assert MixVal().score(one) == 0.5

    def islands(x):  # right on the instances, the third class wherever else
        near = np.abs(x[:, 0] % 1 - 0.5) < 0.011
        place = np.where(near & (x[:, 0] < 2), x[:, 0].astype(int), 2)
        return np.eye(3, dtype=np.float32)[place]

    assert MixVal().score(evidence_of(rule, x, predict=islands)) < 0.8


@pytest.mark.parametrize("n", [2, 3, 4])
def test_two_predicted_classes_always_meet(rule, n):
    x = np.concatenate([np.full(n - 1, 0.5), [1.5]]).astype(np.float32)[:, None]
    got = MixVal().score(evidence_of(rule, x))
    assert got == 1  # 0.55 and 0.45 of 0.5 and 1.5 stay on the side of the larger part


def test_dense_sparse_series_and_image_mix_to_the_same(rule):
    x = tight()
    dense = MixVal().score(evidence_of(rule, x))
    assert MixVal().score(evidence_of(rule, sparse.csr_matrix(x))) == pytest.approx(dense, abs=0.1)
    series = evidence_of(rule, x[:, :, None], "series")
    image = evidence_of(rule, np.repeat(x, 4).reshape(60, 2, 2, 1).astype(np.float32), "image")
    for e in (series, image):
        assert MixVal().score(e) == pytest.approx(dense, abs=0.1)


@pytest.mark.parametrize("to", [lambda x: x, sparse.csr_matrix], ids=["dense", "csr"])
def test_a_mixture_is_what_it_says(to):
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    got = mixture(to(x), np.array([0, 1]), np.array([2, 0]), 0.75)
    got = got.toarray() if sparse.issparse(got) else got
    assert got == pytest.approx(0.75 * x[[0, 1]] + 0.25 * x[[2, 0]])
    assert got.dtype == np.float32


def test_bytes_do_not_wrap_around():
    x = np.array([[250], [240]], np.uint8)
    assert mixture(x, np.array([0]), np.array([1]), 0.55) == pytest.approx(245.5)


def test_a_network_on_images_is_probed(adapted):
    strategy = SourceOnly(learner=Neural(training=Training(steps=5)))
    assert 0 <= MixVal().score(adapted("image", strategy).blind()) <= 1


def test_mixtures_are_held_in_parts_and_bounded(rule, monkeypatch):
    e = evidence_of(rule, tight(200))
    whole = MixVal().score(e)
    monkeypatch.setattr(mixval, "VALUES", 64)
    assert MixVal().score(e) == whole
    assert e.adapted.calls == 1 + 1 + 4
    monkeypatch.setattr(mixval, "ROWS", 100)
    assert MixVal().score(e) == pytest.approx(whole, abs=0.15)


def test_what_cannot_be_mixed_is_refused(rule):
    edge = Relation(index=np.array([[0], [1]]))
    graph = Graph(tight(), (edge,))
    schema = Schema(kind="graph", shape=(1,), classes=THREE)
    e = Evidence(
        adapted=rule(lambda g: by_position(g.features)),
        target=Domain(name="citations", schema=schema, x=graph),
    )
    with pytest.raises(BadInput, match="two instances of a 'graph' domain have no mixture"):
        MixVal().score(e)
    with pytest.raises(BadInput, match="mixval needs at least 2 instances, target has 1"):
        MixVal().score(evidence_of(rule, tight(1)))
    with pytest.raises(BadInput, match=r"share between 0.5 and 1, got 0.5"):
        MixVal(share=0.5)
    bad = evidence_of(rule, tight(), predict=lambda x: by_position(x) * np.nan)
    with pytest.raises(PluginError, match="NaN or infinite"):
        MixVal().score(bad)
