"""What every library's reweighting method returns, and how it is judged alike for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 1000  # rows of a kernel that are there at once
ALPHA = 0.1  # share of the target in the denominator of a relative ratio


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Weights of the source rows as the method gave them, before any scaling."""

    weights: Any  # (n_source,)
    at: Callable[[Any], Any] | None = None  # the ratio at other rows, where it is a function
    centres: Any = None  # (b, d) and the width of the kernels that it is a sum of
    gamma: float | None = None


def judged(method: str, found: Ratio, data: dict[str, Any]) -> dict[str, float]:
    """Return JSON values: the objective of the method, and how far off the known ratio is.

    ``data`` holds x_source (n, d), x_target (m, d), truth (n,), the ratio at the source rows, and
    fresh rows x_new_source and x_new_target of both domains, and gamma of the kernel.
    """
    x = {k: np.asarray(v, np.float64) for k, v in data.items()}
    w, truth = np.asarray(found.weights, np.float64), x["truth"]
    notes = {"mean": float(w.mean()), "largest": float(w.max() / w.mean())}
    if method == "kmm":
        found_at = matching(w, x["x_source"], x["x_target"], float(x["gamma"]))
        notes |= {"largest": float(w.max()), "objective": found_at}
    if method == "rulsif":
        truth = truth / (ALPHA * truth + 1 - ALPHA)
    if method in ("ulsif", "rulsif"):
        assert found.at is not None
        of = [np.asarray(found.at(x[k]), np.float64) for k in ("x_new_source", "x_new_target")]
        notes["objective"] = squared(*of, ALPHA if method == "rulsif" else 0.0)
    if method == "kliep":
        assert found.at is not None
        of_target = np.asarray(found.at(x["x_target"]), np.float64)
        notes["objective"] = float(np.log(of_target / w.mean()).mean())
        notes["below"] = missed(of_target / w.mean(), found, x["x_source"], x["x_target"])
    return notes | {"error": error(w, truth)}


def error(weights: Any, truth: Any) -> float:
    """Return the squared error over the truth's squares; both (n,) with their mean scaled to 1."""
    w, r = weights / weights.mean(), truth / truth.mean()
    return float(np.square(w - r).sum() / np.square(r).sum())


def matching(weights: Any, x_source: Any, x_target: Any, gamma: float) -> float:
    """Return KMM's objective per row, w'Kw / 2n² - w'k / n, k the mean kernel to the target."""
    n, total = len(weights), 0.0
    for rows, kernel in kernels(x_source, x_source, gamma):
        total += weights[rows] @ kernel @ weights / (2 * n * n)
    for rows, kernel in kernels(x_source, x_target, gamma):
        total -= weights[rows] @ kernel.mean(1) / n
    return float(total)


def squared(of_source: Any, of_target: Any, alpha: float) -> float:
    """Return the objective of uLSIF (alpha 0) and RuLSIF of ratios at rows of both domains."""
    both = (1 - alpha) * np.square(of_source).mean() + alpha * np.square(of_target).mean()
    return float(both / 2 - of_target.mean())


def missed(of_target: Any, found: Ratio, x_source: Any, x_target: Any) -> float:
    """Return by how much KLIEP's objective could be better with the same centres, at most.

    It is a mixture of the kernels divided by their means over the source; the largest mean ratio
    of a component to the mixture bounds what is missed (Lindsay, Annals of Statistics 11, 1983).
    """
    assert found.gamma is not None
    mean = sum(k.sum(0) for _, k in kernels(x_source, found.centres, found.gamma)) / len(x_source)
    total = sum(
        (k / of_target[rows, None]).sum(0)
        for rows, k in kernels(x_target, found.centres, found.gamma)
    )
    return float(np.log((total / len(x_target) / mean).max()))


def kernels(a: Any, b: Any, gamma: float) -> Iterator[tuple[slice, Any]]:
    """Yield rows and their Gaussian kernel (rows, len(b)), block by block."""
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        part = a[rows]
        apart = np.square(part).sum(1)[:, None] + np.square(b).sum(1) - 2 * part @ b.T
        yield rows, np.exp(-gamma * np.maximum(apart, 0))
