"""One cell after the other in this process: the one executor that has the artefacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isthmus.compare.bench import Bench
from isthmus.compare.cell import Cell
from isthmus.compare.executors import Job
from isthmus.compare.executors.worker import limit_threads
from isthmus.strategy import Adapted


@dataclass(frozen=True, kw_only=True)
class Serial:
    """It can neither stop a cell that hangs nor survive one that takes the process down."""

    say: Callable[[str], None] = lambda sentence: None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None

    def __str__(self) -> str:
        return "one process, without workers"

    def run(self, jobs: Iterator[Job], bench: Bench) -> Iterator[tuple[Job, Cell, Adapted | None]]:
        with limit_threads(bench.setup.study.threads):
            for job in jobs:
                cell, adapted = bench.run(
                    job.blank,
                    job.task,
                    job.seed,
                    job.strategy,
                    say=self.say,
                    progress=self.progress,
                )
                yield job, cell, adapted
