"""Weights are checked, have mean 1, and are bounded before a learner sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, PluginError, Run, RunFailed
from isthmus.learners import Linear
from isthmus.learners.weighting import Reweighting, Weighted, diagnose, mean_gaps
from isthmus.testing.domains import MAKERS

TASK, HELDOUT = MAKERS["table"](0)
N = len(TASK.source)
GIVEN = {
    "flat": np.full(N, 7.0),
    "ramp": np.arange(N, dtype=np.float32),
    "one": np.eye(N)[0],
    "short": np.ones(N - 1),
    "column": np.ones((N, 1)),
    "negative": -np.ones(N),
    "nan": np.full(N, np.nan),
    "zero": np.zeros(N),
}


@dataclass(frozen=True, kw_only=True)
class Named(Reweighting):
    """Weights by name."""

    name: ClassVar[str] = "named"

    which: str = "flat"

    def weights(self, x_source, x_target, rng):
        return GIVEN[self.which]


def test_equal_weights_are_no_weights():
    plain = Linear().fit(TASK.source.x, TASK.source.y, None, TASK.schema, Run())
    found = Named().adapt(TASK)
    np.testing.assert_allclose(found.predict(HELDOUT.x), plain.predict(HELDOUT.x), atol=1e-5)
    assert found.diagnostics["weights"]["effective_sample_size"] == pytest.approx(N)


def test_weights_have_mean_one_and_a_bound():
    before = GIVEN["ramp"].copy()
    w = Named(which="ramp").weigh(TASK.source.x, TASK.target.x, Run().rng())
    assert w.mean() == pytest.approx(1)
    cut = Named(which="ramp", bound=1.5).weigh(TASK.source.x, TASK.target.x, Run().rng())
    np.testing.assert_allclose(cut, np.minimum(w, 1.5))
    np.testing.assert_array_equal(GIVEN["ramp"], before)


def test_too_few_rows_that_count_are_told():
    said = []
    Named(which="one").adapt(TASK, Run(say=said.append))
    assert said[0].startswith(f"only 1 of {N} source rows count")


@pytest.mark.parametrize("which", ["negative", "nan", "zero"])
def test_unusable_weights_end_the_run(which):
    with pytest.raises(RunFailed, match="found no usable weights") as caught:
        Named(which=which).adapt(TASK)
    assert "source-only" in caught.value.hint


@pytest.mark.parametrize("which", ["short", "column"])
def test_weights_of_another_shape_are_the_plugins_fault(which):
    with pytest.raises(PluginError, match="named gave weights of shape"):
        Named(which=which).adapt(TASK)


def test_diagnostics_are_what_they_say():
    found = diagnose(np.array([0.0, 0.0, 2.0, 2.0]))
    assert found.pop("histogram")["rows"] == [2, 0, 0, 0, 0, 2, 0, 0]
    assert found == {"effective_sample_size": 2.0, "rows": 4, "largest": 2.0, "ignored_share": 0.5}


def test_every_weight_is_in_the_histogram_once():
    w = np.array([0.0, 0.005, 0.01, 0.3, 0.999, 1.0, 5.0, 99.0, 100.0, 1e6])
    found = diagnose(w)["histogram"]
    assert found["edges"] == [0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0]
    assert found["rows"] == [2, 1, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_flattening_is_a_power_of_the_weights(power):
    ramp = GIVEN["ramp"].astype(np.float64) / GIVEN["ramp"].mean()
    w = Named(which="ramp", flatten=power).weigh(TASK.source.x, TASK.target.x, Run().rng())
    np.testing.assert_allclose(w, ramp**power / (ramp**power).mean())


def test_relative_weights_are_those_of_a_mixed_denominator():
    ramp = GIVEN["ramp"].astype(np.float64) / GIVEN["ramp"].mean()
    given = Named(which="ramp", relative=0.4).weigh(TASK.source.x, TASK.target.x, Run().rng())
    wanted = ramp / (0.4 * ramp + 0.6)
    np.testing.assert_allclose(given, wanted / wanted.mean())
    one = Named(which="one", relative=0.5).weighted(TASK.source.x, TASK.target.x, Run().rng())
    assert one.values.sum() == pytest.approx(N)


def test_flattened_weights_stay_within_the_bound():
    w = Named(which="ramp", flatten=0.5, bound=1.2)
    assert w.weigh(TASK.source.x, TASK.target.x, Run().rng()).max() == pytest.approx(1.2)


@pytest.mark.parametrize(
    "setting", [{"flatten": -0.1}, {"flatten": 1.1}, {"relative": 1.0}, {"bound": 0.0}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(BadInput, match=f"named: {next(iter(setting))}="):
        Named(**setting)


@dataclass(frozen=True, kw_only=True)
class Telling(Reweighting):
    """Weights that come with facts."""

    name: ClassVar[str] = "telling"

    def weights(self, x_source, x_target, rng):
        return Weighted(values=GIVEN["ramp"], found={"held_out_objective": -0.5}, said="by halves")


def test_what_a_method_found_and_says_reaches_the_user():
    said = []
    found = Telling().adapt(TASK, Run(say=said.append)).diagnostics["weights"]
    assert found["held_out_objective"] == -0.5
    assert said == ["by halves"]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_right_weights_close_the_gap_of_the_means(form):
    x_s = np.repeat([[0.0, 5.0], [1.0, 5.0]], [30, 10], axis=0)  # one quarter is 1
    x_t = np.repeat([[0.0, 5.0], [1.0, 5.0]], [10, 30], axis=0)  # three quarters are
    w = np.where(x_s[:, 0] == 1, 3.0, 1 / 3)
    found = mean_gaps(form(x_s), form(x_t), w)
    assert found["mean_gap_before"] == pytest.approx(0.5 / 0.5)  # pooled, the column is half ones
    assert found["mean_gap_after"] == pytest.approx(0, abs=1e-12)
    assert mean_gaps(form(x_s[:1]), form(x_s[:1]), w[:1])["mean_gap_after"] == 0.0


def test_a_method_may_use_the_device_of_the_run():
    @dataclass(frozen=True, kw_only=True)
    class OnDevice(Named):
        def weights_in(self, x_source, x_target, run):
            return Weighted(values=GIVEN["ramp"], found={"device": run.device})

    found = OnDevice().adapt(TASK, Run(device="cpu")).diagnostics["weights"]
    assert found["device"] == "cpu"
    assert found["largest"] == pytest.approx(GIVEN["ramp"].max() / GIVEN["ramp"].mean())
