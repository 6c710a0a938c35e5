"""Source risk: the error on source data held out of the training.

It knows nothing of the target, and is hard to beat nonetheless: K. Musgrave, S. Belongie, S.-N.
Lim, Three new validators and a large-scale benchmark ranking for unsupervised domain adaptation,
arXiv:2208.07360, find it among the best of many validators.
"""

from __future__ import annotations

from isthmus import Evaluator, Evidence
from isthmus_evaluators.predictions import probabilities


class SourceRisk(Evaluator):
    """Error rate in [0, 1] on held-out source instances, read as the model reads its source.

    Time and memory O(n).
    """

    name = "source-risk"
    summary = "error on held-out source data"
    reads_labels = False
    reads_source = True
    higher_is_better = False

    def score(self, evidence: Evidence) -> float:
        source = evidence.held_out_source
        p = probabilities(evidence.source_predictions, source)
        return float((p.argmax(1) != source.y).mean())
