"""The source moved onto the target by a coupling: each row to the mean of its counterparts.

Ferradans, Papadakis, Peyré & Aujol, "Regularized discrete optimal transport", SIAM Journal on
Imaging Sciences 7 (2014), arXiv:1307.5551, who also move new rows as their nearest neighbour.
Pooladian, Cuturi & Niles-Weed, "Debiaser beware: pitfalls of centering regularized transport
maps", ICML 2022, arXiv:2202.08919: the map less that of the source onto itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import Run, RunFailed, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.domain import Labelled
from isthmus.learners.displaced import displaced
from isthmus.learners.learner import Learner
from isthmus.learners.neighbours import NearestNeighbours
from isthmus.learners.neural import fit_learner
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.coupled import Coupled, Solve

MASSLESS = 1e-6  # of its share: a row that keeps less has no counterpart to speak of


def transport(
    task: Task,
    run: Run,
    solve: Solve,
    learner: Learner | None,
    batches: Batches,
    *,
    weigh: bool = False,
    spreads: bool = True,
) -> TorchAdapted:
    """Fit a learner on the transported source; ``weigh``: each row by the mass that it kept.

    Without a learner: 1-NN for classes, as in the papers, and Linear for values. Means of partners
    lie closer together than rows do, which tilts a regression: where a plan ``spreads``, rows with
    values are moved by the difference between their means here and in the source itself.
    """
    if learner is None and not task.schema.is_regression:
        learner = NearestNeighbours()
    coupled = Coupled(task, run, batches)
    debias = spreads and task.schema.is_regression
    moved, mass = barycentres(coupled, solve, debias=debias)
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


def barycentres(
    coupled: Coupled, solve: Solve, *, debias: bool = False
) -> tuple[Any, NDArray[np.float64]]:
    """Return where each source row goes, float32 (n_source, d) or CSR, and its mass (n_source,).

    The mass is 1 where marginals are met; a row without mass goes nowhere (zeros). ``debias``: a
    row goes as far as its mean here is from its mean in the source, so that equal domains stay.
    """
    n, (is_sparse, shape) = len(coupled.source), (rows.is_sparse(coupled.x), coupled.x.shape)
    mass, times = np.zeros(n), np.zeros(n)
    total: Any = sparse.csr_matrix((n, shape[1])) if is_sparse else np.zeros((n, shape[1]))
    for problem, found in coupled.solve(solve):
        s, x = problem.source, problem.x_target
        plan = found.plan * len(s)  # each row has the mass 1, in a part as in the whole
        kept = plan.sum(1)
        mass[s] += kept
        times[s] += 1
        part = _few(plan) @ x
        if debias:
            own = solve(problem.of_itself()).plan
            own *= np.divide(kept, own.sum(1), out=np.zeros(len(s)), where=kept > 0)[:, None]
            part = part - own @ problem.x_source + _scaled(problem.x_source, kept)
        if is_sparse:
            place = sparse.csr_matrix((np.ones(len(s)), (s, np.arange(len(s)))), (n, len(s)))
            total = total + place @ sparse.csr_matrix(part)
        else:
            total[s] += part
    scale = np.divide(1, mass, out=np.zeros(n), where=mass > MASSLESS * times)
    moved = _scaled(total, scale)
    mass = np.divide(mass, times, out=mass, where=times > 0)
    return (sparse.csr_matrix(moved) if is_sparse else moved).astype(np.float32), mass


def _scaled(x: Any, scale: NDArray[np.float64]) -> Any:
    """Return rows x (n, d), each times a number."""
    return sparse.diags_array(scale) @ x if rows.is_sparse(x) else x * scale[:, None]


def _few(plan: NDArray[np.float64]) -> Any:
    """Return a plan as a CSR matrix where that is smaller, as an exact plan's is."""
    return sparse.csr_matrix(plan) if np.count_nonzero(plan) < plan.size / 10 else plan
