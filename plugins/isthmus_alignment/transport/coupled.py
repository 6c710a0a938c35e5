"""The transport problems between a task's domains, made and solved one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Run, Task, rows
from isthmus.domain import Labels
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.cost import ground_cost, squared_distances, units
from isthmus_alignment.transport.coupling import Coupling

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Some rows of the (ordered) source and target, and what it costs to join them."""

    source: Index  # (n,), which rows
    target: Index  # (m,)
    x_source: Any  # (n, d)
    x_target: Any  # (m, d)
    y: Labels  # of the source's rows
    origin: Index  # (n,), the source that a row is of, where there are several
    cost: Array  # (n, m)
    unit: Array  # (d,), what to divide columns by, for squared distances to have median 1

    def of_itself(self) -> Problem:
        """Return the problem of joining the source with itself, at costs in the same unit."""
        return dataclasses.replace(
            self,
            target=self.source,
            x_target=self.x_source,
            cost=squared_distances(self.x_source, self.x_source, self.unit),
        )


Solve = Callable[[Problem], Coupling]
Join = Callable[[Problem], Array]  # other costs (n, m) for the same rows


class Coupled:
    """Source and target in canonical order, and the couplings between them."""

    def __init__(self, task: Task, run: Run, batches: Batches) -> None:
        source = task.source
        # In an order of their own: a solver that chooses between equal plans must not see ours.
        order = rows.canonical_order(source.x, source.y)
        self.source = source.take(order)
        self.origin = np.repeat(np.arange(len(task.sources)), [len(d) for d in task.sources])[order]
        self.x = rows.take(task.target.x, rows.canonical_order(task.target.x))
        self.unit = units(self.source.x, self.x, task.schema)
        self.batches, self.run = batches, run
        self.size = len(self.source), rows.count(self.x)
        self.problems = batches.count(*self.size)
        if self.problems > 1:
            run.say(
                f"{max(self.size)} rows are too many for one transport problem: the plan is the "
                f"mean of {self.problems} smaller ones (batches.size, batches.rounds)"
            )
        # Each part has rows of every class of every source.
        kind = 0 if task.schema.is_regression else self.source.y
        self.stratum = self.origin * task.schema.width + kind
        self.diagnostics: dict[str, Any] = {}

    def solve(self, solve: Solve, join: Join | None = None) -> Iterator[tuple[Problem, Coupling]]:
        """Yield each problem and its solution; the same parts at every call.

        Costs have the median 1; ``join`` makes others of them.
        """
        stopped, error, cost_of_plan = 0, 0.0, 0.0
        parts = self.batches.pairs(*self.size, self.run.rng(), self.stratum)
        for i, (s, t) in enumerate(parts):
            problem = self._whole if self.problems == 1 else self._problem(s, t)
            if join is not None:
                problem = dataclasses.replace(problem, cost=join(problem))
            found = solve(problem)
            stopped += not found.converged
            error = max(error, found.error)
            cost_of_plan += float(np.vdot(found.plan, problem.cost)) / self.problems
            self.run.progress("transport", i + 1, self.problems)
            yield problem, found
        if stopped:
            self.run.say(
                f"the transport solver stopped at its iteration limit in {stopped} of "
                f"{self.problems} problems; column sums are off by {error:.1e} in total"
            )
        self.diagnostics = {
            "cost": cost_of_plan,
            "marginal_error": error,
            "problems": self.problems,
            "stopped_early": stopped,
        }

    @cached_property
    def _whole(self) -> Problem:
        return self._problem(*map(np.arange, self.size))

    def _problem(self, s: Index, t: Index) -> Problem:
        x_source, x_target = self.source.x[s], self.x[t]
        cost, unit = ground_cost(x_source, x_target, self.unit)
        return Problem(
            source=s,
            target=t,
            x_source=x_source,
            x_target=x_target,
            y=self.source.y[s],
            origin=self.origin[s],
            cost=cost,
            unit=unit,
        )
