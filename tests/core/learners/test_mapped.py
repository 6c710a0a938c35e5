"""A map in front of a head is the head on mapped rows."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Run, Schema
from isthmus.learners import Linear, NearestNeighbours
from isthmus.learners.mapped import Map, mapped

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)).astype(np.float32), RNG.integers(0, 3, 60)
SCHEMA = Schema(kind="table", shape=(4,), classes=("a", "b", "c"))


@pytest.mark.parametrize("learner", [Linear(), NearestNeighbours(k=3)])
@pytest.mark.parametrize("with_matrix", [True, False])
def test_the_head_sees_mapped_rows(learner, with_matrix):
    head = learner.fit(X, Y, None, SCHEMA, Run())
    shift, scale = RNG.normal(size=4), RNG.uniform(0.5, 2, 4)
    matrix = RNG.normal(size=(4, 4)) if with_matrix else None
    found = mapped(head, target=Map(shift=shift, scale=scale, matrix=matrix)).predict(X)
    z = (X - shift) * scale
    z = (z if matrix is None else z @ matrix).astype(np.float32)
    np.testing.assert_allclose(found, head.predict(z), atol=1e-5)


def test_a_map_may_change_the_number_of_columns():
    head = Linear().fit(X, Y, None, SCHEMA, Run())
    wide = RNG.normal(size=(9, 7)).astype(np.float32)
    matrix = RNG.normal(size=(7, 4))
    found = mapped(head, target=Map(shift=np.zeros(7), scale=np.ones(7), matrix=matrix)).predict(
        wide
    )
    np.testing.assert_allclose(found, head.predict((wide @ matrix).astype(np.float32)), atol=1e-5)
