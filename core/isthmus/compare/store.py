"""Finished cells on disk: one JSON file each, named by what the cell is, not where it stands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.atomic import write_atomically
from isthmus.compare.cell import Cell

DONE = {"ok", "refused"}  # what failed is tried again


def key_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of what determines a cell's scores."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of records; a killed study continues with the cells that are not there."""

    folder: Path

    def get(self, key: str) -> Cell | None:
        """Return a finished cell, or None; a record that cannot be read counts as missing."""
        try:
            body = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            cell = Cell(**{**body, "said": tuple(body["said"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return cell if cell.status in DONE else None

    def put(self, key: str, cell: Cell) -> None:
        text = json.dumps(dataclasses.asdict(cell), indent=1)
        write_atomically(self.folder / f"{key}.json", text.encode())
