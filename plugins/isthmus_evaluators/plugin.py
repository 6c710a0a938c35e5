"""Entry point of the evaluators plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isthmus import Evaluator


@hookimpl
def isthmus_evaluators() -> Iterable[type[Evaluator]]:
    from isthmus_evaluators import probabilistic, regression, supervised
    from isthmus_evaluators.validators.importance_weighted import ImportanceWeightedRisk
    from isthmus_evaluators.validators.information_maximisation import InformationMaximisation

    return (
        supervised.Accuracy,
        supervised.BalancedAccuracy,
        supervised.Precision,
        supervised.Recall,
        supervised.F1,
        supervised.F1PerClass,
        supervised.ConfusionMatrix,
        probabilistic.LogLoss,
        probabilistic.Brier,
        probabilistic.ExpectedCalibrationError,
        regression.R2,
        regression.MeanAbsoluteError,
        regression.RootMeanSquaredError,
        ImportanceWeightedRisk,
        InformationMaximisation,
    )
