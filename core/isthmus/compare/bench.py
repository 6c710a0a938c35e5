"""The bench on which cells are run: the same in every executor and in every process."""

from __future__ import annotations

import hashlib
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from isthmus import settings
from isthmus.compare.cell import Cell
from isthmus.compare.keys import by_content, key_of, plain
from isthmus.compare.local import load_module
from isthmus.compare.problem import Problem, load_problem
from isthmus.compare.scoring import blind, score
from isthmus.compare.search import check_search, find_best
from isthmus.compare.study import StrategySpec, Study, TaskSpec
from isthmus.compose import build_strategy
from isthmus.errors import BadInput, IsthmusError, UnsupportedTask
from isthmus.evaluator import Recipe, judge
from isthmus.manager import Catalogue, discover
from isthmus.strategy import Adapted, Run, Strategy

HOLDOUT = 0.2  # of the source, when a validator asks for some
KEPT = 2  # problems in memory at a time


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a process must know to run cells of a study; travels to workers."""

    study: Study
    root: Path | None = None
    device: str = "cpu"
    third_party: bool | None = None  # plugins, see manager.discover


@dataclass(frozen=True, eq=False)
class Bench:
    """Loads tasks, names their cells and runs them."""

    setup: Setup
    catalogue: Catalogue
    _kept: dict[tuple[str, int], Problem | str] = field(default_factory=dict)

    @classmethod
    def open(cls, setup: Setup) -> Bench:
        """Find the plugins; raises where the study names something that is not there."""
        extra = {name: load_module(name) for name in setup.study.plugins}
        bench = cls(setup, discover(extra, third_party=setup.third_party))
        for plugin in bench.catalogue.plugins:
            if plugin.name in extra and plugin.status != "ok":
                raise BadInput(f"plugin {plugin.name}: {plugin.reason}")
        for s in setup.study.strategies:
            cls_ = bench.catalogue.strategies[s.name]
            settings.configure(cls_, s.set)
            if s.search is not None:
                check_search(s.search, f"search of {s.label or s.name}")
                _ = bench.catalogue.validator(s.search.by)
                bench._check_names(s)
        for name in setup.study.evaluators:
            _ = bench.catalogue.evaluators[name]
        for name in setup.study.validators:
            _ = bench.catalogue.validator(name)
        return bench

    @property
    def holdout(self) -> float:
        """Return the share of each source that is kept from training."""
        study = self.setup.study
        if study.holdout is not None:
            return study.holdout
        searched = (s.search.by for s in study.strategies if s.search is not None)
        asked = {*study.evaluators, *study.validators, *searched}
        return HOLDOUT if any(self.catalogue.evaluators[n].reads_source for n in asked) else 0.0

    def problem(self, spec: TaskSpec, seed: int) -> Problem | str:
        """Return the task, or the sentence that says why it cannot be loaded."""
        found = self._kept.get((spec.name, seed))
        if found is None:
            try:
                found = load_problem(
                    spec, self.catalogue, root=self.setup.root, seed=seed, holdout=self.holdout
                )
            except IsthmusError as error:
                found = str(error)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[spec.name, seed] = found
        return found

    def blank(self, task: TaskSpec, seed: int, spec: StrategySpec) -> Cell:
        """Return the cell before it is run: its names, and its key when its task can be loaded."""
        cls = self.catalogue.strategies[spec.name]
        cell = Cell(
            task=task.name,
            strategy=spec.label or spec.name,
            seed=seed,
            oracle=cls.oracle,
            few_labels=cls.needs.support and not cls.oracle,
            method=spec.name,
            family=cls.family,
            group=spec.group or spec.label or spec.name,
            settings=plain({**spec.set, **({"search": spec.search} if spec.search else {})}),
        )
        problem = self.problem(task, seed)
        if isinstance(problem, str):
            return replace(cell, status="failed", reason=problem)
        try:
            strategy = self.strategy(spec, problem)
        except UnsupportedTask as error:
            return replace(cell, status="refused", reason=str(error))
        except IsthmusError as error:
            return replace(cell, status="failed", reason=str(error))
        content = {
            **problem.content,
            "isthmus": version("isthmus"),
            "version": self._version(spec.name),
            "strategy": by_content(settings.describe(strategy)),
            "search": plain(spec.search),  # the selection rule, where there is one
            "budget": self.setup.study.budget,
        }
        return replace(cell, key=key_of(content))

    def strategy(
        self, spec: StrategySpec, problem: Problem, given: Mapping[str, Any] = {}
    ) -> Strategy:
        """Return the strategy as the task needs it; ``given`` are more settings."""
        strategy, _ = build_strategy(
            self.catalogue,
            spec.name,
            {**spec.set, **given},
            problem.task.schema,
            backbone=spec.backbone,
            weights=spec.weights,
            embed=spec.embed,
        )
        return strategy

    def run(
        self,
        cell: Cell,
        task: TaskSpec,
        seed: int,
        spec: StrategySpec,
        *,
        say: Callable[[str], None] = lambda sentence: None,
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> tuple[Cell, Adapted | None]:
        """Fill a blank cell: adapt and score. What goes wrong is its record, not an exception."""
        problem = self.problem(task, seed)
        if cell.status != "ok" or isinstance(problem, str):
            return cell, None
        said: list[str] = []

        def tell(sentence: str) -> None:
            said.append(sentence)
            say(f"{cell.task}, {cell.strategy}: {sentence}")

        budget = self.setup.study.budget
        run = Run(seed=seed, device=self.setup.device, budget=budget, say=tell, progress=progress)
        adapted: Adapted | None = None
        began = time.perf_counter()
        try:
            recipe, adapted, diagnostics = self._adapt(cell, spec, problem, run)
            seconds = time.perf_counter() - began
            scores, unscored = score(adapted, recipe, problem, self.setup.study, self.catalogue)
            cell = replace(
                cell,
                seconds=seconds,
                scores=scores,
                unscored=unscored,
                diagnostics=plain({**adapted.diagnostics, **diagnostics}),
            )
        except UnsupportedTask as error:
            cell = replace(cell, status="refused", reason=str(error))
        except IsthmusError as error:
            cell = replace(cell, status="failed", reason=str(error))
        except Exception:  # one cell must not cost the others; its traceback is its record
            cell = replace(cell, status="failed", reason=traceback.format_exc(limit=-3))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cell = replace(cell, said=tuple(said), peak_mb=round(peak, 1))
        return cell, adapted if cell.status == "ok" else None

    def _adapt(
        self, cell: Cell, spec: StrategySpec, problem: Problem, run: Run
    ) -> tuple[Recipe, Adapted, dict[str, Any]]:
        task = problem.task
        if cell.oracle and problem.labelled_target is not None:
            task = replace(task, support=problem.labelled_target)

        def attempt(given: Mapping[str, Any]) -> tuple[Recipe, Adapted]:
            recipe = Recipe(strategy=self.strategy(spec, problem, given), task=task, run=run)
            return recipe, recipe.strategy.adapt(task, run)

        if spec.search is None:
            return *attempt({}), {}
        validator = self.catalogue.validator(spec.search.by)

        def value(recipe: Recipe, adapted: Adapted) -> float:
            found = judge(validator, blind(adapted, recipe, problem))
            return float(found) if validator.higher_is_better else -float(found)  # type: ignore[arg-type]

        return find_best(spec.search, attempt, value, run, self._defaults(spec))

    def _defaults(self, spec: StrategySpec) -> dict[str, Any]:
        recipe = settings.configure(self.catalogue.strategies[spec.name], spec.set)
        return {p["name"]: p["default"] for p in settings.parameters(recipe)}

    def _check_names(self, spec: StrategySpec) -> None:
        """Refuse a misspelt setting of a search before anything runs."""
        assert spec.search is not None
        given = {
            key: values["low"] if isinstance(values, Mapping) else values[0]
            for key, values in spec.search.space.items()
        }
        settings.configure(self.catalogue.strategies[spec.name], {**spec.set, **given})

    def _version(self, name: str) -> str:
        """Return the version of the distribution a strategy comes from, or of its file."""
        cls = self.catalogue.strategies[name]
        dist = next((d for n, d, c in self.catalogue.strategies.items() if c is cls), "")
        if dist in self.setup.study.plugins:
            source = getattr(load_module(dist), "__file__", None)
            return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
        try:
            return version(dist)
        except PackageNotFoundError:
            return ""
