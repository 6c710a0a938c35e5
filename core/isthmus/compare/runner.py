"""Running a study: which cells are missing, who runs them, and what becomes of the records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from isthmus.compare.bench import Bench
from isthmus.compare.cell import Cell
from isthmus.compare.executors import Executor, Job
from isthmus.compare.executors.serial import Serial
from isthmus.compare.problem import Problem
from isthmus.compare.scoring import evaluators_of
from isthmus.compare.store import Store, finished
from isthmus.strategy import Adapted

Which = Literal["default", "only-missing", "only-failed", "overwrite"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """A cell, and whether it was run now; its artefact and task where they are in this process."""

    number: int  # its place in the study
    cell: Cell
    fresh: bool
    adapted: Adapted | None = None
    problem: Problem | None = None


def run_study(
    bench: Bench,
    *,
    store: Store | None = None,
    executor: Executor = Serial(),
    which: Which = "default",
    say: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Iterator[Outcome]:
    """Yield every cell of the study once: those on record first, the others as they are done.

    Finished cells are not run again, failed and missing ones are; "only-missing" leaves the failed
    ones, "only-failed" runs nothing else, "overwrite" runs all. A task that cannot be loaded fails
    its own cells and no others.
    """
    study = bench.setup.study
    planned = list(study.cells())
    ready: list[Outcome] = []  # cells that need no worker, met while looking for some that do
    told: set[tuple[str, int]] = set()
    before: dict[int, Cell | None] = {}  # records of cells that are run all the same

    def jobs() -> Iterator[Job]:
        for number, (task, seed, spec) in enumerate(planned):
            blank = bench.blank(task, seed, spec)
            problem = bench.problem(task, seed)
            if isinstance(problem, Problem) and (task.name, seed) not in told:
                told.add((task.name, seed))
                for sentence in problem.said:
                    say(f"{task.name}: {sentence}")
            record = None
            if store is not None:
                store.plan(blank)
                record = store.get(blank.key)
            if blank.status != "ok" or isinstance(problem, str):  # it cannot be run, and says why
                ready.append(Outcome(number=number, cell=blank, fresh=True))
                continue
            wanted = {*evaluators_of(study, problem.task.schema), *study.validators}
            if _keeps(record, which, wanted):
                # Its names are those of this study: they are no part of what it is.
                cell = named(record, blank) if record is not None else left_out(blank)
                ready.append(Outcome(number=number, cell=cell, fresh=False))
            else:
                before[number] = None if which == "overwrite" else record
                yield Job(number=number, task=task, seed=seed, strategy=spec, blank=blank)

    count = itertools.count(1)

    def done(outcome: Outcome) -> Outcome:
        progress("cells", next(count), len(planned))
        return outcome

    for job, cell, adapted in executor.run(jobs(), bench):
        if store is not None and cell.key:
            cell = _merged(before.pop(job.number), cell)
            store.put(cell)
        while ready:
            yield done(ready.pop(0))
        problem = bench.problem(job.task, job.seed) if adapted is not None else None
        yield done(
            Outcome(
                number=job.number,
                cell=cell,
                fresh=True,
                adapted=adapted,
                problem=problem if isinstance(problem, Problem) else None,
            )
        )
    while ready:
        yield done(ready.pop(0))


def _keeps(record: Cell | None, which: Which, wanted: set[str]) -> bool:
    """Say whether a cell is to be left as it is."""
    if which == "overwrite":
        return False
    if record is None:
        return which == "only-failed"
    if which == "only-missing":
        return record.status != "ok" or finished(record, wanted)
    if which == "only-failed":
        return record.status in ("ok", "refused")
    return finished(record, wanted)


def named(record: Cell, blank: Cell) -> Cell:
    """Return a record under the names of a study, which are no part of what it is."""
    names = ("task", "strategy", "group", "settings", "few_labels", "oracle", "method", "family")
    return replace(record, **{name: getattr(blank, name) for name in names})


def left_out(blank: Cell) -> Cell:
    return replace(blank, status="missing", reason="not run yet")


def _merged(old: Cell | None, new: Cell) -> Cell:
    """Keep what was scored before: it is true also where one score more took too long."""
    if old is None or old.status != "ok":
        return new
    if new.status != "ok":
        return replace(old, said=(*old.said, f"run once more, it {new.status}: {new.reason}"))
    scores = {**old.scores, **new.scores}
    unscored = {k: v for k, v in {**old.unscored, **new.unscored}.items() if k not in scores}
    return replace(new, scores=scores, unscored=unscored)
