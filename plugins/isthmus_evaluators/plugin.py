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
    from isthmus_evaluators.validators.class_ami import ClassAMI
    from isthmus_evaluators.validators.class_correlation import ClassCorrelation
    from isthmus_evaluators.validators.deep_embedded import (
        DeepEmbeddedValidation,
        NormalisedDeepEmbeddedValidation,
    )
    from isthmus_evaluators.validators.importance_weighted import ImportanceWeightedRisk
    from isthmus_evaluators.validators.information_maximisation import InformationMaximisation
    from isthmus_evaluators.validators.mixval import MixVal
    from isthmus_evaluators.validators.nuclear_norm import BatchNuclearNorm
    from isthmus_evaluators.validators.prediction_entropy import Entropy
    from isthmus_evaluators.validators.reverse_validation import ReverseValidation
    from isthmus_evaluators.validators.soft_neighbourhood import SoftNeighbourhoodDensity
    from isthmus_evaluators.validators.source_risk import SourceRisk
    from isthmus_evaluators.validators.transfer_score import ProxyTransferScore

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
        DeepEmbeddedValidation,
        NormalisedDeepEmbeddedValidation,
        Entropy,
        InformationMaximisation,
        SoftNeighbourhoodDensity,
        BatchNuclearNorm,
        ClassCorrelation,
        ClassAMI,
        MixVal,
        ProxyTransferScore,
        ReverseValidation,
        SourceRisk,
    )
