from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from isthmus import Evidence, Labelled, Recipe, Run, Schema, Task
from isthmus.testing.domains import MAKERS
from isthmus_alignment.shallow.coral import CORAL
from isthmus_baselines.source_only import SourceOnly

BINARY = ("no", "yes")


def logistic(x: Any, at: float, softness: float = 0.3) -> Any:
    """Return the probabilities of a logistic model that says yes where the first value > at."""
    values = np.asarray(x[:, 0].toarray() if sparse.issparse(x) else x, np.float64)
    z = (values.reshape(len(values), -1)[:, 0] - at) / softness
    yes = 1 / (1 + np.exp(-np.clip(z, -30, 30)))
    return np.stack([1 - yes, yes], 1).astype(np.float32)


@pytest.fixture
def split() -> Callable[..., Any]:
    return logistic


@pytest.fixture
def table() -> Callable[..., Labelled]:
    def build(name: str, x: Any, y: Any) -> Labelled:
        schema = Schema(kind="table", shape=x.shape[1:], classes=BINARY)
        return Labelled(name=name, schema=schema, x=x, y=y)

    return build


@pytest.fixture
def shifted(rule: Any, table: Any) -> Callable[..., Evidence]:
    """Return what builds evidence under covariate shift: y = [x0 > 1], the model says [x0 > 0].

    The source is N(0, I), the target N((shift, 0, ...), I): the error rate of each is P(0<x0<1).
    """

    def build(
        shift: float = 1.5,
        n: int = 4000,
        d: int = 3,
        seed: int = 0,
        to: Callable[[Any], Any] = lambda x: x,
        features: Callable[[Any], Any] = lambda x: x,
    ) -> Evidence:
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, n, d)).astype(np.float32)
        b[:, 0] += np.float32(shift)
        source = table("source", to(a), (a[:, 0] > 1).astype(np.int64))
        target = table("target", to(b), (b[:, 0] > 1).astype(np.int64))
        model = rule(lambda x: logistic(x, 0), features)
        return Evidence(adapted=model, target=target, source=source)

    return build


@pytest.fixture
def adapted() -> Callable[..., Evidence]:
    """Return what adapts a synthetic task and shows all that a study shows an evaluator."""

    def build(kind: str = "table", strategy: Any = None, n: int = 120, seed: int = 0) -> Evidence:
        task, heldout = MAKERS[kind](seed, n)
        strategy = strategy or (CORAL() if kind.startswith("table") else SourceOnly())
        run, source = Run(seed=seed), task.source
        kept, held = np.arange(0, n, 2), np.arange(1, n, 2)
        task = Task(sources=(source.take(kept),), target=task.target)
        return Evidence(
            adapted=strategy.adapt(task, run),
            target=heldout,
            source=source.take(held),
            recipe=Recipe(strategy=strategy, task=task, run=run),
        )

    return build


def risk(y: Any, p: Any) -> float:
    return float((p.argmax(1) != y).mean())


@pytest.fixture
def plain_risk() -> Callable[[Evidence], float]:
    return lambda e: risk(e.source.y, e.source_predictions)


@pytest.fixture
def true_risk() -> Callable[[Evidence], float]:
    return lambda e: risk(e.target.y, e.predictions)
