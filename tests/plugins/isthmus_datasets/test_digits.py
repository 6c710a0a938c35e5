"""The embedded digits: honest halves, held-out splits, shifts that are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from isthmus import BadInput, rows
from isthmus_datasets.digits import SHIFTS


def keys(domain):
    return set(rows.row_keys(domain.x).tolist())


def test_upright_digits_are_those_of_scikit_learn(load):
    d = load("digits:upright#half=all&split=all")
    assert d.schema.kind == "image"
    assert d.x.shape == (1797, 8, 8, 1)
    assert d.x.dtype == np.uint8
    raw = load_digits()
    np.testing.assert_array_equal(d.y, raw.target)
    np.testing.assert_allclose(d.x[..., 0], raw.images * 255 / 16, atol=0.51)
    assert d.x.max() == 255


@pytest.mark.parametrize("name", sorted(SHIFTS))
def test_every_domain_loads_and_repeats(load, name):
    d = load(f"digits:{name}", seed=3)
    assert d.name == name
    assert d.schema.classes == tuple("0123456789")
    assert len(d) in (628, 629, 630)
    assert np.bincount(d.y).min() > 55
    np.testing.assert_array_equal(d.x, load(f"digits:{name}", seed=3).x)
    if name != "upright":
        assert (d.x != load("digits:upright#half=b&seed=3").x).any()


def test_source_and_target_never_show_the_same_digit(load):
    # `angle=0` shows the digits of the rotated domain as they were written
    for seed in (0, 1):
        source = keys(load("digits:upright#split=all", seed))
        target = keys(load("digits:rotated#angle=0&split=all", 1 - seed))
        assert not source & target
    whole = load("digits:upright#split=all&half=all")
    halves = [load(f"digits:upright#split=all&half={h}") for h in "ab"]
    assert sum(map(len, halves)) == len(whole) == 1797
    assert keys(halves[0]) | keys(halves[1]) == keys(whole)


def test_train_and_test_are_disjoint_and_follow_the_seed(load):
    train, test, all_ = (load(f"digits:inverted#split={s}") for s in ("train", "test", "all"))
    assert not keys(train) & keys(test)
    assert len(train) + len(test) == len(all_)
    assert abs(len(test) / len(all_) - 0.3) < 0.01
    assert keys(load("digits:inverted", seed=1)) != keys(train)
    assert keys(load("digits:inverted#seed=0", seed=1)) == keys(train)
    assert keys(load("digits:inverted")) == keys(train)


def test_shifts_are_what_they_say(load):
    def whole(name, options=""):
        return load(f"digits:{name}#half=all&split=all{options}").x[..., 0].astype(float)

    upright = whole("upright")
    np.testing.assert_array_equal(whole("inverted"), 255 - upright)
    quarter = whole("rotated", "&angle=90")
    np.testing.assert_allclose(quarter, np.rot90(upright, axes=(1, 2)), atol=1)
    assert (whole("thick") >= upright).all()
    assert whole("thick").mean() > 1.2 * upright.mean()
    assert np.abs(np.diff(whole("blurred"))).mean() < 0.8 * np.abs(np.diff(upright)).mean()
    middle = (upright > 100) & (upright < 160)
    assert 60 < (whole("noisy") - upright)[middle].std() < 80


def test_noise_follows_the_seed_and_not_the_split(load):
    every = keys(load("digits:noisy#split=all"))
    assert keys(load("digits:noisy#split=test")) <= every
    assert not keys(load("digits:noisy#split=all", seed=1)) & every


def test_as_a_table(load):
    d = load("digits:upright#as=table")
    assert d.schema.kind == "table"
    assert d.x.shape[1:] == d.schema.shape == (64,)
    assert d.x.dtype == np.float32
    assert d.x.min() == 0
    assert d.x.max() == 1


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("digits:rotatd", "there is no digits:rotatd"),
        ("digits:blurred#angle=10", "digits:blurred takes no angle"),
        ("digits:rotated#angle=ten", "angle=ten, expected a number"),
        ("digits:rotated#half=c", "half=c is not one of a, b, all"),
        ("digits:rotated#as=series", "as=series is not one of image, table, graph"),
        ("digits:rotated#sed=1", "no option 'sed'"),
    ],
)
def test_mistakes_in_the_uri(load, uri, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(uri)
