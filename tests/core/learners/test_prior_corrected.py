"""Calibration against its definition, and the corrected part against Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.special import softmax

from isthmus import Schema
from isthmus.artefact import TorchAdapted, load
from isthmus.learners.linear import LinearPart
from isthmus.learners.prior_corrected import Calibration, PriorCorrectedPart, calibrate

SEED = np.random.default_rng
NONE = Calibration(slope=1.0, bias=np.zeros(3))


def head(seed: int = 0) -> LinearPart:
    rng = SEED(seed)
    return LinearPart.of(rng.normal(size=(4, 3)), rng.normal(size=3), classes=True)


def overconfident(n: int, slope: float = 3.0, bias=(0.0, 0.0, 0.0)):
    """Return probabilities that are ``slope`` times too sure and moved by ``bias``, and labels."""
    rng = SEED(n)
    z = rng.normal(size=(n, 3)) * 1.5
    y = (z + rng.gumbel(size=(n, 3))).argmax(1)  # so that softmax(z) is right
    return softmax(slope * z - np.asarray(bias), axis=1), y


def test_temperature_undoes_overconfidence():
    p, y = overconfident(20_000)
    found = calibrate(p, y, "temperature")
    assert found.slope == pytest.approx(1 / 3, rel=0.05)
    assert (found.bias == 0).all()


def test_biases_undo_what_a_temperature_cannot():
    bias = np.array([2.0, -1.0, -1.0])
    p, y = overconfident(20_000, 2.0, bias)
    found = calibrate(p, y, "bias-corrected")
    assert found.slope == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(found.bias - found.bias.mean(), bias / 2, atol=0.06)
    # At the optimum the mean probability of each class is its share, which MLLS relies on.
    np.testing.assert_allclose(found.apply(p).mean(0), np.bincount(y) / len(y), atol=1e-3)


@pytest.mark.parametrize("how", ["temperature", "bias-corrected"])
def test_calibration_minimises_the_penalised_log_loss(how):
    p, y = overconfident(60)

    def loss(v):
        q = softmax(v[0] * np.log(p) + (v[1:] if len(v) > 1 else 0), axis=1)
        away = np.square(v - np.append(1, np.zeros(len(v) - 1))).sum()
        return -np.log(q[np.arange(60), y]).mean() + away / 120

    start = np.append(1.0, np.zeros(3 if how == "bias-corrected" else 0))
    wanted = optimize.minimize(loss, start, method="Nelder-Mead", options={
        "xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000})  # fmt: skip
    found = calibrate(p, y, how)
    got = loss(np.append(found.slope, found.bias) if how == "bias-corrected" else [found.slope])
    assert got == pytest.approx(wanted.fun, abs=1e-9)


def test_no_calibration_leaves_probabilities():
    p, y = overconfident(30)
    np.testing.assert_allclose(calibrate(p, y, "none").apply(p), p, atol=1e-12)


def test_rows_that_are_all_right_keep_a_finite_slope_and_absent_classes_no_bias():
    p = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]] * 10)
    found = calibrate(p, np.tile([0, 1], 10), "bias-corrected")
    assert 1 <= found.slope <= 20
    assert found.bias[2] == 0
    assert np.isfinite(found.apply(p)).all()


def test_the_part_multiplies_by_the_ratio_and_renormalises():
    x, ratio = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), [2.0, 0.5, 1.0]
    p = head()(x).detach().numpy().astype(np.float64)
    got = PriorCorrectedPart.of(head(), NONE, np.array(ratio))(x).detach().numpy()
    wanted = p * ratio
    np.testing.assert_allclose(got, wanted / wanted.sum(1, keepdims=True), atol=1e-6)


def test_the_part_calibrates_first():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    calibration = Calibration(slope=0.4, bias=np.array([0.3, 0.0, -0.2]))
    p = calibration.apply(head()(x).detach().numpy())
    wanted = p * [1.0, 3.0, 1.0]
    got = PriorCorrectedPart.of(head(), calibration, np.array([1.0, 3.0, 1.0]))(x)
    np.testing.assert_allclose(
        got.detach().numpy(), wanted / wanted.sum(1, keepdims=True), atol=1e-6
    )


def test_a_class_that_the_target_lacks_is_never_predicted():
    x = 50 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0))  # very sure rows
    got = PriorCorrectedPart.of(head(), NONE, np.array([1.0, 0.0, 1.0]))(x)
    assert torch.isfinite(got).all()
    assert (got[:, 1] == 0).all()


def test_observes_the_heads_features_with_corrected_probabilities():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    part = PriorCorrectedPart.of(head(), NONE, np.array([2.0, 1.0, 1.0]))
    features, p = part.observe(x)
    torch.testing.assert_close(features, head().observe(x)[0])
    torch.testing.assert_close(p, part(x))


def test_survives_saving(tmp_path):
    calibration = Calibration(slope=0.4, bias=np.array([0.3, 0.0, -0.2]))
    part = PriorCorrectedPart.of(head(), calibration, np.array([2.0, 0.0, 1.0]))
    schema = Schema(kind="table", shape=(4,), classes=("a", "b", "c"))
    adapted = TorchAdapted(part=part, schema=schema)
    adapted.save(tmp_path / "model")
    again, _ = load(tmp_path / "model")
    x = SEED(0).normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), adapted.predict(x))
