"""The scores of a study as one array: strategies x tasks x seeds, holes and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.compare.cell import Cell

Floats = NDArray[np.float64]
ROUNDING = 1e-10  # two scores that differ by less, relative to their size, are a tie


@dataclass(frozen=True, eq=False)
class Grid:
    """Arrays of shape (strategies, tasks, seeds); names stand in the order of the study.

    ``values`` is NaN where there is no score, ``seconds`` where no cell is ``planned``. A cell
    that did not end well has no score, whatever it may have left behind.
    """

    strategies: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    planned: NDArray[np.bool_]
    seconds: Floats

    @property
    def missing(self) -> NDArray[np.bool_]:
        return self.planned & np.isnan(self.values)


def grid(cells: Sequence[Cell], score: str) -> Grid:
    """Lay the cells out by one of their scores; of two cells in one place the last one counts."""
    strategies = {name: i for i, name in enumerate(dict.fromkeys(c.strategy for c in cells))}
    tasks = {name: i for i, name in enumerate(dict.fromkeys(c.task for c in cells))}
    seeds = {seed: i for i, seed in enumerate(sorted({c.seed for c in cells}))}
    shape = len(strategies), len(tasks), len(seeds)
    values, seconds = np.full(shape, np.nan), np.full(shape, np.nan)
    for c in cells:
        at = strategies[c.strategy], tasks[c.task], seeds[c.seed]
        values[at] = c.scores.get(score, np.nan) if c.status == "ok" else np.nan
        seconds[at] = c.seconds
    planned = ~np.isnan(seconds)
    values[~np.isfinite(values)] = np.nan
    return Grid(tuple(strategies), tuple(tasks), tuple(seeds), values, planned, seconds)


def mean_of_known(x: Floats) -> Floats:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(x)
    count = known.sum(-1)
    total = np.where(known, x, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
