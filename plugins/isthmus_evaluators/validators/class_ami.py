"""Class AMI: do the clusters of the target features agree with the predicted classes?

K. Musgrave, S. Belongie, S.-N. Lim, Three new validators and a large-scale benchmark ranking for
unsupervised domain adaptation, arXiv:2208.07360, 2022; the index is that of N. X. Vinh, J. Epps,
J. Bailey, Information theoretic measures for clusterings comparison, JMLR 11, 2010. As in
pytorch-adapt, wide features are first projected on 64 principal components; k-means starts 4 times
(there: as often as the scikit-learn of its day does).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from isthmus import Evaluator, Evidence
from isthmus_evaluators.predictions import at_least, probabilities, usable_features
from isthmus_evaluators.validators.sampling import sample

ROWS = 10_000
COMPONENTS = 64
STARTS = 4


class ClassAMI(Evaluator):
    """Adjusted mutual information of predicted classes and k-means clusters, at most 1.

    0 is what chance would give (it may be a little below). As many clusters are sought as there
    are classes, or different instances, whichever is less. A model that predicts one class gets 0.
    Above 10,000 target instances a sample of them, chosen by content, is read; time
    O(n d classes) per iteration of k-means, d at most 64, memory O(n d).
    """

    name = "class-ami"
    summary = "agreement of the clusters of target features with the predicted classes"
    reads_labels = False
    reads_features = True

    def score(self, evidence: Evidence) -> float:
        at_least(2, evidence.target, self.name)
        features = usable_features(evidence.features, evidence.target)
        p = probabilities(evidence.predictions, evidence.target)
        index = sample(evidence.target, ROWS)  # k-means++ draws rows by their place
        return class_ami(features[index], p[index].argmax(1), p.shape[1])


def class_ami(features: NDArray[np.float32], predicted: NDArray[np.int64], k: int) -> float:
    """Return the AMI of ``predicted`` (n,) and ``k`` clusters of ``features`` (n, d)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score

    if len(np.unique(predicted)) == 1:
        return 0.0  # by convention it would be 1 where the features do not differ either
    x = _principal(features)
    k = min(k, len(np.unique(x, axis=0)))
    with warnings.catch_warnings():
        # Rows that differ by rounding alone make fewer clusters than k.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(k, n_init=STARTS, random_state=0).fit_predict(x)
    return float(adjusted_mutual_info_score(predicted, clusters))


def _principal(x: NDArray[np.float32]) -> NDArray[np.float32]:
    if x.shape[1] <= COMPONENTS or len(x) <= COMPONENTS:
        return x
    from sklearn.decomposition import PCA

    return np.asarray(PCA(COMPONENTS, random_state=0).fit_transform(x))
