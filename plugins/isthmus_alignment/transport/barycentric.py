"""The source moved onto the target by a coupling: each row to the mean of its counterparts.

Ferradans, Papadakis, Peyré & Aujol, "Regularized discrete optimal transport", SIAM Journal on
Imaging Sciences 7 (2014), arXiv:1307.5551, who also move new rows as their nearest neighbour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import Run, RunFailed, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labelled, Labels
from isthmus.learners.displaced import displaced
from isthmus.learners.learner import Learner
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.cost import ground_cost, units
from isthmus_alignment.transport.coupling import Coupling

Solve = Callable[[NDArray[np.float64], Labels], Coupling]  # of costs, and of the source's labels
# Costs (n, m) of some source rows and some target rows, and which these are.
Join = Callable[[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
MASSLESS = 1e-6  # of its share: a row that keeps less has no counterpart to speak of


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """One coupling, and which rows of the (ordered) domains it joins."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    coupling: Coupling


class Coupled:
    """Source and target in canonical order, and the couplings between them."""

    def __init__(self, task: Task, run: Run, batches: Batches) -> None:
        source = task.source
        # In an order of their own: a solver that chooses between equal plans must not see ours.
        self.source = source.take(rows.canonical_order(source.x, source.y))
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
        self.diagnostics: dict[str, Any] = {}

    def solve(self, solve: Solve, join: Join | None = None) -> Iterator[Problem]:
        """Yield each problem solved; the same parts at every call.

        Costs have the median 1; ``join`` makes others of them.
        """
        stopped, error, cost_of_plan = 0, 0.0, 0.0
        for i, (s, t) in enumerate(self.batches.pairs(*self.size, self.run.rng())):
            cost = ground_cost(self.source.x[s], self.x[t], self.unit)
            cost = cost if join is None else join(cost, s, t)
            found = solve(cost, self.source.y[s])
            stopped += not found.converged
            error = max(error, found.error)
            cost_of_plan += float((found.plan * cost).sum()) / self.problems
            self.run.progress("transport", i + 1, self.problems)
            yield Problem(source=s, target=t, coupling=found)
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


def transport(
    task: Task,
    run: Run,
    solve: Solve,
    learner: Learner | None,
    batches: Batches,
    *,
    weigh: bool = False,
) -> TorchAdapted:
    """Fit a learner on the transported source; ``weigh``: each row by the mass that it kept.

    Without a learner: 1-NN for classes, as in the papers, and Linear for values. Means of partners
    lie closer together than rows do, which a penalised linear model mistakes for a change of unit.
    """
    if learner is None and not task.schema.is_regression:
        learner = NearestNeighbours()
    coupled = Coupled(task, run, batches)
    moved, mass = barycentres(coupled, solve)
    source = coupled.source
    arrived = mass > MASSLESS
    if not arrived.any():
        raise RunFailed(
            "no source row kept its mass: every target row is too far away",
            hint="a larger relax, or ot-sinkhorn, which moves every row",
        )
    inner = Labelled(name=source.name, schema=task.schema, x=moved, y=source.y).take(arrived)
    weight = mass[arrived] / mass[arrived].mean() if weigh else None
    adapted = fit_learner(learner, Task(sources=(inner,), target=task.target), run, weight)
    return dataclasses.replace(
        adapted,
        diagnostics={**adapted.diagnostics, "transport": coupled.diagnostics},
        source_part=displaced(adapted.part, source.x[arrived], inner.x),
    )


def barycentres(coupled: Coupled, solve: Solve) -> tuple[Any, NDArray[np.float64]]:
    """Return where each source row goes, float32 (n_source, d) or CSR, and its mass (n_source,).

    The mass is 1 where marginals are met; a row without mass goes nowhere (zeros).
    """
    n, (is_sparse, shape) = len(coupled.source), (rows.is_sparse(coupled.x), coupled.x.shape)
    mass, times = np.zeros(n), np.zeros(n)
    total: Any = sparse.csr_matrix((n, shape[1])) if is_sparse else np.zeros((n, shape[1]))
    for problem in coupled.solve(solve):
        plan, s, x = problem.coupling.plan, problem.source, coupled.x[problem.target]
        plan = plan * len(s)  # each row has the mass 1, in a part as in the whole
        mass[s] += plan.sum(1)
        times[s] += 1
        if is_sparse:
            place = sparse.csr_matrix((np.ones(len(s)), (s, np.arange(len(s)))), (n, len(s)))
            total = total + place @ sparse.csr_matrix(_few(plan) @ x)
        else:
            total[s] += plan @ x
    scale = np.divide(1, mass, out=np.zeros(n), where=mass > MASSLESS * times)
    moved = sparse.diags_array(scale) @ total if is_sparse else total * scale[:, None]
    return (sparse.csr_matrix(moved) if is_sparse else moved).astype(np.float32), mass / times


def _few(plan: NDArray[np.float64]) -> Any:
    """Return a plan as a CSR matrix where that is smaller, as an exact plan's is."""
    return sparse.csr_matrix(plan) if np.count_nonzero(plan) < plan.size / 10 else plan
