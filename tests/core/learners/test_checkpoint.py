"""A killed run continues to the very weights of an uninterrupted one; a foreign file is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from isthmus import BadInput, Run
from isthmus.learners import MLP, Training
from isthmus.learners.augment import Strong
from isthmus.learners.loop import seeded, train
from isthmus.learners.network import network_for
from isthmus.testing.domains import MAKERS
from isthmus_alignment.deep.dann import DomainAdversarial
from isthmus_finetuning.fine_tune import FineTune

TASK, _ = MAKERS["table"](0)
ARCHITECTURE = MLP(widths=(8,), dropout=0.3)
STEPS = 150
OPTIMISERS = {"sgd": 0.01, "adam": 0.003}

KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_checkpoint import dann
import torch
torch.set_num_threads(1)
dann({optimiser!r}, Path({folder!r}), pause=0.02)
"""


def dann(optimiser, folder=None, pause=0.0, stop_at=None, **given):
    """Train a network with dropout and batch normalisation, and return every tensor of it."""

    def watch(net, step):
        nonlocal seen
        seen += 1
        time.sleep(pause)
        if seen == stop_at:
            raise KeyboardInterrupt

    seen = 0
    run = Run(checkpoint=folder, checkpoint_every=0.0, key="data", watch=watch)
    run = replace(run, **{k: given.pop(k) for k in [*given] if hasattr(run, k)})
    training = Training(
        **{"steps": STEPS, "optimiser": optimiser, "lr": OPTIMISERS[optimiser], **given}
    )
    with seeded(run):
        net = network_for(TASK, ARCHITECTURE)
        critic = DomainAdversarial(net.width, 8, 1.0)
        train(net, critic, TASK.source, TASK.target, run, training)
    both = torch.nn.ModuleList([net, critic]).state_dict()
    return {k: v.clone() for k, v in both.items()}, seen


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for k, v in a.items():
        assert torch.equal(v, b[k]), k


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_kill_9_and_resume_is_as_if_nothing_happened(optimiser, tmp_path, request):
    here = str(request.path.parent)
    code = KILLED.format(here=here, folder=str(tmp_path), optimiser=optimiser)
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        file, patience = tmp_path / "train.safetensors", time.monotonic() + 120
        while not file.exists() and child.poll() is None and time.monotonic() < patience:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    finally:
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said.decode()
    resumed, steps = dann(optimiser, tmp_path)
    assert 0 < steps < STEPS, "the child was killed too early or too late"
    assert_equal(resumed, dann(optimiser)[0])


@pytest.mark.parametrize("at", [1, 51, 117])
def test_a_run_stopped_anywhere_continues(tmp_path, at, monkeypatch):
    monkeypatch.setattr("isthmus.learners.loop.PATIENCE", 0.0)  # a checkpoint after every step
    with pytest.raises(KeyboardInterrupt):
        dann("sgd", tmp_path, stop_at=at)
    resumed, steps = dann("sgd", tmp_path)
    assert steps == STEPS - at + 1
    assert_equal(resumed, dann("sgd")[0])


ALL = {
    "ema": 0.9,
    "accumulate": 2,
    "balanced": True,
    "augment": Strong(),
    "smoothing": 0.1,
    "validator": "importance-weighted-risk",
    "looks": 4,
}


def test_average_views_and_accumulation_continue_too(tmp_path, monkeypatch):
    monkeypatch.setattr("isthmus.learners.loop.PATIENCE", 0.0)
    steps = {"steps": 12}
    with pytest.raises(KeyboardInterrupt):
        dann("adam", tmp_path, stop_at=16, **ALL, **steps)  # within the eighth step
    resumed, seen = dann("adam", tmp_path, **ALL, **steps)
    assert seen == 2 * 12 - 14
    whole, _ = dann("adam", **ALL, **steps)
    assert_equal(resumed, whole)
    again, seen = dann("adam", tmp_path, **ALL, **steps)
    assert seen == 0
    assert_equal(again, whole)


def test_a_finished_run_is_not_repeated(tmp_path):
    first, _ = dann("sgd", tmp_path)
    again, steps = dann("sgd", tmp_path)
    assert steps == 0
    assert_equal(again, first)


def test_checkpoints_change_nothing(tmp_path):
    assert_equal(dann("adam", tmp_path)[0], dann("adam")[0])


@pytest.mark.parametrize(
    "other",
    [{"lr": 0.02}, {"seed": 1}, {"key": "other data"}, {"precision": "bf16"}, {"steps": STEPS + 1}],
    ids=str,
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, other):
    dann("sgd", tmp_path)
    with pytest.raises(BadInput, match="was written by other settings, data or seed") as caught:
        dann("sgd", tmp_path, **other)
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("harm", ["cut", "empty", "text"])
def test_a_broken_checkpoint_is_a_clear_error(tmp_path, harm):
    dann("sgd", tmp_path)
    file = tmp_path / "train.safetensors"
    data = {"cut": file.read_bytes()[:-100], "empty": b"", "text": b"{}" * 99}[harm]
    file.write_bytes(data)
    with pytest.raises(BadInput, match=r"train.safetensors is not a checkpoint") as caught:
        dann("sgd", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_safetensors_file_that_is_no_checkpoint_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "train.safetensors")
    with pytest.raises(BadInput, match="was written by other settings"):
        dann("sgd", tmp_path)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with pytest.raises(KeyboardInterrupt):
        dann("sgd", tmp_path, stop_at=60)
    with monkeypatch.context() as patch, pytest.raises(BadInput, match="No space left"):
        patch.setattr("isthmus.atomic.os.fsync", full)
        dann("sgd", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["train.safetensors"]
    resumed, steps = dann("sgd", tmp_path)
    assert steps == STEPS - 50
    assert_equal(resumed, dann("sgd")[0])


@pytest.mark.parametrize("stopped_in", ["pretrain", "tune"])
def test_two_stages_resume_where_they_were(tmp_path, stopped_in):
    strategy = FineTune(
        network=ARCHITECTURE,
        pretraining=Training(steps=120),
        training=Training(steps=120, batch_size=8),
    )

    def adapt(stop_at=None, **given):
        steps = 0

        def watch(net, step):
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise KeyboardInterrupt

        run = Run(checkpoint_every=0.0, watch=watch, **given)
        return (strategy.adapt(TASK, run), steps) if stop_at is None else strategy.adapt(TASK, run)

    with pytest.raises(KeyboardInterrupt):
        adapt(stop_at=70 if stopped_in == "pretrain" else 200, checkpoint=tmp_path)
    found = {"pretrain": ["pretrain"], "tune": ["pretrain", "tune"]}[stopped_in]
    assert sorted(p.stem for p in tmp_path.iterdir()) == found
    resumed, steps = adapt(checkpoint=tmp_path)
    assert steps == {"pretrain": 190, "tune": 70}[stopped_in]
    whole, _ = adapt()
    assert_equal(resumed.part.state_dict(), whole.part.state_dict())
