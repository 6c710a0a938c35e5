"""The model that shallow strategies end with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from isthmus.artefact import TorchAdapted
from isthmus.domain import Labels, Schema
from isthmus.errors import UnsupportedTask
from isthmus.strategy import Run


class Learner(ABC):
    """A frozen recipe for a classifier or regressor that accepts weights and exports."""

    kinds: ClassVar[frozenset[str]] = frozenset({"table"})
    outputs: ClassVar[frozenset[str]] = frozenset({"classes", "values"})

    @abstractmethod
    def _fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        """Learn. Called only with what ``kinds`` and ``outputs`` allow."""

    def fit(self, x: Any, y: Labels, weight: Any, schema: Schema, run: Run) -> TorchAdapted:
        """Learn from rows ``x`` (n, ...), labels ``y`` and weights (n,) or None."""
        name = type(self).__name__
        if schema.kind not in self.kinds:
            raise UnsupportedTask(f"{name} reads {sorted(self.kinds)} domains, got {schema.kind!r}")
        if ("values" if schema.is_regression else "classes") not in self.outputs:
            wanted = "regression outputs" if schema.is_regression else "classes"
            raise UnsupportedTask(f"{name} does not predict {wanted}")
        return self._fit(x, y, weight, schema, run)
