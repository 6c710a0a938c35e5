"""DASVM: a support vector machine that goes over from the source to the target step by step.

Bruzzone & Marconcini, "Domain adaptation problems: a DASVM classification technique and a circular
validation strategy", TPAMI 32(5), 2010.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Needs, Run, Strategy, Task, rows
from isthmus.artefact import TorchAdapted
from isthmus.learners.linear import ABSENT, LinearPart
from isthmus.learners.mapped import Map, mapped
from isthmus.learners.scaling import scales
from isthmus.learners.sharpness import sharpness
from isthmus_alignment.limits import above_zero, at_least_one
from isthmus_alignment.shallow.confident import highest

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

STEPS = 10_000  # of the solver at most


@dataclass(frozen=True, kw_only=True)
class DASVM(Strategy):
    """Add target rows with the label they get, those nearest to the margin first; drop source rows.

    A row's lead is half of what its largest score has over the second, |f(x)| for two classes. In
    each iteration the target rows inside the margin that lead most (below 1) join the training
    rows, those whose label has changed leave them, and the source rows that lead most are dropped
    in proportion. It ends when no source row is left and at most ``tolerance`` of the target join
    or leave. The machine is linear, one class against the rest, with squared hinge loss. All rows
    weigh alike: the paper also moves the weight of the loss from source to target as it goes.
    Defaults: the paper's tolerance, SVM-light's C. Cost: as many fits of O(n d classes) steps as
    iterations, some 25; memory O(n d). Accuracy, in brackets the machine on the source alone:
    Office-Caltech (12 tasks) SURF 48.8 (47.1), MobileNetV2 94.9 (92.1), COIL20 92.6 (77.5), digits
    of JDA 47.3 (37.0).
    """

    name: ClassVar[str] = "dasvm"
    family: ClassVar[str] = "alignment"
    needs: ClassVar[Needs] = Needs(
        kinds=frozenset({"table"}), sources="any", outputs=frozenset({"classes"})
    )

    C: float = 1.0  # weight of the loss of rows whose mean square length is 1
    pace: float = 0.05  # share of the target that may join in an iteration, each class alike
    tolerance: float = 0.03  # the paper's beta: share of the target that counts as few
    iterations: int = 100  # at most

    def __post_init__(self) -> None:
        above_zero(self, "C", "pace", "tolerance")
        at_least_one(self, "iterations")

    def _adapt(self, task: Task, run: Run) -> Adapted:
        source, target = task.source, task.target
        source = source.take(rows.canonical_order(source.x, source.y))
        target = target.take(rows.canonical_order(target.x))
        x_source, x_target, scale = _scaled(source.x, target.x, named=bool(task.schema.features))
        classes, y = np.unique(source.y, return_inverse=True)
        machine, found = self_label(self, x_source, y, x_target, run)
        # Their labels are the only ones to fit a temperature to.
        known = np.flatnonzero(np.isin(y, machine.classes))
        scores = machine.scores(x_source[known])[:, machine.classes]
        sharp = sharpness(scores, np.searchsorted(machine.classes, y[known]))
        w = np.zeros((x_source.shape[1], task.schema.width))
        bias = np.full(task.schema.width, ABSENT)
        present = classes[machine.classes]
        w[:, present], bias[present] = sharp * machine.w, sharp * machine.b
        part = LinearPart.of(w, bias, classes=True)
        found["classes"] = [task.schema.classes[c] for c in present]
        return mapped(TorchAdapted(part=part, schema=task.schema, diagnostics=found), target=scale)


def self_label(
    recipe: DASVM, x_source: Any, y: Labels, x_target: Any, run: Run
) -> tuple[Machine, dict[str, Any]]:
    """Return the last machine, and diagnostics; ``y`` (n_source,) are ids from 0."""
    n, m, width = len(y), x_target.shape[0], int(y.max()) + 1
    kept, joined = np.ones(n, bool), np.zeros(m, bool)
    labels = np.zeros(m, np.int64)
    settled = False
    machine = Machine(x_source, y, recipe.C, width)
    for step in range(1, recipe.iterations + 1):
        scores = machine.scores(x_target)
        now, lead = scores.argmax(1), ahead(scores, scores.argmax(1))
        left = joined & (now != labels)
        inside = np.flatnonzero(~joined & (lead < 1))
        fresh = inside[highest(lead[inside], now[inside], _share(recipe.pace * m, width))]
        few = np.ceil(recipe.tolerance * m)
        run.log(step, {"joined": len(fresh), "left": int(left.sum()), "source": int(kept.sum())})
        run.progress("self-labelling", step, recipe.iterations)
        settled = bool(not kept.any() and max(len(fresh), left.sum()) <= few)
        if settled:
            break
        going = np.bincount(now[fresh], minlength=width) * (n / m)
        if len(fresh) <= few:  # in the paper, if none is left
            going = _share(recipe.pace * n, width)
        rest = np.flatnonzero(kept)
        own = ahead(machine.scores(x_source[rest]), y[rest])
        kept[rest[highest(own, y[rest], np.ceil(going))]] = False
        joined[left], joined[fresh], labels = False, True, now
        y_now = np.concatenate([y[kept], labels[joined]])
        if len(np.unique(y_now)) < 2:
            break
        machine = Machine(
            rows.concatenate([x_source[kept], x_target[joined]]), y_now, recipe.C, width
        )
    if not settled:
        run.say(f"dasvm stopped after {step} iterations, before its labels had settled")
    if not machine.converged:
        run.say(f"the support vector machine stopped after {STEPS} steps: a smaller C needs fewer")
    return machine, {
        "iterations": step,
        "settled": settled,
        "source_rows": int(kept.sum()),
        "target_rows": int(joined.sum()),
    }


class Machine:
    """A linear support vector machine: one class against the rest, squared hinge loss."""

    def __init__(self, x: Any, y: Labels, C: float, width: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        self.width, self.classes = width, np.unique(y)
        # The seed only orders the solver's steps, and rows come in an order of their own. The dual
        # is well conditioned for rows of such length.
        model = LinearSVC(C=C, dual=True, random_state=0, max_iter=STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        self.converged = bool(np.max(model.n_iter_) < STEPS)
        self.w, self.b = model.coef_.T, model.intercept_  # (d, classes), (classes,)
        if len(self.classes) == 2:  # scikit-learn keeps one of two opposite columns
            self.w, self.b = self.w * [-1, 1], self.b * [-1, 1]

    def scores(self, x: Any) -> Array:
        """Return scores (n, width) of rows; a class without a training row has -inf."""
        found = np.full((x.shape[0], self.width), -np.inf)
        found[:, self.classes] = x @ self.w + self.b
        return found


def ahead(scores: Array, y: Labels) -> Array:
    """Return half of what the score of each row's class is above all others, (n,).

    It is y f(x) for two classes with the scores f and -f.
    """
    each = np.arange(len(y))
    others = scores.copy()
    others[each, y] = -np.inf
    return np.asarray((scores[each, y] - others.max(1)) / 2)


def _share(count: float, width: int) -> Array:
    return np.full(width, np.ceil(count / width))


def _scaled(x_source: Any, x_target: Any, *, named: bool) -> tuple[Any, Any, Map]:
    """Return rows of mean square length 1, and the map that makes them.

    Columns are scaled as ``Linear`` does, by the rows of both domains; those of a CSR matrix alike.
    """
    both = rows.concatenate([x_source, x_target])
    n, d = both.shape
    if rows.is_sparse(both):
        shift, spread = np.zeros(d), np.ones(d)
        square = both.multiply(both).sum() / n
    else:
        shift, spread = scales(both, named=named)
        both = (both - shift) / spread
        square = np.square(both).sum() / n
    length = np.sqrt(square) if square > 0 else 1.0
    both = both / length
    n_source = rows.count(x_source)
    return both[:n_source], both[n_source:], Map(shift=shift, scale=1 / (spread * length))
