"""Records of cells on disk: one JSON file each, named by what the cell is, not where it stands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from isthmus.atomic import write_atomically
from isthmus.compare.cell import Cell

PLANNED = "planned.jsonl"
DONE = {"ok", "refused"}  # what failed or took too long is tried again


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of records; a killed study continues with the cells that are not there."""

    folder: Path

    def get(self, key: str) -> Cell | None:
        """Return the record of a cell, or None; one that cannot be read counts as missing."""
        return _read(self.folder / f"{key}.json") if key else None

    def put(self, cell: Cell) -> None:
        text = json.dumps(dataclasses.asdict(cell), indent=1)
        write_atomically(self.folder / f"{cell.key}.json", text.encode())

    def plan(self, blank: Cell) -> None:
        """Note what a cell of the study is; the last note of its names counts (see ``planned``)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / PLANNED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(blank)) + "\n")

    def planned(self) -> dict[tuple[str, str, int], Cell]:
        """Return the blank cells of the study by task, strategy and seed; a cut line is skipped."""
        try:
            lines = (self.folder / PLANNED).read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        cells = [cell for line in lines if (cell := _parse(line)) is not None]
        return {(c.task, c.strategy, c.seed): c for c in cells}

    def __iter__(self) -> Iterator[Cell]:
        """Yield what can be read, the oldest first."""
        for path in sorted(self.folder.glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p)):
            if (cell := _read(path)) is not None:
                yield cell


def finished(cell: Cell, wanted: Collection[str]) -> bool:
    """Say whether a record answers all that is asked of its cell: it is then not run again."""
    if cell.status == "ok":
        return {*wanted} <= {*cell.scores, *cell.unscored}
    return cell.status in DONE


def _read(path: Path) -> Cell | None:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _parse(text: str) -> Cell | None:
    try:
        body = json.loads(text)
        return Cell(**{**body, "said": tuple(body["said"])})
    except (ValueError, TypeError, KeyError):
        return None
