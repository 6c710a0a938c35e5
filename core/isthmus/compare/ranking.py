"""Mean ranks of strategies over tasks, and which of them are not shown to differ.

Friedman's test and Nemenyi's critical difference as in Demšar, JMLR 7, 2006.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.compare.grid import ROUNDING, Floats, Grid, mean_of_known
from isthmus.compare.resampling import LEVEL

ENOUGH = 6  # tasks: with five, gains of one sign have a two-sided p of 2 / 2**5 = 0.0625


@dataclass(frozen=True)
class Ranking:
    """Strategies best first; rank 1 is best, ties share their rank.

    Only complete blocks are ranked: every strategy here has a score on the same tasks and seeds.
    """

    strategies: tuple[str, ...]
    ranks: tuple[float, ...]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]  # sentences: what missing cells cost
    p: float  # Friedman: that all ranks are alike
    critical_difference: float  # Nemenyi, 5 %: mean ranks this far apart differ
    cliques: tuple[tuple[int, int], ...]  # first and last of maximal groups not shown to differ
    enough: bool  # tasks for a claim; otherwise, as after p > 5 %, one clique holds everything


def ranking(grid: Grid, *, higher: bool = True, leave_out: Collection[str] = ()) -> Ranking | None:
    """Rank all strategies but ``leave_out``; None where fewer than two have a task in common.

    Nothing is imputed. Of strategies and (task, seed) columns, the one with the largest share of
    holes is left out until none is left, a strategy before a column.
    """
    from scipy.stats import rankdata

    rows, columns, left_out = _complete(
        grid, [i for i, name in enumerate(grid.strategies) if name not in leave_out]
    )
    if len(rows) < 2 or not columns.any():
        return None
    tasks = np.asarray(columns.any(1))
    means = mean_of_known(np.where(columns, grid.values[rows], np.nan)[:, tasks]).T
    size = np.abs(means).max(1, keepdims=True)
    means = np.round(means / np.where(size > 0, size, 1.0) / ROUNDING)  # so that ties are exact
    ranks = rankdata(-means if higher else means, axis=1)
    names = [grid.strategies[i] for i in rows]
    mean = ranks.mean(0)
    order = sorted(range(len(rows)), key=lambda j: (round(mean[j], 9), names[j]))
    p, difference = _friedman_p(ranks), critical_difference(*ranks.shape)
    enough = len(ranks) >= ENOUGH
    best_first = mean[order]
    return Ranking(
        strategies=tuple(names[j] for j in order),
        ranks=tuple(float(r) for r in best_first),
        tasks=tuple(t for t, used in zip(grid.tasks, tasks, strict=True) if used),
        left_out=tuple(left_out),
        p=p,
        critical_difference=difference,
        cliques=_cliques(best_first, difference if enough and p <= LEVEL else np.inf),
        enough=enough,
    )


def critical_difference(tasks: int, strategies: int) -> float:
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - LEVEL, strategies, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(strategies * (strategies + 1) / (6 * tasks)))


def _complete(grid: Grid, rows: list[int]) -> tuple[list[int], NDArray[np.bool_], list[str]]:
    """Return strategies, columns bool (tasks, seeds) without holes, and what that left out."""
    known = ~np.isnan(grid.values)
    columns: NDArray[np.bool_] = np.any(grid.planned[rows], axis=0)
    told = []
    lost: dict[int, set[str]] = {}  # task: the strategies without a score
    while rows and columns.any():
        holes = ~known[rows] & columns
        of_row = holes.sum((1, 2)) / columns.sum()
        of_column = holes.sum(0) / len(rows)
        if not holes.any():
            break
        if of_row.max() >= of_column.max():
            worst = min(
                (i for i, share in zip(rows, of_row, strict=True) if share == of_row.max()),
                key=lambda i: grid.strategies[i],
            )
            count = int((~known[worst] & columns).sum())
            told.append(
                f"{grid.strategies[worst]}: no score in {count} of {columns.sum()} "
                "(task, seed) pairs"
            )
            rows = [i for i in rows if i != worst]
        else:
            worst = of_column == of_column.max()  # all at once: their order must not matter
            for t, r in np.argwhere(worst):
                lost.setdefault(t, set()).update(
                    grid.strategies[i] for i in rows if not known[i, t, r]
                )
            columns[worst] = False
    for t, names in lost.items():
        what = "some seeds" if columns[t].any() else "all seeds"
        told.append(f"{grid.tasks[t]} ({what}): no score of {', '.join(sorted(names))}")
    return rows, columns, told


def _friedman_p(ranks: Floats) -> float:
    """Return the p of Friedman's chi-squared, corrected for ties; ranks (tasks, strategies)."""
    from scipy.special import chdtrc

    n, k = ranks.shape
    variation = float(((ranks - (k + 1) / 2) ** 2).sum())
    if variation == 0:
        return 1.0
    between = n * float(((ranks.mean(0) - (k + 1) / 2) ** 2).sum())
    return float(chdtrc(k - 1, n * (k - 1) * between / variation))


def _cliques(ranks: Floats, difference: float) -> tuple[tuple[int, int], ...]:
    """Return the maximal runs of at least two mean ranks, sorted, closer than the difference."""
    out: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.flatnonzero(ranks - rank < difference)[-1])
        if last > first and (not out or last > out[-1][1]):
            out.append((first, last))
    return tuple(out)
