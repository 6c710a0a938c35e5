"""The folder of a study: its records, how it was run, and what is written from them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from isthmus.atomic import write_atomically
from isthmus.compare.cell import Cell
from isthmus.compare.runner import left_out, named
from isthmus.compare.scoring import DEFAULTS
from isthmus.compare.store import Store
from isthmus.compare.study import StrategySpec, Study, TaskSpec, parse_study
from isthmus.errors import BadInput
from isthmus.manager import Catalogue

PACKAGES = ("isthmus", "torch", "scikit-learn", "numpy", "scipy")
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is known of a study: every planned cell, also those that have no record yet."""

    study: Study
    path: str  # of the study file
    cells: tuple[Cell, ...]
    score: str  # the evaluator that ranks
    higher: Mapping[str, bool]  # of every evaluator and validator: is higher better
    how: Mapping[str, str]

    @property
    def validators(self) -> dict[str, bool]:
        return {name: self.higher[name] for name in self.study.validators}

    def summary(self) -> list[dict[str, Any]]:
        from isthmus.compare.summary import summarise

        return summarise(self.cells, score=self.score, higher=self.higher.get(self.score, True))

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``results.json`` and ``report.html``; return what the first holds."""
        from isthmus.compare.report import write_report
        from isthmus.compare.selection import best_by

        chosen = [c for v, up in self.validators.items() for c in best_by(self.cells, v, up)]
        body = {"cells": [dataclasses.asdict(c) for c in self.cells], "summary": self.summary()}
        write_atomically(folder / "results.json", json.dumps(body, indent=1).encode())
        write_report(
            folder / "report.html",
            self.study.name,
            self.cells,
            chosen=chosen,
            score=self.score,
            higher=self.higher.get(self.score, True),
            validators=self.validators,
            how=self.how,
            study=self.path,
        )
        return body


def open_results(folder: Path) -> Results:
    """Read a folder, also one whose study was killed or is still running.

    A cell that was planned has its record by its key; one of an older folder by its names, the last
    written of several.
    """
    try:
        body = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        if body.pop("format") != FORMAT:
            raise BadInput(f"{folder}/study.json was written by another version")
        study = parse_study(body["study"], str(folder / "study.json"))
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{folder} holds no study", hint="isthmus compare STUDY.toml --out DIR makes one"
        ) from error
    store = Store(folder / "cells")
    planned = store.planned()
    known = {} if planned else {(c.task, c.strategy, c.seed): c for c in store}

    def cell(task: TaskSpec, seed: int, spec: StrategySpec) -> Cell:
        names = task.name, spec.label, seed
        if blank := planned.get(names):
            if blank.status != "ok":  # it could not begin, and says why
                return blank
            record = store.get(blank.key)
            return left_out(blank) if record is None else named(record, blank)
        new = Cell(task=task.name, strategy=spec.label, seed=seed, method=spec.name)
        return known.get(names) or left_out(dataclasses.replace(new, group=spec.group))

    results = Results(
        study=study,
        path=body["path"],
        cells=(),
        score=body["score"],
        higher=body["higher"],
        how=body["how"],
    )
    return with_cells(results, [cell(*one) for one in study.cells()])


def begin(
    folder: Path, study: Study, path: Path, catalogue: Catalogue, how: Mapping[str, str]
) -> Results:
    """Write down what is about to be run, so that the folder explains itself from the start."""
    names = {*(study.evaluators or DEFAULTS), *study.validators}
    higher = {
        n: catalogue.evaluators[n].higher_is_better for n in names if n in catalogue.evaluators
    }
    score = (study.evaluators or DEFAULTS)[0]
    body = {
        "format": FORMAT,
        "path": str(path),
        "study": _toml_form(study),
        "score": score,
        "higher": higher,
        "how": dict(how),
    }
    write_atomically(folder / "study.json", json.dumps(body, indent=1).encode())
    return Results(study=study, path=str(path), cells=(), score=score, higher=higher, how=how)


def with_cells(results: Results, cells: Sequence[Cell], **more: str) -> Results:
    """Return the results with the cells in the study's order, and more of how they were made."""
    score = results.score
    if not results.study.evaluators:  # the default depends on what the tasks predict
        found = {name for c in cells for name in c.scores}
        score = next((name for name in DEFAULTS if name in found), score)
    return dataclasses.replace(
        results, cells=tuple(cells), score=score, how={**results.how, **more}
    )


def conditions(command: str, executor: str, device: str, study: Study) -> dict[str, str]:
    """Return how a study is run, for its report."""
    return {
        "command": command,
        "executor": executor,
        "device": device,
        "threads per worker": str(study.threads),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{p: version(p) for p in PACKAGES},
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _toml_form(study: Study) -> dict[str, Any]:
    """Return the values from which ``parse_study`` makes the same study, its grids unrolled."""
    body = dataclasses.asdict(study)
    body["task"], body["strategy"] = body.pop("tasks"), body.pop("strategies")
    for s in body["strategy"]:
        if s["search"] is None:
            del s["search"]
    return body
