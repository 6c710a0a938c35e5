"""Where cells are run: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from isthmus.compare.bench import Bench
from isthmus.compare.cell import Cell
from isthmus.compare.study import StrategySpec, TaskSpec
from isthmus.strategy import Adapted


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell to run. ``number`` is its place in the study, for the order of the report alone."""

    number: int
    task: TaskSpec
    seed: int
    strategy: StrategySpec
    blank: Cell

    def timed_out(self, timeout: float | None) -> Cell:
        """Return the record of a cell that was stopped after ``timeout`` seconds."""
        reason = f"took longer than the study's timeout of {timeout:g} s"
        return replace(self.blank, status="timeout", seconds=timeout or 0.0, reason=reason)


class Executor(Protocol):
    """Runs jobs and gives every one of them back, whatever happens to the worker that had it."""

    def run(self, jobs: Iterator[Job], bench: Bench) -> Iterator[tuple[Job, Cell, Adapted | None]]:
        """Yield each job as it is done; ``jobs`` is read as workers become free."""
        ...
