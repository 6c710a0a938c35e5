"""Soft neighbourhood density (SND): is every target prediction surrounded by similar ones?

K. Saito, D. Kim, P. Teterwak, S. Sclaroff, T. Darrell, K. Saenko, Tune it the right way:
unsupervised validation of domain adaptation via soft neighborhood density, ICCV 2021,
arXiv:2108.10860. With cosine similarities s_ij of the predicted probabilities, p_ij is the softmax
of s_ij / tau over the other instances j, and the score is the mean entropy of the p_i. An instance
is left out of its own neighbourhood; the authors and skada give it the similarity -1 instead, which
changes the score by less than 1e-7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isthmus import Evaluator, Evidence, rows
from isthmus.domain import Predictions
from isthmus.errors import BadInput
from isthmus_evaluators.predictions import at_least, probabilities
from isthmus_evaluators.validators.sampling import sample

ROWS = 20_000
BLOCK = 256  # similarities are computed in blocks of 256 by 256, which stay in the cache


@dataclass(frozen=True, kw_only=True)
class SoftNeighbourhoodDensity(Evaluator):
    """Entropy of the soft neighbourhoods, in nats, in [0, ln(n - 1)]; higher is better.

    It grows with the number of instances, so only scores on one target compare, and a model that
    always predicts one class gets the best there is. Above 20,000 target instances a sample of
    them, chosen by content, is read. Time O(n² classes), memory O(n classes): no n x n matrix.
    """

    name = "snd"
    summary = "density of the soft neighbourhoods of the target predictions, in nats"
    reads_labels = False

    temperature: float = 0.05  # tau; the published value

    def __post_init__(self) -> None:
        # float32 holds exp(-2 / tau), the least term of a neighbourhood, down to tau = 0.023.
        if not self.temperature >= 0.025:
            raise BadInput(f"snd needs a temperature of at least 0.025, got {self.temperature}")

    def score(self, evidence: Evidence) -> float:
        at_least(2, evidence.target, self.name)
        p = probabilities(evidence.predictions, evidence.target)
        if len(p) > ROWS:
            p = p[sample(evidence.target, ROWS)]
        return soft_neighbourhood_density(p, self.temperature)


def soft_neighbourhood_density(p: Predictions, temperature: float) -> float:
    """Return the mean entropy of the soft neighbourhoods of the rows of ``p`` (n, d), n >= 2."""
    u = np.asarray(p, np.float32)
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    n, scale = len(u), np.float32(temperature**-0.5)
    one = np.ones((n, 1), np.float32)
    # One product gives t = (s - 1) / tau, at most 0: the softmax needs no row maximum.
    left, right = np.hstack([scale * u, scale * one]), np.hstack([scale * u, -scale * one])
    read = np.hstack([one, u])
    sums = np.zeros(read.shape)  # over j of e^t and of e^t u_j
    parts = list(rows.chunks(n, BLOCK))
    for a, own in enumerate(parts):
        for other in parts[a:]:  # similarity is symmetric: one block serves two neighbourhoods
            e = left[own] @ right[other].T
            np.exp(e, out=e)
            if own == other:
                np.fill_diagonal(e, 0)
            else:
                sums[other] += e.T @ read[own]
            sums[own] += e @ read[other]
    total = sums[:, 0]
    moment = (np.einsum("nd,nd->n", sums[:, 1:], u) - total) / temperature  # over j of t e^t
    return float(np.mean(np.log(total) - moment / total))
