"""How to judge an artefact, with or without target labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.domain import Domain, Labelled, Predictions
from isthmus.errors import BadInput

if TYPE_CHECKING:
    from isthmus.domain import Labels, Schema, Task
    from isthmus.strategy import Adapted, Run, Strategy

Score: TypeAlias = float | Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """How an artefact was made, for validators that adapt once more."""

    strategy: Strategy
    task: Task
    run: Run


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """One artefact and data to judge it by, passed through it once however many evaluators read it.

    ``target`` is unlabelled for validators, so a validator that asks for ``labels`` fails;
    ``source`` is labelled source data that was held out of the training, when there is any.
    """

    adapted: Adapted
    target: Domain
    source: Labelled | None = None
    recipe: Recipe | None = None

    @property
    def schema(self) -> Schema:
        return self.target.schema

    @property
    def labels(self) -> Labels:
        """Return the target labels: class ids int64 (n,), or values float32 (n, outputs)."""
        if not isinstance(self.target, Labelled):
            raise BadInput(f"{self.target.name} has no labels, and this evaluator reads them")
        return self.target.y

    @cached_property
    def predictions(self) -> Predictions:
        """Return predictions on the target, float32 (n, classes) or (n, outputs)."""
        if "_observed" in self.__dict__:
            return self._observed[1]
        return self.adapted.predict(self.target.x)

    @property
    def features(self) -> NDArray[np.float32]:
        """Return what the last layer reads of the target, (n, d); see Adapted.observe."""
        return self._observed[0]

    @cached_property
    def source_predictions(self) -> Predictions:
        """Return predictions on the held-out source, as the model reads source instances."""
        if "_source_observed" in self.__dict__:
            return self._source_observed[1]
        return self.adapted.for_source().predict(self.held_out_source.x)

    @property
    def source_features(self) -> NDArray[np.float32]:
        return self._source_observed[0]

    @property
    def held_out_source(self) -> Labelled:
        if self.source is None:
            raise BadInput("this validator needs labelled source data held out of the training")
        return self.source

    @property
    def made(self) -> Recipe:
        if self.recipe is None:
            raise BadInput(
                "this validator adapts once more, and how the model was made is not at hand",
                hint="it works in studies: isthmus compare",
            )
        return self.recipe

    def blind(self) -> Evidence:
        """Return the same evidence without target labels, as a validator may see it."""
        if not isinstance(self.target, Labelled):
            return self
        return self._of(self.target.unlabelled())

    def told(self, labelled: Labelled) -> Evidence:
        """Return the same evidence with the labels of its target instances."""
        return self._of(labelled)

    def _of(self, target: Domain) -> Evidence:
        """Return the evidence on other words for the same instances; what is computed is shared."""
        out = replace(self, target=target)
        kept = ("predictions", "source_predictions", "_observed", "_source_observed")
        out.__dict__.update({k: v for k, v in self.__dict__.items() if k in kept})
        return out

    @cached_property
    def _observed(self) -> tuple[NDArray[np.float32], Predictions]:
        return self.adapted.observe(self.target.x)

    @cached_property
    def _source_observed(self) -> tuple[NDArray[np.float32], Predictions]:
        return self.adapted.for_source().observe(self.held_out_source.x)


class Evaluator(ABC):
    """One number about one artefact on held-out target data, or a table of numbers."""

    name: ClassVar[str]
    summary: ClassVar[str]
    reads_labels: ClassVar[bool]  # False: a validator, usable for model selection
    outputs: ClassVar[frozenset[str]] = frozenset({"classes"})  # and/or "values"
    higher_is_better: ClassVar[bool] = True
    scalar: ClassVar[bool] = True  # False: a mapping, for people to read
    reads_source: ClassVar[bool] = False  # asks for held-out labelled source data
    reads_features: ClassVar[bool] = False
    adapts: ClassVar[bool] = False  # runs the strategy once more: costs as much as the adaptation

    @abstractmethod
    def score(self, evidence: Evidence) -> Score:
        """Return a finite float, or a mapping when not ``scalar``."""

    def applies(self, schema: Schema) -> bool:
        return ("values" if schema.is_regression else "classes") in self.outputs


def judge(evaluator: Evaluator, evidence: Evidence) -> Score:
    """Score, with the target labels withheld from evaluators that do not declare them."""
    return evaluator.score(evidence if evaluator.reads_labels else evidence.blind())
