"""Two processes that train one model, on the loopback device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from isthmus import Run
from isthmus.learners import TCN, Training
from isthmus.learners.ranks import Ranks, process_group
from isthmus.testing.domains import series
from isthmus_alignment.deep.dann import DANN

LOOKS = {"validator": "information-maximisation", "looks": 5, "patience": 2}
SHORT = {"optimiser": "sgd", "weight_decay": 0.0, "clip": 1.0, **LOOKS}


# Without batch statistics, and nothing at random: rows do not meet.
ALONE = TCN(widths=(4,), dropout=0.0)


def adapted(training, run=Run()):
    task, heldout = series(0)
    return DANN(network=ALONE, training=training).adapt(task, run).predict(heldout.x)


def one_of_two(rank, folder, training, steps):
    """What each process does; the first leaves what it predicts, and so does the second."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting{steps}", rank=rank, world_size=2
    )
    run = Run(checkpoint=Path(folder) / "checkpoint", budget=60.0)
    np.save(f"{folder}/{rank}.npy", adapted(training, run))
    dist.destroy_process_group()


def in_two(folder, training):
    spawn(one_of_two, (str(folder), training, training.steps), nprocs=2)
    first, second = (np.load(f"{folder}/{rank}.npy") for rank in range(2))
    np.testing.assert_array_equal(first, second)
    return first


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    found = in_two(tmp_path, Training(steps=20, batch_size=8, **SHORT))
    whole = adapted(Training(steps=20, batch_size=16, **SHORT))
    np.testing.assert_allclose(found, whole, atol=2e-6)
    parts = adapted(Training(steps=20, batch_size=8, accumulate=2, **SHORT))
    np.testing.assert_allclose(found, parts, atol=2e-6)
    assert np.abs(whole - adapted(Training(steps=20, batch_size=8, **SHORT))).max() > 1e-3
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["train.safetensors"]


def test_a_process_alone_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group("cpu") as device:
        ranks = Ranks.here()
        assert (device, ranks) == ("cpu", Ranks.launched())
    x = torch.ones(3)
    ranks.average([x])
    assert x.tolist() == [1, 1, 1]
    assert ranks.any(True, torch.device("cpu")) and not ranks.any(False, torch.device("cpu"))


def test_torchruns_processes_are_joined_and_left(monkeypatch):
    place = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    for key, value in place.items():
        monkeypatch.setenv(key, value)
    calls = []
    monkeypatch.setattr(dist, "init_process_group", calls.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("left"))
    with pytest.raises(KeyError), process_group("cpu") as device:
        assert device == "cpu"
        raise KeyError
    assert calls == ["gloo", "left"]
