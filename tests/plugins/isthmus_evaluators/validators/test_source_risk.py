"""The error on held-out source data, as the model reads its source."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Adapted, BadInput, Domain, Evidence, Labelled, Schema
from isthmus.evaluator import judge
from isthmus_evaluators.validators.source_risk import SourceRisk

SCHEMA = Schema(kind="table", shape=(1,), classes=("a", "b"))
X = np.arange(10, dtype=np.float32)[:, None]


class Steps(Adapted):
    """Class b from a threshold on; the source is read with another one."""

    def __init__(self, threshold, of_source=None):
        self.threshold, self.of_source = threshold, of_source

    def predict(self, x):
        p = (x[:, 0] >= self.threshold).astype(np.float32)
        return np.stack([1 - p, p], 1)

    def for_source(self):
        return self if self.of_source is None else Steps(self.of_source)


def evidence(adapted, source=True):
    y = (X[:, 0] >= 5).astype(np.int64)
    held = Labelled(name="s", schema=SCHEMA, x=X, y=y) if source else None
    return Evidence(adapted=adapted, target=Domain(name="t", schema=SCHEMA, x=X), source=held)


def test_it_counts_errors_on_the_source_as_the_source_is_read():
    assert judge(SourceRisk(), evidence(Steps(5))) == 0
    assert judge(SourceRisk(), evidence(Steps(7))) == pytest.approx(0.2)
    assert judge(SourceRisk(), evidence(Steps(7, of_source=5))) == 0


def test_it_needs_held_out_source_data():
    with pytest.raises(BadInput, match="held out"):
        judge(SourceRisk(), evidence(Steps(5), source=False))
