"""Density-ratio weights reach the loss of a network as they reach any other learner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isthmus import Labelled, Schema, Task
from isthmus.learners import Neural, Training
from isthmus.learners.architectures import MLP
from isthmus.settings import configure
from isthmus_baselines.source_only import SourceOnly
from isthmus_reweighting.discriminator import Discriminator
from isthmus_reweighting.importance_network import ImportanceNetwork
from isthmus_reweighting.ulsif import ULSIF

NARROW = Neural(network=MLP(widths=(2,)), training=Training(steps=250, lr=0.05))
NETWORK = ImportanceNetwork(
    network=MLP(widths=(16,)),
    training=replace(ImportanceNetwork().training, steps=100, lr=5e-3, batch_size=128),
)


def two_rules() -> tuple[Task, Labelled]:
    """Return a source whose labels follow column 1, but the other way in the part of the target.

    A network of two units can learn one of the rules.
    """
    rng = np.random.default_rng(0)
    schema = Schema(kind="table", shape=(2,), classes=("a", "b"))

    def draw(n: int, there: float) -> Labelled:
        side = rng.random(n) < there
        x = rng.normal(size=(n, 2))
        x[:, 0] = 0.5 * x[:, 0] + np.where(side, 2, -2)
        y = ((x[:, 1] > 0) ^ side).astype(np.int64)
        return Labelled(name="d", schema=schema, x=x.astype(np.float32), y=y)

    target = draw(400, 1.0)
    return Task(sources=(draw(800, 0.3),), target=target), target


@pytest.mark.parametrize(
    "strategy", [ULSIF(), Discriminator(), NETWORK], ids=["ulsif", "discriminator", "network"]
)
def test_a_narrow_network_learns_the_rule_of_the_target(strategy: Any) -> None:
    task, target = two_rules()

    def accuracy(recipe: Any) -> float:
        return float((recipe.adapt(task).predict(target.x).argmax(1) == target.y).mean())

    assert accuracy(SourceOnly(learner=NARROW)) < 0.5
    assert accuracy(replace(strategy, learner=NARROW)) > 0.9


def test_a_network_is_named_on_the_command_line() -> None:
    task, _ = two_rules()
    chosen = {"learner": "mlp", "learner.training.steps": 5, "flatten": 0.5}
    adapted: Any = configure(ULSIF, chosen).adapt(task)
    assert adapted.diagnostics["training"]["steps"] == 5
    assert adapted.diagnostics["weights"]["rows"] == 800


def test_flattened_to_nothing_it_is_source_only() -> None:
    task, target = two_rules()
    learner = replace(NARROW, training=Training(steps=20))
    flat = Discriminator(flatten=0.0, learner=learner).adapt(task).predict(target.x)
    alone = SourceOnly(learner=learner).adapt(task).predict(target.x)
    np.testing.assert_allclose(flat, alone, atol=1e-5)
