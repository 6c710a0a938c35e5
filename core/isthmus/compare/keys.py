"""What a cell is, as one hash: the same wherever and whenever it is run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def key_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of what determines a cell's scores."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def by_content(value: Any) -> Any:
    """Replace the path of a weights file by its SHA-256: where it lies does not matter."""
    if isinstance(value, list):
        return [by_content(v) for v in value]
    if not isinstance(value, dict):
        return value
    weights = value.get("weights")
    if isinstance(weights, str) and (path := Path(weights)).is_file():
        value = {**value, "weights": _digest(path, path.stat().st_mtime_ns)}
    return {k: v if k == "weights" else by_content(v) for k, v in value.items()}


@cache
def _digest(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON values of settings and diagnostics; what has no such form becomes text.

    A strategy with odd diagnostics must not cost a study its records. NaN and infinity are None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's numbers and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
