"""mSDA: each layer is the optimum of an expectation that can be written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, Domain, Labelled, Run, Schema, Task
from isthmus_alignment.shallow.msda import MSDA, RIDGE, denoiser, restored

RNG = np.random.default_rng(0)


def expected_gradient(x, wanted, weight, corruption):
    """Return the gradient of the expected squared loss and ridge, over all ways to strike out."""
    n, d = x.shape
    gradient = RIDGE * weight.astype(float)
    for kept in itertools.product([0, 1], repeat=d):
        share = np.prod([1 - corruption if k else corruption for k in kept])
        read = np.concatenate([x * kept, np.ones((n, 1))], 1)
        gradient += share * (read @ weight.T - x[:, wanted]).T @ read
    return gradient


@pytest.mark.parametrize("corruption", [0.3, 0.8])
def test_a_layer_is_the_optimum_over_all_corruptions(corruption):
    x = RNG.normal(size=(40, 5)).astype(np.float32) + 0.5
    weight = denoiser(x, corruption, pivots=5)
    gradient = expected_gradient(x.astype(float), np.arange(5), weight, corruption)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


def test_without_corruption_rows_are_restored_exactly():
    x = RNG.normal(size=(40, 5)).astype(np.float32)
    np.testing.assert_allclose(restored(x, denoiser(x, 1e-9, 5)), np.tanh(x), atol=1e-3)


def test_groups_of_columns_each_restore_the_pivots():
    """Each group alone has the optimum; together they are averaged."""
    x = RNG.normal(size=(60, 6)).astype(np.float32)
    x[:30, [1, 4]] = 0  # the others are the pivots
    x[:40, 1] = 0
    weight = denoiser(x, 0.5, pivots=4)
    common = np.array([0, 2, 3, 5, 4, 1])
    assert weight.shape == (4, 7)
    for group in (common[::2], common[1::2]):
        alone = 2 * weight[:, group]
        # The offset is shared, so it is taken from the optimum of these columns.
        offset = x[:, common[:4]].mean(0) - 0.5 * x[:, group].mean(0) @ alone.T
        full = np.concatenate([alone, offset[:, None]], 1)
        gradient = np.zeros_like(full)
        for kept in itertools.product([0, 1], repeat=3):
            read = np.concatenate([x[:, group] * kept, np.ones((60, 1))], 1)
            gradient += (read @ full.T - x[:, common[:4]]).T @ read / 8
        np.testing.assert_allclose(gradient, 0, atol=2e-3)


def words(n, seed, target):
    """Documents whose class shows in common words and, by domain, in words of its own."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    common = rng.random((n, 20)) < np.where(y[:, None] == np.arange(20) % 2, 0.25, 0.15)
    own = rng.random((n, 40)) < np.where(y[:, None] == np.arange(40) % 2, 0.35, 0.05)
    none = np.zeros((n, 40), bool)
    parts = [common, none, own] if target else [common, own, none]
    return sparse.csr_matrix(np.concatenate(parts, 1).astype(np.float32)), y


def task():
    schema = Schema(kind="table", shape=(100,), classes=("bad", "good"))
    (xs, ys), (xt, _) = words(300, 0, target=False), words(300, 1, target=True)
    source = Labelled(name="s", schema=schema, x=xs, y=ys)
    return Task(sources=(source,), target=Domain(name="t", schema=schema, x=xt))


def test_words_of_the_target_are_learnt_through_common_ones():
    x, y = words(500, 2, target=True)
    alone = MSDA(layers=1, corruption=1e-6).adapt(task())
    adapted = MSDA(layers=3).adapt(task())
    accuracy = [(a.predict(x).argmax(1) == y).mean() for a in (alone, adapted)]
    assert accuracy[1] > accuracy[0] + 0.1


def test_progress_counts_the_layers():
    told = []
    MSDA(layers=2).adapt(task(), Run(progress=lambda *a: told.append(a)))
    assert told[:3] == [("denoising layers", i, 2) for i in range(3)]


@pytest.mark.parametrize("wrong", [{"corruption": 0.0}, {"corruption": 1.0}, {"layers": 0}])
def test_wrong_settings_are_told(wrong):
    (name,) = wrong
    with pytest.raises(BadInput, match=name):
        MSDA(**wrong)
