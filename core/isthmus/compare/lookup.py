"""Every cell of a study in the report: for its form, and as text where there is no JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.grid import Grid
from isthmus.compare.per_task import PerTask

KEY = 12  # hexadecimal digits, which the command line takes for the whole key
LISTED = 15_000  # cells that are listed as text
NUMBERS = 80_000  # numbers beside the main score
LETTERS = {"ok": "o", "failed": "f", "timeout": "t", "refused": "r", "missing": "m"}


def lookup(
    cells: Sequence[Cell], score: str, grid: Grid, per: PerTask, digits: int
) -> dict[str, Any]:
    """Return what the page's script reads: arrays (strategies, tasks), and (.., tasks x seeds).

    Of a large study only as many further scores as fit; ``left_out`` names the others.
    """
    names = list(dict.fromkeys([score, *(s for c in cells for s in c.scores)]))
    kept = names[: 1 + NUMBERS // max(len(cells), 1)]
    width = len(grid.tasks) * len(grid.seeds)
    place = _places(grid)
    keys = [[""] * width for _ in grid.strategies]
    status = [["-"] * width for _ in grid.strategies]
    seconds: list[list[float | None]] = [[None] * width for _ in grid.strategies]
    scores: dict[str, list[list[float | None]]] = {
        name: [[None] * width for _ in grid.strategies] for name in kept
    }
    for c in cells:
        i, at = place(c)
        keys[i][at], status[i][at] = c.key[:KEY], LETTERS[c.status]
        seconds[i][at] = _g(c.seconds, 3)
        for name in kept:
            scores[name][i][at] = _g(c.scores.get(name), 6)
    return {
        "strategies": grid.strategies,
        "tasks": grid.tasks,
        "seeds": grid.seeds,
        "digits": digits,
        "mean": _numbers(per.mean),
        "gain": _numbers(per.gain),
        "missing": per.missing.tolist(),
        "planned": per.planned.tolist(),
        "seconds": _numbers(per.seconds, 4),
        "keys": keys,
        "status": ["".join(row) for row in status],
        "took": seconds,
        "scores": scores,
        "left_out": names[len(kept) :],
    }


def listing(cells: Sequence[Cell], score: str, digits: int) -> dict[str, list[str]]:
    """Return for each strategy a line per task with the score and the key of each seed."""
    if len(cells) > LISTED:
        return {}
    lines: dict[str, dict[str, list[str]]] = {}
    for c in cells:
        said = f"{c.scores[score]:.{digits}f}" if score in c.scores else c.status
        entry = f"seed {c.seed}: {said} {c.key[:KEY]}"
        lines.setdefault(c.strategy, {}).setdefault(c.task, []).append(entry)
    return {
        strategy: [f"{task}  {'  '.join(entries)}" for task, entries in of.items()]
        for strategy, of in lines.items()
    }


def _places(grid: Grid) -> Any:
    strategies = {s: i for i, s in enumerate(grid.strategies)}
    tasks = {t: i for i, t in enumerate(grid.tasks)}
    seeds = {r: i for i, r in enumerate(grid.seeds)}
    return lambda c: (strategies[c.strategy], tasks[c.task] * len(seeds) + seeds[c.seed])


def _numbers(values: Any, digits: int = 12) -> list[list[float | None]]:
    return [[_g(v, digits) for v in row] for row in values.tolist()]


def _g(value: float | None, digits: int) -> float | None:
    """Return a number with so many significant digits, None for what JSON has no number for."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{digits}g}")
