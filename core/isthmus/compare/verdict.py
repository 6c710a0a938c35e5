"""What a study shows, in a few sentences that claim no more than the tests do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from isthmus.compare.cell import Cell
from isthmus.compare.ranking import ENOUGH, Ranking
from isthmus.compare.statistics import tasks_needed
from isthmus.compare.study import FLOOR

STATUSES = {
    "refused": "not for it",
    "failed": "failed",
    "timeout": "timed out",
    "missing": "not run yet",
    "ok": "ran without this score",
}
Row = Mapping[str, Any]


def verdict(
    summary: Sequence[Row], ranked: Ranking | None, cells: Sequence[Cell], digits: int
) -> list[str]:
    """Return sentences; ``summary`` is best first, and an oracle in it is never called best."""
    rivals = [r for r in summary if not r["oracle"] and r["mean"] is not None]
    if not rivals:
        return ["No strategy has a score; the cells and their reasons are below."]
    missing = _missing(cells, summary[0]["evaluator"])
    gaining = [r for r in rivals if r["gain"] is not None and r["strategy"] != FLOOR]
    if not gaining:
        return [f"There is nothing to compare with {FLOOR}, so there are no gains.", missing]
    best = next((r for r in gaining if not r["few_labels"]), gaining[0])
    out = [_best(best, digits), _claim(best, summary), *_rivals(best["strategy"], ranked)]
    if gaining[0] is not best:
        out.append(f"With a few target labels the best is {_gains(gaining[0], digits)}.")
    return [*out, missing]


def _best(best: Row, digits: int) -> str:
    if best["gain"] <= 0:
        return f"No strategy gains on {FLOOR} on average; the nearest is {_gains(best, digits)}."
    labels = "with a few" if best["few_labels"] else "without"
    return (
        f"Best {labels} target labels is {_gains(best, digits)}: better on {best['wins']} "
        f"of {_count(_paired(best), 'task')}, worse on {best['losses']}."
    )


def _gains(row: Row, digits: int) -> str:
    said = f"{row['strategy']} with a gain of {row['gain']:+.{digits}f} in {row['evaluator']}"
    if row["low"] is None or row["high"] is None:
        return said
    return f"{said} (95 % interval {row['low']:+.{digits}f} to {row['high']:+.{digits}f})"


def _claim(best: Row, summary: Sequence[Row]) -> str:
    if best["claim"] == "too few tasks":
        return (
            f"Nothing is claimed: {_count(_paired(best), 'task')} cannot show a difference at the "
            f"5 % level, which takes at least {ENOUGH}."
        )
    tested = sum(r["p_holm"] is not None for r in summary)
    many = f"{tested} strategies" if tested > 1 else "one strategy"
    p = "" if best["p_holm"] is None else f" (p = {best['p_holm']:.2g}, Holm-corrected for {many})"
    if best["claim"] in ("better", "worse"):
        return f"It is shown to be {best['claim']} than {FLOOR}{p}."
    needed = tasks_needed(tested)
    more = f"; among {many} it takes at least {needed} tasks" if _paired(best) < needed else ""
    return f"It is not shown to be better than {FLOOR}{p}{more}."


def _paired(row: Row) -> int:
    return int(row["wins"] + row["ties"] + row["losses"])


def _rivals(best: str, ranked: Ranking | None) -> list[str]:
    """Say which others are not shown to differ from the best one by mean ranks."""
    if ranked is None or not ranked.enough or best not in ranked.strategies:
        return []
    i = ranked.strategies.index(best)
    near = {
        ranked.strategies[j]
        for first, last in ranked.cliques
        if first <= i <= last
        for j in range(first, last + 1)
    } - {best}
    if not near:
        return ["Its mean rank differs from that of every other strategy."]
    if len(near) == len(ranked.strategies) - 1:
        return ["Its mean rank is not shown to differ from that of any other strategy."]
    return [f"Its mean rank is not shown to differ from that of {_some(near, ranked)}."]


def _some(near: set[str], ranked: Ranking, most: int = 4) -> str:
    names = [n for n in ranked.strategies if n in near]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def _missing(cells: Sequence[Cell], score: str) -> str:
    lost: Counter[str] = Counter(
        c.status for c in cells if c.status != "ok" or not isfinite(c.scores.get(score, nan))
    )
    if not lost:
        return f"All {len(cells)} cells have a score."
    kinds = ", ".join(f"{lost[s]} {word}" for s, word in STATUSES.items() if lost[s])
    return f"{sum(lost.values())} of {len(cells)} cells have no score: {kinds}."


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
