"""Losses as they come: to a file of JSON lines, and to whoever else follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

from isthmus.errors import BadInput

Write: TypeAlias = Callable[[int, Any], None]


def to_all(logs: Sequence[Write]) -> Write:
    """Return what gives the losses of a step to each log."""

    def write(step: int, values: Any) -> None:
        for log in logs:
            log(step, values)

    return write


class Log:
    """Losses as JSON lines; a resumed run's lines replace those it repeats."""

    def __init__(self, path: Path, keep: bool) -> None:
        self.path, self.lines = path, dict[int, str]()
        if keep and path.exists():
            for line in path.read_text().splitlines():
                try:
                    self.lines[json.loads(line)["step"]] = line
                except (ValueError, KeyError):
                    continue  # the line that a kill cut short
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("a" if keep else "w", buffering=1)  # a kill loses no line
        except OSError as error:
            raise BadInput(f"cannot write {path.parent}: {error.strerror}") from error

    def write(self, step: int, values: Any) -> None:
        line = json.dumps({"step": step, **{k: float(v) for k, v in values.items()}})
        self.lines[step] = line
        self.file.write(line + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        """Put the lines in order; a run that failed before its first step leaves nothing."""
        from isthmus.atomic import write_atomically

        self.file.close()
        if kind is None:
            text = "".join(self.lines[step] + "\n" for step in sorted(self.lines))
            write_atomically(self.path, text.encode())
        elif not self.lines:
            self.path.unlink()
            if not any(self.path.parent.iterdir()):
                self.path.parent.rmdir()
