"""Optimal transport that keeps neighbours together.

Flamary, Courty, Rakotomamonjy & Tuia, "Optimal transport with Laplacian regularization", NIPS
workshop on optimal transport and machine learning 2014; Courty, Flamary, Tuia & Rakotomamonjy,
"Optimal transport for domain adaptation", TPAMI 39 (2017), arXiv:1507.00504: OT-Laplace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from isthmus import Adapted, Needs, Run, Strategy, Task
from isthmus.learners.learner import Learner
from isthmus_alignment.limits import a_share_if_given, above_zero, at_least_one, from_zero
from isthmus_alignment.transport.barycentric import transport
from isthmus_alignment.transport.batches import Batches
from isthmus_alignment.transport.conditional import conditional
from isthmus_alignment.transport.coupled import Problem
from isthmus_alignment.transport.coupling import Array, Coupling
from isthmus_alignment.transport.neighbourhood import (
    Neighbourhood,
    coordinates,
    laplacian,
)
from isthmus_alignment.transport.quadratic import quadratic


@dataclass(frozen=True, kw_only=True)
class OTLaplace(Strategy):
    """Move the source as ot-sinkhorn does, but keep neighbours of one class together.

    Adds eta times the mean squared distance of neighbours once they moved, in median costs (or of
    their displacements; or of the target's neighbours, moved onto the source). Generalised
    conditional gradients on entropic plans, as in the paper of 2017; reg 0: exact plans, as in that
    of 2014, kept and weighted anew at each iteration, which comes lower than a step towards the
    last. Cost O(n² d) per iteration, memory O(n²) up to 4,000 rows of a domain and mini-batches of
    1,000 above. On one core, 1,000 / 4,000 / 8,000 / 100,000 rows a side of 50 columns: 0.9 / 18 /
    17 / 176 s and 72 / 1,113 / 116 / 193 MB of extra memory. eta 1: neighbours weigh as much as
    transport; reg is ot-sinkhorn's. Several sources are pooled. Accuracy, in brackets source-only
    with 1-NN: Office-Caltech SURF (12 tasks) 44.2 (31.4), with eta 0.1 43.3; COIL20 of unit norm
    87.3 (83.2), with eta 0.1 86.3.
    """

    name: ClassVar[str] = "ot-laplace"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    eta: float = 1.0  # weight of the neighbours' mean squared distance
    reg: float = 0.1  # weight of the entropy; 0: exact plans, as in the paper of 2014
    keeps: Literal["positions", "displacements"] = "positions"  # what neighbours have alike
    source_share: float = 1.0  # of eta for the source's neighbours; the rest for the target's
    neighbours: int = 3  # of each row; in the source, among rows of its class
    iterations: int = 100
    tolerance: float = 1e-3  # duality gap, in median costs
    batches: Batches = Batches()
    learner: Learner | None = None  # None: 1-NN

    def __post_init__(self) -> None:
        above_zero(self, "tolerance")
        from_zero(self, "eta", "reg")
        at_least_one(self, "neighbours", "iterations")
        a_share_if_given(self, "source_share")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        return transport(task, run, self.solve, self.learner, self.batches)

    def solve(self, p: Problem) -> Coupling:
        x, z = coordinates(p.x_source, p.x_target, p.unit)
        still = 1.0 if self.keeps == "displacements" else 0.0
        source, target = self.eta * self.source_share, self.eta * (1 - self.source_share)
        sides = []  # and whether rows of the target are what moves
        if source:
            near = source * laplacian(x, p.y, self.neighbours)
            sides.append((Neighbourhood(laplacian=near, start=still * x, ends=z), False))
        if target:
            near = target * laplacian(z, None, self.neighbours)
            sides.append((Neighbourhood(laplacian=near, start=still * z, ends=x), True))
        return regularised(p.cost, self.reg, sides, self.iterations, self.tolerance)


def regularised(
    cost: Array,
    reg: float,
    sides: list[tuple[Neighbourhood, bool]],
    iterations: int,
    tolerance: float,
) -> Coupling:
    """Minimise <cost, P> + reg KL(P | a b') + the sides' values of P, or of P' where they say so.

    Without an entropy by exact plans, otherwise by entropic ones.
    """

    def value(plan: Any) -> float:
        return sum(side.value(plan.T if turned else plan) for side, turned in sides)

    def square(plan: Any) -> Array:
        out = np.zeros(cost.shape)
        for side, turned in sides:
            out += side.square(plan.T).T if turned else side.square(plan)
        return out

    linear = np.zeros(cost.shape)
    for side, turned in sides:
        linear += side.linear().T if turned else side.linear()
    if reg == 0:
        return quadratic(cost + linear, square, iterations, tolerance)

    def slope(plan: Array) -> Array:
        return 2 * square(plan) + linear

    return conditional(cost, reg, value, slope, iterations, tolerance)
