"""What every reweighter says of itself is JSON, as a study writes it down."""

from __future__ import annotations

import json

import pytest

from isthmus.settings import configure
from isthmus.testing.domains import MAKERS
from isthmus_reweighting.plugin import isthmus_strategies


@pytest.mark.parametrize("cls", isthmus_strategies(), ids=lambda cls: cls.name)
def test_diagnostics_are_json(cls: type) -> None:
    short = {"training.steps": 10} if hasattr(cls, "training") else {}
    strategy = configure(cls, short)
    task, _ = MAKERS["table" if "classes" in strategy.needs.outputs else "table:values"](0)
    found = strategy.adapt(task).diagnostics
    assert json.loads(json.dumps(found, allow_nan=False)) == found
