"""Reverse validation: does adapting back from the target's predicted labels regain the source?

E. Zhong, W. Fan, Q. Yang, O. Verscheure, J. Ren, Cross validation framework to choose amongst
models and datasets for transfer learning, ECML-PKDD 2010; in the form of Y. Ganin et al.,
Domain-adversarial training of neural networks, JMLR 17, 2016, arXiv:1505.07818. The circular
validation of L. Bruzzone, M. Marconcini, Domain adaptation problems: a DASVM classification
technique and a circular validation strategy, TPAMI 32, 2010, is scored on the training source;
skada does so, with balanced accuracy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence, Labelled, Recipe, Task
from isthmus.domain import Predictions
from isthmus.errors import BadInput
from isthmus_evaluators.predictions import probabilities


class ReverseValidation(Evaluator):
    """Accuracy on held-out source data of a model adapted back from the target, in [0, 1].

    The target instances that the model was adapted to, with the classes it predicts for them,
    become the source; the training source, without its labels, becomes the target; strategy and
    seed stay. Where one class is predicted for all, the way back is the constant prediction of it.
    It cannot be done for strategies that read no source, or learn from labelled target instances:
    on the way back those would be source labels. Time and memory are those of one adaptation.
    """

    name = "reverse-validation"
    summary = "source accuracy after adapting back from the predicted target labels"
    reads_labels = False
    reads_source = True
    adapts = True

    def score(self, evidence: Evidence) -> float:
        source, made = evidence.held_out_source, evidence.made
        if reason := _refusal(made):
            raise BadInput(f"reverse-validation cannot go back with {made.strategy.name}: {reason}")
        target = made.task.target
        y = probabilities(_predictions(evidence, made), target).argmax(1)
        if len(found := np.unique(y)) == 1:
            return float((source.y == found[0]).mean())
        back = made.strategy.adapt(reverse(made.task, y), made.run.silent(checkpoint=None, key=""))
        p = probabilities(back.predict(source.x), source)
        return float((p.argmax(1) == source.y).mean())


def reverse(task: Task, y: NDArray[np.int64]) -> Task:
    """Return the task from the target, with labels ``y`` (n,), to the unlabelled source."""
    t = task.target
    labelled = Labelled(name=f"{t.name} as predicted", schema=task.schema, x=t.x, y=y)
    return Task(sources=(labelled,), target=task.source.unlabelled())


def _predictions(evidence: Evidence, made: Recipe) -> Predictions:
    x = made.task.target.x
    return evidence.predictions if x is evidence.target.x else evidence.adapted.predict(x)


def _refusal(made: Recipe) -> str:
    needs = made.strategy.needs
    if made.task.schema.is_regression:
        return "the domains have real outputs, and it compares classes"
    if needs.support or made.strategy.oracle:
        return "it learns from labelled target instances"
    if needs.start == "required" or made.task.start is not None:
        return "it starts from a given model"
    if needs.sources == "none" or not made.task.sources:
        return "it was given no source to go back to"
    return ""
