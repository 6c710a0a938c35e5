from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import Adapted, Evidence, Labelled, Schema


class Rule(Adapted):
    """An artefact that answers ``rule(x)``, shows ``features(x)`` and counts its passes."""

    def __init__(
        self, rule: Callable[[Any], Any], features: Callable[[Any], Any] | None = None
    ) -> None:
        self.rule, self.features, self.calls = rule, features, 0

    def predict(self, x: Any) -> Any:
        self.calls += 1
        return self.rule(x)

    def observe(self, x: Any) -> Any:
        p = self.predict(x)
        return (self.features(x) if self.features else p), p


@pytest.fixture
def rule() -> type[Rule]:
    return Rule


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    """Return what builds Evidence of given labels and predictions; x holds the row number."""

    def build(
        y: Any, p: Any, classes: tuple[str, ...] | None = None, features: Any = None
    ) -> Evidence:
        p = np.asarray(p, np.float32)
        y = np.asarray(y)
        if np.issubdtype(y.dtype, np.integer):
            names = classes or tuple(f"class {i}" for i in range(p.shape[1]))
            schema = Schema(kind="table", shape=(1,), classes=names)
        else:
            names = tuple(f"output {i}" for i in range(p.shape[1]))
            schema = Schema(kind="table", shape=(1,), outputs=names)
        x = np.arange(len(y), dtype=np.float32)[:, None]
        target = Labelled(name="target", schema=schema, x=x, y=y)

        def look_up(table: Any) -> Callable[[Any], Any]:
            return lambda x: table[x[:, 0].astype(int)]

        seen = None if features is None else look_up(np.asarray(features, np.float32))
        return Evidence(adapted=Rule(look_up(p), seen), target=target)

    return build
