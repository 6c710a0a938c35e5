"""The figures that weights are compared by."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks/peers/libraries/ratio.py"


@pytest.fixture(scope="module")
def ratio() -> Any:
    spec = importlib.util.spec_from_file_location("peers_ratio", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for itself
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def kernel(a: Any, b: Any, gamma: float) -> Any:
    return np.exp(-gamma * np.square(a[:, None] - b).sum(2))


def test_the_known_ratio_has_no_error_at_any_scale(ratio: Any) -> None:
    truth = np.random.default_rng(0).exponential(size=50)
    assert ratio.error(3 * truth, truth) == pytest.approx(0, abs=1e-15)
    flat = np.square(truth / truth.mean() - 1).sum() / np.square(truth / truth.mean()).sum()
    assert ratio.error(np.ones(50), truth) == pytest.approx(flat)


def test_matching_is_the_objective_of_kmm_whatever_the_blocks(
    ratio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    x_s, x_t, w = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), rng.uniform(size=30)
    k, to_target = kernel(x_s, x_s, 0.3), kernel(x_s, x_t, 0.3).mean(1)
    wanted = w @ k @ w / (2 * 30**2) - w @ to_target / 30
    for block in (7, 1000):
        monkeypatch.setattr(ratio, "BLOCK", block)
        assert ratio.matching(w, x_s, x_t, 0.3) == pytest.approx(wanted)


def test_what_a_mixture_misses_is_bounded(ratio: Any) -> None:
    rng = np.random.default_rng(2)
    x_s, x_t = rng.normal(size=(40, 2)), rng.normal(size=(60, 2)) + 0.5
    centres = x_t[:5]
    parts = kernel(x_t, centres, 0.4) / kernel(x_s, centres, 0.4).mean(0)

    def missed(a: Any) -> float:
        found = ratio.Ratio(weights=None, centres=centres, gamma=0.4)
        return float(ratio.missed(parts @ a, found, x_s, x_t))

    a = flat = np.full(5, 0.2)
    for _ in range(20_000):  # expectation maximisation, to the best there is
        a = a * (parts / (parts @ a)[:, None]).mean(0)
    gap = np.log(parts @ a).mean() - np.log(parts @ flat).mean()
    assert missed(a) == pytest.approx(0, abs=1e-6)
    assert 0 < gap <= missed(flat)


def test_the_squared_loss_is_least_at_the_relative_ratio(ratio: Any) -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    counts = [np.repeat(np.arange(3), (10 * share).round().astype(int)) for share in (p, q)]
    best = q / (0.1 * q + 0.9 * p)
    least = ratio.squared(best[counts[0]], best[counts[1]], 0.1)
    for i in range(3):
        moved = best + 0.1 * np.eye(3)[i]
        assert ratio.squared(moved[counts[0]], moved[counts[1]], 0.1) > least
