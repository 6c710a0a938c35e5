"""EnsV: which candidate agrees most with the average of all?

D. Hu, M. Luo, J. Liang, C.-S. Foo, Towards reliable model selection for unsupervised domain
adaptation: an empirical study and a certified baseline, NeurIPS 2024 (datasets and benchmarks).
The log loss of the average is at most the worst candidate's, from which the authors conclude that
the choice avoids the worst one. It compares candidates, where an Evaluator judges one: hence a
function.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isthmus.domain import Predictions
from isthmus.errors import BadInput
from isthmus_evaluators.predictions import distributions


def ensv(predictions: Mapping[str, Predictions]) -> dict[str, float]:
    """Return how often each candidate predicts the class that the average of all predicts.

    ``predictions`` are probabilities (n, classes) on one target, by name of the candidate, rows in
    the same order. Scores are in [0, 1], higher is better; a single candidate gets 1. Time
    O(candidates n classes). Raises BadInput where shapes differ, or values are no probabilities.
    """
    if not predictions:
        raise BadInput("ensv needs the predictions of at least one candidate")
    first, shape = next((name, np.shape(p)) for name, p in predictions.items())
    checked: dict[str, Predictions] = {}
    for name, p in predictions.items():
        if np.shape(p) != shape or len(shape) != 2 or not shape[0]:
            raise BadInput(
                f"ensv compares predictions (n, classes) on one target: those of {name} have "
                f"shape {np.shape(p)}, those of {first} {shape}"
            )
        checked[name] = distributions(p, f"the predictions of {name}")
    # In order of names, so that the order of the candidates does not show in the rounding.
    total = np.zeros(shape)
    for name in sorted(checked):
        total += checked[name]
    label = total.argmax(1)
    return {name: float((p.argmax(1) == label).mean()) for name, p in checked.items()}
