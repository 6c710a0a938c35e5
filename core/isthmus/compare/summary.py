"""What the cells of a study say together: paired with source-only, missing cells in sight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.study import FLOOR


def summarise(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return one row per strategy, best first by the gain in the first evaluator.

    ``gain`` is the mean over the (task, seed) pairs that source-only has too; ``worse`` counts the
    tasks whose mean gain is negative; ``missing`` counts cells without a score.
    """
    score = next((next(iter(c.scores)) for c in cells if c.scores), "")
    floor = {
        (c.task, c.seed): c.scores[score]
        for c in cells
        if c.strategy == FLOOR and score in c.scores
    }
    out = []
    for name in dict.fromkeys(c.strategy for c in cells):
        own = [c for c in cells if c.strategy == name]
        done = [c for c in own if score in c.scores]
        paired = [c for c in done if (c.task, c.seed) in floor]
        gains: dict[str, list[float]] = {}
        for c in paired:
            gains.setdefault(c.task, []).append(c.scores[score] - floor[c.task, c.seed])
        means = [float(np.mean(g)) for g in gains.values()]
        out.append(
            {
                "strategy": name,
                "oracle": any(c.oracle for c in own),
                "few_labels": any(c.few_labels for c in own),
                "evaluator": score,
                "mean": float(np.mean([c.scores[score] for c in done])) if done else None,
                "gain": float(np.mean(means)) if means else None,
                "tasks": len({c.task for c in done}),
                "worse": sum(m < 0 for m in means),
                "missing": len(own) - len(done),
                "seconds": float(np.sum([c.seconds for c in own])),
            }
        )
    return sorted(out, key=_merit, reverse=True)


def _merit(row: dict[str, Any]) -> tuple[float, float]:
    """Order by gain, which compares like with like also where tasks differ; then by mean."""
    return tuple(-np.inf if row[k] is None else row[k] for k in ("gain", "mean"))  # type: ignore[return-value]
