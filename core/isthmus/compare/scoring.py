"""Scoring a cell: evaluators on labelled test data, validators on the unlabelled target."""

from __future__ import annotations

import math
from dataclasses import replace

from isthmus.compare.problem import Problem
from isthmus.compare.study import Study
from isthmus.domain import Schema
from isthmus.errors import IsthmusError
from isthmus.evaluator import Evidence, Recipe, judge
from isthmus.manager import Catalogue
from isthmus.strategy import Adapted

DEFAULTS = ("accuracy", "r2")  # for classes and for values, where a study names no evaluator


def evaluators_of(study: Study, schema: Schema) -> tuple[str, ...]:
    """Return the evaluators of a cell, the one that ranks first."""
    return study.evaluators or (DEFAULTS[schema.is_regression],)


def score(
    adapted: Adapted, recipe: Recipe, problem: Problem, study: Study, catalogue: Catalogue
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the scores by name, and why a validator gave none.

    An evaluator that fails fails the cell: without its score there is nothing to compare.
    """
    schema = problem.task.schema
    unseen = blind(adapted, recipe, problem)
    if any(catalogue.evaluators[name].reads_features for name in study.validators):
        _ = unseen.features  # before anything predicts: one pass gives both
        _ = unseen.source_features if unseen.source is not None else None
    if problem.test.x is problem.task.target.x:
        _ = unseen.predictions
        judged = unseen.told(problem.test)
    else:
        judged = replace(unseen, target=problem.test)
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    for name in evaluators_of(study, schema):
        evaluator = catalogue.evaluators[name]()
        if not evaluator.applies(schema):
            unscored[name] = "does not apply to this kind of output"
            continue
        value = judge(evaluator, judged)
        if isinstance(value, float | int):
            _note(name, float(value), scores, unscored)
        else:
            unscored[name] = "is a table"
    for name in study.validators:
        validator = catalogue.validator(name)
        if not validator.applies(schema):
            unscored[name] = "does not apply to this kind of output"
            continue
        try:
            value = judge(validator, unseen)
            _note(name, float(value), scores, unscored)  # type: ignore[arg-type]
        except IsthmusError as error:
            unscored[name] = str(error)
        except Exception as error:  # a plugin's fault must not cost the scores there are
            unscored[name] = f"{type(error).__name__}: {error}"
    return scores, unscored


def _note(name: str, value: float, scores: dict[str, float], unscored: dict[str, str]) -> None:
    if math.isfinite(value):
        scores[name] = value
    else:
        unscored[name] = f"gave {value}"


def blind(adapted: Adapted, recipe: Recipe, problem: Problem) -> Evidence:
    """Return what a validator may see: the target of the adaptation, and never the test data."""
    target = problem.task.target
    return Evidence(adapted=adapted, target=target, source=problem.held_out, recipe=recipe)
