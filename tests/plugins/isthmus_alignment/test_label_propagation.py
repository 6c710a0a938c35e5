from __future__ import annotations

from typing import Any

import numpy as np
import ot
import pytest

from isthmus import BadInput, Labelled, Run, Schema, Task
from isthmus.learners.neighbours import NearestNeighbours
from isthmus_alignment.transport.label_propagation import OTLabelPropagation

SCHEMA = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))


def draw(seed: int, n: int, shift: float) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 2)) + 3 * np.array([[0, 0], [1, 0], [0, 1]])[y] + shift
    return Labelled(name="d", schema=SCHEMA, x=x.astype(np.float32), y=y)


@pytest.mark.parametrize("plan", ["emd", "sinkhorn"])
def test_labels_are_pots(plan: Any) -> None:
    source, target = draw(0, 50, 0), draw(1, 40, 1)
    strategy = OTLabelPropagation(plan=plan, learner=NearestNeighbours())
    got = strategy.adapt(Task(sources=(source,), target=target)).predict(target.x)
    x_s, x_t = source.x.astype(float), target.x.astype(float)
    if plan == "emd":
        model = ot.da.EMDTransport(norm="median")
    else:
        model = ot.da.SinkhornTransport(reg_e=0.1, norm="median", max_iter=10**4, tol=1e-9)
    wanted = model.fit(Xs=x_s, ys=source.y, Xt=x_t).transform_labels(source.y)
    sure = np.sort(wanted, 1)[:, -1] - np.sort(wanted, 1)[:, -2] > 1e-6
    assert sure.mean() > 0.8
    np.testing.assert_array_equal(got.argmax(1)[sure], wanted.argmax(1)[sure])


def test_a_shift_is_no_trouble() -> None:
    source, target = draw(2, 150, 0), draw(3, 150, 6)
    adapted = OTLabelPropagation().adapt(Task(sources=(source,), target=target))
    assert (adapted.predict(target.x).argmax(1) == target.y).mean() > 0.8  # source-only: 0.3
    assert 1 / 3 < adapted.diagnostics["mean_certainty"] <= 1
    assert adapted.for_source() is adapted  # the learner reads rows as they are


def test_an_exact_plan_is_surer_than_an_entropic_one() -> None:
    task = Task(sources=(draw(4, 60, 0),), target=draw(5, 60, 1))
    sure = [
        OTLabelPropagation(plan=p).adapt(task, Run()).diagnostics["mean_certainty"]
        for p in ("emd", "sinkhorn")
    ]
    assert sure[0] > sure[1]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="reg=0"):
        OTLabelPropagation(reg=0.0)
