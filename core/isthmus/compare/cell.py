"""The unit of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One strategy on one task with one seed, and what came of it."""

    task: str
    strategy: str
    seed: int
    status: str = "ok"  # ok | failed | refused
    oracle: bool = False
    few_labels: bool = False  # it was given the task's few labelled target instances
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    said: tuple[str, ...] = ()  # what the strategy wants people to know
    diagnostics: dict[str, Any] = field(default_factory=dict)
