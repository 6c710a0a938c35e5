"""How far each strategy is from source-only, and whether that is more than chance.

Tasks are the evidence: seeds of one task are averaged first, since they share its data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from isthmus.compare.grid import ROUNDING, Floats, Grid, grid, mean_of_known
from isthmus.compare.ranking import ENOUGH, Ranking, ranking
from isthmus.compare.resampling import LEVEL, bootstrap_interval, holm, sign_flip_p, wilcoxon_p
from isthmus.compare.study import FLOOR

__all__ = ["Gain", "Grid", "Ranking", "gains", "grid", "pareto", "ranking", "tasks_needed"]

Claim = Literal["better", "worse", "not shown", "too few tasks"]


@dataclass(frozen=True)
class Gain:
    """One strategy beside the floor; None stands for what cannot be computed.

    Only ``mean`` is in the raw unit of the score: gains are turned so that positive is better.
    """

    strategy: str
    mean: float | None  # of the means of the tasks
    gain: float | None  # over the tasks that the floor has too, seed by seed
    low: float | None  # 95 % bootstrap interval of the gain
    high: float | None
    tasks: int  # paired with the floor
    wins: int  # tasks
    ties: int
    losses: int
    negative_transfer: float | None  # share of the paired tasks that are losses
    p: float | None  # sign-flip test over tasks, two-sided
    p_wilcoxon: float | None
    p_holm: float | None  # None: not tested (the floor, an oracle, too few tasks)
    missing: int  # planned cells without a score
    seconds: float | None  # mean of the cells with a score
    spread: float | None  # standard deviation over seeds, mean over tasks
    claim: Claim  # from p_holm; of an oracle, which is no rival, from p


def gains(
    grid: Grid,
    *,
    floor: str = FLOOR,
    higher: bool = True,
    oracles: Collection[str] = (),
    seed: int = 0,
) -> list[Gain]:
    """Return a Gain for every strategy, in the order of the grid.

    Holm's family is every strategy but the floor and the oracles that has enough paired tasks for
    a test that can succeed at all; which ones these are does not depend on the scores.
    """
    base = grid.values[grid.strategies.index(floor)] if floor in grid.strategies else None
    out = [
        _gain(grid, i, np.full_like(v, np.nan) if base is None else base, floor, higher, seed)
        for i, v in enumerate(grid.values)
    ]
    family = {
        g.strategy: g.p
        for g in out
        if g.p is not None and g.tasks >= ENOUGH and g.strategy not in oracles
    }
    adjusted = holm(family)
    return [replace(g, p_holm=adjusted.get(g.strategy), claim=_claim(g, adjusted)) for g in out]


def tasks_needed(strategies: int) -> int:
    """Return how many tasks it takes for one of ``strategies`` to be shown better or worse.

    Gains of one sign on all n tasks have p = 2 / 2**n, which Holm multiplies by ``strategies``.
    """
    return int(np.ceil(np.log2(2 * max(strategies, 1) / LEVEL)))


def pareto(points: Mapping[str, tuple[float, float]], *, higher: bool = True) -> set[str]:
    """Return the names of (cost, score) that no other point beats in one without losing in the
    other; points that are not finite are no candidates."""
    sign = 1 if higher else -1
    known = {k: (c, sign * s) for k, (c, s) in points.items() if np.isfinite([c, s]).all()}
    return {
        k
        for k, (cost, score) in known.items()
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in known.values())
    }


def _gain(grid: Grid, i: int, base: Floats, floor: str, higher: bool, seed: int) -> Gain:
    name, own = grid.strategies[i], grid.values[i]
    d = _differences(own, base) * (1 if higher else -1)
    n, known = len(d), own[~np.isnan(own).all(1)]
    wins, losses = int((d > 0).sum()), int((d < 0).sum())
    tested = n > 0 and name != floor
    low, high = bootstrap_interval(d, seed) or (None, None)
    return Gain(
        strategy=name,
        mean=float(mean_of_known(known).mean()) if len(known) else None,
        gain=float(d.mean()) if n else None,
        low=low,
        high=high,
        tasks=n,
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        negative_transfer=losses / n if n else None,
        p=sign_flip_p(d, seed) if tested else None,
        p_wilcoxon=wilcoxon_p(d, seed) if tested else None,
        p_holm=None,
        missing=int(grid.missing[i].sum()),
        seconds=float(grid.seconds[i][~np.isnan(own)].mean()) if len(known) else None,
        spread=_spread(own),
        claim="too few tasks",
    )


def _differences(own: Floats, base: Floats) -> Floats:
    """Return the mean differences of the paired tasks (n,); rounding errors are exact ties."""
    paired = own - base
    mean = mean_of_known(paired)
    size = np.where(np.isnan(paired), 0.0, np.maximum(np.abs(own), np.abs(base))).max(
        axis=1, initial=0.0
    )
    mean[np.abs(mean) <= ROUNDING * size] = 0.0
    return mean[~np.isnan(mean)]


def _spread(own: Floats) -> float | None:
    deviations = [x[~np.isnan(x)].std(ddof=1) for x in own if np.sum(~np.isnan(x)) > 1]
    return float(np.mean(deviations)) if deviations else None


def _claim(g: Gain, adjusted: Mapping[str, float]) -> Claim:
    if g.gain is None or g.tasks < ENOUGH:
        return "too few tasks"
    p = adjusted.get(g.strategy, g.p)
    if p is None or p > LEVEL:
        return "not shown"
    return "better" if g.gain > 0 else "worse"
