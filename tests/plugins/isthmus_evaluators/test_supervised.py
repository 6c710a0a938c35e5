"""The label-reading evaluators, against scikit-learn and by hand."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import metrics

from isthmus import BadInput, Evaluator, Evidence, PluginError
from isthmus_evaluators import plugin
from isthmus_evaluators.supervised import (
    F1,
    Accuracy,
    BalancedAccuracy,
    ConfusionMatrix,
    F1PerClass,
    Precision,
    Recall,
)

SCALARS = [Accuracy, BalancedAccuracy, Precision, Recall, F1]


def sklearn_scores(y, predicted):
    with warnings.catch_warnings():  # it warns of classes that are predicted and not in y
        warnings.simplefilter("ignore")
        macro = {"average": "macro", "zero_division": 0}
        return {
            "accuracy": metrics.accuracy_score(y, predicted),
            "balanced-accuracy": metrics.balanced_accuracy_score(y, predicted),
            "precision": metrics.precision_score(y, predicted, **macro),
            "recall": metrics.recall_score(y, predicted, **macro),
            "f1": metrics.f1_score(y, predicted, **macro),
        }


@pytest.mark.parametrize(("k", "labels"), [(2, 2), (5, 5), (5, 3), (7, 1), (4, 4)])
@pytest.mark.parametrize("n", [1, 2, 40])
def test_scores_are_those_of_scikit_learn(evidence, k, labels, n):
    rng = np.random.default_rng(k * 100 + labels * 10 + n)
    y, p = rng.integers(0, labels, n), rng.dirichlet(np.ones(k), n)
    e = evidence(y, p)
    got = {cls.name: cls().score(e) for cls in SCALARS}
    assert got == pytest.approx(sklearn_scores(y, p.argmax(1)), abs=1e-12)


def test_a_class_that_is_only_predicted_costs_and_an_unnamed_class_does_not(evidence):
    p = np.eye(4)[[0, 0, 1, 2]]  # class 2 is invented, class 3 is nowhere
    e = evidence([0, 0, 1, 1], p, ("ant", "bee", "cat", "dog"))
    assert F1PerClass().score(e) == pytest.approx({"ant": 1, "bee": 2 / 3, "cat": 0})
    assert F1().score(e) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert BalancedAccuracy().score(e) == pytest.approx((1 + 1 / 2) / 2)


def test_confusion_matrix_names_true_then_predicted(evidence):
    e = evidence([0, 0, 0, 1], np.eye(3)[[0, 1, 1, 2]], ("ant", "bee", "cat"))
    assert ConfusionMatrix().score(e) == {
        "ant": {"ant": 1, "bee": 2, "cat": 0},
        "bee": {"ant": 0, "bee": 0, "cat": 1},
        "cat": {"ant": 0, "bee": 0, "cat": 0},
    }


def test_tables_agree_with_scikit_learn(evidence):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 6, 200), rng.dirichlet(np.ones(6), 200)
    e = evidence(y, p)
    matrix = [list(row.values()) for row in ConfusionMatrix().score(e).values()]
    assert matrix == metrics.confusion_matrix(y, p.argmax(1)).tolist()
    per_class = list(F1PerClass().score(e).values())
    assert per_class == pytest.approx(metrics.f1_score(y, p.argmax(1), average=None))
    assert np.mean(per_class) == pytest.approx(F1().score(e))


@pytest.mark.parametrize("cls", [*SCALARS, F1PerClass, ConfusionMatrix])
def test_scores_do_not_depend_on_the_order_of_rows(evidence, cls):
    rng = np.random.default_rng(1)
    e = evidence(rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50))
    shuffled = Evidence(adapted=e.adapted, target=e.target.take(rng.permutation(50)))
    assert cls().score(shuffled) == cls().score(e)


def test_renaming_the_classes_changes_no_average(evidence):
    rng = np.random.default_rng(2)
    y, p, new = rng.integers(0, 4, 60), rng.dirichlet(np.ones(4), 60), rng.permutation(4)
    one, other = evidence(y, p), evidence(new[y], p[:, np.argsort(new)])
    for cls in SCALARS:
        assert cls().score(other) == pytest.approx(cls().score(one), abs=1e-12)


@pytest.mark.parametrize("cls", [*SCALARS, F1PerClass, ConfusionMatrix])
def test_labels_are_asked_for(evidence, cls):
    with pytest.raises(BadInput, match="has no labels"):
        cls().score(evidence([0, 1], np.eye(2)).blind())


def test_the_artefact_is_asked_once(evidence):
    e = evidence([0, 1, 1], np.eye(2)[[0, 1, 0]])
    for cls in SCALARS:
        cls().score(e)
    assert e.adapted.calls == 1


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ([[0.5, 0.5], [np.nan, np.nan]], "NaN or infinite in 1 of 2 rows, first in row 1"),
        ([[0.5, 0.5], [np.inf, 0]], "NaN or infinite in 1 of 2 rows, first in row 1"),
        ([[1, 0, 0], [0, 1, 0]], r"shape \(2, 3\), expected \(2, 2\)"),
    ],
)
def test_unusable_predictions_are_refused(evidence, p, words):
    with pytest.raises(PluginError, match=words):
        Accuracy().score(evidence([0, 1], p, ("ant", "bee")))


def test_an_empty_target_is_refused(evidence):
    with pytest.raises(BadInput, match="target is empty"):
        Accuracy().score(evidence(np.zeros(0, np.int64), np.zeros((0, 2))))


def test_the_plugin_offers_every_evaluator_once():
    offered = list(plugin.isthmus_evaluators())
    assert {cls.name for cls in offered} == {
        "accuracy",
        "balanced-accuracy",
        "precision",
        "recall",
        "f1",
        "f1-per-class",
        "confusion-matrix",
        "log-loss",
        "brier",
        "expected-calibration-error",
        "r2",
        "mae",
        "rmse",
        "importance-weighted-risk",
        "dev",
        "dev-normalised",
        "entropy",
        "information-maximisation",
        "snd",
        "bnm",
        "corr-c",
        "class-ami",
        "mixval",
        "proxy-transfer-score",
        "reverse-validation",
        "source-risk",
    }
    assert len(offered) == 26
    for cls in offered:
        assert issubclass(cls, Evaluator)
        assert cls.summary
        assert "\n" not in cls.summary
        assert cls.outputs <= {"classes", "values"}


def test_loading_the_plugin_imports_no_scikit_learn():
    code = "import sys, isthmus_evaluators.plugin; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
