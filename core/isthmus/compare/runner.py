"""Running the cells of a study, one after the other: same data and seed for every strategy."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import rows
from isthmus.compare.cell import Cell
from isthmus.compare.store import Store, key_of
from isthmus.compare.study import StrategySpec, Study, TaskSpec
from isthmus.compose import build_strategy, load_domain, load_labelled
from isthmus.domain import Domain, Labelled, Task
from isthmus.errors import BadInput, IsthmusError, UnsupportedTask
from isthmus.evaluator import Evidence, judge
from isthmus.manager import Catalogue
from isthmus.matching import match, match_one
from isthmus.settings import describe
from isthmus.strategy import Adapted, Run


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A task as loaded: what strategies may see, and what only evaluators see."""

    task: Task
    test: Labelled
    held_out: Labelled | None
    labelled_target: Labelled | None  # for oracles
    said: list[str]
    content: dict[str, Any]  # what the data are, for the keys of its cells


def run_study(
    study: Study,
    catalogue: Catalogue,
    *,
    root: Path | None = None,
    device: str = "cpu",
    store: Store | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Iterator[tuple[Cell, Adapted | None, Problem | None]]:
    """Yield every cell as it is done, with its artefact and its task.

    Cells that ``store`` holds are not run again (and have no artefact). A task that cannot be
    loaded fails its own cells and no others.
    """
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
        problem: Problem | None = None
        trouble = ""
        try:
            problem = _load(spec, study, catalogue, root, seed)
        except IsthmusError as error:
            trouble = str(error)
        for sentence in problem.said if problem else ():
            say(f"{spec.name}: {sentence}")
        for s in strategies:
            cell = _blank(s, spec.name, catalogue, seed)
            adapted = None
            if problem is None:
                cell = replace(cell, status="failed", reason=trouble)
            else:
                cell, adapted = _run(cell, s, problem, study, catalogue, device, store, say)
            done += 1
            progress("cells", done, total)
            yield cell, adapted, problem


def _blank(spec: StrategySpec, task: str, catalogue: Catalogue, seed: int) -> Cell:
    cls = catalogue.strategies[spec.name]
    few = cls.needs.support and not cls.oracle
    label = spec.label or spec.name
    return Cell(task=task, strategy=label, seed=seed, oracle=cls.oracle, few_labels=few)


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
    content = {
        "isthmus": version("isthmus"),
        "seed": seed,
        "holdout": study.holdout,
        "evaluators": study.evaluators,
        "schema": asdict(task.schema),
        "data": [
            rows.fingerprint(d.x, getattr(d, "y", None))
            for d in (*task.sources, labelled or task.target, test, *([support] if support else []))
        ],
    }
    return Problem(
        task=task,
        test=test,
        held_out=held_out,
        labelled_target=labelled,
        said=said,
        content=content,
    )


def _split(domain: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Keep a share of the rows out, chosen by content so that their order does not matter."""
    order = rows.canonical_order(domain.x, domain.y)
    order = order[np.random.default_rng(seed).permutation(len(order))]
    cut = max(1, round(share * len(order)))
    return domain.take(order[cut:]), domain.take(order[:cut])


def _run(
    cell: Cell,
    spec: StrategySpec,
    problem: Problem,
    study: Study,
    catalogue: Catalogue,
    device: str,
    store: Store | None,
    say: Callable[[str], None],
) -> tuple[Cell, Adapted | None]:
    said: list[str] = []

    def tell(sentence: str) -> None:
        said.append(sentence)
        say(f"{cell.task}, {cell.strategy}: {sentence}")

    task = problem.task
    if cell.oracle and problem.labelled_target is not None:
        task = replace(task, support=problem.labelled_target)
    key, adapted = "", None
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
        key = key_of({**problem.content, "strategy": describe(strategy)})
        if store is not None and (found := store.get(key)) is not None:
            # Its names are those of this study: they are no part of what it is.
            return replace(found, task=cell.task, strategy=cell.strategy), None
        began = time.perf_counter()
        adapted = strategy.adapt(task, Run(seed=cell.seed, device=device, say=tell))
        cell = replace(
            cell,
            seconds=time.perf_counter() - began,
            scores=_scores(adapted, problem, study, catalogue),
            diagnostics={**adapted.diagnostics},
        )
    except UnsupportedTask as error:
        cell = replace(cell, status="refused", reason=str(error))
    except IsthmusError as error:
        cell = replace(cell, status="failed", reason=str(error))
    except Exception:  # one cell must not cost the others; its traceback is its record
        cell = replace(cell, status="failed", reason=traceback.format_exc(limit=-3))
    cell = replace(cell, said=tuple(said))
    if store is not None and key:
        store.put(key, cell)
    return cell, adapted if cell.status == "ok" else None


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
