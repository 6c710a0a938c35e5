"""How to judge an artefact, with or without target labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from isthmus.domain import Domain, Labelled, Predictions
from isthmus.errors import BadInput

if TYPE_CHECKING:
    from isthmus.domain import Labels, Schema
    from isthmus.strategy import Adapted

Score: TypeAlias = float | Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """One artefact and held-out data, predicted once however many evaluators read it.

    ``target`` is unlabelled for validators, so a validator that asks for ``labels`` fails;
    ``source`` is labelled source data that was held out of the training, when there is any.
    """

    adapted: Adapted
    target: Domain
    source: Labelled | None = None

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
        return self.adapted.predict(self.target.x)

    @cached_property
    def source_predictions(self) -> Predictions:
        return self.adapted.predict(self.held_out_source.x)

    @property
    def held_out_source(self) -> Labelled:
        if self.source is None:
            raise BadInput("this validator needs labelled source data held out of the training")
        return self.source

    def blind(self) -> Evidence:
        """Return the same evidence without target labels, as a validator may see it."""
        if not isinstance(self.target, Labelled):
            return self
        out = Evidence(adapted=self.adapted, target=self.target.unlabelled(), source=self.source)
        for name in ("predictions", "source_predictions"):  # keep what is already computed
            if name in self.__dict__:
                out.__dict__[name] = self.__dict__[name]
        return out


class Evaluator(ABC):
    """One number about one artefact on held-out target data, or a table of numbers."""

    name: ClassVar[str]
    summary: ClassVar[str]
    reads_labels: ClassVar[bool]  # False: a validator, usable for model selection
    outputs: ClassVar[frozenset[str]] = frozenset({"classes"})  # and/or "values"
    higher_is_better: ClassVar[bool] = True
    scalar: ClassVar[bool] = True  # False: a mapping, for people to read

    @abstractmethod
    def score(self, evidence: Evidence) -> Score:
        """Return a finite float, or a mapping when not ``scalar``."""

    def applies(self, schema: Schema) -> bool:
        return ("values" if schema.is_regression else "classes") in self.outputs


def judge(evaluator: Evaluator, evidence: Evidence) -> Score:
    """Score, with the target labels withheld from evaluators that do not declare them."""
    return evaluator.score(evidence if evaluator.reads_labels else evidence.blind())
