"""The unit of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "failed", "timeout", "refused", "missing"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One strategy on one task with one seed, and what came of it.

    ``strategy`` is its label in the study, ``method`` the name of its plugin's class; the points
    of a grid share a ``group``. Timings and memory are the only fields that two runs may differ in.
    """

    task: str
    strategy: str
    seed: int
    status: Status = "ok"
    oracle: bool = False
    few_labels: bool = False  # it was given the task's few labelled target instances
    scores: dict[str, float] = field(default_factory=dict)  # evaluators and validators, by name
    seconds: float = 0.0
    reason: str = ""
    unscored: dict[str, str] = field(default_factory=dict)  # validators without a number, and why
    said: tuple[str, ...] = ()  # what the strategy wants people to know
    diagnostics: dict[str, Any] = field(default_factory=dict)
    key: str = ""  # SHA-256 of what determines the scores
    method: str = ""
    family: str = ""
    group: str = ""  # the [[strategy]] table that it comes from
    settings: dict[str, Any] = field(default_factory=dict)  # those that differ from the defaults
    peak_mb: float = 0.0  # of the process, so far
