"""Our reweighting strategies: what they compute before a learner is fitted with the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.learners.weighting import Reweighting, Weighted
from isthmus_reweighting.discriminator import Discriminator
from isthmus_reweighting.gaussian_ratio import GaussianRatio
from isthmus_reweighting.importance_network import ImportanceNetwork
from isthmus_reweighting.kernel_density import KernelDensityRatio
from isthmus_reweighting.kliep import KLIEP
from isthmus_reweighting.kmm import KMM
from isthmus_reweighting.nearest_neighbour import NearestNeighbourWeights
from isthmus_reweighting.rulsif import RuLSIF
from isthmus_reweighting.ulsif import ULSIF, fit_ratio
from libraries.ratio import ALPHA, Ratio

ALL = 10**9  # rows that are landmarks or centres, at most


def run(x_s: Any, x_t: Any, gamma: float, *, strategy: Reweighting) -> Ratio:
    found = strategy.weights(x_s, x_t, np.random.default_rng(0))
    return Ratio(weights=found.values if isinstance(found, Weighted) else found)


def kliep(x_s: Any, x_t: Any, gamma: float, *, strategy: KLIEP) -> Ratio:
    ratio, _ = strategy.ratio(x_s, x_t, np.random.default_rng(0))
    return _readable(ratio, ratio.read(x_s))


def squares(x_s: Any, x_t: Any, gamma: float, *, strategy: ULSIF | RuLSIF) -> Ratio:
    alpha = strategy.alpha if isinstance(strategy, RuLSIF) else 0.0
    ratio, found = fit_ratio(
        x_s, x_t, np.random.default_rng(0), alpha, strategy.centres, strategy.bandwidth,
        strategy.penalty,
    )  # fmt: skip
    return _readable(ratio, found.values)


def _readable(ratio: Any, weights: Any) -> Ratio:
    # Centres in the columns' own units: these differ from the method's by one factor alone.
    size = float(np.mean(ratio.view.scale))
    return Ratio(
        weights=weights,
        at=ratio.read,
        centres=ratio.at * ratio.view.scale + ratio.view.shift,
        gamma=0.5 / (ratio.sigma * size) ** 2,
    )


ONE: dict[str, Any] = {"bandwidth": 1.0, "penalty": 0.1}
DEFAULTS: tuple[Reweighting, ...] = (
    KMM(),
    KLIEP(),
    ULSIF(),
    RuLSIF(),
    Discriminator(),
    GaussianRatio(),
    KernelDensityRatio(),
    NearestNeighbourWeights(),
    ImportanceNetwork(),
)
METHODS: dict[str, dict[str, tuple[Any, dict[str, Any]]]] = {
    "kmm": {
        "B = 1000": (run, {"strategy": KMM()}),
        "B = 5": (run, {"strategy": KMM(B=5.0)}),
    },
    "kliep": {
        "one": (kliep, {"strategy": KLIEP(bandwidth=1.0)}),
        "grid": (kliep, {"strategy": KLIEP()}),
    },
    "ulsif": {
        "one": (squares, {"strategy": ULSIF(**ONE)}),
        "grid": (squares, {"strategy": ULSIF()}),
    },
    "rulsif": {
        "one": (squares, {"strategy": RuLSIF(alpha=ALPHA, **ONE)}),
        "grid": (squares, {"strategy": RuLSIF(alpha=ALPHA)}),
    },
    "nearest-neighbour-weights": {
        "one": (run, {"strategy": NearestNeighbourWeights(landmarks=ALL)})
    },
    "kernel-density-ratio": {
        "one": (run, {"strategy": KernelDensityRatio(bandwidth=1.0, centres=ALL)}),
    },
    "gaussian-ratio": {"one": (run, {"strategy": GaussianRatio(shrinkage=0.0)})},
    "discriminator": {"one": (run, {"strategy": Discriminator()})},
}
for strategy in DEFAULTS:
    METHODS.setdefault(strategy.name, {})["default"] = (run, {"strategy": strategy})
