from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isthmus import Run, Task, UnsupportedTask
from isthmus.learners.linear import Linear
from isthmus.testing.domains import table, table_values
from isthmus_baselines.source_only import SourceOnly
from isthmus_baselines.target_only import TargetOnly


def test_says_that_it_reads_target_labels() -> None:
    assert TargetOnly.oracle
    with pytest.raises(UnsupportedTask, match="target-only needs labelled target instances"):
        TargetOnly().adapt(replace(table(0)[0], support=None))


@pytest.mark.parametrize("make", [table, table_values], ids=["classes", "values"])
def test_is_the_default_learner_on_the_labelled_target(make: Any) -> None:
    task, heldout = make(0)
    s = task.support
    wanted = Linear().fit(s.x, s.y, None, s.schema, Run()).predict(heldout.x)
    np.testing.assert_array_equal(TargetOnly().adapt(task).predict(heldout.x), wanted)


def test_the_sources_change_nothing() -> None:
    task, heldout = table(0)
    with_sources = TargetOnly().adapt(task).predict(heldout.x)
    alone = TargetOnly().adapt(Task(target=task.target, support=task.support))
    np.testing.assert_array_equal(alone.predict(heldout.x), with_sources)


def test_is_the_ceiling_where_the_domains_contradict_each_other() -> None:
    """Every source label names another class than the target's."""
    task, heldout = table(0)
    source = task.sources[0]
    wrong = replace(task, sources=(replace(source, y=(source.y + 1) % 3),))
    floor, ceiling = (
        (s.adapt(wrong).predict(heldout.x).argmax(1) == heldout.y).mean()
        for s in (SourceOnly(), TargetOnly())
    )
    assert floor < 0.2
    assert ceiling > 0.8
