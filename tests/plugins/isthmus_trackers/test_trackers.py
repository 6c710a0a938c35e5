"""What the CLI trains is found in the files of TensorBoard and in the runs of MLflow."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isthmus.cli import main
from isthmus.testing.domains import MAKERS


@pytest.fixture
def adapted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Return what adapts a small table with trackers, and the log that it writes itself."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    task, _ = MAKERS["table"](0)
    for d in (task.source, task.target):
        labels = {"y": d.y} if d is task.source else {}
        np.savez(tmp_path / f"{d.name}.npz", x=d.x, classes=np.array(task.schema.classes), **labels)

    def run(*track: str, steps: int = 5) -> list[dict[str, float]]:
        uris = [f"npz:{tmp_path / d.name}.npz" for d in (task.source, task.target)]
        words = ["adapt", "--source", uris[0], "--target", uris[1], "--strategy", "dann"]
        words += ["--set", f"training.steps={steps}", "--set", "network=mlp"]
        words += [w for t in track for w in ("--track", t)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the trackers' own libraries
                main([*words, "--out", str(tmp_path / "runs" / "a")])
        except SystemExit:
            pytest.fail(capsys.readouterr().err)
        log = (tmp_path / "runs" / "a" / "log.jsonl").read_text()
        return [json.loads(line) for line in log.splitlines()]

    return run


def test_tensorboard_shows_the_losses_and_the_result(adapted: Any, tmp_path: Path) -> None:
    log = adapted("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path / "runs" / "tensorboard" / "a"))
    found.Reload()
    for name in ("task", "domain"):
        events = found.Scalars(f"loss/{name}")
        assert [e.step for e in events] == [line["step"] for line in log]
        np.testing.assert_allclose([e.value for e in events], [line[name] for line in log])
    assert found.Scalars("result/training.steps")[0].value == 5
    assert found.Scalars("result/seconds")[0].value > 0


def test_mlflow_has_a_run_with_settings_losses_and_the_result(adapted: Any, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    log = adapted(f"mlflow={uri}")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("isthmus")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("a", "FINISHED")
    assert run.data.params["strategy.training.steps"] == "5"
    assert run.data.metrics["result.training.steps"] == 5
    history = client.get_metric_history(run.info.run_id, "loss.domain")
    assert {m.step: m.value for m in history} == {line["step"]: line["domain"] for line in log}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_told_before_training(
    name: str, adapted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(pytest.fail.Exception, match=rf"isthmus\[{name}\]"):
        adapted(name)
    assert not (tmp_path / "runs" / "a" / "adapted.json").exists()


def test_a_misspelt_tracker_is_told(adapted: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match="no tracker is called 'tensorbord'"):
        adapted("tensorbord")
