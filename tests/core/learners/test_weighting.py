"""Weights are checked, have mean 1, and are bounded before a learner sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from isthmus import PluginError, Run, RunFailed
from isthmus.learners import Linear
from isthmus.learners.weighting import Reweighting, diagnose
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
    assert found == {"effective_sample_size": 2.0, "rows": 4, "largest": 2.0, "ignored_share": 0.5}
