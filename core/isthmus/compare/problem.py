"""A task of a study as loaded: what strategies may see, and what only evaluators see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from isthmus import rows
from isthmus.compare.study import TaskSpec
from isthmus.compose import load_domain, load_labelled
from isthmus.domain import Domain, Labelled, Task
from isthmus.errors import BadInput
from isthmus.holdout import hold_out
from isthmus.manager import Catalogue
from isthmus.matching import match, match_one


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """The same data for every strategy. ``content`` is what the keys of its cells say of it."""

    task: Task
    test: Labelled
    held_out: Labelled | None  # of the source, for validators
    labelled_target: Labelled | None  # for oracles
    said: tuple[str, ...]
    content: Mapping[str, Any]


def load_problem(
    spec: TaskSpec, catalogue: Catalogue, *, root: Path | None, seed: int, holdout: float
) -> Problem:
    """Read the domains of a task and bring them to one schema; raises BadInput."""
    sources = [load_labelled(catalogue, uri, root, seed) for uri in spec.sources]
    target: Domain = load_domain(catalogue, spec.target, root, seed)
    support = load_labelled(catalogue, spec.support, root, seed) if spec.support else None
    size, unknown = spec.image_size, spec.unknown
    task, said = match(sources, target, support=support, image_size=size, unknown=unknown)
    held_out = None
    if holdout and task.sources:
        kept, held = zip(*(hold_out(d, holdout, seed) for d in task.sources), strict=True)
        task, held_out = replace(task, sources=kept), replace(task, sources=held).source
    labelled = match_one(target, task.schema)[0] if isinstance(target, Labelled) else None
    if spec.test:
        test = match_one(load_labelled(catalogue, spec.test, root, seed), task.schema)[0]
    elif isinstance(labelled, Labelled):
        test = labelled
    else:
        raise BadInput(f"{spec.name}: {spec.target} has no labels to judge by; add test = URI")
    given = [
        *task.sources,
        labelled or task.target,
        test,
        *([task.support] if task.support else []),
    ]
    return Problem(
        task=task,
        test=test,
        held_out=held_out,
        labelled_target=labelled,
        said=tuple(said),
        content={
            "seed": seed,
            "holdout": holdout,
            "schema": asdict(task.schema),
            # Which domain is what, where there may be doubt.
            **({"sources": len(sources), "support": bool(support)} if len(given) != 3 else {}),
            "data": [rows.fingerprint(d.x, getattr(d, "y", None)) for d in given],
        },
    )
