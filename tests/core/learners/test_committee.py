"""Several models that answer as one."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Run
from isthmus.artefact import load
from isthmus.learners import Linear, NearestNeighbours
from isthmus.learners.committee import committee
from isthmus.learners.mapped import Map, mapped
from isthmus.testing.domains import MAKERS

TASK, HELD_OUT = MAKERS["table"](0)
SOURCE = TASK.source


def fit(learner):
    return learner.fit(SOURCE.x, SOURCE.y, None, SOURCE.schema, Run())


@pytest.fixture
def members():
    d = SOURCE.x.shape[1]
    moved = Map(shift=np.ones(d), scale=np.ones(d))
    plain = Map(shift=np.zeros(d), scale=np.ones(d))
    return [fit(NearestNeighbours(k=3)), mapped(fit(Linear()), target=moved, source=plain)]


def test_it_answers_with_the_mean_on_either_side(members, tmp_path):
    together, x = committee(members), HELD_OUT.x
    mean = np.mean([m.predict(x) for m in members], 0)
    np.testing.assert_allclose(together.predict(x), mean, atol=1e-6)
    of_source = np.mean([m.for_source().predict(x) for m in members], 0)
    np.testing.assert_allclose(together.for_source().predict(x), of_source, atol=1e-6)
    features, p = together.observe(x)
    assert features.shape == (len(x), 2 * x.shape[1])
    np.testing.assert_allclose(p, mean, atol=1e-6)
    together.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path)[0].predict(x), together.predict(x))


def test_one_member_stays_as_it_is(members):
    assert committee(members[:1]) is members[0]
