"""What each rule of model selection would have chosen, and what that choice was worth.

Rules read validators, which read no target labels; the oracle alone reads the target score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.compare.cell import Cell
from isthmus.compare.grid import ROUNDING
from isthmus.compare.study import FLOOR

ENSEMBLE = "ensemble of validators"
ORACLE = "oracle"
CHOOSES = "selection"  # the family of strategies that choose among others
Place = tuple[str, int]  # task, seed
Rule = Callable[[Sequence[Cell]], Cell | None]


@dataclass(frozen=True)
class Selection:
    """One rule on the (task, seed) pairs where every rule could choose; None: there are none.

    ``gain`` and ``regret`` are turned so that a positive gain and a small regret are good.
    """

    rule: str
    mean: float | None  # score reached, mean over tasks of the mean over seeds
    gain: float | None  # over always taking the floor
    regret: float | None  # against the oracle's choice; below 0 where several answer together
    negative_transfer: float | None  # share of tasks where the gain is negative
    picks: dict[str, int]  # how often it chose each strategy, most chosen first
    tasks: int
    missing: int  # (task, seed) pairs of the study where this rule could not choose


def selections(
    cells: Sequence[Cell],
    score: str,
    validators: Mapping[str, bool],
    *,
    floor: str = FLOOR,
    higher: bool = True,
) -> list[Selection]:
    """Compare the validators (name: higher is better), their ensemble, the floor and the oracle.

    Candidates are the cells as they were run (without those of ``best_by``) that end well, have
    the target score and read no target labels; oracles and few-label strategies are none. A
    strategy of the family "selection" is a rule of its own, no candidate. A rule that can choose
    nowhere, and such a strategy that lacks a pair, is shown without numbers and does not restrict
    the others.
    """
    places = {(c.task, c.seed) for c in cells}
    candidates: dict[Place, list[Cell]] = {}
    choosers: dict[str, dict[Place, Cell]] = {}
    for c in cells:
        if c.oracle or c.few_labels or not _has(c, score):
            continue
        if c.family == CHOOSES:
            choosers.setdefault(c.strategy, {})[c.task, c.seed] = c
        else:
            candidates.setdefault((c.task, c.seed), []).append(c)
    rules: dict[str, Rule] = {ORACLE: _by(score, higher, floor)}
    rules |= {name: _by(name, up, floor) for name, up in validators.items()}
    alive = {
        v: up
        for v, up in validators.items()
        if any(_has(c, v) for cs in candidates.values() for c in cs)
    }
    if len(alive) > 1:
        rules[ENSEMBLE] = _by_mean_rank(alive, floor)
    rules[floor] = lambda cs: next((c for c in cs if c.strategy == floor), None)
    picks = {
        name: {at: pick for at, cs in candidates.items() if (pick := rule(cs))}
        for name, rule in rules.items()
    }
    live = [chosen for chosen in picks.values() if chosen]
    shared = [at for at in candidates if all(at in chosen for chosen in live)]
    picks |= {
        name: {at: c for at, c in own.items() if at in candidates} for name, own in choosers.items()
    }
    worth = {
        name: np.array([chosen[at].scores[score] for at in shared])
        for name, chosen in picks.items()
        if shared and all(at in chosen for at in shared)
    }
    sign = 1 if higher else -1

    def advantage(mine: str, other: str) -> list[float]:
        """Return by how much one rule is better than the other on each task."""
        if mine not in worth or other not in worth:
            return []
        a, b = worth[mine], worth[other]
        size = max(np.abs(a).max(), np.abs(b).max())
        d = _task_means(shared, sign * (a - b))
        return [0.0 if abs(x) <= ROUNDING * size else x for x in d]

    out = []
    for name, chosen in picks.items():
        raw = _task_means(shared, worth[name]) if name in worth else []
        gain = advantage(name, floor)
        out.append(
            Selection(
                rule=name,
                mean=_mean(raw),
                gain=_mean(gain),
                regret=_mean(advantage(ORACLE, name)),
                negative_transfer=_mean([float(g < 0) for g in gain]),
                picks=_count(chosen[at].strategy for at in shared if at in chosen),
                tasks=len(raw),
                missing=len(places) - len(chosen),
            )
        )
    return sorted(out, key=lambda s: -np.inf if s.mean is None else sign * s.mean, reverse=True)


def best_by(cells: Sequence[Cell], validator: str, higher: bool) -> list[Cell]:
    """Return what choosing the point of each grid by a validator gives, one cell per task and seed.

    A grid is a ``group`` of at least two strategies. ``seconds`` are those of the whole grid, the
    price of the choice; where no point can be chosen, the cell has failed.
    """
    groups: dict[str, dict[Place, list[Cell]]] = {}
    points: dict[str, set[str]] = {}
    for c in cells:
        if c.group:
            groups.setdefault(c.group, {}).setdefault((c.task, c.seed), []).append(c)
            points.setdefault(c.group, set()).add(c.strategy)
    choose = _by(validator, higher)
    return [
        replace(
            choose(own) or _unchosen(own[0], f"no point of {group} has a score by {validator}"),
            strategy=f"{group} · best by {validator}",
            family=CHOOSES,
            seconds=sum(c.seconds for c in own),
        )
        for group, places in groups.items()
        if len(points[group]) > 1
        for own in places.values()
    ]


def _unchosen(cell: Cell, reason: str) -> Cell:
    """Return a failed cell in place of the choice, so that it stays in sight."""
    empty: dict[str, Any] = {"scores": {}, "said": (), "diagnostics": {}, "settings": {}}
    return replace(cell, status="failed", reason=reason, key="", **empty)


def _has(cell: Cell, score: str) -> bool:
    return cell.status == "ok" and isfinite(cell.scores.get(score, nan))


def _by(score: str, higher: bool, floor: str = "") -> Rule:
    sign = 1 if higher else -1

    def choose(cells: Sequence[Cell]) -> Cell | None:
        return min(
            (c for c in cells if _has(c, score)),
            key=lambda c: (-sign * c.scores[score], c.strategy != floor, c.strategy),
            default=None,
        )

    return choose


def _by_mean_rank(validators: Mapping[str, bool], floor: str) -> Rule:
    def choose(cells: Sequence[Cell]) -> Cell | None:
        from scipy.stats import rankdata

        able = [c for c in cells if all(_has(c, v) for v in validators)]
        if not able:
            return None
        ranks = sum(
            rankdata([-c.scores[v] if higher else c.scores[v] for c in able])
            for v, higher in validators.items()
        )
        return min(
            zip(ranks, able, strict=True),
            key=lambda pair: (pair[0], pair[1].strategy != floor, pair[1].strategy),
        )[1]

    return choose


def _task_means(places: Sequence[Place], values: NDArray[np.float64]) -> list[float]:
    by_task: dict[str, list[float]] = {}
    for (task, _), value in zip(places, values, strict=True):
        by_task.setdefault(task, []).append(float(value))
    return [float(np.mean(v)) for v in by_task.values()]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
