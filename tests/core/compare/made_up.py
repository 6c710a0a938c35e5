"""Cells of studies that were never run."""

from __future__ import annotations

import numpy as np

from isthmus.compare.cell import Cell

GAINS = {"source-only": 0.0, "coral": 0.1, "tca": -0.05, "fine-tune": 0.2, "target-only": 0.3}


def cell(strategy, task, seed=0, score=0.5, **more):
    scores = {} if score is None else {"accuracy": score}
    return Cell(**{"task": task, "strategy": strategy, "seed": seed, "scores": scores, **more})


def study(gains, tasks=8, seeds=2, **more):
    """Return cells whose strategies differ from source-only by the same gain on every task."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, (tasks, seeds))
    return [
        cell(
            name,
            f"task {t}",
            seed,
            float(base[t, seed] + gain + (rng.uniform(0, 1e-3) if gain else 0)),
            seconds=1.0 + i,
            key=f"{i:04x}{t:04x}{seed:04x}".ljust(64, "f"),
            oracle=name == "target-only",
            few_labels=name == "fine-tune",
            **more,
        )
        for i, (name, gain) in enumerate(gains.items())
        for t in range(tasks)
        for seed in range(seeds)
    ]
