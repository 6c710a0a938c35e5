"""What is known of each candidate after a round, and which is ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from isthmus import Adapted, Domain, Labelled
from isthmus.compare.study import FLOOR
from isthmus.domain import Predictions
from isthmus.shift import Shift
from isthmus_selection.guard import voices

AGREEMENT = "agreement"  # with the mean prediction of all candidates
AT_SHARES = "accuracy-at-target-shares"  # on held-out source instances, weighted by class


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate after a round, and what the validators say of it."""

    name: str
    adapted: Adapted
    target: Predictions
    source: Predictions  # on held-out source instances
    scores: Mapping[str, float]  # higher is better


def class_weights(shift: Shift) -> NDArray[np.float64] | None:
    """Return target share / source share (classes,) where class shares explain the shift.

    Elsewhere None. A class that the source lacks has 0.
    """
    priors = shift.priors
    if priors is None or priors.verdict != "label shift":
        return None
    target, source = np.array(priors.target), np.array(priors.source)
    return np.divide(target, source, out=np.zeros_like(target), where=source > 0)


def at_shares(
    name: str, adapted: Adapted, target: Domain, asked: Labelled, weight: NDArray[np.float64]
) -> Trial:
    """Return the trial of a candidate where only class shares differ.

    Then source instances of a class are like the target's, and what the model, as it reads the
    target, gets right of them, each weighted by its class, is what it gets right of the target.
    """
    source = adapted.predict(asked.x)
    right = weight[asked.y] @ (source.argmax(1) == asked.y) / weight[asked.y].sum()
    return Trial(name, adapted, adapted.predict(target.x), source, {AT_SHARES: float(right)})


def rank(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials by the mean of their ranks over all scores, the best first.

    Ties go to source-only, then to the alphabet.
    """
    places = np.zeros(len(trials))
    for name in trials[0].scores:
        value = np.array([t.scores[name] for t in trials])
        places += (value[None] > value[:, None]).sum(1) + (value[None] == value[:, None]).sum(1) / 2
    order = sorted(range(len(trials)), key=lambda i: (places[i], *_tie(trials[i])))
    return [trials[i] for i in order]


def _tie(trial: Trial) -> tuple[bool, str]:
    return trial.name != FLOOR, trial.name


def with_agreement(trials: list[Trial]) -> list[Trial]:
    """Add how often each candidate says what all of them say together, twins with one voice."""
    predictions = [t.target for t in trials]
    mean = np.tensordot(voices(predictions), predictions, 1).argmax(1)
    return [
        replace(t, scores={**t.scores, AGREEMENT: float((t.target.argmax(1) == mean).mean())})
        for t in trials
    ]
