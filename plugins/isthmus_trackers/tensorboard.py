"""TensorBoard: event files that its server shows while they grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.errors import importing
from isthmus.tracking import Tracker
from isthmus_trackers.flat import numbers


class TensorBoard(Tracker):
    """Losses as scalars under ``loss/``, numbers of the diagnostics under ``result/``.

    Files go to the folder that is given, or to ``tensorboard/NAME`` beside ``--out NAME``, so that
    ``tensorboard --logdir .../tensorboard`` shows all runs together.
    """

    name = "tensorboard"
    summary = "event files for tensorboard --logdir"

    def begin(self, out: Path, where: str | None, record: Mapping[str, Any]) -> None:
        with importing("tensorboard", "tensorboard is not installed"):
            from torch.utils.tensorboard import SummaryWriter
        folder = Path(where) if where else out.parent / "tensorboard" / out.name
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("record", f"```\n{json.dumps(record, indent=2)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"loss/{name}", value, step)

    def end(self, result: Mapping[str, Any] | None) -> None:
        for name, value in numbers(result or {}):
            self.writer.add_scalar(f"result/{name}", value)
        self.writer.close()
