"""One temperature for scores, against the truth and an optimum in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from isthmus.learners.sharpness import sharpness


def drawn(factor: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(n, 3))
    p = np.exp(factor * scores)
    p /= p.sum(1, keepdims=True)
    return scores, (rng.random((n, 1)) > p.cumsum(1)).sum(1)


@pytest.mark.parametrize("factor", [2.0, 5.0])
def test_scores_become_as_sharp_as_the_labels_allow(factor: float) -> None:
    assert sharpness(*drawn(factor)) == pytest.approx(factor, rel=0.1)


def test_the_factor_stays_within_its_limits() -> None:
    scores, _ = drawn(1.0)
    assert sharpness(scores, scores.argmax(1), most=7.0) == pytest.approx(7, rel=1e-3)
    assert sharpness(scores, scores.argmin(1), least=0.5) == pytest.approx(0.5, rel=1e-3)


def test_a_weight_is_so_many_equal_rows() -> None:
    scores, y = drawn(2.0, 60)
    count = np.arange(60) % 4
    repeated = sharpness(np.repeat(scores, count, axis=0), np.repeat(y, count))
    assert sharpness(scores, y, count.astype(float)) == pytest.approx(repeated, rel=1e-9)


def test_a_prior_holds_few_right_rows_near_one() -> None:
    """Two rows, both right by a margin of 1: 2 f / (1 + exp f) = ln f at the optimum."""
    scores, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    wanted = brentq(lambda f: 2 * f / (1 + math.exp(f)) - math.log(f), 1, 3)
    assert sharpness(scores, y, prior=1.0) == pytest.approx(wanted, rel=1e-4)
