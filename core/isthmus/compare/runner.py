"""Running the cells of a study, one after the other: same data and seed for every strategy."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import rows
from isthmus.compare.study import StrategySpec, Study, TaskSpec
from isthmus.compose import build_strategy, load_domain, load_labelled
from isthmus.domain import Domain, Labelled, Task
from isthmus.errors import BadInput, IsthmusError, UnsupportedTask
from isthmus.evaluator import Evidence, judge
from isthmus.manager import Catalogue
from isthmus.matching import match, match_one
from isthmus.strategy import Adapted, Run


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One strategy on one task with one seed, and what came of it."""

    task: str
    strategy: str
    seed: int
    status: str = "ok"  # ok | failed | refused
    oracle: bool = False
    few_labels: bool = False  # it was given the task's few labelled target instances
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    said: tuple[str, ...] = ()  # what the strategy wants people to know
    diagnostics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A task as loaded: what strategies may see, and what only evaluators see."""

    task: Task
    test: Labelled
    held_out: Labelled | None
    labelled_target: Labelled | None  # for oracles
    said: list[str]


def run_study(
    study: Study,
    catalogue: Catalogue,
    *,
    root: Path | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Iterator[tuple[Cell, Adapted | None, Problem]]:
    """Yield every cell as it is done, with its artefact."""
    for s in study.strategies:
        _ = catalogue.strategies[s.name]  # a misspelt name is told before anything runs
    for name in study.evaluators:
        _ = catalogue.evaluators[name]
    plan = [
        (t, seed, [s for s in study.strategies if not s.tasks or t.name in s.tasks])
        for t in study.tasks
        for seed in study.seeds
    ]
    done, total = 0, sum(len(strategies) for _, _, strategies in plan)
    for spec, seed, strategies in plan:
        problem = _load(spec, study, catalogue, root, seed)
        for sentence in problem.said:
            say(f"{spec.name}: {sentence}")
        for s in strategies:
            cell, adapted = _run(s, problem, spec.name, study, catalogue, seed, device, say)
            done += 1
            progress("cells", done, total)
            yield cell, adapted, problem


def _load(
    spec: TaskSpec, study: Study, catalogue: Catalogue, root: Path | None, seed: int
) -> Problem:
    sources = [load_labelled(catalogue, uri, root, seed) for uri in spec.sources]
    target: Domain = load_domain(catalogue, spec.target, root, seed)
    support = load_labelled(catalogue, spec.support, root, seed) if spec.support else None
    task, said = match(sources, target, support=support, image_size=spec.image_size)
    held_out = None
    if study.holdout and task.sources:
        kept, held = zip(*(_split(d, study.holdout, seed) for d in task.sources), strict=True)
        task, held_out = replace(task, sources=kept), replace(task, sources=held).source
    labelled = match_one(target, task.schema)[0] if isinstance(target, Labelled) else None
    if spec.test:
        test = match_one(load_labelled(catalogue, spec.test, root, seed), task.schema)[0]
    elif isinstance(labelled, Labelled):
        test = labelled
    else:
        raise BadInput(f"{spec.name}: {spec.target} has no labels to judge by; add test = URI")
    return Problem(task=task, test=test, held_out=held_out, labelled_target=labelled, said=said)


def _split(domain: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Keep a share of the rows out, chosen by content so that their order does not matter."""
    order = rows.canonical_order(domain.x, domain.y)
    order = order[np.random.default_rng(seed).permutation(len(order))]
    cut = max(1, round(share * len(order)))
    return domain.take(order[cut:]), domain.take(order[:cut])


def _run(
    spec: StrategySpec,
    problem: Problem,
    task_name: str,
    study: Study,
    catalogue: Catalogue,
    seed: int,
    device: str,
    say: Callable[[str], None],
) -> tuple[Cell, Adapted | None]:
    cls = catalogue.strategies[spec.name]
    cell = Cell(
        task=task_name,
        strategy=spec.label or spec.name,
        seed=seed,
        oracle=cls.oracle,
        few_labels=cls.needs.support and not cls.oracle,
    )
    said: list[str] = []

    def tell(sentence: str) -> None:
        said.append(sentence)
        say(f"{task_name}, {cell.strategy}: {sentence}")

    task = problem.task
    if cls.oracle and problem.labelled_target is not None:
        task = replace(task, support=problem.labelled_target)
    began = time.perf_counter()
    try:
        strategy, _ = build_strategy(
            catalogue,
            spec.name,
            spec.set,
            task.schema,
            backbone=spec.backbone,
            weights=spec.weights,
            embed=spec.embed,
        )
        adapted = strategy.adapt(task, Run(seed=seed, device=device, say=tell))
        seconds = time.perf_counter() - began
        scores = _scores(adapted, problem, study, catalogue)
    except UnsupportedTask as error:
        return replace(cell, status="refused", reason=str(error)), None
    except IsthmusError as error:
        return replace(cell, status="failed", reason=str(error)), None
    except Exception:  # one cell must not cost the others; its traceback is its record
        reason = traceback.format_exc(limit=-3)
        return replace(cell, status="failed", reason=reason), None
    found = {**adapted.diagnostics}
    done = replace(cell, scores=scores, seconds=seconds, said=tuple(said), diagnostics=found)
    return done, adapted


def _scores(
    adapted: Adapted, problem: Problem, study: Study, catalogue: Catalogue
) -> dict[str, float]:
    default = ("r2",) if problem.test.schema.is_regression else ("accuracy",)
    evidence = Evidence(adapted=adapted, target=problem.test, source=problem.held_out)
    out = {}
    for name in study.evaluators or default:
        evaluator = catalogue.evaluators[name]()
        if not evaluator.applies(problem.test.schema):
            continue
        value = judge(evaluator, evidence)
        if isinstance(value, float | int):
            out[name] = float(value)
    return out
