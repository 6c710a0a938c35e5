from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from isthmus import Tracker
from isthmus.tracking import tracking


class Heard(Tracker):
    name = "heard"
    summary = "what it was told"

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.told = fails_at, list[Any]()

    def begin(self, out: Path, where: str | None, record: Mapping[str, Any]) -> None:
        self.told.append((out.name, where, dict(record)))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("the server is gone")
        self.told.append((step, dict(values)))

    def end(self, result: Mapping[str, Any] | None) -> None:
        self.told.append(result)


def test_a_tracker_that_fails_costs_neither_the_run_nor_the_others() -> None:
    ill, well, said = Heard(fails_at=1), Heard(), list[str]()
    with tracking([(ill, None), (well, "there")], Path("a/b"), {"seed": 0}, said.append) as both:
        for step in range(3):
            both.log(step, {"task": 0.5})
        both.result = {"seconds": 1.0}
    assert said == ["heard stopped following: ConnectionError: the server is gone"]
    assert ill.told == [("b", None, {"seed": 0}), (0, {"task": 0.5})]
    losses = [(step, {"task": 0.5}) for step in range(3)]
    assert well.told == [("b", "there", {"seed": 0}), *losses, {"seconds": 1.0}]


def test_what_has_begun_is_told_that_the_run_failed() -> None:
    heard = Heard()
    with pytest.raises(KeyboardInterrupt), tracking([(heard, None)], Path("b"), {}, print):
        raise KeyboardInterrupt
    assert heard.told[-1] is None
