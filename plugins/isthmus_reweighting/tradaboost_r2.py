"""Two-stage TrAdaBoost.R2: boosting for transfer in regression.

Pardoe & Stone, "Boosting for regression transfer", ICML 2010; its second stage is AdaBoost.R2:
Drucker, "Improving regressors using boosting techniques", ICML 1997.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, BadInput, Needs, Run, Strategy, Task
from isthmus.artefact import TorchAdapted
from isthmus.learners.learner import Learner
from isthmus.learners.neural import fit_learner
from isthmus.learners.weighting import diagnose
from isthmus_reweighting.committee import CommitteePart
from isthmus_reweighting.cross_fitting import asides, fold_of

HALVINGS = 60
LEAST = 1e-6  # of an adjusted error, so that a perfect round has a finite say
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TrAdaBoostR2(Strategy):
    """Lower the source's weight step by step; at each step boost on the labelled target rows.

    The step whose boosted model does best on target rows that were left out is kept. In the first
    stage source rows lose weight by their error, as much as brings the target's share to its next
    value; in the second they keep it. Cost: steps (folds + 1) rounds fits, 480 by default, on all
    rows; memory is the learner's, and as many models in the artefact as rounds.
    """

    name: ClassVar[str] = "tradaboost-r2"
    family: ClassVar[str] = "reweighting"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", support=True, outputs=frozenset({"values"})
    )

    steps: int = 8
    rounds: int = 10
    folds: int = 5
    learner: Learner | None = None  # None: Linear

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("rounds", 1), ("folds", 2)):
            if getattr(self, name) < least:
                raise BadInput(
                    f"{self.name}: {name}={getattr(self, name)}, expected at least {least}"
                )

    def _adapt(self, task: Task, run: Run) -> Adapted:
        assert task.support is not None  # needs.support
        n, m = sum(map(len, task.sources)), len(task.support)
        both = replace(task, sources=(*task.sources, task.support), support=None)
        both = replace(both, sources=(both.source,))
        aside = next(asides(run, self.steps * (self.folds + 1) * self.rounds))
        aside = replace(aside, checkpoint=None)  # too many and too short to be worth resuming
        spread = both.source.y.std(0)
        spread = np.where(spread > 0, spread, 1)
        fold = np.full(n + m, -1)
        fold[n:] = fold_of(task.support.x, task.support.y, self.folds, strata=False)

        def boosted(weight: Array) -> TorchAdapted:
            return boost(self.learner, both, aside, weight, n, self.rounds, spread)

        w = np.full(n + m, 1 / (n + m))
        best: tuple[float, Array] = (np.inf, w)
        losses = []
        for t in range(self.steps):
            loss = 0.0
            for k in range(self.folds):
                left = np.flatnonzero(fold == k)
                if m > 1 and len(left):
                    p = boosted(np.where(fold == k, 0.0, w)).predict(both.source.x[left])
                    loss += float(np.square((p - both.source.y[left]) / spread).sum()) / m
            losses.append(loss)
            if loss < best[0]:
                best = (loss, w)
            if t + 1 < self.steps:
                model = fit_learner(self.learner, both, aside, w * (n + m))
                error = adjusted(model, both, spread, slice(0, n + m))[:n]
                share = m / (n + m) + (t + 1) / (self.steps - 1) * (1 - m / (n + m))
                w = shifted(w, error, n, share)
            run.progress("boost", t + 1, self.steps)
        chosen = best[1]
        source = chosen[:n] * (n / max(chosen[:n].sum(), 1e-300))
        diagnostics: dict[str, Any] = {
            "held_out": losses,
            "source_share": float(chosen[:n].sum()),
        }
        if chosen[:n].any():
            diagnostics["weights"] = diagnose(source)
        return replace(boosted(chosen), diagnostics=diagnostics)


def shifted(w: Array, error: Array, n: int, share: float) -> Array:
    """Return weights whose target part, from row n on, has ``share``: w beta^error before it.

    ``error`` (n,) of the source rows is from 0 to 1. Where the smallest beta is not enough, as at
    the last step, what is left of the source is scaled.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        beta = (low + high) / 2
        source = float((w[:n] * beta**error).sum())
        enough = w[n:].sum() >= share * (source + w[n:].sum())
        low, high = (beta, high) if enough else (low, beta)
    source_w = w[:n] * low**error if low > 0 else w[:n] * (error <= 0)
    target = w[n:] / w[n:].sum() * share
    total = float(source_w.sum())
    source_w = source_w * ((1 - share) / total) if total > 0 else source_w
    out = np.concatenate([source_w, target])
    return np.asarray(out / out.sum())


def adjusted(model: TorchAdapted, both: Task, spread: Any, part: slice) -> Array:
    """Return the errors of the rows (n,) as shares of the largest: AdaBoost.R2's linear loss."""
    gap = (model.predict(both.source.x[part]) - both.source.y[part]) / spread
    error = np.sqrt(np.square(gap, dtype=np.float64).sum(1))
    return np.asarray(error / max(float(error.max()), 1e-300))


def boost(
    learner: Learner | None, both: Task, run: Run, w: Array, n: int, rounds: int, spread: Any
) -> TorchAdapted:
    """Return the committee of AdaBoost.R2 in which only rows from n on change their weights."""
    heads, says = [], []
    target = slice(n, len(w))
    counts = w[n:] > 0  # rows that are left out have no error that counts
    w = w / w.sum()
    share = float(w[n:].sum())
    first: TorchAdapted | None = None
    for _ in range(rounds):
        model = fit_learner(learner, both, run, w * len(w))
        first = first or model
        error = np.where(counts, adjusted(model, both, spread, target), 0.0)
        error /= max(float(error.max()), 1e-300)
        mean = float(np.average(error, weights=w[n:])) if share > 0 else 0.5
        if mean >= 0.5:
            break
        beta = max(mean, LEAST) / (1 - max(mean, LEAST))
        heads.append(model.part)
        says.append(np.log(1 / beta))
        if mean <= LEAST:
            break
        grown = w[n:] * beta ** (1 - error)
        w = np.concatenate([w[:n], grown * (share / grown.sum())])
    assert first is not None
    if len(heads) < 2:
        return first
    part = CommitteePart.of(heads, np.array(says), "median")
    return replace(first, part=part.to(first.device))
