"""JSON values as the flat numbers and texts that trackers take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted paths; lists are leaves."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from flat(inner, f"{path}.{key}" if path else str(key))


def numbers(value: Any) -> Iterator[tuple[str, float]]:
    """Yield the leaves that are numbers."""
    for path, leaf in flat(value):
        if isinstance(leaf, int | float) and not isinstance(leaf, bool):
            yield path, float(leaf)
