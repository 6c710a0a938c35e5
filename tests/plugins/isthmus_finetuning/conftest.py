from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from isthmus import Run, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.architectures import MLP
from isthmus.learners.loop import Training
from isthmus.learners.neural import Neural
from isthmus.testing.domains import table, table_values

SHORT = Training(steps=80)


@pytest.fixture
def started() -> Callable[..., tuple[Task, Any]]:
    """Return what makes a task that starts from a network trained on the sources."""

    def make(values: bool = False, dropout: float = 0.0) -> tuple[Task, Any]:
        task, heldout = (table_values if values else table)(0)
        network = MLP(widths=(16, 8), dropout=dropout)
        start = Neural(network=network, training=SHORT).fit_task(task, None, Run())
        return replace(task, sources=(), start=start), heldout

    return make


@pytest.fixture
def weights() -> Callable[..., dict[str, Any]]:
    """Return what copies the tensors of an artefact whose names begin with ``prefix``."""

    def copied(adapted: Any, prefix: str = "") -> dict[str, Any]:
        assert isinstance(adapted, TorchAdapted)
        state = adapted.part.state_dict()
        return {k: v.clone() for k, v in state.items() if k.startswith(prefix)}

    return copied
