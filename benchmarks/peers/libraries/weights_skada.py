"""Methods of skada that weight rows, source rows first; widths in units of the given one."""

from __future__ import annotations

from typing import Any

import numpy as np
from skada import (
    DensityReweightAdapter,
    DiscriminatorReweightAdapter,
    GaussianReweightAdapter,
    KLIEPReweightAdapter,
    KMMReweightAdapter,
    NearestNeighborReweightAdapter,
)
from sklearn.neighbors import KernelDensity

from libraries.ratio import Ratio

SOURCE, TARGET = 1, -2  # signs of skada's sample_domain
WIDTHS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)


def weigh(model: Any, x_s: Any, x_t: Any, order: Any = None) -> Any:
    """Return the weights of the source rows; ``order``: of all rows, as they are handed over."""
    x = np.concatenate([x_s, x_t])
    domain = np.repeat([SOURCE, TARGET], [len(x_s), len(x_t)])
    order = np.arange(len(x)) if order is None else order
    model.fit(x[order], sample_domain=domain[order])
    found = np.empty(len(x))
    found[order] = model.compute_weights(x[order], sample_domain=domain[order])
    return found[: len(x_s)]


def kmm(x_s: Any, x_t: Any, gamma: float, *, B: float) -> Ratio:
    model = KMMReweightAdapter(
        kernel="rbf", gamma=gamma, B=B, solver="frank-wolfe", smooth_weights=False
    )
    return Ratio(weights=weigh(model, x_s, x_t))


def kliep(x_s: Any, x_t: Any, gamma: float, *, widths: tuple[float, ...] = (1.0,)) -> Ratio:
    gammas = [gamma / s**2 for s in widths]
    given = gammas if len(gammas) > 1 else gammas[0]
    model = KLIEPReweightAdapter(gamma=given, random_state=0)
    w = weigh(model, x_s, x_t)

    def at(x: Any) -> Any:
        apart = np.square(x).sum(1)[:, None] + np.square(model.centers_).sum(1)
        apart -= 2 * x @ model.centers_.T
        return np.exp(-model.best_gamma_ * apart) @ model.alpha_

    return Ratio(weights=w, at=at, centres=model.centers_, gamma=model.best_gamma_)


def neighbours(x_s: Any, x_t: Any, gamma: float, *, mixed: bool = False) -> Ratio:
    model = NearestNeighborReweightAdapter(laplace_smoothing=True)
    n = len(x_s) + len(x_t)
    order = np.random.default_rng(0).permutation(n) if mixed else None
    return Ratio(weights=weigh(model, x_s, x_t, order))


def density(x_s: Any, x_t: Any, gamma: float) -> Ratio:
    kernel = KernelDensity(bandwidth=float(np.sqrt(0.5 / gamma)))
    return Ratio(weights=weigh(DensityReweightAdapter(kernel), x_s, x_t))


def gaussian(x_s: Any, x_t: Any, gamma: float) -> Ratio:
    return Ratio(weights=weigh(GaussianReweightAdapter(), x_s, x_t))


def discriminator(x_s: Any, x_t: Any, gamma: float, *, turned: bool = False) -> Ratio:
    w = weigh(DiscriminatorReweightAdapter(), x_s, x_t)
    return Ratio(weights=1 / w if turned else w)


METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "kmm": {"B = 1000": (kmm, {"B": 1000.0}), "B = 5": (kmm, {"B": 5.0})},
    "kliep": {"one": (kliep, {}), "grid": (kliep, {"widths": WIDTHS})},
    "nearest-neighbour-weights": {
        "one": (neighbours, {}),
        "any order": (neighbours, {"mixed": True}),
    },
    "kernel-density-ratio": {"one": (density, {})},
    "gaussian-ratio": {"one": (gaussian, {})},
    "discriminator": {"one": (discriminator, {}), "turned": (discriminator, {"turned": True})},
}
