"""MLLS: maximum likelihood of label shift.

Saerens, Latinne & Decaestecker, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure", Neural Computation 14 (2002), after bias-corrected temperature
scaling: Alexandari, Kundaje & Shrikumar, ICML 2020, arXiv:1901.06852.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from isthmus.learners.prior_corrected import calibrate
from isthmus_reweighting.label_shift import BlackBoxShift, Evidence
from isthmus_reweighting.mixture import proportions


@dataclass(frozen=True, kw_only=True)
class MLLS(BlackBoxShift):
    """Find the class shares under which the target's predictions are most likely.

    Probabilities are calibrated on held-out source rows first, without which the likelihood
    misleads; the optimum is that of the paper's EM, found by Newton steps. The fitted classifier's
    output is then moved to the new shares. Cost: folds + 1 fits, O(n k²) for k classes.
    """

    name: ClassVar[str] = "mlls"

    correct: Literal["weights", "output"] = "output"

    def ratios(self, evidence: Evidence) -> NDArray[Any]:
        fitted = calibrate(evidence.source, evidence.y, self.calibration)
        # What the calibrated source averages to; at the calibration's optimum, the source's shares.
        share = np.maximum(fitted.apply(evidence.source).mean(0), 1e-12)
        found, _ = proportions(fitted.apply(evidence.target) / share)
        return found / share
