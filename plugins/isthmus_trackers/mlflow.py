"""MLflow: a run with parameters and metrics, in a folder, a database or on a server."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.errors import importing
from isthmus.tracking import Tracker
from isthmus_trackers.flat import flat, numbers

BATCH = 500  # metrics sent at once; MLflow takes 1,000
PATIENCE = 5.0  # seconds that they wait at most
LONGEST = 6000  # characters of a parameter


class MLflow(Tracker):
    """Settings as parameters, losses as metrics ``loss.NAME``, diagnostics as ``result.NAME``.

    Runs go to the tracking URI that is given, or else to where MLflow is configured to
    (``MLFLOW_TRACKING_URI``); the experiment is ``MLFLOW_EXPERIMENT_NAME``, or "isthmus".
    """

    name = "mlflow"
    summary = "a run on an MLflow server, or in its database"

    def begin(self, out: Path, where: str | None, record: Mapping[str, Any]) -> None:
        with importing("mlflow", "mlflow is not installed"):
            from mlflow import MlflowClient
            from mlflow.entities import Param
            from mlflow.environment_variables import MLFLOW_EXPERIMENT_NAME
        self.client = MlflowClient(tracking_uri=where)
        wanted = MLFLOW_EXPERIMENT_NAME.get() or "isthmus"
        known = self.client.get_experiment_by_name(wanted)
        experiment = known.experiment_id if known else self.client.create_experiment(wanted)
        self.run = self.client.create_run(experiment, run_name=out.name).info.run_id
        self.waiting: list[Any] = []
        self.sent = time.monotonic()
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat(record)}
        self.client.log_batch(self.run, params=[Param(k, v[:LONGEST]) for k, v in texts.items()])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._take({f"loss.{name}": v for name, v in values.items()}, step)
        if len(self.waiting) >= BATCH or time.monotonic() > self.sent + PATIENCE:
            self._send()

    def end(self, result: Mapping[str, Any] | None) -> None:
        self._take({f"result.{name}": v for name, v in numbers(result or {})}, 0)
        self._send()
        self.client.set_terminated(self.run, "FAILED" if result is None else "FINISHED")

    def _take(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.waiting += [Metric(name, value, now, step) for name, value in values.items()]

    def _send(self) -> None:
        for start in range(0, len(self.waiting), BATCH):
            self.client.log_batch(self.run, metrics=self.waiting[start : start + BATCH])
        self.waiting, self.sent = [], time.monotonic()
