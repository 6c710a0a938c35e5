"""BBSE: black box shift estimation.

Lipton, Wang & Smola, "Detecting and correcting for label shift with black box predictors", ICML
2018, arXiv:1802.03916.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus_reweighting.label_shift import BlackBoxShift, Evidence


@dataclass(frozen=True, kw_only=True)
class BBSE(BlackBoxShift):
    """Find the class weights under which source predictions average to the target's.

    It solves C w = q, the confusion of held-out source rows and the mean prediction of the target;
    by non-negative least squares, where the paper inverts C and cuts. Rows of the source are then
    weighted by class and the learner is fitted again. Cost: folds + 1 fits, and O(k³) for k
    classes; memory is the learner's. The classifier may be wrong, but must tell classes apart.
    """

    name: ClassVar[str] = "bbse"

    soft: bool = True  # mean probabilities; False: shares of predicted classes

    def ratios(self, evidence: Evidence) -> NDArray[Any]:
        from scipy.optimize import nnls

        source, target = evidence.source, evidence.target
        if not self.soft:
            source, target = (np.eye(p.shape[1])[p.argmax(1)] for p in (source, target))
        w, _ = nnls(evidence.joint(source), target.mean(0))
        return np.asarray(w)
