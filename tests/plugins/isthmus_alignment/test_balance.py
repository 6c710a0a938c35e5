from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isthmus import Schema
from isthmus_alignment.shallow.balance import a_distance, estimated_balance
from isthmus_alignment.shallow.pair import Pair

SEED = np.random.default_rng


def pair(x_source: Any, x_target: Any, y: Any) -> Pair:
    schema = Schema(kind="table", shape=x_source.shape[1:], classes=("a", "b", "c"))
    return Pair(
        x_source=x_source, x_target=x_target, y=y, schema=schema, to_source=(), to_target=()
    )


@pytest.mark.parametrize(("n_a", "n_b", "d"), [(12, 20, 3), (6, 8, 30)])
def test_left_out_predictions_are_those_of_refitting(n_a: int, n_b: int, d: int) -> None:
    a, b = SEED(0).normal(size=(n_a, d)), SEED(1).normal(size=(n_b, d)) + 0.4
    x, n = np.concatenate([a, b]), n_a + n_b
    side = np.repeat([1 / n_a, -1 / n_b], [n_a, n_b])
    penalty = np.square(x - x.mean(0)).sum() / n
    wrong = []
    for i in range(n):
        rest, y = np.delete(x, i, 0), np.delete(side, i)
        c = rest - rest.mean(0)
        w = np.linalg.solve(c.T @ c + penalty * np.eye(d), c.T @ (y - y.mean()))
        wrong.append(((x[i] - rest.mean(0)) @ w + y.mean()) * side[i] < 0)
    error = (np.mean(wrong[:n_a]) + np.mean(wrong[n_a:])) / 2
    assert 0 < error < 0.5
    assert a_distance(a, b) == pytest.approx(2 * (1 - 2 * error))


def test_the_distance_goes_from_nothing_to_two() -> None:
    x = SEED(2).normal(size=(400, 3))
    assert a_distance(x[:200], x[200:]) < 0.2
    assert 0.3 < a_distance(x[:200], x[200:] + 0.5) < 1.5
    assert a_distance(x[:200], x[200:] + 10) == 2.0


def test_sizes_do_not_decide() -> None:
    """90 rows against 10 of the same distribution: a majority vote would err in 10 of 100."""
    x = SEED(3).normal(size=(1000, 3))
    assert a_distance(x[:900], x[900:]) < 0.2


def test_too_few_or_equal_rows_are_no_distance() -> None:
    assert a_distance(np.ones((1, 2)), np.zeros((5, 2))) == 0.0
    assert a_distance(np.ones((3, 2)), np.ones((5, 2))) == 0.0


def test_the_balance_says_what_differs() -> None:
    rng = SEED(4)
    y = np.arange(600) % 2
    sign = np.where(y == 0, 1.0, -1.0)[:, None]
    x_source = rng.normal(size=(600, 2))
    moved = rng.normal(size=(600, 2)) + [4, 0]  # both classes alike
    crossed = rng.normal(size=(600, 2)) + sign * [4, 0]  # in opposite directions
    assert estimated_balance(pair(x_source, moved, y), y) == pytest.approx(0.5, abs=0.02)
    assert estimated_balance(pair(x_source, crossed, y), y) > 0.9
    mixed = np.where(np.arange(600) < 300, 0, 2)  # class 2 is not in the source: class 0 alone
    found = estimated_balance(pair(x_source, x_source + [9, 0], y), mixed)
    assert found == pytest.approx(0.5, abs=0.01)


def test_nothing_to_tell_apart_is_undecided() -> None:
    x = np.ones((6, 2))
    assert estimated_balance(pair(x, x, np.zeros(6, int)), np.ones(6, int)) == 0.5
