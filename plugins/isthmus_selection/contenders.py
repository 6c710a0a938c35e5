"""Who can take part: every installed strategy that can take the task, and why others cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from isthmus.compare.selection import CHOOSES
from isthmus.compare.study import FLOOR
from isthmus.compose import build_strategy
from isthmus.domain import Task
from isthmus.errors import IsthmusError
from isthmus.learners.backbones import Backbone
from isthmus.manager import Catalogue
from isthmus.settings import configure, parameters
from isthmus.shift import Shift
from isthmus.strategy import Strategy


@dataclass(frozen=True)
class Contenders:
    strategies: Mapping[str, Strategy]  # by name; source-only is the first
    unfit: Mapping[str, str]  # name: why it cannot take the task
    unlikely: Mapping[str, str]  # name: why the shift speaks against it


def contenders(
    catalogue: Catalogue,
    task: Task,
    names: Collection[str],
    network: Backbone | None,
    steps: int | None,
    shift: Shift,
) -> Contenders:
    """Return the strategies of ``names`` (none: all that are installed) with default settings.

    Left out are oracles, those whose ``needs`` the task does not meet, and families that the shift
    speaks against: those asked for by name only where class shares explain the shift, as aligning
    domains whose classes differ in number mixes them, and no validator sees it.
    """
    found: dict[str, Strategy] = {}
    unfit: dict[str, str] = {}
    unlikely: dict[str, str] = {}
    against = {a.family: a.reason for a in shift.advice if a.fit == "unlikely"}
    if names and not (shift.priors is not None and shift.priors.verdict == "label shift"):
        against = {}
    for name in dict.fromkeys([FLOOR, *(names or catalogue.strategies)]):
        cls = catalogue.strategies[name]
        if cls.oracle or cls.family == CHOOSES:
            continue
        try:
            strategy = build(catalogue, name, task, network, steps)
            reason = strategy.needs.refusal(task)
        except IsthmusError as error:
            reason = str(error)
        if reason is not None and name != FLOOR:
            unfit[name] = reason
        elif name != FLOOR and cls.family in against:
            unlikely[name] = against[cls.family]
        else:
            found[name] = strategy
    return Contenders(found, unfit, unlikely)


def build(
    catalogue: Catalogue, name: str, task: Task, network: Backbone | None, steps: int | None
) -> Strategy:
    """Return a strategy for the task, on the features of ``network`` where there is one.

    ``steps`` replaces the number of optimiser steps of what is trained.
    """
    strategy, _ = build_strategy(
        catalogue,
        name,
        {} if steps is None else _shorter(configure(catalogue.strategies[name], {}), task, steps),
        task.schema,
        backbone=None if network is None else network.model,
        weights=None if network is None else network.weights,
    )
    return strategy


def _shorter(strategy: Strategy, task: Task, steps: int) -> dict[str, object]:
    names = [p["name"] for p in parameters(strategy)]
    stages = ("training.steps", "translation.steps")  # and every pretraining
    given: dict[str, object] = {n: steps for n in names if n.endswith(stages)}
    if not given and "learner" in names and task.schema.kind != "table":
        given = {"learner": "neural", "learner.training.steps": steps}
    return given
