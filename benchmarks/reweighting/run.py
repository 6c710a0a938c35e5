"""Reweighting where its assumption holds: MNIST rows chosen by what they look like, or by class.

    python benchmarks/reweighting/run.py DATA_ROOT [biased | shares] [SEEDS] [STRATEGY ...]

``biased``: covariate shift. Rows are their first ten principal components; a source row is drawn
with a probability of exp(-2 z), for z the first of them in deviations, a target row of exp(z). A
linear model of ten components is wrong everywhere, so where it is fitted matters.
``shares``: label shift. Rows are 14 x 14 pixels; the source has even shares of the digits, the
target shares drawn from a Dirichlet distribution of concentration 0.1, as in the papers.
2,000 rows of each domain are given, 4,000 others of the target judged. Needs DATA_ROOT/digits.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isthmus import Labelled, Run, Schema, Task
from isthmus.manager import discover

N, JUDGED = 2000, 4000
COVARIATE = (
    "source-only discriminator ulsif rulsif kliep kmm gaussian-ratio kernel-density-ratio "
    "nearest-neighbour-weights importance-network"
)
SHARES = "source-only bbse rlls mlls mmd-target-shift ulsif"
METHODS = {"biased": COVARIATE.split(), "shares": SHARES.split()}
Array = NDArray[np.float64]


def components(x: Array) -> Array:
    """Return the first ten principal components (n, 10), in deviations of the first."""
    x = x - x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    return np.asarray(x @ vectors[:, -10:][:, ::-1] / np.sqrt(values[-1]))


def biased(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """Return rows to look at, and which of them are source, target and judged."""
    z = components(x)
    keys = rng.gumbel(size=len(z))  # the largest keys are a draw without replacement
    source = np.argsort(-(keys - 2 * z[:, 0]))[:N]
    keys = rng.gumbel(size=len(z)) + z[:, 0]
    keys[source] = -np.inf
    target = rng.permutation(np.argsort(-keys)[: N + JUDGED])
    return z, [source, target[:N], target[N:]]


def shares(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """Return rows to look at, and which of them are source, target and judged."""
    order = rng.permutation(len(y))
    each = [order[y[order] == c] for c in range(10)]
    source = np.concatenate([own[: N // 10] for own in each])
    counts = rng.multinomial(N + JUDGED, rng.dirichlet(np.full(10, 0.1)))
    counts = np.minimum(counts, [len(own) - N // 10 for own in each])
    rest = [own[N // 10 :][:count] for own, count in zip(each, counts, strict=True)]
    target = rng.permutation(np.concatenate(rest))
    return x, [source, target[:N], target[N:]]


def main(root: str, what: str = "biased", seeds: str = "5", *names: str) -> None:
    with np.load(Path(root) / "digits" / "mnist.npz") as archive:
        pixels, y = archive["x"], archive["y"]
    x = pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(y), -1) / 255
    strategies = discover(third_party=False).strategies
    found = {name: cls for name, _, cls in strategies.items()}
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(int(seeds)):
        rng = np.random.default_rng(seed)
        seen, (source, target, judged) = {"biased": biased, "shares": shares}[what](x, y, rng)
        schema = Schema(kind="table", shape=seen.shape[1:], classes=tuple("0123456789"))
        s, t, u = (
            Labelled(name="mnist", schema=schema, x=seen[i].astype(np.float32), y=y[i])
            for i in (source, target, judged)
        )
        for name in names or METHODS[what]:
            start = time.perf_counter()
            adapted = found[name]().adapt(Task(sources=(s,), target=t), Run(seed=seed))
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            scores.setdefault(name, []).append(
                float((adapted.predict(u.x).argmax(1) == u.y).mean())
            )
        # The ceiling: as many labelled rows of the target itself.
        adapted = found["source-only"]().adapt(Task(sources=(t,), target=t), Run(seed=seed))
        scores.setdefault("target-only", []).append(
            float((adapted.predict(u.x).argmax(1) == u.y).mean())
        )
    print(f"{'':28}accuracy  s.e.   gain  s.e.  seconds")
    floor = np.array(scores.get("source-only", scores["target-only"]))
    for name, values in scores.items():
        gain = 100 * (np.array(values) - floor)
        error = np.sqrt(max(len(values), 2) - 1)
        print(
            f"{name:28}{100 * np.mean(values):8.1f}{100 * np.std(values) / error:6.1f}"
            f"{gain.mean():7.1f}{gain.std() / error:6.1f}"
            f"{statistics.mean(seconds.get(name, [0])):9.2f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
