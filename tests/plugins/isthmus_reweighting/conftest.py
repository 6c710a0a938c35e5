from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]


@pytest.fixture
def gaussians() -> Callable[..., tuple[Array, Array, Array]]:
    """Return what draws N(0, I) and N(shift, I), and the true weights of the source, mean 1."""

    def draw(n_source: int, n_target: int, d: int, shift: float, seed: int = 0) -> Any:
        rng = np.random.default_rng(seed)
        x_source = rng.normal(size=(n_source, d)).astype(np.float32)
        x_target = (rng.normal(size=(n_target, d)) + shift).astype(np.float32)
        ratio = np.exp(shift * x_source.sum(1, dtype=np.float64) - d * shift**2 / 2)
        return x_source, x_target, ratio / ratio.mean()

    return draw


@pytest.fixture
def error() -> Callable[[Array, Array], float]:
    """Return the squared error of weights in units of the true ones: 0 is right, 1 is zero."""
    return lambda w, truth: float(np.square(w - truth).sum() / np.square(truth).sum())


@pytest.fixture
def mean_error(gaussians: Callable[..., Any], error: Callable[..., float]) -> Callable[..., float]:
    """Return what measures a reweighting on n rows of each domain: mean error of three draws."""

    def measure(method: Any, n: int, d: int, shift: float) -> float:
        draws = [gaussians(n, n, d, shift, seed) for seed in range(3)]
        weighed = [method.weigh(x_s, x_t, np.random.default_rng(0)) for x_s, x_t, _ in draws]
        return float(np.mean([error(w, draw[2]) for w, draw in zip(weighed, draws, strict=True)]))

    return measure
