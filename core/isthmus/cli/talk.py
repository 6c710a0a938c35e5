"""What every command shares: stdout is data, stderr is talk, bars only on a terminal."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import click

SEED = click.IntRange(0, 2**63 - 1)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Talk:
    """How to speak to whoever called: a person at a terminal, a log, or a script."""

    as_json: bool = False
    quiet: bool = False
    _bar: Any = None
    _losses: str = ""

    def say(self, sentence: str) -> None:
        """Tell a person something, on stderr."""
        if not self.quiet:
            click.echo(sentence, err=True)

    def data(self, value: Any, text: Callable[[], str]) -> None:
        """Print the result on stdout: JSON for scripts, else what ``text`` makes of it."""
        click.echo(json.dumps(value, allow_nan=False) if self.as_json else text())

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage; without a terminal there is none."""
        if self._bar is None:
            return
        known = {t.description: t.id for t in self._bar.tasks}
        task = known[stage] if stage in known else self._bar.add_task(stage, total=total, losses="")
        self._bar.update(task, completed=done, total=total, losses=self._losses)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the losses of a step for the bar to show."""
        if self._bar is not None:
            self._losses = "  ".join(f"{name} {value:.3g}" for name, value in values.items())

    def __enter__(self) -> Self:
        """Show bars until the end of the block."""
        live = sys.stderr.isatty() and not (self.quiet or self.as_json or os.environ.get("CI"))
        if live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeRemainingColumn as Remaining

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            losses = TextColumn("{task.fields[losses]}")
            self._bar = Progress(*columns, Remaining(), losses, console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def talking(command: F) -> F:
    """Give a command ``--json`` and ``--quiet``, and its ``talk``."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
    @click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        return command(*args, talk=Talk(as_json, quiet or as_json), **options)

    return wrapped  # type: ignore[return-value]


def table(header: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """Lay out rows as plain aligned text; numbers to the right."""
    cells = [list(map(str, header)), *[[_cell(v) for v in row] for row in body]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [
        bool(body) and all(isinstance(r[i], int | float) for r in body) for i in range(len(header))
    ]
    lines = [
        "  ".join(
            c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)
        )
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)
