from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import Labelled, Schema, Task


@pytest.fixture
def shifted() -> Callable[..., tuple[Task, Labelled]]:
    """Return what draws two domains of d columns: the target is mixed, moved, and labelled."""

    def draw(
        n_source: int = 60,
        n_target: int = 50,
        d: int = 8,
        classes: int = 3,
        seed: int = 0,
        noise: float = 1.0,
    ) -> tuple[Task, Labelled]:
        rng = np.random.default_rng(seed)
        names = tuple("abcdefgh"[:classes])
        schema = Schema(kind="table", shape=(d,), classes=names)
        centres = 2 * rng.normal(size=(classes, d))
        mix = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / np.sqrt(d)

        def domain(name: str, n: int, moved: bool) -> Labelled:
            y = np.arange(n) % classes
            x: Any = centres[y] + noise * rng.normal(size=(n, d))
            x = x @ mix + 0.5 if moved else x
            return Labelled(name=name, schema=schema, x=x.astype(np.float32), y=y)

        target = domain("target", n_target, True)
        return Task(sources=(domain("source", n_source, False),), target=target), target

    return draw
