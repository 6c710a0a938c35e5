"""DEV and its normalised form: control variate by definition, known shifts, degenerate weights."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import BadInput, Evidence, PluginError
from isthmus_evaluators.validators import deep_embedded
from isthmus_evaluators.validators.deep_embedded import (
    DeepEmbeddedValidation,
    NormalisedDeepEmbeddedValidation,
    controlled_risk,
)

BOTH = [DeepEmbeddedValidation, NormalisedDeepEmbeddedValidation]


def by_definition(weight, loss):
    """Return the DEV risk with NumPy's covariance, as algorithm 1 of You et al. has it."""
    both = np.cov(np.stack([weight * loss, weight]), ddof=1)
    eta = -both[0, 1] / both[1, 1]
    return np.mean(weight * loss) + eta * np.mean(weight) - eta


def test_the_risk_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    for n in (3, 200):
        weight, loss = rng.gamma(2, size=n), rng.gamma(1, size=n)
        assert controlled_risk(weight, loss) == pytest.approx(by_definition(weight, loss))


def test_the_control_variate_lowers_the_variance():
    """Over many samples: the same mean as the weighted loss, and less spread."""
    rng = np.random.default_rng(1)
    weight = rng.lognormal(-0.125, 0.5, size=(2000, 200))  # of mean 1
    loss = rng.gamma(2, 0.5, size=weight.shape)
    plain = (weight * loss).mean(1)
    controlled = np.array([controlled_risk(w, e) for w, e in zip(weight, loss, strict=True)])
    assert controlled.mean() == pytest.approx(plain.mean(), abs=0.01)
    assert controlled.std() < 0.9 * plain.std()


@pytest.mark.parametrize("weight", [[1.0], [2.0, 2.0, 2.0], [0.3 + 1e-12, 0.3, 0.3]])
def test_weights_without_variance_leave_the_weighted_loss(weight):
    weight, loss = np.array(weight), np.arange(1.0, len(weight) + 1)
    assert controlled_risk(weight, loss) == pytest.approx(np.mean(weight * loss), rel=1e-6)


def test_a_constant_loss_is_the_risk_whatever_the_weights():
    weight = np.random.default_rng(2).gamma(0.3, size=100)
    assert controlled_risk(weight, np.full(100, 0.7)) == pytest.approx(0.7)


@pytest.mark.parametrize("cls", BOTH)
def test_without_shift_it_is_the_source_risk(shifted, cls, plain_risk):
    e = shifted(0.0)
    same = Evidence(adapted=e.adapted, target=e.source, source=e.source)
    assert cls(loss="zero-one").score(same) == pytest.approx(plain_risk(e), abs=1e-6)
    assert cls(loss="zero-one").score(e) == pytest.approx(plain_risk(e), abs=0.02)


@pytest.mark.parametrize("loss", ["log", "zero-one"])
def test_dev_finds_the_target_risk(shifted, loss):
    e = shifted(1.5)

    def risk(p, y):
        if loss == "zero-one":
            return (p.argmax(1) != y).mean()
        return -np.log(p[np.arange(len(y)), y].astype(float).clip(1e-7)).mean()

    true, plain = risk(e.predictions, e.target.y), risk(e.source_predictions, e.source.y)
    got = DeepEmbeddedValidation(loss=loss).score(e.blind())
    assert abs(got - true) < abs(plain - true) / 3


def test_features_and_not_instances_tell_the_domains_apart(shifted, plain_risk):
    """Features that hide the shift make every weight 1."""
    e = shifted(2.0, features=lambda x: np.tanh(x[:, 1:]))
    for cls in BOTH:
        assert cls(loss="zero-one").score(e) == pytest.approx(plain_risk(e), abs=0.02)


def test_the_normalised_risk_is_an_average_with_weights_around_one(shifted):
    e = shifted(1.5, n=300)
    log_ratio, loss = deep_embedded._ratios(e, "log")
    weight = np.exp(log_ratio)
    weight = weight / weight.max() - (weight / weight.max()).mean() + 1
    assert weight.min() >= 0
    assert weight.max() <= 2
    got = NormalisedDeepEmbeddedValidation().score(e)
    assert got == pytest.approx(np.average(loss, weights=weight))
    assert loss.min() <= got <= loss.max()


@pytest.mark.parametrize("shift", [50, 1e6])
@pytest.mark.parametrize("n", [1, 3, 100])
@pytest.mark.parametrize("cls", BOTH)
def test_domains_that_do_not_overlap_give_a_finite_score(shifted, cls, n, shift):
    assert np.isfinite(cls().score(shifted(shift, n=n)))


@pytest.mark.parametrize("cls", BOTH)
def test_large_and_wide_domains_are_sampled(shifted, monkeypatch, cls):
    seen = []
    real = deep_embedded.log_density_ratio
    monkeypatch.setattr(
        deep_embedded,
        "log_density_ratio",
        lambda a, b: seen.append((a.shape, b.shape)) or real(a, b),
    )
    e = shifted(n=1000, d=4)
    monkeypatch.setattr(deep_embedded, "ROWS", 600)
    cls().score(e)
    monkeypatch.setattr(deep_embedded, "VALUES", 1_000)
    cls().score(e)
    assert seen == [((600, 4), (600, 4)), ((250, 4), (250, 4))]


@pytest.mark.parametrize("cls", BOTH)
def test_one_pass_per_domain(shifted, cls):
    e = shifted(n=50).blind()
    cls().score(e)
    cls().score(e)
    assert e.adapted.calls == 2


def test_features_that_cannot_be_used_are_the_artefacts_fault(shifted):
    for bad, words in [(lambda x: x * np.nan, "NaN or infinite"), (lambda x: x[0], "shape")]:
        with pytest.raises(PluginError, match=f"features of.*{words}"):
            DeepEmbeddedValidation().score(shifted(n=5, features=bad))


@pytest.mark.parametrize("cls", BOTH)
def test_it_asks_for_held_out_source_data(shifted, cls):
    e = shifted(n=10)
    with pytest.raises(BadInput, match="held out of the training"):
        cls().score(Evidence(adapted=e.adapted, target=e.target))
