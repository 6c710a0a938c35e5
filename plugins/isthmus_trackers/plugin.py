"""Entry point of the trackers plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isthmus.tracking import Tracker


@hookimpl
def isthmus_trackers() -> Iterable[type[Tracker]]:
    from isthmus_trackers.mlflow import MLflow
    from isthmus_trackers.tensorboard import TensorBoard

    return [MLflow, TensorBoard]
