"""Source rows and a few labelled target rows in one scale, and what is put in front of a model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus import Labelled, Task, rows
from isthmus.artefact import Part
from isthmus.learners.mapped import Map
from isthmus.learners.scaling import scales


@dataclass(frozen=True, eq=False, kw_only=True)
class FewLabels:
    """All labelled domains of a task, scaled alike, and the map that does it (None: nothing).

    Columns are scaled as ``Linear`` does (see ``scaling.scales``), by source and target rows
    together; a CSR matrix is used as it is.
    """

    sources: tuple[Labelled, ...]
    support: Labelled
    scale: Map | None

    @classmethod
    def of(cls, task: Task) -> FewLabels:
        assert task.support is not None  # needs.support
        given = (*task.sources, task.support)
        x = rows.concatenate([d.x for d in given])
        if rows.is_sparse(x):
            return cls(sources=task.sources, support=task.support, scale=None)
        shift, spread = scales(x, named=bool(task.schema.features))
        schema = dataclasses.replace(task.schema, features=())  # columns in one unit from here on
        scaled = [
            dataclasses.replace(d, schema=schema, x=((d.x - shift) / spread).astype(np.float32))
            for d in given
        ]
        return cls(
            sources=tuple(scaled[:-1]),
            support=scaled[-1],
            scale=Map(shift=shift, scale=1 / spread),
        )

    def before(self, part: Part) -> Part:
        """Return the part that scales instances as they come, then does as ``part``."""
        return part if self.scale is None else self.scale.before(part)


def labelled(x: Any, y: Any, like: Labelled) -> Labelled:
    """Return rows of another width (n, any) with the outputs and the name of ``like``."""
    schema = dataclasses.replace(like.schema, shape=(x.shape[1],), features=())
    return Labelled(name=like.name, schema=schema, x=x, y=y)
