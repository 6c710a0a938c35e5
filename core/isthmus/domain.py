"""What is adapted: domains, and the task that pairs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.errors import BadInput, nearest

if TYPE_CHECKING:
    from isthmus.strategy import Adapted

Labels: TypeAlias = NDArray[Any]  # int64 (n,) class ids, or float32 (n, outputs)
UNKNOWN = "unknown"  # the class of what belongs to no class of the sources
Predictions: TypeAlias = NDArray[np.float32]  # (n, classes) probabilities, or (n, outputs) values


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What sources and target must share.

    Exactly one of ``classes`` (classification) and ``outputs`` (regression) is filled; both are
    empty only on an unlabelled domain read from a file, until a Task names the source's.
    """

    kind: str  # "table" | "image" | "series" | "graph" | a plugin's own
    shape: tuple[int, ...] = ()  # of one: (d,), (height, width, channels), (channels, time)
    classes: tuple[str, ...] = ()  # names, in the order of the class ids
    outputs: tuple[str, ...] = ()  # names of the real outputs
    features: tuple[str, ...] = ()  # names of a table's columns, where the file had any

    def __post_init__(self) -> None:
        if self.classes and self.outputs:
            raise BadInput("a schema has classes or regression outputs, not both")
        if len(set(self.classes)) != len(self.classes):
            twice = sorted({c for c in self.classes if self.classes.count(c) > 1})
            raise BadInput(f"class names must differ, got {twice} twice")

    @property
    def is_regression(self) -> bool:
        return bool(self.outputs)

    @property
    def width(self) -> int:
        """Return the number of columns of a prediction."""
        return len(self.classes) or len(self.outputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Domain:
    """Instances drawn from one distribution, without labels.

    ``schema.kind`` says how to read ``x``; every kind is read by ``isthmus.rows``.
    """

    name: str
    schema: Schema
    x: Any

    def __post_init__(self) -> None:
        if self.schema.kind not in ("table", "image", "series"):
            return
        object.__setattr__(self, "x", rows.readable(self.x, self.name))
        if not isinstance(self.x, rows.Rows):  # those read files to say what they hold
            got = self.x.shape[1:]
            if got != self.schema.shape:
                raise BadInput(
                    f"{self.name}: instances have shape {got}, expected {self.schema.shape}"
                )

    def __len__(self) -> int:
        return rows.count(self.x)

    def take(self, index: Any) -> Domain:
        """Return the instances at ``index`` (integers or a mask), in that order."""
        return replace(self, x=rows.take(self.x, index))


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled(Domain):
    """A domain whose every instance has a label. There is no magic -1 or NaN."""

    y: Labels

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = (len(self), self.schema.width) if self.schema.is_regression else (len(self),)
        y = np.asarray(self.y)
        if y.shape != wanted:
            raise BadInput(f"{self.name}: labels have shape {y.shape}, expected {wanted}")
        if self.schema.is_regression:
            y = y.astype(np.float32, copy=False)
            if not np.isfinite(y).all():
                raise BadInput(f"{self.name}: {_rows(~np.isfinite(y).all(1))} NaN or infinite")
        elif not np.issubdtype(y.dtype, np.integer):
            raise BadInput(f"{self.name}: class ids must be integers, got {y.dtype}")
        elif len(y) and not (y.min() >= 0 and y.max() < len(self.schema.classes)):
            raise BadInput(
                f"{self.name}: class ids run from {y.min()} to {y.max()}, but there are "
                f"{len(self.schema.classes)} classes"
            )
        else:
            y = y.astype(np.int64, copy=False)
        object.__setattr__(self, "y", y)

    def unlabelled(self) -> Domain:
        return Domain(name=self.name, schema=self.schema, x=self.x)

    def take(self, index: Any) -> Labelled:
        return replace(self, x=rows.take(self.x, index), y=self.y[index])

    def recode(self, schema: Schema) -> Labelled:
        """Return the same instances with the class ids of ``schema``, matched by name.

        Where ``schema`` has the class "unknown", what it does not name is that.
        """
        if self.schema.is_regression or self.schema.classes == schema.classes:
            return replace(self, schema=replace(schema, shape=self.schema.shape))
        place = {name: i for i, name in enumerate(schema.classes)}
        for name in (self.schema.classes[i] for i in np.unique(self.y)):
            if name not in place and UNKNOWN not in place:
                raise BadInput(
                    f"{self.name} has class {name!r}, which the source does not have",
                    hint=nearest(name, place),
                )
        other = place.get(UNKNOWN, -1)
        table = np.array([place.get(c, other) for c in self.schema.classes], np.int64)
        return replace(self, schema=replace(schema, shape=self.schema.shape), y=table[self.y])


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """All a strategy may see. Target labels are dropped here, so nothing can leak.

    ``isthmus.matching.match`` builds one from domains that differ in size or class order.
    """

    target: Domain
    sources: tuple[Labelled, ...] = ()
    support: Labelled | None = None  # the few labelled target instances, if any
    start: Adapted | None = None  # a model to begin from (fine-tuning, source-free)

    def __post_init__(self) -> None:
        t = self.target
        known = self.sources or ((self.support,) if self.support else ())
        schema = known[0].schema if known else getattr(self.start, "schema", t.schema)
        if isinstance(t, Labelled):
            t = t.unlabelled()
        # The output side of a target comes from the source or the start: its own would be a leak.
        t = replace(t, schema=replace(t.schema, classes=schema.classes, outputs=schema.outputs))
        object.__setattr__(self, "target", t)
        for d in (*self.sources, *((self.support,) if self.support else ())):
            if d.schema != t.schema:
                raise BadInput(f"{d.name} has {d.schema}, but {t.name} has {t.schema}")

    @property
    def schema(self) -> Schema:
        return self.target.schema

    @property
    def source(self) -> Labelled:
        """Return the only source, or all of them pooled."""
        if not self.sources:
            raise BadInput("this task has no source domain")
        if len(self.sources) == 1:
            return self.sources[0]
        return Labelled(
            name="+".join(d.name for d in self.sources),
            schema=self.schema,
            x=rows.concatenate([d.x for d in self.sources]),
            y=np.concatenate([d.y for d in self.sources]),
        )


def _rows(bad: NDArray[np.bool_]) -> str:
    first = np.flatnonzero(bad)
    return f"row {first[0]}" + (f" and {len(first) - 1} more are" if len(first) > 1 else " is")
