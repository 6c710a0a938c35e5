"""What the cells of a study say together: paired with source-only, missing cells in sight."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from isthmus.compare.cell import Cell
from isthmus.compare.statistics import gains, grid, ranking


def summarise(
    cells: Sequence[Cell],
    *,
    score: str | None = None,
    higher: bool = True,
    chosen: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return one row per strategy, best first by the gain in ``score`` (default: the first one).

    ``mean``, ``gain`` and what follows from them are those of ``Gain``; ``worse`` counts the tasks
    with a loss, ``tasks`` those with a score, ``seconds`` is the sum over cells. ``rank`` is the
    mean rank among the strategies that are no oracles, None where missing cells forbid one.
    ``chosen`` strategies are copies of others' cells: shown, and neither tested nor ranked.
    """
    score = score or next((next(iter(c.scores)) for c in cells if c.scores), "")
    of = {c.strategy: c for c in reversed(cells)}  # what all cells of a strategy have in common
    oracles = {c.strategy for c in cells if c.oracle}
    table = grid(cells, score)
    apart = oracles | {*chosen}
    ranked = ranking(table, higher=higher, leave_out=apart)
    ranks = dict(zip(ranked.strategies, ranked.ranks, strict=True)) if ranked else {}
    known = ~np.isnan(table.values)
    out = [
        {
            "strategy": g.strategy,
            "family": of[g.strategy].family,
            "oracle": g.strategy in oracles,
            "few_labels": of[g.strategy].few_labels,
            "evaluator": score,
            "mean": g.mean,
            "gain": g.gain,
            "low": g.low,
            "high": g.high,
            "tasks": int(known[i].any(1).sum()),
            "wins": g.wins,
            "ties": g.ties,
            "losses": g.losses,
            "worse": g.losses,
            "negative_transfer": g.negative_transfer,
            "p_holm": g.p_holm,
            "claim": g.claim,
            "rank": ranks.get(g.strategy),
            "missing": g.missing,
            "seconds": float(np.nansum(table.seconds[i])),
        }
        for i, g in enumerate(gains(table, higher=higher, oracles=apart))
    ]
    return sorted(out, key=lambda row: _merit(row, 1 if higher else -1), reverse=True)


def _merit(row: dict[str, Any], sign: int) -> tuple[float, float]:
    """Order by gain, which compares like with like also where tasks differ; then by mean."""
    gain, mean = row["gain"], row["mean"]
    return -np.inf if gain is None else gain, -np.inf if mean is None else sign * mean
