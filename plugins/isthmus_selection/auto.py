"""Which strategy, when no target label exists: try them, ask validators, and guard the answer.

The rounds are those of successive halving: K. Jamieson, A. Talwalkar, Non-stochastic best arm
identification and hyperparameter optimization, AISTATS 2016, with rows as the resource. How models
are judged without labels is in guard.py and in the validators that are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Domain, Evidence, Labelled, Needs, RunFailed, Strategy, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.compare.study import FLOOR
from isthmus.evaluator import judge
from isthmus.holdout import hold_out
from isthmus.learners.backbones import Backbone
from isthmus.learners.committee import committee
from isthmus.manager import Catalogue, discover
from isthmus.shift import inspect_shift
from isthmus.strategy import Run
from isthmus_selection.contenders import contenders
from isthmus_selection.guard import Verdict, decide, decide_at_shares, judge_of
from isthmus_selection.trials import Trial, at_shares, class_weights, rank, with_agreement
from isthmus_selection.words import before, grouped, listed, objection

GROWTH = 4  # of the rows from one round to the next, as half of the candidates leave
DOUBTFUL = 0.5  # expected accuracy below which the answer comes with a warning


@dataclass(frozen=True, kw_only=True)
class Auto(Strategy):
    """Try every strategy that can take the task and answer with the mean of the best few.

    Candidates are adapted without a share of the source, ranked by validators and by agreement
    with the mean of all; the best, adapted again with all rows, answer together. A guard estimates
    the gain over source-only and answers with source-only when the evidence is against adapting,
    when no shift is shown, or no sign that columns mean the same in both domains. It costs about
    as much as its candidates, and ``members`` times the inference of one; ``run.budget`` is shared
    among them.
    """

    name: ClassVar[str] = "auto"
    family: ClassVar[str] = "selection"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table", "image", "graph"}), sources="any", outputs=frozenset({"classes"})
    )

    candidates: tuple[str, ...] = ()  # names; none: all that are installed
    validators: tuple[str, ...] = ("source-risk", "information-maximisation")
    members: int = 5  # how many answer together; 1: a single strategy
    holdout: float = 0.2  # share of the source that candidates do not learn from
    rows: int = 2000  # of each domain in the first round
    confidence: float = 0.95  # of the guard's interval
    margin: float = 0.005  # the least gain in accuracy that is worth adapting for
    steps: int | None = None  # of each candidate that is trained; none: as many as it is made for
    network: Backbone | None = None  # for images, as --backbone gives it

    def __post_init__(self) -> None:
        if self.members < 1 or self.rows < 1:
            raise ValueError("members and rows are at least 1")
        if not (0 < self.holdout < 1 and 0 < self.confidence < 1):
            raise ValueError("holdout and confidence lie between 0 and 1")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        catalogue = discover()
        shift = inspect_shift(task, run, network=self.network)
        found = contenders(catalogue, task, self.candidates, self.network, self.steps, shift)
        left_out = dict(found.unlikely)
        if said := objection(shift):
            run.say(f"source-only: {said}")
            told = {**before(shift, found.unfit), "reason": said}
            return self._answer([FLOOR], found.strategies, task, run, told)
        run.say(
            f"the domains differ (p = {shift.p:.3f}, a classifier tells them apart with accuracy "
            f"{shift.domains.accuracy:.2f}): trying {', '.join(found.strategies)}"
        )
        held = [hold_out(d, self.holdout, run.seed) for d in task.sources]
        inner = replace(task, sources=tuple(kept for kept, _ in held))
        asked = replace(task, sources=tuple(out for _, out in held)).source
        weight = class_weights(shift)
        trials = self._rounds(catalogue, found.strategies, inner, asked, weight, run, left_out)
        ranked = rank(trials)
        floor = next(t for t in trials if t.name == FLOOR)
        best = [t for t in ranked if isinstance(t.adapted, TorchAdapted)][: self.members]
        verdict = self._judge(trials, best, floor, asked.y, weight)
        told = {
            **before(shift, {**found.unfit, **left_out}),
            "candidates": [{"strategy": t.name, "scores": dict(t.scores)} for t in ranked],
            "gain": {"estimate": verdict.estimate, "low": verdict.low, "high": verdict.high},
            "expected_accuracy": verdict.expected,
            "confidence": self.confidence,
            "reason": verdict.reason,
        }
        run.say(f"best by {' and '.join(floor.scores)}: {listed(best)}")
        if left_out:
            run.say("left out: " + grouped(left_out))
        if verdict.expected < DOUBTFUL:
            run.say(
                f"warning: the candidates contradict each other, at most {verdict.expected:.0%} of "
                "their answers are right if they are calibrated: label some target instances"
            )
        if not verdict.adapt or [t.name for t in best] == [FLOOR]:
            run.say(f"source-only: the evidence is against adapting, as {verdict.reason}")
            return self._answer([FLOOR], found.strategies, task, run, told)
        run.say(f"{verdict.reason} in accuracy over source-only (without target labels)")
        return self._answer([t.name for t in best], found.strategies, task, run, told)

    def _rounds(
        self,
        catalogue: Catalogue,
        strategies: Mapping[str, Strategy],
        task: Task,
        asked: Labelled,
        weight: NDArray[np.float64] | None,
        run: Run,
        left_out: dict[str, str],
    ) -> list[Trial]:
        """Return the trials of the last round: source-only, and the candidates that reached it."""
        alive = list(strategies)
        sizes = self._sizes(task)
        share = run.budget and run.budget / (len(sizes) + 1) / len(alive)
        for number, size in enumerate(sizes):
            part, last = _fewer(task, size, run.seed), number == len(sizes) - 1
            trials: list[Trial] = []
            for i, name in enumerate(alive):
                inside = _inside(run, f"{name}-{number}", share)
                try:
                    adapted = strategies[name].adapt(part, inside)
                    trials.append(
                        self._trial(catalogue, name, adapted, part.target, asked)
                        if weight is None
                        else at_shares(name, adapted, part.target, asked, weight)
                    )
                except Exception as error:
                    if name == FLOOR:
                        raise RunFailed(f"source-only itself failed: {error}") from error
                    left_out[name] = f"failed: {type(error).__name__}: {error}"
                run.progress(f"candidates, {size} rows", i + 1, len(alive))
            trials = trials if weight is not None else with_agreement(trials)
            if last:
                return trials
            kept = [t.name for t in rank(trials)][: max(self.members + 1, len(trials) // 2)]
            for t in trials:
                if t.name not in kept and t.name != FLOOR:
                    left_out[t.name] = f"not among the better half on {size} rows"
            alive = [FLOOR, *(n for n in kept if n != FLOOR)]
        raise AssertionError("there is always a last round")

    def _sizes(self, task: Task) -> list[int]:
        largest = max(len(task.target), *(len(d) for d in task.sources))
        sizes = [largest]
        while task.schema.kind != "graph" and sizes[0] > self.rows * GROWTH:
            sizes.insert(0, sizes[0] // GROWTH)
        if task.schema.kind != "graph" and sizes[0] > self.rows:
            sizes.insert(0, self.rows)
        return sizes

    def _trial(
        self, catalogue: Catalogue, name: str, adapted: Adapted, target: Domain, asked: Labelled
    ) -> Trial:
        evidence = Evidence(adapted=adapted, target=target, source=asked)
        scores: dict[str, float] = {}
        for v in self.validators:
            validator = catalogue.evaluators[v]()
            value = float(judge(validator, evidence))  # type: ignore[arg-type]
            scores[v] = value if validator.higher_is_better else -value
        return Trial(name, adapted, evidence.predictions, evidence.source_predictions, scores)

    def _judge(
        self,
        trials: Sequence[Trial],
        best: Sequence[Trial],
        floor: Trial,
        y: NDArray[np.int64],
        weight: NDArray[np.float64] | None,
    ) -> Verdict:
        target, source = (np.mean([getattr(t, s) for t in best], 0) for s in ("target", "source"))
        right, floor_right = source.argmax(1) == y, floor.source.argmax(1) == y
        if weight is not None:
            return decide_at_shares(right, floor_right, weight[y], self.confidence, self.margin)
        witness = judge_of([t.target for t in trials], [t.source for t in trials], y)
        answers = (target.argmax(1), floor.target.argmax(1))
        return decide(witness, *answers, right, floor_right, self.confidence, self.margin)

    def _answer(
        self,
        names: Sequence[str],
        strategies: Mapping[str, Strategy],
        task: Task,
        run: Run,
        told: dict[str, Any],
    ) -> Adapted:
        """Adapt the chosen with all rows."""
        share = run.budget and run.budget / len(names) / 2
        members = [strategies[n].adapt(task, _inside(run, f"{n}-answer", share)) for n in names]
        adapted = committee([m for m in members if isinstance(m, TorchAdapted)])
        told = {"answer": list(names), **told}
        return replace(adapted, diagnostics={**adapted.diagnostics, "auto": told})


def _fewer(task: Task, size: int, seed: int) -> Task:
    """Return the task with at most ``size`` rows of each domain, chosen by content."""

    def some(domain: Any) -> Any:
        if len(domain) <= size:
            return domain
        rng = np.random.default_rng(seed)
        return domain.take(rows.shuffled(domain.x, rng, getattr(domain, "y", None))[:size])

    return replace(task, sources=tuple(map(some, task.sources)), target=some(task.target))


def _inside(run: Run, name: str, budget: float | None) -> Run:
    """Return the run of a candidate: silent, with a checkpoint of its own."""
    return run.silent(
        budget=budget,
        checkpoint=run.checkpoint and run.checkpoint / name,
        key=run.key and f"{run.key} {name}",
        progress=run.progress,
    )
