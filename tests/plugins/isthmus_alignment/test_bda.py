from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isthmus import BadInput, Labelled, Task
from isthmus_alignment.shallow.bda import BDA
from isthmus_alignment.shallow.jda import JDA
from isthmus_alignment.shallow.tca import TCA

Draw = Callable[..., tuple[Task, Labelled]]


def features(strategy: Any, draw: Draw) -> Any:
    task, target = draw(90, 80, d=12, classes=5)
    return strategy.adapt(task).observe(target.x)[0]


def test_half_is_jda(shifted: Draw) -> None:
    found = features(BDA(balance=0.5, components=4), shifted)
    np.testing.assert_allclose(found, features(JDA(components=4), shifted), atol=1e-5)


def test_nothing_for_the_classes_is_tca(shifted: Draw) -> None:
    found = features(BDA(balance=0.0, components=4), shifted)
    np.testing.assert_allclose(found, features(TCA(components=4), shifted), atol=1e-5)


def test_the_balance_is_a_choice(shifted: Draw) -> None:
    found = [features(BDA(balance=b, components=4), shifted) for b in (0.0, 1.0)]
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_left_out_it_is_estimated_and_said(shifted: Draw) -> None:
    task, target = shifted(90, 80)
    adapted = BDA().adapt(task)
    said = adapted.diagnostics["balance"]
    assert len(said) == len(adapted.diagnostics["pseudo_labels_changed"]) - 1
    assert all(0 <= b <= 1 for b in said)
    # With that value given, the last iteration does the same.
    if len(set(said)) == 1:
        again = BDA(balance=said[0]).adapt(task)
        np.testing.assert_allclose(again.predict(target.x), adapted.predict(target.x), atol=1e-6)


@pytest.mark.parametrize(
    "setting",
    [{"components": 0}, {"iterations": 0}, {"penalty": 0.0}, {"balance": 1.1}, {"balance": -0.1}],
)
def test_refuses_what_has_no_solution(setting: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(setting))):
        BDA(**setting)
