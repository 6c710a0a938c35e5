"""What auto says of its choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.shift import Shift
from isthmus.shift.correspondence import unrelated
from isthmus.shift.summary import sentence_correspondence
from isthmus_selection.trials import Trial


def objection(shift: Shift) -> str:
    """Say why the domains themselves speak against trying anything; empty where they do not."""
    if not shift.shown:
        return f"no shift is shown (p = {shift.p:.2f}), so nothing asks for more"
    return sentence_correspondence(shift) if unrelated(shift.correspondence) else ""


def before(shift: Shift, left_out: Mapping[str, str]) -> dict[str, Any]:
    same = None if shift.correspondence is None else shift.correspondence.verdict
    return {
        "shift": {"shown": shift.shown, "p": shift.p, "correspondence": same},
        "left_out": left_out,
    }


def grouped(left_out: Mapping[str, str]) -> str:
    """Say each reason once, with the names that it is for."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(who)} ({reason})" for reason, who in names.items())


def listed(trials: Sequence[Trial]) -> str:
    return ", ".join(t.name for t in trials)
