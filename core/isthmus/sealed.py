"""JSON files with a checksum of their own, which tells what was truncated or edited."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.errors import BadInput, PluginError


def digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def sealed(body: Mapping[str, Any]) -> str:
    """Return the text of a file; NumPy's numbers become Python's, NaN and infinity null."""
    plain = _json(body)
    return json.dumps({**plain, "sha256": digest(plain)}, indent=1, allow_nan=False)


def read_sealed(path: Path, version: int) -> dict[str, Any]:
    """Return what ``sealed`` was given, whose "format" must be ``version``; refuse all else."""
    try:
        body = json.loads(path.read_bytes())
        recorded, written = body.pop("sha256"), body["format"]
        intact = bool(recorded == digest(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path} is truncated or not ours ({error})") from error
    if written != version:
        raise BadInput(f"{path} has format {written}, this version reads {version}")
    if not intact:
        raise BadInput(f"{path} was edited: its checksum does not match")
    return dict(body)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _json(value.tolist())
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise PluginError(f"diagnostics and settings must be JSON values, got {type(value).__name__}")
