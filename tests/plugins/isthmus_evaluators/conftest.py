from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import Adapted, Evidence, Labelled, Schema


class Rule(Adapted):
    """An artefact that answers ``rule(x)`` and counts how often it is asked."""

    def __init__(self, rule: Callable[[Any], Any]) -> None:
        self.rule, self.calls = rule, 0

    def predict(self, x: Any) -> Any:
        self.calls += 1
        return self.rule(x)


@pytest.fixture
def rule() -> type[Rule]:
    return Rule


@pytest.fixture
def evidence() -> Callable[..., Evidence]:
    """Return what builds Evidence of given labels and predictions; x holds the row number."""

    def build(y: Any, p: Any, classes: tuple[str, ...] | None = None) -> Evidence:
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
        return Evidence(adapted=Rule(lambda x: p[x[:, 0].astype(int)]), target=target)

    return build
