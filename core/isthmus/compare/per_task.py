"""What a study says of each strategy on each task, seeds averaged: for pages and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor as whole
from math import log10
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus.compare.cell import Cell
from isthmus.compare.grid import ROUNDING, Floats, Grid, mean_of_known
from isthmus.compare.study import FLOOR

State = Literal["ok", "partial", "failed", "timeout", "not run", "no score", "refused", "not asked"]
WORST_FIRST: tuple[tuple[str, State], ...] = (
    ("failed", "failed"),
    ("timeout", "timeout"),
    ("missing", "not run"),
    ("ok", "no score"),
    ("refused", "refused"),
)


@dataclass(frozen=True, eq=False)
class PerTask:
    """Arrays of shape (strategies, tasks), in the order of the grid; NaN: there is no number."""

    mean: Floats
    spread: Floats  # standard deviation over seeds
    gain: Floats  # over the floor, seed by seed, turned so that positive is better
    planned: NDArray[np.int64]  # cells
    missing: NDArray[np.int64]
    seconds: Floats  # sum over cells
    states: list[list[State]]


def per_task(
    cells: Sequence[Cell], grid: Grid, *, floor: str = FLOOR, higher: bool = True
) -> PerTask:
    """Average the seeds; a state says what became of the cells of a strategy on a task.

    A ``partial`` one lacks some seeds, of the others without a number the worst cell decides.
    """
    base = grid.values[grid.strategies.index(floor)] if floor in grid.strategies else np.nan
    known = ~np.isnan(grid.values)
    size = np.where(known, np.maximum(np.abs(grid.values), np.nan_to_num(np.abs(base))), 0)
    gain = mean_of_known(grid.values - base) * (1 if higher else -1)
    gain[np.abs(gain) <= ROUNDING * size.max(axis=2, initial=0.0)] = 0.0
    mean, planned, missing = mean_of_known(grid.values), grid.planned.sum(2), grid.missing.sum(2)
    statuses: dict[tuple[str, str], dict[int, str]] = {}
    for c in cells:
        statuses.setdefault((c.strategy, c.task), {})[c.seed] = c.status
    states = [
        [
            _state(set(statuses.get((s, t), {}).values()), not np.isnan(mean[i, j]), missing[i, j])
            for j, t in enumerate(grid.tasks)
        ]
        for i, s in enumerate(grid.strategies)
    ]
    return PerTask(
        mean=mean,
        spread=_spread(grid.values, known),
        gain=gain,
        planned=planned,
        missing=missing,
        seconds=np.nansum(grid.seconds, axis=2),
        states=states,
    )


def main_score(cells: Sequence[Cell]) -> str:
    """Return the name of the score that ranks: the first one of the first cell that has any."""
    return next((next(iter(c.scores)) for c in cells if c.scores), "")


def decimals(values: Any) -> int:
    """Return how many decimals to show: three for shares, fewer for large numbers."""
    sizes = np.abs(np.asarray(values, np.float64).ravel())
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    largest = float(sizes.max()) if len(sizes) else 1.0
    return 3 if 0.1 <= largest <= 1 else min(max(2 - whole(log10(largest)), 0), 9)


def _state(statuses: set[str], scored: bool, missing: int) -> State:
    if scored:
        return "partial" if missing else "ok"
    return next((state for status, state in WORST_FIRST if status in statuses), "not asked")


def _spread(values: Floats, known: NDArray[np.bool_]) -> Floats:
    off = np.where(known, values - mean_of_known(values)[..., None], 0.0)
    count = known.sum(2)
    spread = np.sqrt((off**2).sum(2) / np.maximum(count - 1, 1))
    return np.where(count > 1, spread, np.nan)
