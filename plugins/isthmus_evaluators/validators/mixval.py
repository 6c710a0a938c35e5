"""MixVal: does the model see a mixture of two target instances as the larger part of it?

D. Hu, J. Liang, J. H. Liew, C. Xue, S. Bai, X. Wang, Mixed samples as probes for unsupervised
model selection in domain adaptation, NeurIPS 2023. Two instances are mixed 0.55 to 0.45, and the
prediction is compared with the predicted class of the larger part: within predicted classes (is
the neighbourhood dense?) and between them (where is the boundary?). The score is the mean of the
two accuracies, as in skada; the authors' code reports them one by one, and pairs the instances of
a batch where the pairs here are of one cycle through all instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Domain, Evaluator, Evidence, rows
from isthmus.errors import BadInput
from isthmus_evaluators.predictions import at_least, probabilities
from isthmus_evaluators.validators.sampling import sample

KINDS = ("image", "series", "table")
ROWS = 20_000
VALUES = 2**24  # of the mixtures held at a time: 64 MiB in float32


@dataclass(frozen=True, kw_only=True)
class MixVal(Evaluator):
    """Mean accuracy on mixtures within and between predicted classes, in [0, 1].

    A model that predicts one class has no boundary to probe: that half counts 0 (skada leaves it
    out, which gives such a model 1). Reads tables, images and series, whose instances can be
    mixed. It predicts as many mixtures as there are target instances, at most 20,000 (chosen by
    content): time and memory are those of one more pass through the model.
    """

    name = "mixval"
    summary = "accuracy on mixtures of target instances, against their predicted classes"
    reads_labels = False

    share: float = 0.55  # of the larger part

    def __post_init__(self) -> None:
        if not 0.5 < self.share < 1:
            raise BadInput(f"mixval needs a share between 0.5 and 1, got {self.share}")

    def score(self, evidence: Evidence) -> float:
        target = evidence.target
        if target.schema.kind not in KINDS:
            raise BadInput(
                f"mixval mixes instances of {', '.join(KINDS)} domains; two instances of a "
                f"{target.schema.kind!r} domain have no mixture"
            )
        at_least(2, target, self.name)
        first = sample(target, ROWS)
        # Neighbours on a random cycle: nobody meets itself, and two classes meet at least once.
        first = first[np.random.default_rng(0).permutation(len(first))]
        second = np.roll(first, -1)
        label = probabilities(evidence.predictions, target).argmax(1)
        seen = self._look(evidence, first, second)
        within, right = label[first] == label[second], seen == label[first]
        if within.all():
            return float(right.mean() / 2)
        halves = [right[part].mean() for part in (within, ~within) if part.any()]
        return float(np.mean(halves))

    def _look(self, evidence: Evidence, first: Any, second: Any) -> NDArray[np.int64]:
        """Return the predicted class of each mixture, (m,)."""
        target = evidence.target
        size = max(1, VALUES // max(1, int(np.prod(target.schema.shape))))
        out = np.empty(len(first), np.int64)
        for part in rows.chunks(len(first), size):
            x = mixture(target.x, first[part], second[part], self.share)
            mixed = Domain(name=f"mixtures of {target.name}", schema=target.schema, x=x)
            out[part] = probabilities(evidence.adapted.predict(x), mixed).argmax(1)
        return out


def mixture(x: Any, first: Any, second: Any, share: float) -> Any:
    """Return share x[first] + (1 - share) x[second]: float32 (m, ...), or CSR where x is."""
    if rows.is_sparse(x):
        return (share * x[first] + (1 - share) * x[second]).astype(np.float32)
    a, b = (np.asarray(x[index], np.float32) for index in (first, second))
    return np.float32(share) * a + np.float32(1 - share) * b
